//! What clients may ask for, and what the one who runs the gateway may.

use crate::stand::{Bench, ENVELOPED_PROBE, Gateway, PROBE, heard};
use multiplane_tests::clock::{DEADLINE, eventually, now};
use multiplane_tests::component;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::spec;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a client hears of `k` up to this number.
fn numbers(client: &mut multiplane_tests::process::Process, last: u64) -> Vec<u64> {
    let mut found = Vec::new();
    while found.last() != Some(&last) {
        found.extend(heard(client)["payload"]["k"].as_u64());
    }
    found
}

/// The newest always comes, in order; what is left out is counted, and nothing else is missing.
#[test]
#[ignore = "needs Python: tests/run"]
fn a_client_may_leave_out_what_newer_messages_replace() {
    for paced in [r#""rate": 2"#, r#""rate": 2, "conflate": true"#, r#""conflate": true"#] {
        let bench = Bench::new("to_web");
        let gateway = Gateway::start(&bench.hub, &[]);
        let mut all = gateway.session(r#"{"op": "subscribe", "topic": "t"}"#);
        let mut client =
            gateway.session(&format!(r#"{{"op": "subscribe", "topic": "t", {paced}, "ref": 1}}"#));
        assert_eq!(heard(&mut client), json!({"op": "ok", "ref": 1}));
        let start = now();
        let mut some = Vec::new();
        for half in [0..500, 500..1000] {
            let last = half.end - 1;
            bench.publish("t", half);
            some.extend(numbers(&mut client, last));
        }
        assert!(some.is_sorted_by(|a, b| a < b), "{some:?}");
        if paced.contains("rate") {
            let taken = start.elapsed();
            let allowed = 2 + 2 * taken.as_secs() as usize;
            assert!(taken > Duration::from_millis(500) && some.len() <= allowed, "{some:?} in {taken:?}");
        }
        assert_eq!(numbers(&mut all, 999), (0..1000).collect::<Vec<_>>());
        let words = gateway.end();
        let left_out = 1000 - some.len();
        assert!(
            left_out == 0 || words.contains(&format!("left out on request {left_out}")),
            "{left_out}: {words}"
        );
        assert!(!words.contains("dropped"), "{words}");
    }
}

/// Who sends too much waits, and loses nothing; the others do not wait.
#[test]
#[ignore = "needs Python: tests/run"]
fn a_client_that_sends_more_than_its_rate_waits() {
    let bench = Bench::new("to_web");
    let gateway = Gateway::start(&bench.hub, &["--rate", "50"]);
    let mut client = gateway.session(r#"{"id": "to_web"}"#);
    let mut other = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut client, PROBE);
    let start = now();
    client.say("send - 0 150");
    bench.hear(0..50);
    other.say(r#"text {"n": 7000}"#);
    let mut rest: Vec<u64> = (50..151).map(|_| bench.next()).collect();
    // It had a second's worth saved at most.
    assert!(start.elapsed() > Duration::from_millis(1900), "{:?}", start.elapsed());
    let others = rest.iter().position(|n| *n == 7000).unwrap();
    rest.remove(others);
    assert_eq!(rest, (50..150).collect::<Vec<_>>());
    assert!(others < 100, "it had to wait for the other client");
}

/// Bytes of a client that speaks by hand: the request, and then one frame of text.
fn by_hand(text: &str) -> Vec<u8> {
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // Masked, as it must be, with zeros.
    let head = [0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    [request.as_bytes(), &head, text.as_bytes()].concat()
}

#[test]
#[ignore = "needs Python: tests/run"]
fn a_client_that_does_not_answer_a_ping_is_let_go() {
    let bench = Bench::new("to_web");
    let mut gateway = Gateway::start(&bench.hub, &["--ping", "2"]);
    let mut client = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut client, PROBE);
    let mut silent = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    silent.write_all(&by_hand(r#"{"id": "to_x"}"#)).unwrap();
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer);
    assert!(answer.ends_with(&[0x89, 0]), "no ping came: {}", String::from_utf8_lossy(&answer));
    gateway
        .process
        .line("its end", |line| line.starts_with("Ended: ") && line.contains("did not answer a ping"));
    // Who answers stays.
    client.say("send - 0 10");
    bench.hear(0..10);
}

#[test]
#[ignore = "needs Python: tests/run"]
fn ids_are_read_as_python_banyan_does_where_that_is_asked_for() {
    let bench = Bench::new("stop");
    let gateway = Gateway::start(&bench.hub, &["--compat"]);
    for (id, from) in [("to_motor", "from_mofromr"), ("stop", "sfromp"), ("plain", "plain")] {
        let mut client = gateway.session(&format!(r#"{{"id": "{id}"}}"#));
        bench.publish(from, 3..4);
        assert_eq!(heard(&mut client), json!({"k": 3}), "{id}");
    }
    let mut client = gateway.session(r#"{"id": "stop"}"#);
    bench.await_client(&mut client, PROBE);
    client.say("send - 0 5");
    bench.hear(0..5);
}

#[test]
#[ignore = "needs Python: tests/run"]
fn banyan_clients_get_the_topics_of_m_alone() {
    let bench = Bench::new("to_b");
    let gateway = Gateway::start(&bench.hub, &["-m", "from_a", "from_c"]);
    let [mut a, mut b, mut c] =
        ["to_a", "to_b", "to_cc"].map(|id| gateway.session(&format!(r#"{{"id": "{id}"}}"#)));
    // It may publish all the same.
    bench.await_client(&mut b, PROBE);
    for topic in ["from_b", "from_a", "from_cc"] {
        bench.publisher.publish(topic, &json!({"k": topic})).unwrap();
    }
    bench.publish("from_a", 1..2);
    bench.publish("from_cc", 1..2);
    for client in [&mut a, &mut c] {
        eventually("the last", || heard(client)["k"] == json!(1));
    }
    b.say(r#"text {"n": 1}"#);
    bench.hear(1..2);
    let words = gateway.end();
    assert!(!words.contains("dropped"), "{words}");
    assert!(b.after("CLOSED").starts_with("1001"), "{b}");
    assert!(!b.to_string().contains("HEARD"), "{b}");
}

#[test]
#[ignore = "needs Python: tests/run"]
fn one_gateway_links_several_backplanes() {
    let hubs = [Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2")];
    let bus = component("bench", hubs.each_ref().map(|hub| hub.route(["to_web"])));
    let inbox = bus.subscriber().unwrap();
    let gateway = Gateway::routed(&spec(hubs.each_ref().map(|hub| hub.route(["to_web"]))), &[]);

    // A Banyan client is on all of them; others may choose.
    let mut banyan = gateway.session(r#"{"id": "to_web"}"#);
    let mut second = gateway.session(r#"{"op": "subscribe", "topic": "from_web", "backplane": "BP2"}"#);
    let mut found = std::collections::BTreeSet::new();
    eventually("probes arrive", || {
        banyan.say(r#"text {"who": 1}"#);
        second.say(r#"text {"op": "publish", "topic": "to_web", "backplane": "BP2", "payload": {"who": 2}}"#);
        while let Ok(message) = inbox.recv_timeout(Duration::from_millis(50)) {
            let who = message.payload().unwrap().get("who").unwrap().as_u64().unwrap();
            found.insert((who, message.backplane().name()));
        }
        found.len() == 3
    });
    assert_eq!(found, [(1, "BP1"), (1, "BP2"), (2, "BP2")].into());

    for (name, number) in [("BP1", 1), ("BP2", 2)] {
        let publisher = bus.publisher(name).unwrap();
        publisher.wait_for_subscriber("from_web", DEADLINE).unwrap();
        publisher.publish("from_web", &json!({"k": number})).unwrap();
        assert_eq!(heard(&mut banyan), json!({"k": number}));
    }
    let message = heard(&mut second);
    assert_eq!((&message["backplane"], &message["payload"]), (&json!("BP2"), &json!({"k": 2})));
}

/// Clients that speak MessagePack: in order both ways, and bytes that JSON cannot say stay what they are.
#[test]
#[ignore = "needs Python: tests/run"]
fn clients_may_speak_messagepack() {
    for (first, topic) in
        [(r#"{"id": "to_web"}"#, "-"), (r#"{"op": "subscribe", "topic": "from_w"}"#, "to_web")]
    {
        let bench = Bench::new("to_web");
        let gateway = Gateway::start(&bench.hub, &[]);
        let mut client = gateway.session_in("pack", first);
        let probe = if topic == "-" { PROBE } else { ENVELOPED_PROBE };
        eventually("a probe arrives", || {
            client.say(&format!("pack {probe}"));
            bench.inbox.recv_timeout(Duration::from_millis(100)).is_ok()
        });
        client.say(&format!("pack-send {topic} 0 10000"));
        bench.hear(0..10_000);
        client.say("hear k 0 10000");
        bench.publish("from_web", 0..10_000);
        client.after("HEARD ALL");

        // bin 00 ff, and an extension of type 5.
        for (hex, shown) in [("c40200ff", r"b'\x00\xff'"), ("d40507", r"ExtType(code=5, data=b'\x07')")] {
            let payload: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            // A map of op, topic and payload.
            let envelope = "83a26f70a77075626c697368a5746f706963a6746f5f776562a77061796c6f6164";
            client.say(&format!("hex {}{hex}", if topic == "-" { "" } else { envelope }));
            eventually("the same bytes", || {
                bench.inbox.recv_timeout(DEADLINE).unwrap().payload_bytes()[..] == payload[..]
            });
            bench.publisher.publish_raw("from_web", &payload).unwrap();
            let message = heard(&mut client);
            let payload = if topic == "-" { &message } else { &message["payload"] };
            // An extension is a tuple to Python.
            let python = |value: &Value| match value {
                Value::Array(parts) => {
                    format!("ExtType(code={}, data={})", parts[0], parts[1].as_str().unwrap())
                }
                value => value.as_str().unwrap_or_default().to_owned(),
            };
            assert_eq!(python(payload), shown);
        }
    }
}

#[test]
#[ignore = "needs Python: tests/run"]
fn ids_and_topics_may_be_few() {
    let bench = Bench::new("to_web");
    let gateway = Gateway::start(
        &bench.hub,
        &["--allow-id", "to_web", "to_b", "--allow-publish", "to_w", "--allow-subscribe", "from_web", "x."],
    );
    for (first, end) in [
        (r#"{"id": "to_web_2"}"#, "1008 this gateway does not know that id"),
        (r#"{"id": "to_b"}"#, "1008 clients of this gateway may not publish on that topic"),
    ] {
        let mut client = gateway.client(&[]);
        client.say(&format!("text {first}"));
        assert!(client.after("CLOSED ").starts_with(end), "{client}");
    }
    let mut banyan = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut banyan, PROBE);
    bench.publish("from_web", 1..2);
    assert_eq!(heard(&mut banyan), json!({"k": 1}));

    let mut client = gateway.session(r#"{"op": "hello"}"#);
    for (op, topic, answer) in [
        ("subscribe", "", "may not get \"\"; they may get what begins with from_web, x."),
        ("subscribe", "from_we", "may not get"),
        ("subscribe", "from_web", ""),
        ("subscribe", "x.y", ""),
        ("publish", "from_web", "may not publish on \"from_web\"; they may on what begins with to_w"),
        ("publish", "to_web", ""),
    ] {
        client.say(&format!(r#"text {{"op": "{op}", "topic": "{topic}", "payload": {{"n": 5}}, "ref": 1}}"#));
        let said = heard(&mut client);
        let reason = said["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(answer) && reason.is_empty() == answer.is_empty(), "{op} {topic}: {said}");
    }
    bench.hear(5..6);
    // Who watches sees no more than that.
    client.say(r#"text {"op": "watch", "every": 0.1}"#);
    bench.publisher.wait_for_subscriber("x.", DEADLINE).unwrap();
    eventually("it is seen", || {
        for topic in ["secret", "x.y"] {
            bench.publisher.publish(topic, &1).unwrap();
        }
        let view = heard(&mut client);
        let topics = view["topics"].as_array();
        assert!(!view["topics"].to_string().contains("secret"), "{view}");
        topics.is_some_and(|topics| topics.iter().any(|topic| topic["topic"] == "x.y"))
    });
    assert!(gateway.end().contains("refused 1"));
}

/// One line a second, with the number of those that were left out.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn whoever_is_refused_does_not_fill_the_log() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let mut gateway = Gateway::start(&hub, &[]);
    let start = now();
    for _ in 0..200 {
        assert!(gateway.answer(b"garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
    let allowed = 2 + start.elapsed().as_secs();
    gateway.process.interrupt();
    let words = gateway.process.after("stderr: from clients ");
    assert!(words.contains("connections turned away 200"), "{words}");
    let said = gateway.process.to_string();
    let lines = said.lines().filter(|line| line.trim().starts_with("Refused: ")).count() as u64;
    assert!((1..=allowed).contains(&lines), "{lines} lines, {allowed} allowed\n{said}");
}

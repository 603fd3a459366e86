//! `multiplane gateway websocket` between Python's `websockets`, our backplane and real Banyan components.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod options;
mod stand;

use multiplane_bus::raise_open_files_limit;
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::programs::{multiplane, python};
use serde_json::json;
use stand::{Bench, ENVELOPED_PROBE, Gateway, PROBE, heard};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn a_web_client_and_a_banyan_component_talk_with_the_defaults() {
    let bench = Bench::new("to_arduino_gateway");
    let [subscriber, publisher] = bench.hub.ports();
    let mut component = python("component.py", [subscriber.as_str(), &publisher, "to_arduino_gateway"]);
    component.after("READY");
    let gateway = Gateway::start(&bench.hub, &[]);
    let mut client = gateway.session(r#"{"id": "to_arduino_gateway"}"#);
    bench.await_client(&mut client, PROBE);
    client.say(r#"text {"command": "set_mode_digital_output", "pin": 4}"#);
    let command = r#"HEARD to_arduino_gateway {"command": "set_mode_digital_output", "pin": 4}"#;
    component.line("the command", |line| line == command);
    // A second client: in Python Banyan the next message would come twice.
    let mut second = gateway.session(r#"{"id": "to_arduino_gateway"}"#);
    second.say(r#"text {"n": 7}"#);
    assert_eq!(bench.next(), 7);
    component.say(r#"from_arduino_gateway {"report": "digital_input", "value": 1, "timestamp": 0}"#);
    component.say(r#"from_arduino_gateway_2 {"report": "somebody else's"}"#);
    component.say(r#"from_arduino_gateway {"report": "last"}"#);
    for client in [&mut client, &mut second] {
        let report = heard(client);
        assert_eq!((&report["report"], &report["value"]), (&json!("digital_input"), &json!(1)));
        let time = report["timestamp"].as_str().unwrap();
        assert!(time.len() == 19 && time.starts_with("19"), "{time}");
        assert_eq!(heard(client), json!({"report": "last"}));
    }
}

#[test]
#[ignore = "needs Python: tests/run"]
fn ten_thousand_each_way_in_order() {
    for (first, topic, probe) in [
        (r#"{"id": "to_web"}"#, "-", PROBE),
        (r#"{"op": "subscribe", "topic": "from_w"}"#, "to_web", ENVELOPED_PROBE),
    ] {
        let bench = Bench::new("to_web");
        let gateway = Gateway::start(&bench.hub, &[]);
        let mut client = gateway.session(first);
        bench.await_client(&mut client, probe);
        client.say(&format!("send {topic} 0 10000"));
        bench.hear(0..10_000);
        client.say("hear k 0 10000");
        bench.publish("from_web", 0..10_000);
        client.after("HEARD ALL");
        let words = gateway.end();
        assert!(!words.contains("dropped"), "{words}");
    }
}

#[test]
#[ignore = "needs Python: tests/run"]
fn clients_gateway_and_backplane_come_and_go() {
    let mut bench = Bench::new("to_web");
    let gateway = Gateway::start(&bench.hub, &[]);
    let mut first = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut first, PROBE);
    first.kill();
    let mut client = gateway.session(r#"{"id": "to_web"}"#);
    client.say("send - 0 100");
    bench.hear(0..100);

    bench.hub.kill();
    bench.hub.restart();
    bench.await_client(&mut client, PROBE);
    client.say("send - 100 1100");
    bench.hear(100..1100);
    client.say("hear k 0 1000");
    bench.publish("from_web", 0..1000);
    client.after("HEARD ALL");

    let Gateway { mut process, port } = gateway;
    process.kill();
    client.after("CLOSED 1006");
    let gateway = Gateway::at(&bench.hub, port, &[]);
    let mut client = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut client, PROBE);
    client.say("send - 1100 2100");
    bench.hear(1100..2100);
    let words = gateway.end();
    client.after("CLOSED 1001 the gateway ends");
    assert!(!words.contains("dropped"), "{words}");
}

/// Each ends as the table says, and a client beside them notices nothing.
#[test]
#[ignore = "needs Python: tests/run"]
fn what_is_wrong_ends_with_a_reason_and_harms_nobody_else() {
    let bench = Bench::new("to_web");
    let gateway = Gateway::start(&bench.hub, &[]);
    let mut bystander = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut bystander, PROBE);
    let deep = format!("text {}", "[".repeat(50_000));
    let long = format!("text \"{}\"", "x".repeat(70_000));
    for (line, end) in [
        (r#"text {"name": "x"}"#, "1008 the first message is"),
        ("text [1, 2]", "1008 the first message is"),
        (r#"text {"id": "motor"}"#, "1008 an id begins with `to_`"),
        (r#"text {"id": "_bus.x"}"#, "1008 an id begins with `to_`"),
        ("text hello", "1007 not JSON"),
        (r#"text {"id": NaN}"#, "1007 not JSON"),
        (&deep, "1007 the container at byte 128 is nested deeper"),
        (&long, "1009 a message of 70002 bytes is over the limit of 65536"),
        ("hex c1", "1007"),
        ("hex ddffffffff", "1007"),
        // Not masked; a reserved bit; no such opcode; text that is not UTF-8; a length of 2^63.
        ("raw 810141", "1002"),
        ("raw f18000000000", "1002"),
        ("raw 838000000000", "1002"),
        ("raw 818100000000ff", "1007 text that is not UTF-8"),
        ("raw 82ffffffffffffffffff00000000", "1009"),
    ] {
        let mut client = gateway.client(&[]);
        client.say(line);
        let closed = client.after("CLOSED ");
        assert!(closed.starts_with(end), "{}: {closed}", &line[..line.len().min(60)]);
    }
    // With an envelope a mistake is answered, and the session goes on.
    let mut client = gateway.session(r#"{"op": "hello"}"#);
    for (line, part) in [
        ("text {", "not JSON"),
        ("text 7", "a map with `op`"),
        (r#"text {"op": "dance", "ref": 7}"#, "`op` is hello"),
        (r#"text {"op": "publish", "topic": "_bus.x", "payload": 1}"#, "the bus's own"),
        (r#"text {"op": "publish", "topic": "x", "payload": 1, "backplane": "BP9"}"#, "there is BP1"),
        (r#"text {"op": "subscribe", "topic": "x", "rate": "often"}"#, "0.01 to 1000"),
        (r#"text {"op": "unsubscribe", "topic": "never"}"#, "no subscription"),
    ] {
        client.say(line);
        let error = heard(&mut client);
        assert!(error["reason"].as_str().is_some_and(|reason| reason.contains(part)), "{line}: {error}");
    }
    bystander.say("send - 0 100");
    bench.hear(0..100);
    let words = gateway.end();
    assert!(words.contains("connections turned away") && words.contains("not understood"), "{words}");
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn who_speaks_no_websocket_hears_why() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let gateway = Gateway::start(&hub, &[]);
    let get = |more: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, answer) in [
        (get(""), "200 OK"),
        (get("").replace("GET / ", "GET /nothing "), "404"),
        (get("").replace("GET", "DELETE"), "405"),
        (get("").replace("localhost", "rebound.example"), "421"),
        (get(&format!("{socket}Origin: https://evil.example\r\n")), "403"),
        (get(&socket.replace("13", "12")), "426"),
        (get(&format!("X: {}\r\n", "x".repeat(9000))), "431"),
        ("\u{16}\u{3}\u{1}\u{2}garbage".to_owned(), "400"),
    ] {
        let answered = gateway.answer(request.as_bytes());
        assert!(answered.starts_with(&format!("HTTP/1.1 {answer}")), "{request}: {answered}");
    }
    let strict = Gateway::start(&hub, &["--patience", "0.3"]);
    for beginning in ["", "GET / HT"] {
        let answered = strict.answer(beginning.as_bytes());
        assert!(answered.starts_with("HTTP/1.1 408"), "{beginning}: {answered}");
    }
    let page = gateway.answer(get("").as_bytes());
    assert!(
        page.contains("Content-Security-Policy: default-src 'self';") && page.contains("<!doctype html>"),
        "{page}"
    );
}

#[test]
#[ignore = "needs Python: tests/run"]
fn thousands_who_say_nothing_are_shown_out_and_others_served() {
    raise_open_files_limit().unwrap();
    let bench = Bench::new("to_web");
    let mut gateway = Gateway::start(&bench.hub, &["--connections", "6000", "--patience", "5"]);
    let mut client = gateway.session(r#"{"id": "to_web"}"#);
    bench.await_client(&mut client, PROBE);
    let mut idle: Vec<TcpStream> =
        (0..5000).map(|_| TcpStream::connect(("127.0.0.1", gateway.port)).unwrap()).collect();
    client.say("send - 0 1000");
    bench.hear(0..1000);
    // A byte now and then does not help: the whole head has its time.
    for socket in idle.iter_mut().take(50) {
        let _ = socket.write_all(b"G");
    }
    for socket in &mut idle {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut answer = Vec::new();
        // One that had said something after it was shown out may see a reset behind the answer.
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    }
    client.say("send - 1000 2000");
    bench.hear(1000..2000);
    let peak = gateway.process.peak_kilobytes();
    assert!(peak < 200_000, "{peak} kB");
    drop(idle);
    assert!(gateway.process.is_running());
}

/// The others get everything; it loses the oldest, and hears how many.
#[test]
#[ignore = "needs Python: tests/run"]
fn a_client_that_does_not_read_loses_and_is_told() {
    let bench = Bench::new("to_web");
    let gateway = Gateway::start(&bench.hub, &["--queue", "500", "--ping", "300"]);
    let mut deaf = gateway.session(r#"{"op": "subscribe", "topic": "from_web"}"#);
    deaf.say("deaf");
    deaf.after("DEAF");
    let mut client = gateway.session(r#"{"op": "subscribe", "topic": "from_web"}"#);
    let mut watcher = gateway.session(r#"{"op": "watch", "every": 0.2}"#);
    let filling = "x".repeat(20_000);
    bench.publisher.wait_for_subscriber("from_web", DEADLINE).unwrap();
    client.say("hear k 0 3000");
    for n in 0..3000u64 {
        bench.publisher.publish("from_web", &json!({"k": n, "x": filling})).unwrap();
        if n % 100 == 99 {
            // The others are not to be slow: they get their time.
            eventually("it is seen", || {
                let view = heard(&mut watcher);
                view["backplanes"][0]["received"].as_u64() >= Some(n + 1)
                    && view["clients"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|client| client["queued"] == 0)
                        .count()
                        >= 2
            });
        }
    }
    client.after("HEARD ALL");
    eventually("drops are seen", || {
        let view = heard(&mut watcher);
        view["clients"].as_array().unwrap().iter().any(|client| client["dropped"].as_u64() > Some(0))
    });
    let words = gateway.end();
    assert!(words.contains("dropped for slow clients"), "{words}");
}

#[test]
#[ignore = "needs Python: tests/run"]
fn a_token_and_an_origin_open_the_door() {
    let bench = Bench::new("to_web");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "correct horse\n").unwrap();
    let arguments = ["--token-file", file.to_str().unwrap(), "--origin", "https://friend.example"];
    let gateway = Gateway::start(&bench.hub, &arguments);
    for wrong in [
        r#"{"op": "hello"}"#,
        r#"{"op": "hello", "token": "wrong horse!!"}"#,
        r#"{"op": "publish", "topic": "to_web", "payload": 1}"#,
        r#"{"id": "to_web"}"#,
    ] {
        let mut client = gateway.client(&[]);
        client.say(&format!("text {wrong}"));
        assert!(client.after("CLOSED ").starts_with("1008 the first message must bring the token"));
    }
    let mut client = gateway.session(r#"{"op": "hello", "token": "correct horse"}"#);
    bench.await_client(&mut client, ENVELOPED_PROBE);
    let mut client = gateway.session(r#"{"id": "to_web", "token": "correct horse"}"#);
    client.say("send - 0 10");
    bench.hear(0..10);

    let own = format!("origin=http://127.0.0.1:{}", gateway.port);
    for (origin, mark) in [
        (own.as_str(), "OPEN"),
        ("origin=https://friend.example", "OPEN"),
        ("origin=https://evil.example", "REFUSED 403"),
        ("origin=null", "REFUSED 403"),
    ] {
        gateway.visitor(&[origin]).after(mark);
    }
}

#[test]
#[ignore = "needs Python and openssl: tests/run"]
fn tls_is_spoken_with_those_who_trust_the_certificate() {
    let bench = Bench::new("to_web");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let request =
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1";
    let mut command = Command::new("openssl");
    command.args(request.split(' ')).args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]);
    assert!(command.output().unwrap().status.success());
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let gateway = Gateway::start(&bench.hub, &["--tls-cert", &certificate, "--tls-key", &key]);
    let url = gateway.url().replace("ws:", "wss:");
    let mut client = python("websocket_peer.py", [url.as_str(), &format!("ca={certificate}")]);
    client.after("OPEN");
    client.say(r#"text {"id": "to_web"}"#);
    bench.await_client(&mut client, PROBE);
    client.say("send - 0 5000");
    bench.hear(0..5000);
    client.say("hear k 0 5000");
    bench.publish("from_web", 0..5000);
    client.after("HEARD ALL");
    // Clear text where TLS is expected ends that connection only.
    gateway.visitor(&[]).after("REFUSED");
    client.say("send - 5000 5001");
    bench.hear(5000..5001);
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn wrong_use_is_told_in_a_line_with_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, part, code) in [
        (&["--listen", "0.0.0.0:0"][..], "--insecure", 2),
        (&["--origin", "example.org"], "is no origin", 2),
        (&["--token-file", "/absent"], "--token-file /absent: ", 2),
        (&["--tls-cert", "/absent.pem", "--tls-key", "/absent.pem"], "/absent.pem: ", 2),
        (&["--listen", &port], "in use", 1),
    ] {
        let output =
            Command::new(multiplane()).args(["gateway", "websocket"]).args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

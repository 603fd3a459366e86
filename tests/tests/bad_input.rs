//! Every bad input has one line that says what it was, and hurts nobody.
//!
//! What a component, a port, a file or a gateway may be given that it should not, and where that is tested. What is marked
//! *here* has its line of output checked below, at a backplane in a process of its own.
//!
//! | input | tested by |
//! |---|---|
//! | **to Python components, at a guarded backplane** | |
//! | one frame; payload empty, truncated, with more behind, 0xc1; topic or text no UTF-8; keys no text; nesting 1,100 | *here*; `the_guard_stops_what_would_end_python_and_nothing_else` |
//! | the same at our components, and what is odd but sound: three frames, old raw text, extensions, duplicate keys, 10 MB | `odd_messages_hurt_nobody`; `what_is_no_messagepack_is_shown_in_hex_with_the_reason` |
//! | **ZMTP** | |
//! | random and mutated sessions | `six_thousand_strangers_cost_the_honest_nothing`; `thousands_of_mad_sessions_hurt_nobody`; `tests/fuzz` |
//! | HTTP, TLS, SSH, MQTT, ZMTP 1.0 and 2.0, another mechanism, the wrong socket | *here*; `wrong_sockets_are_told_and_counted` |
//! | frames of 1 GiB to 2^64 - 1 bytes, unknown flags, commands inside of messages | *here*; `impossible_frames_are_refused_at_once` |
//! | long subscriptions, of 200 bytes to 1 MB | *here*; `long_subscriptions_are_refused_and_those_within_the_limit_are_not`; `subscriptions_of_each_length_reach_every_publisher` |
//! | floods of subscriptions | *here*; `a_flood_of_subscriptions_ends_at_the_limit`; `nobody_takes_all_places_of_the_table` |
//! | silence, and a byte now and then | *here*; `whoever_dawdles_over_the_handshake_is_sent_away` |
//! | more connections than there are places | *here*; `a_thousand_idle_connections_and_none_beyond_the_limit` |
//! | **payloads**: lengths of 2^32 - 1, 100,000 levels, 0xc1, more behind | `a_declared_length_allocates_nothing`; `a_million_hostile_frames`; `limits_are_exact` |
//! | **topics**: no UTF-8, empty, NUL, 245 to 256 bytes, prefixes of each other | `matching_and_counted_subscriptions`; `long_topics_from_a_pyzmq_publisher`; `prefixes_that_overlap_deliver_once` |
//! | **routing file**: byte order mark, line ends, quotes, brackets, blanks, names twice, ports, no header, size | `every_mistake_has_a_line_and_an_arrow` and all of `bus/core/src/routing/tests.rs` |
//! | **TCP gateway**: lengths 0, 255, 256; cut anywhere; end within a payload; no MessagePack | `what_is_wrong_is_counted_and_the_gateway_lives`; `a_length_past_the_limit_ends_the_connection_only` |
//! | **WebSocket**: no request, 2^63 bytes, no id, no JSON, NaN, a million levels; all cases of Autobahn | `what_is_wrong_ends_with_a_reason_and_harms_nobody_else`; `who_speaks_no_websocket_hears_why`; `the_cases_of_autobahn_come_to_what_they_came_to` |
//! | **MQTT**: no JSON, oversize, wildcards, our own messages back, a broker that is gone or says nonsense | `what_has_no_form_on_the_other_side_is_counted_and_reported`; `what_the_gateway_has_put_on_one_side_never_comes_back`; `a_hostile_broker_ends_its_connection_only` |
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::clock::eventually;
use multiplane_tests::place::{await_listener, free_port};
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, root};
use multiplane_tests::zmtp::{command, frame, greeting_for, message, ready};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// A handshake, and what comes behind it.
fn peer(kind: &str, then: &[u8]) -> Vec<u8> {
    [greeting("NULL"), ready(kind), then.to_vec()].concat()
}

fn greeting(mechanism: &str) -> Vec<u8> {
    greeting_for(mechanism, 1)
}

#[derive(Clone, Copy)]
enum Port {
    Publisher,
    Subscriber,
}
use Port::{Publisher, Subscriber};

/// A backplane with these flags, and its ports: that of publishers, that of subscribers.
fn backplane(flags: &[&str]) -> (Process, [u16; 2]) {
    let ports = [free_port(), free_port()];
    let [publisher, subscriber] = ports.map(|port| port.to_string());
    let mut command = Command::new(multiplane());
    command.args(["backplane", "-n", "BP", "-p", &publisher, "-s", &subscriber]).args(flags);
    let process = Process::start("the backplane", &mut command);
    ports.into_iter().for_each(await_listener);
    (process, ports)
}

/// Says `bytes` to a backplane, and waits for the line with `words`; it stays the only one, and somebody else is served.
fn check(flags: &[&str], port: Port, bytes: &[u8], words: &str) {
    let (mut process, [publisher, subscriber]) = backplane(flags);
    let connect = |port| TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut stranger = connect(match port {
        Publisher => publisher,
        Subscriber => subscriber,
    });
    // It may hang up in the middle.
    let _ = stranger.write_all(bytes);
    let about = |line: &str| line.starts_with("stderr: ") && line.contains(words);
    let line = process.line(words, about);
    assert!(line.contains("WARN") && line.len() < 400, "{line}");
    assert!(!line["stderr: ".len()..].contains(char::is_control), "{line:?}");
    // A second one that is honest.
    let mut honest = connect(subscriber);
    honest.write_all(&peer("SUB", &[])).unwrap();
    let mut answer = [0; 64];
    honest.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[9], answer[10]), (0xff, 0x7f, 3), "no greeting");
    process.interrupt();
    process.line("its books", |line| {
        assert!(!line.contains("WARN"), "another line: {line}");
        line.contains("received ")
    });
    eventually("the backplane ends", || !process.is_running());
}

#[test]
fn strangers_are_told_by_their_first_bytes() {
    for (bytes, words) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "no ZMTP but perhaps HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "no ZMTP but TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no ZMTP but perhaps SSH"),
        (b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04name", "no ZMTP but perhaps MQTT"),
        (b"\x01\x00", "ZMTP 1.x is too old"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x02\x00\x00", "ZMTP 2.x is too old"),
        (b"\x99", "no ZMTP but something unknown"),
        (&greeting("PLAIN"), "the security mechanism PLAIN, and here it is NULL"),
        (&greeting("A\nB"), "the security mechanism A\u{fffd}B"),
        (&peer("REQ", &[]), "a REQ socket cannot talk to this port"),
        (&peer("PUB", &[]), "probably swapped"),
        (&[greeting("NULL"), command(b"PING", b"\0\0")].concat(), "the first command is not READY"),
    ] {
        check(&[], Subscriber, bytes, words);
    }
}

#[test]
fn impossible_frames_have_a_line() {
    let huge = |length: u64| [&[2][..], &length.to_be_bytes(), &[0; 1024]].concat();
    for length in [1 << 30, 1 << 33, 1 << 36, 1 << 63, u64::MAX] {
        check(&[], Publisher, &peer("PUB", &huge(length)), "is over the limit of 67108864");
    }
    check(
        &["--max-message", "1000"],
        Publisher,
        &peer("PUB", &message(&[b"t", &[0; 1000]])),
        "over the limit of 1000",
    );
    check(&[], Publisher, &peer("PUB", b"\x80\x01a"), "unknown flags 0x80");
    check(
        &[],
        Publisher,
        &peer("PUB", &[frame(1, b"t"), command(b"PING", b"\0\0")].concat()),
        "a command inside of a message",
    );
}

#[test]
fn subscriptions_beyond_the_limits_have_a_line() {
    let subscribe = |topic: &[u8]| command(b"SUBSCRIBE", topic);
    for length in [1025, 65_536, 1 << 20] {
        check(&[], Subscriber, &peer("SUB", &subscribe(&vec![b'a'; length])), "limit of 1");
    }
    let old = frame(0, &[&[1][..], &[b'a'; 2000]].concat());
    check(&[], Subscriber, &peer("SUB", &old), "limit of 1");
    let flood: Vec<u8> = (0..20).flat_map(|n| subscribe(format!("topic {n}").as_bytes())).collect();
    check(
        &["--subscriptions-per-peer", "10"],
        Subscriber,
        &peer("SUB", &flood),
        "it has 10 subscriptions, and wants more",
    );
}

#[test]
fn those_who_dawdle_and_those_too_many_have_a_line() {
    check(&["--handshake-time", "0.2"], Publisher, b"", "the handshake took too long");
    check(&["--handshake-time", "0.2"], Subscriber, &greeting("NULL")[..20], "the handshake took too long");

    let (mut process, [_, port]) = backplane(&["--connections", "3"]);
    let _there: Vec<_> = (0..4).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    process.line("no place", |line| line.contains("refused: no place left") && line.contains("limit=3"));
}

#[test]
fn what_would_end_python_components_has_a_line_of_the_guard() {
    let deep = [vec![0x91; 1100], vec![1]].concat();
    for (frames, words) in [
        (&[&b"alone"[..]][..], "it has only one frame"),
        (&[b"\xff\xfe", b"\x01"], "its topic is not UTF-8"),
        (&[b"t", b""], "its payload: "),
        (&[b"t", b"\x92\x01"], "its payload: "),
        (&[b"t", b"\x01\x02"], "its payload: "),
        (&[b"t", b"\xc1"], "its payload: byte 0"),
        (&[b"t", b"\xa2\xff\xfe"], "text that is not UTF-8"),
        (&[b"t", b"\x81\x01\x02"], "a map key that is no text"),
        (&[b"t", b"\x81\xcb\0\0\0\0\0\0\0\0\x02"], "a map key that is no text"),
        (&[b"t", b"\x81\xc0\x02"], "a map key that is no text"),
        (&[b"t", b"\x81\x90\x02"], "a map key that is no text"),
        (&[b"t", &deep], "the container at byte 1000"),
    ] {
        check(&["--guard"], Publisher, &peer("PUB", &message(frames)), words);
    }
}

/// The table above names tests that there are.
#[test]
fn the_table_names_tests() {
    fn sources(folder: &std::path::Path, text: &mut String) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    ["bus", "codec", "gateways", "tests"].iter().for_each(|folder| sources(&root().join(folder), &mut text));
    let rows = include_str!("bad_input.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let names: Vec<_> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 25, "the table has lost rows");
    for name in names {
        let known = match name.contains('/') {
            true => root().join(name).exists(),
            false => text.contains(&format!("fn {name}()")),
        };
        assert!(known, "there is no {name}");
    }
}

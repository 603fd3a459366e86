//! What `publish` sends, `echo` prints, in every format.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Backplane, Multiplane, command, run, run_with_input};
use std::io::Read;
use std::process::Stdio;

/// Sends one payload through a backplane and returns what `echo` prints of it.
fn through(publish: &str, input: &[u8], echo: &str) -> String {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let echo = Multiplane::start(&format!("echo t --count 1 --timeout 20 {links} {echo}"));
    let sent = run_with_input(&format!("publish topic {publish} {links} --wait-for-subscriber 20"), input);
    assert_eq!((sent.code, &sent.stderr[..]), (Some(0), "BP1: sent 1\n"));
    let ended = echo.ended();
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
    ended.stdout
}

#[test]
fn text_is_one_line_for_people() {
    let line = through("@-", br#"{"n": 1, "t": "a\nb", "l": [1.5, null, true]}"#, "");
    assert_eq!(line, "BP1 topic {\"n\":1,\"t\":\"a\\nb\",\"l\":[1.5,null,true]}\n");
}

#[test]
fn json_is_one_object_a_line() {
    let line = through("[1,2]", b"", "--format json");
    assert_eq!(line, "{\"backplane\":\"BP1\",\"topic\":\"topic\",\"payload\":[1,2]}\n");
}

#[test]
fn hex_is_the_bytes() {
    assert_eq!(through("[1,2]", b"", "--format hex"), "BP1 topic 920102\n");
    assert_eq!(through("9201ff --format hex", b"", "--format hex"), "BP1 topic 9201ff\n");
}

/// Only where trailers are.
#[test]
fn trailers_tell_how_long_messages_took() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let echo = Multiplane::start(&format!("echo t --count 3 --timeout 20 {links}"));
    let sent = run(&format!("publish t 1 --count 3 --trailer {links} --wait-for-subscriber 20"));
    assert_eq!((sent.code, &sent.stderr[..]), (Some(0), "BP1: sent 3\n"));
    let ended = echo.ended();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), "BP1 t 1\nBP1 t 1\nBP1 t 1\n"));
    let told = ended.stderr.trim_end();
    assert!(told.starts_with("BP1: 3 took p50 ") && told.ends_with("; missed 0"), "{told}");
}

#[test]
fn msgpack_is_one_map_after_the_other() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let arguments = format!("echo {links} --count 2 --format msgpack");
    let echo = Multiplane::spawn_into(&arguments, &mut command(&arguments), writer.into());
    for payload in ["c3", "c1"] {
        let sent = run(&format!("publish t {payload} --format hex {links} --wait-for-subscriber=20"));
        assert_eq!(sent.code, Some(0));
    }
    assert_eq!(echo.ended().code, Some(0));
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed).unwrap();
    let head = b"\xa9backplane\xa3BP1\xa5topic\xa1t";
    let first = [&b"\x83"[..], head, b"\xa7payload\xc3"].concat();
    let second = [&b"\x84"[..], head, b"\xa5error"].concat();
    assert_eq!(printed[..first.len()], first);
    assert_eq!(printed[first.len()..][..second.len()], second);
    assert!(printed.ends_with(b"\xa3raw\xc4\x01\xc1"), "{printed:x?}");
}

#[test]
fn bytes_are_shown_in_base64() {
    assert_eq!(through("@- --format msgpack", b"\x81\xa1b\xc4\x02hi", ""), "BP1 topic {\"b\":\"aGk=\"}\n");
}

#[test]
fn an_array_is_shown_by_dtype_and_shape() {
    // {b'nd': True, b'type': '<f8', b'kind': b'', b'shape': (1,), b'data': ...}
    let array = b"\x85\xc4\x02nd\xc3\xc4\x04type\xa3<f8\xc4\x04kind\xc4\x00\xc4\x05shape\x91\x01\xc4\x04data\xc4\x08\0\0\0\0\0\0\xf8\x3f";
    assert_eq!(through("@- --format msgpack", array, ""), "BP1 topic ndarray(<f8, [1])\n");
}

#[test]
fn what_is_no_messagepack_is_shown_in_hex_with_the_reason() {
    let text = through("c1 --format hex", b"", "");
    assert_eq!(
        text,
        "BP1 topic 0xc1 (not MessagePack: byte 0 is 0xc1, which MessagePack never uses; the sender does not send \
         MessagePack)\n"
    );
    let json = through("c1 --format hex", b"", "--format json");
    assert!(
        json.starts_with("{\"backplane\":\"BP1\",\"topic\":\"topic\",\"error\":\"byte 0")
            && json.ends_with("\"hex\":\"c1\"}\n"),
        "{json}"
    );
}

#[test]
fn a_file_of_routes_reaches_every_backplane_and_a_name_only_that_one() {
    let backplanes = [Backplane::start("-n A"), Backplane::start("-n B")];
    let rows = ["A", "B"].iter().zip(&backplanes).map(|(name, backplane)| {
        format!("{name},127.0.0.1,{},\"[other]\",{}\n", backplane.subscriber_port, backplane.publisher_port)
    });
    let header = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), header.to_owned() + &rows.collect::<String>()).unwrap();
    let routing = format!("--routing {}", file.path().display());

    let echo = Multiplane::start(&format!("echo topic {routing} --count 3"));
    let both = run(&format!("publish topic 1 {routing} --wait-for-subscriber=20"));
    assert_eq!((both.code, &both.stderr[..]), (Some(0), "A: sent 1\nB: sent 1\n"));
    echo.line("topic 1");
    echo.line("topic 1");
    let one = run(&format!("publish topic 2 {routing} --backplane B"));
    assert_eq!((one.code, &one.stderr[..]), (Some(0), "B: sent 1\n"));
    assert_eq!(echo.ended().stdout, "B topic 2\n");

    let place = format!("C=127.0.0.1:{}:{}", backplanes[1].subscriber_port, backplanes[1].publisher_port);
    let echo = Multiplane::start(&format!("echo topic --backplane {place} --count 1"));
    let sent = run(&format!("publish topic 3 --backplane {place} --wait-for-subscriber=20"));
    assert_eq!(sent.stderr, "C: sent 1\n");
    assert_eq!(echo.ended().stdout, "C topic 3\n");
}

#[test]
fn every_message_of_a_count_arrives_in_order_of_the_schedule() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let echo = Multiplane::start(&format!("echo {links} --count 20"));
    let began = common::now();
    let sent = run(&format!("publish tick 7 {links} --count 20 --rate 50 --wait-for-subscriber=20"));
    let took = common::now() - began;
    assert_eq!((sent.code, &sent.stderr[..]), (Some(0), "BP1: sent 20\n"));
    assert!(took.as_millis() >= 380, "nineteen gaps of 20 ms: {took:?}");
    assert_eq!(echo.ended().stdout, "BP1 tick 7\n".repeat(20));
    let closing = backplane.process.interrupted();
    assert_eq!((closing.code, &closing.stderr[..]), (Some(0), "received 20, forwarded 20, dropped 0\n"));
}

#[test]
fn several_workers_bring_everything_to_everybody() {
    const EACH: usize = 5000;
    let backplane = Backplane::start("--workers 2 --on-slow block");
    let links = backplane.flags();
    let start = |topic| {
        let echo = Multiplane::start(&format!("echo {topic} {links} --count {}", 2 * EACH));
        let publish =
            |what| format!("publish {topic} {what} {links} --count {EACH} --wait-for-subscriber=20");
        (topic, echo, [1, 2].map(|what| Multiplane::start(&publish(what))))
    };
    for (topic, echo, publishing) in ["a", "b"].map(start) {
        for publisher in publishing {
            let sent = publisher.ended();
            assert_eq!((sent.code, &sent.stderr[..]), (Some(0), "BP1: sent 5,000\n"));
        }
        let printed = echo.ended().stdout;
        for what in [1, 2] {
            let expected = format!("BP1 {topic} {what}");
            assert_eq!(printed.lines().filter(|line| *line == expected).count(), EACH, "{expected}");
        }
    }
    let closing = backplane.process.interrupted();
    let books = "received 20,000, forwarded 20,000, dropped 0\n";
    assert_eq!((closing.code, &closing.stderr[..]), (Some(0), books));
}

#[test]
fn a_closed_pipe_ends_echo_quietly() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let mut child =
        command(&format!("echo {links}")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let sent = run(&format!("publish topic 1 {links} --wait-for-subscriber=20"));
    assert_eq!(sent.code, Some(0));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn echo_started_first_waits_for_its_backplane() {
    let (subscriber, publisher) = (common::silent_port(), common::silent_port());
    let links = format!("-s {subscriber} -p {publisher}");
    let echo = Multiplane::start(&format!("echo {links} --count 1"));
    let waiting = echo.complaint("waiting for BP1");
    assert!(waiting.contains(&format!("tcp://127.0.0.1:{subscriber}")), "{waiting}");
    let _backplane = Multiplane::start(&format!("backplane {links}"));
    echo.complaint("linked to BP1");
    assert_eq!(run(&format!("publish topic 1 {links} --wait-for-subscriber=20")).code, Some(0));
    assert_eq!(echo.ended().stdout, "BP1 topic 1\n");
}

#[test]
fn echo_outlives_its_backplane() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let echo = Multiplane::start(&format!("echo {links} --count 2"));
    assert_eq!(run(&format!("publish topic 1 {links} --wait-for-subscriber=20")).code, Some(0));
    echo.line("BP1 topic 1");
    drop(backplane);
    echo.complaint("link down");
    let _backplane = Multiplane::start(&format!("backplane {links}"));
    echo.complaint("linked to BP1");
    assert_eq!(run(&format!("publish topic -2 {links} --wait-for-subscriber=20")).code, Some(0));
    assert_eq!(echo.ended().stdout, "BP1 topic -2\n");
}

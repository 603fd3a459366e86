//! Ctrl-C ends every command in under a second, with and without a reachable backplane.

mod common;

use common::{Backplane, Multiplane, command, run, run_with_input, silent_port};
use std::io::Read;
use std::process::Stdio;

fn nowhere() -> String {
    format!("-s {} -p {}", silent_port(), silent_port())
}

#[test]
fn backplane_ends_well() {
    let ended = Backplane::start("").process.interrupted();
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), "received 0, forwarded 0, dropped 0\n"));
}

#[test]
fn echo_without_a_backplane() {
    let echo = Multiplane::start(&format!("echo {}", nowhere()));
    echo.complaint("waiting for BP1");
    assert_eq!(echo.interrupted().code, Some(0));
    let counting = Multiplane::start(&format!("echo --count 1 {}", nowhere()));
    counting.complaint("waiting for BP1");
    assert_eq!(counting.interrupted().code, Some(130));
}

#[test]
fn echo_with_a_backplane() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let echo = Multiplane::start(&format!("echo {links}"));
    assert_eq!(run(&format!("publish t 1 {links} --wait-for-subscriber=20")).code, Some(0));
    echo.line("t 1");
    assert_eq!(echo.interrupted().code, Some(0));
}

#[test]
fn echo_whose_output_nobody_reads() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let arguments = format!("echo {links}");
    let echo = Multiplane::spawn_into(&arguments, &mut command(&arguments), writer.into());
    let long = format!("\"{}\"", "x".repeat(1_000_000));
    let sent = run_with_input(&format!("publish t @- {links} --wait-for-subscriber=20"), long.as_bytes());
    assert_eq!(sent.code, Some(0));
    // It has begun to print, and cannot end: a pipe holds less.
    reader.read_exact(&mut [0]).unwrap();
    assert_eq!(echo.interrupted().code, Some(130));
}

#[test]
fn publish_without_a_backplane() {
    let publish = Multiplane::start(&format!("publish t 1 {}", nowhere()));
    publish.listens();
    assert_eq!(publish.interrupted().code, Some(130));
}

#[test]
fn publish_that_waits() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let publish = Multiplane::start(&format!("publish t 1 {links} --wait-for-subscriber=60"));
    publish.listens();
    assert_eq!(publish.interrupted().code, Some(130));

    let mut reading = command(&format!("publish t @- {links}"));
    let reading = Multiplane::spawn("publish t @-", reading.stdin(Stdio::piped()));
    reading.listens();
    assert_eq!(reading.interrupted().code, Some(130));
}

#[test]
fn publish_in_the_middle() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    for pace in ["--rate 10 --count 1000", "--count 1000000000"] {
        let echo = Multiplane::start(&format!("echo {links} --count 3"));
        let publish = Multiplane::start(&format!("publish t 1 {links} {pace} --wait-for-subscriber=20"));
        // Exactly so many, however many more there are.
        let printed = echo.ended();
        assert_eq!((printed.code, &printed.stdout[..]), (Some(0), "BP1 t 1\nBP1 t 1\nBP1 t 1\n"));
        let ended = publish.interrupted();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stderr.contains("BP1: sent "), "{ended:?}");
    }
}

#[test]
fn demo_at_any_time() {
    for moment in ["== Two backplanes", "== Three components", "== A load"] {
        let demo = Multiplane::start("demo");
        demo.line(moment);
        let ended = demo.interrupted();
        assert_eq!((ended.code, &ended.stderr[..]), (Some(130), ""), "{moment}");
    }
}

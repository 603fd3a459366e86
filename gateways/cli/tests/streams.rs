//! `serve`, `relay` and `log`, with clients that are as simple as `nc`.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Backplane, Multiplane, PATIENCE, command, now, run};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where it listens, of a line `... at HOST:PORT: nc HOST PORT`.
fn address(process: &Multiplane, what: &str) -> SocketAddr {
    let line = process.line(&format!("{what} at "));
    line.split(' ').nth(what.split(' ').count() + 1).unwrap().trim_end_matches(':').parse().unwrap()
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

fn rest(mut client: BufReader<TcpStream>) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    rest
}

fn serving_stdin(more: &str) -> Multiplane {
    let arguments = format!("serve --listen 0 {more}");
    Multiplane::spawn(&arguments, command(&arguments).stdin(Stdio::piped()))
}

#[test]
fn serve_its_input_to_its_end() {
    for more in ["", "--stdin", "--chunks"] {
        let mut serve = serving_stdin(more);
        let address = address(&serve, "serving");
        let (mut first, second) = (connect(address), connect(address));
        serve.send(b"one\ntwo\nth");
        assert_eq!((line(&mut first), line(&mut first)), ("one\n".to_owned(), "two\n".to_owned()));
        serve.send(b"ree\r\nfour");
        serve.finish();
        let ended = serve.ended();
        assert_eq!((rest(first), rest(second)), ("three\r\nfour".into(), "one\ntwo\nthree\r\nfour".into()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("clients 2, sent "), "{ended:?}");
        assert!(ended.stderr.ends_with("of 38 bytes, dropped 0\n"), "{ended:?}");
    }
}

#[test]
fn serve_a_command() {
    let mut time = command("serve --listen 0 --command");
    time.arg("while date; do sleep 1; done").stdin(Stdio::null());
    let time = Multiplane::spawn("serve --command", &mut time);
    let address = address(&time, "serving");
    let mut clients = [0; 3].map(|_| connect(address));
    assert!(clients.iter_mut().all(|client| line(client).contains(':')));
    assert_eq!(time.interrupted().code, Some(0));
    assert!(clients.into_iter().all(|client| !rest(client).contains("error")));

    let mut fails = command("serve --listen 0 --command");
    fails.arg("exit 3").stdin(Stdio::null());
    let ended = Multiplane::spawn("serve --command", &mut fails).ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the command `exit 3` failed: exit status: 3"), "{ended:?}");
}

#[test]
fn serve_what_passes_on_the_bus() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let serve = Multiplane::start(&format!("serve --listen 0 --subscribe t u --format json {links}"));
    let mut client = connect(address(&serve, "serving"));
    assert_eq!(run(&format!("publish t 1 {links} --wait-for-subscriber=20")).code, Some(0));
    assert_eq!(line(&mut client), "{\"backplane\":\"BP1\",\"topic\":\"t\",\"payload\":1}\n");
    let ended = serve.interrupted();
    assert_eq!((ended.code, rest(client)), (Some(0), String::new()));
    assert_eq!(ended.stderr.lines().last(), Some("published 1, clients 1, sent 1 of 44 bytes, dropped 0"));
}

#[test]
fn relay_comes_back_when_its_server_does() {
    let mut serve = serving_stdin("");
    let from = address(&serve, "serving");
    let relay = Multiplane::start(&format!("relay {from} --listen 0"));
    let mut client = connect(address(&relay, "relaying"));
    // The relay may connect only now: say it until it has.
    client.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let deadline = now() + PATIENCE;
    let mut first = String::new();
    while client.read_line(&mut first).is_err() {
        assert!(now() < deadline, "nothing is relayed");
        serve.send(b"here\n");
    }
    assert_eq!(first, "here\n");
    serve.interrupted();
    relay.complaint("the server ended the stream: connecting anew");
    let arguments = format!("serve --listen {from}");
    let mut serve = Multiplane::spawn(&arguments, command(&arguments).stdin(Stdio::piped()));
    serve.line("serving at ");
    let mut back = String::new();
    while back != "back\n" {
        assert!(now() < deadline, "nothing is relayed any more");
        serve.send(b"back\n");
        if client.read_line(&mut back).is_ok() && back == "here\n" {
            back.clear();
        }
    }
    let ended = relay.interrupted();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("bytes in 2 connections, clients 1, sent "), "{ended:?}");
}

#[test]
fn log_many_and_be_watched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let path = file.display();
    let log =
        Multiplane::start(&format!("log --listen 0 --file {path} --serve 0 --flush 0.01 --max-line 100"));
    let (lines, watch) = (address(&log, "logging"), address(&log, "serving the log"));
    let mut watcher = connect(watch);
    let said = || std::fs::read_to_string(&file).unwrap();
    let mut client = connect(lines);
    client.get_mut().write_all(b"one\r\ntwo").unwrap();
    client.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), "");
    assert_eq!((line(&mut watcher), line(&mut watcher)), ("one\n".to_owned(), "two\n".to_owned()));
    until_equal(said, "one\ntwo\n");
    // As logrotate does.
    std::fs::rename(&file, folder.path().join("old")).unwrap();
    log.signal(Signal::HUP);
    until_equal(|| file.exists().to_string(), "true");
    let mut wordy = connect(lines);
    wordy.get_mut().write_all(&[b'x'; 1000]).unwrap();
    assert!(rest(wordy).contains("a line longer than the limit of 100 bytes"));
    let mut client = connect(lines);
    client.get_mut().write_all(b"three").unwrap();
    client.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(line(&mut watcher), "three\n");
    let ended = log.interrupted();
    assert_eq!(ended.code, Some(0));
    assert_eq!(said(), "three\n");
    let last: Vec<&str> = ended.stderr.lines().rev().take(2).collect();
    assert_eq!(last[0], "watched by: clients 1, sent 3 of 14 bytes, dropped 0");
    assert_eq!(
        last[1],
        "clients 3, lines 3, written 3 of 14 bytes, dropped 0, clients cut off for a line that was too long 1"
    );
}

fn until_equal(found: impl Fn() -> String, wanted: &str) {
    let deadline = now() + PATIENCE;
    while found() != wanted {
        assert!(now() < deadline, "{:?}, never {wanted:?}", found());
        std::thread::yield_now();
    }
}

#[test]
fn who_stops_reading_is_named() {
    let mut serve = serving_stdin("");
    let stuck = connect(address(&serve, "serving"));
    let name = format!("client={}", stuck.get_ref().local_addr().unwrap());
    let piece = "0123456789abcde\n".repeat(65_536);
    // More than its queue and the system hold.
    for _ in 0..64 {
        serve.send(piece.as_bytes());
    }
    let told = serve.complaint("too slow: loses messages");
    assert!(told.contains(&name), "{told}");
    let ended = serve.interrupted();
    assert!(ended.code == Some(0) && !ended.stderr.contains("dropped 0"), "{ended:?}");
}

#[test]
fn descriptors_that_run_out_are_survived() {
    let program = env!("CARGO_BIN_EXE_multiplane");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" serve --listen 0", program]).env_remove("RUST_LOG");
    let mut serve = Multiplane::spawn("serve", limited.stdin(Stdio::piped()));
    let address = address(&serve, "serving");
    let many: Vec<_> = (0..100).map(|_| connect(address)).collect();
    serve.complaint("refused: raise the limit of open files, see `ulimit -n`");
    drop(many);
    // There is room again.
    let deadline = now() + PATIENCE;
    loop {
        assert!(now() < deadline, "nobody is served any more");
        // It may have to wait for its turn, and miss this.
        let mut client = connect(address);
        client.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        serve.send(b"hello\n");
        let mut told = String::new();
        if client.read_line(&mut told).is_ok() && told == "hello\n" {
            break;
        }
    }
    assert_eq!(serve.interrupted().code, Some(0));
}

#[test]
fn mistakes_are_told_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (arguments, code, part) in [
        ("serve --listen nonsense".to_owned(), 2, "\"nonsense\" is no address to listen at: write PORT"),
        ("serve".to_owned(), 2, "--listen"),
        ("serve --listen 0 --stdin --command x".to_owned(), 2, "cannot be used with"),
        ("relay nowhere --listen 0".to_owned(), 2, "write HOST:PORT"),
        ("log --listen 0 --file x --rotate 1T".to_owned(), 2, "such as 65536 or 10M"),
        ("log --listen 0 --file /nowhere/x".to_owned(), 1, "cannot append to /nowhere/x"),
        (format!("serve --listen {taken}"), 1, "is in use: stop who listens there"),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(code), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(part) && ended.stderr.lines().count() == 1, "{arguments}: {ended:?}");
    }
    for closed in
        ["log --file /dev/null", "serve --stdin", "relay 127.0.0.1:1", "gateway tcp", "gateway websocket"]
    {
        let ended = run(&format!("{closed} --listen 0.0.0.0:0"));
        assert_eq!(ended.code, Some(2), "{closed}: {ended:?}");
        assert!(ended.stderr.contains("--insecure to let everybody in"), "{closed}: {ended:?}");
    }
    let open = Multiplane::start("log --listen 0.0.0.0:0 --file /dev/null --insecure");
    open.line("open to EVERYBODY");
    open.complaint("warning: listening at 0.0.0.0:");
    assert_eq!(open.interrupted().code, Some(0));
}

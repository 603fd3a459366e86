//! The four programs that users of in-process backplanes know, as they are in `examples/`, with plain clients.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Nc, until};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::tempdir;

/// An example that runs. Killed when dropped.
struct Program {
    child: Child,
    /// Where it can be reached, in the order in which it says so.
    addresses: Vec<SocketAddr>,
}

impl Program {
    fn start(name: &str, arguments: &[&str], ports: usize) -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().unwrap().with_file_name("examples").join(name);
        let child =
            Command::new(&program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{}: {error}: `cargo build -p multiplane-stream --examples` makes it", program.display())
        });
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || {
            let line = said.next().unwrap().unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let [.., host, port] = words[..] else { panic!("{line}") };
            format!("{host}:{port}").parse().unwrap()
        };
        Self { addresses: (0..ports).map(|_| address()).collect(), child }
    }

    fn connect(&self, port: usize) -> Nc {
        Nc::connect(self.addresses[port])
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_time(line: &str) -> bool {
    line.len() == "12:34:56 UTC".len() && line.ends_with(" UTC")
}

#[test]
fn time_server() {
    let program = Program::start("time_server", &["0"], 1);
    let (mut first, mut second) = (program.connect(0), program.connect(0));
    let seen = [first.line().unwrap(), first.line().unwrap()];
    assert!(seen.iter().all(|line| is_time(line)) && seen[0] != seen[1], "{seen:?}");
    // The other one sees the same, from its connection on.
    assert!(seen.contains(&second.line().unwrap()));
    drop(first);
    assert!(is_time(&second.line().unwrap()));
}

#[test]
fn relay() {
    let time = Program::start("time_server", &["0"], 1);
    let from = time.addresses[0];
    let relay = Program::start("relay", &[&from.to_string(), "0"], 1);
    let mut clients: Vec<Nc> = (0..3).map(|_| relay.connect(0)).collect();
    assert!(clients.iter_mut().all(|client| is_time(&client.line().unwrap())));
    // The server goes and comes; its clients at the relay need not notice.
    drop(time);
    let _time = Program::start("time_server", &[&from.port().to_string()], 1);
    let after = Nc::connect(from).line().unwrap();
    for client in &mut clients {
        let is_older = |line: &String| *line < after && !(after.starts_with("23") && line.starts_with("00"));
        while client.line().is_some_and(|line| is_older(&line)) {}
    }
}

#[test]
fn aggregating_logger() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("log.data");
    let program = Program::start("logger", &[file.to_str().unwrap(), "0"], 1);
    let mut clients: Vec<Nc> = (0..10).map(|_| program.connect(0)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&format!("{n} beg"));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&format!("ins\r\n{n} ends"));
        client.finish();
        assert_eq!(client.rest(), b"");
    }
    let log = || std::fs::read_to_string(&file).unwrap();
    until("all is logged", || log().lines().count() == 20);
    let log = log();
    for n in 0..10 {
        let lines: Vec<&str> = log.lines().filter(|line| line.starts_with(&format!("{n} "))).collect();
        assert_eq!(lines, [format!("{n} begins"), format!("{n} ends")]);
    }
}

#[test]
fn logger_that_is_also_a_relay() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("log.data");
    let program = Program::start("live_logger", &[file.to_str().unwrap(), "0", "0"], 2);
    let mut client = program.connect(0);
    client.send("before anybody watches\n");
    until("it is logged", || std::fs::read_to_string(&file).unwrap() == "before anybody watches\n");
    let mut watchers = [program.connect(1), program.connect(1)];
    client.send("watched\n");
    for watcher in &mut watchers {
        assert_eq!(watcher.line().as_deref(), Some("watched"));
    }
    drop(watchers);
    client.send("unwatched");
    client.finish();
    let all = "before anybody watches\nwatched\nunwatched\n";
    until("it is logged", || std::fs::read_to_string(&file).unwrap() == all);
}

//! Drives the built binary: starts it, waits for its lines, signals it. Nothing here sleeps.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken; the machine may be slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running `multiplane`. Killed when dropped.
pub(crate) struct Multiplane {
    pid: Pid,
    arguments: String,
    stdout: Lines,
    stderr: Lines,
    exit: Receiver<ExitStatus>,
    /// Open as long as this is kept: waiting for a child would close it.
    stdin: Option<ChildStdin>,
}

/// How it ended, and all that it said and nobody had waited for.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

struct Lines {
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn wait_for(&self, part: &str, of: &str) -> String {
        let mut seen = Vec::new();
        let deadline = now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("`multiplane {of}` never said {part:?}, but: {seen:#?}");
    }

    fn rest(&mut self) -> String {
        let _ = self.reader.take().unwrap().join();
        self.lines.try_iter().map(|line| line + "\n").collect()
    }
}

pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiplane"));
    command.args(arguments.split_whitespace()).env_remove("RUST_LOG");
    command
}

impl Multiplane {
    /// Starts it with these arguments, separated by blanks.
    pub(crate) fn start(arguments: &str) -> Self {
        Self::spawn(arguments, command(arguments).stdin(Stdio::null()))
    }

    pub(crate) fn spawn(arguments: &str, command: &mut Command) -> Self {
        Self::spawn_into(arguments, command, Stdio::piped())
    }

    /// Its output goes elsewhere.
    pub(crate) fn spawn_into(arguments: &str, command: &mut Command, stdout: Stdio) -> Self {
        let mut child: Child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Lines::of(child.stderr.take().unwrap());
        let stdout = match child.stdout.take() {
            Some(stdout) => Lines::of(stdout),
            None => Lines::of(std::io::empty()),
        };
        let (pid, stdin) = (Pid::from_child(&child), child.stdin.take());
        let (sender, exit) = channel();
        std::thread::spawn(move || sender.send(child.wait().unwrap()));
        Self { pid, arguments: arguments.to_owned(), stdout, stderr, exit, stdin }
    }

    /// The next line of standard output that contains `part`.
    pub(crate) fn line(&self, part: &str) -> String {
        self.stdout.wait_for(part, &self.arguments)
    }

    /// The next line of standard error that contains `part`.
    pub(crate) fn complaint(&self, part: &str) -> String {
        self.stderr.wait_for(part, &self.arguments)
    }

    /// Writes to its standard input, which must be a pipe.
    pub(crate) fn send(&mut self, text: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(text).unwrap();
    }

    /// The end of its standard input.
    pub(crate) fn finish(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Its name in a list of processes.
    pub(crate) fn name(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid.as_raw_nonzero())).unwrap();
        name.trim_end().to_owned()
    }

    /// Waits until Ctrl-C is listened to.
    pub(crate) fn listens(&self) {
        let deadline = now() + PATIENCE;
        loop {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            if u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (Signal::INT.as_raw() - 1) != 0 {
                return;
            }
            assert!(now() < deadline, "it never listened");
            std::thread::yield_now();
        }
    }

    /// Interrupts it and says how it ended; it must not take a second.
    pub(crate) fn interrupted(self) -> Ended {
        let (asked, arguments) = (now(), self.arguments.clone());
        self.interrupt();
        let ended = self.ended();
        let took = now() - asked;
        assert!(took < Duration::from_secs(1), "`multiplane {arguments}` took {took:?} to end");
        ended
    }

    pub(crate) fn ended(mut self) -> Ended {
        let status = self.exit.recv_timeout(PATIENCE);
        let status = status.unwrap_or_else(|_| panic!("`multiplane {}` does not end", self.arguments));
        Ended { code: status.code(), stdout: self.stdout.rest(), stderr: self.stderr.rest() }
    }

    /// Whether it is running still.
    pub(crate) fn runs(&self) -> bool {
        self.exit.try_recv().is_err()
    }
}

impl Drop for Multiplane {
    fn drop(&mut self) {
        if self.exit.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let _ = kill_process(self.pid, Signal::KILL);
            // Its ports are free when this returns.
            let _ = self.exit.recv_timeout(PATIENCE);
        }
    }
}

/// Runs it to its end.
pub(crate) fn run(arguments: &str) -> Ended {
    Multiplane::start(arguments).ended()
}

/// Runs it to its end with these bytes as its standard input.
pub(crate) fn run_with_input(arguments: &str, input: &[u8]) -> Ended {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// A backplane on free ports, with what to write to link to it.
pub(crate) struct Backplane {
    pub(crate) process: Multiplane,
    pub(crate) subscriber_port: u16,
    pub(crate) publisher_port: u16,
}

impl Backplane {
    pub(crate) fn start(more: &str) -> Self {
        let process = Multiplane::start(&format!("backplane -p 0 -s 0 {more}"));
        let port = |name: &str| process.line(name).rsplit(' ').next().unwrap().parse().unwrap();
        let (subscriber_port, publisher_port) = (port("Subscriber Port = "), port("Publisher  Port = "));
        Self { process, subscriber_port, publisher_port }
    }

    /// `-s PORT -p PORT`
    pub(crate) fn flags(&self) -> String {
        format!("-s {} -p {}", self.subscriber_port, self.publisher_port)
    }
}

/// A port on which nobody listens.
pub(crate) fn silent_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[allow(clippy::disallowed_methods, reason = "a test that measures")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

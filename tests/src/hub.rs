//! A backplane in a process of its own, ours or Python's.

use crate::place::{await_listener, free_port};
use crate::process::Process;
use crate::programs::{multiplane, plain_libzmq, python};
use multiplane_bus::Route;
use std::path::PathBuf;
use std::process::Command;

/// Whose backplane it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command `multiplane backplane`.
    Multiplane,
    /// The same on the libzmq engine.
    OnLibzmq,
    /// libzmq alone, with its defaults: the forwarder that everybody writes.
    Plain,
    /// The command `backplane` of Python Banyan.
    Banyan,
}

/// A running backplane. It always listens at the loopback address and at the same two ports.
#[derive(Debug)]
pub struct Hub {
    kind: Kind,
    name: String,
    subscriber_port: u16,
    publisher_port: u16,
    /// What is run before it in its process, and more flags for it.
    around: Around,
    process: Process,
}

/// How a backplane's process is, besides the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// Commands of a shell that come first, such as `ulimit -n 64`.
    pub before: &'static str,
    /// More flags.
    pub flags: &'static [&'static str],
}

impl Hub {
    /// Starts a backplane and waits until it listens at both ports.
    #[must_use]
    pub fn start(kind: Kind, name: &str) -> Self {
        Self::start_as(kind, name, Around::default())
    }

    /// Starts one in a process that is somehow special.
    #[must_use]
    pub fn start_as(kind: Kind, name: &str, around: Around) -> Self {
        let (subscriber_port, publisher_port) = (free_port(), free_port());
        let process = run(kind, name, subscriber_port, publisher_port, around);
        Self { kind, name: name.to_owned(), subscriber_port, publisher_port, around, process }
    }

    /// Ends it without a chance to say goodbye; the ports are closed when this returns.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts a new one at the same ports, and waits until it listens there.
    pub fn restart(&mut self) {
        self.process = run(self.kind, &self.name, self.subscriber_port, self.publisher_port, self.around);
    }

    /// The port that components receive from.
    #[must_use]
    pub fn subscriber_port(&self) -> u16 {
        self.subscriber_port
    }

    /// The port that components publish into.
    #[must_use]
    pub fn publisher_port(&self) -> u16 {
        self.publisher_port
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The way to it, with both ports.
    #[must_use]
    pub fn route<'t>(&self, topics: impl IntoIterator<Item = &'t str>) -> Route {
        self.publishing_route().subscriber_port(self.subscriber_port).topics(topics)
    }

    /// The way to it for somebody who only publishes.
    #[must_use]
    pub fn publishing_route(&self) -> Route {
        Route::new(&self.name, "127.0.0.1").publisher_port(self.publisher_port)
    }

    /// The arguments by which our Python programs find it: subscriber port, publisher port.
    #[must_use]
    pub fn ports(&self) -> [String; 2] {
        [self.subscriber_port.to_string(), self.publisher_port.to_string()]
    }
}

fn run(kind: Kind, name: &str, subscriber_port: u16, publisher_port: u16, around: Around) -> Process {
    let (subscriber, publisher) = (subscriber_port.to_string(), publisher_port.to_string());
    let flags = ["-n", name, "-s", &subscriber, "-p", &publisher];
    let run = |program: PathBuf, first: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{}\nexec \"$0\" \"$@\"", around.before)]).arg(program);
        Process::start(name, command.args(first).args(around.flags))
    };
    let process = match kind {
        Kind::Multiplane => run(multiplane(), &[&["backplane"], &flags[..]].concat()),
        Kind::OnLibzmq => run(
            multiplane(),
            &[&["backplane", "--engine", "libzmq", "--on-slow", "drop-newest"], &flags[..]].concat(),
        ),
        Kind::Plain => run(plain_libzmq(), &[&subscriber, &publisher]),
        Kind::Banyan => python("banyan_backplane.py", flags),
    };
    await_listener(subscriber_port);
    await_listener(publisher_port);
    process
}

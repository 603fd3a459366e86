//! A gateway, its clients, and what stands on the other side of the backplane.

use multiplane_bus::{Bus, Publisher, RoutingSpec, Subscriber};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::component;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::place::free_port;
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, python};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// The gateway, linked to one backplane, and its port.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Gateway {
    pub(crate) fn start(hub: &Hub, arguments: &[&str]) -> Self {
        Self::at(hub, free_port(), arguments)
    }

    pub(crate) fn at(hub: &Hub, port: u16, arguments: &[&str]) -> Self {
        let [subscriber, publisher] = hub.ports();
        Self::run(&["-s", &subscriber, "-p", &publisher], port, arguments)
    }

    /// Linked to all backplanes of a file.
    pub(crate) fn routed(routing: &RoutingSpec, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("spec.csv");
        std::fs::write(&csv, routing.to_string()).unwrap();
        Self::run(&["--routing", csv.to_str().unwrap()], free_port(), arguments)
    }

    fn run(links: &[&str], port: u16, arguments: &[&str]) -> Self {
        let mut command = Command::new(multiplane());
        command.args(["gateway", "websocket"]).args(links);
        command.args(["--listen", &port.to_string()]).args(arguments);
        if !arguments.contains(&"--patience") {
            // A loaded machine may let a client wait for long.
            command.args(["--patience", "60"]);
        }
        let mut process = Process::start("gateway", &mut command);
        process.after("Listening at ");
        Self { process, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// A client that is connected.
    pub(crate) fn client(&self, options: &[&str]) -> Process {
        let mut client = self.visitor(options);
        client.after("OPEN");
        client
    }

    pub(crate) fn visitor(&self, options: &[&str]) -> Process {
        python("websocket_peer.py", [self.url().as_str()].into_iter().chain(options.iter().copied()))
    }

    /// A client that has said this first and was welcomed.
    pub(crate) fn session(&self, first: &str) -> Process {
        self.session_in("text", first)
    }

    /// The same; `form` is `text` for JSON and `pack` for MessagePack.
    pub(crate) fn session_in(&self, form: &str, first: &str) -> Process {
        let mut client = self.client(&[]);
        client.say(&format!("{form} {first}"));
        if first.contains("\"op\"") {
            assert_eq!(heard(&mut client)["op"], "welcome");
        }
        client
    }

    /// What it answers to these bytes, until it ends the connection.
    pub(crate) fn answer(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Ends it and takes its last words.
    pub(crate) fn end(mut self) -> String {
        self.process.interrupt();
        let words = self.process.after("stderr: from clients ");
        assert!(self.process.exit().success(), "{}", self.process);
        words
    }
}

/// The next thing that the client heard.
pub(crate) fn heard(client: &mut Process) -> Value {
    serde_json::from_str(&client.after("HEARD ")).unwrap()
}

/// What stands on the other side of the backplane.
pub(crate) struct Bench {
    pub(crate) hub: Hub,
    _bus: Bus,
    pub(crate) publisher: Publisher,
    pub(crate) inbox: Subscriber,
}

impl Bench {
    pub(crate) fn new(topic: &str) -> Self {
        let hub = Hub::start(Kind::Multiplane, "BP1");
        let bus = component("bench", [hub.route([topic])]);
        let (publisher, inbox) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
        Self { hub, _bus: bus, publisher, inbox }
    }

    /// Waits until what the client sends arrives.
    pub(crate) fn await_client(&self, client: &mut Process, probe: &str) {
        eventually("a probe arrives", || {
            client.say(&format!("text {probe}"));
            self.inbox.recv_timeout(Duration::from_millis(100)).is_ok()
        });
    }

    pub(crate) fn publish(&self, topic: &str, numbers: std::ops::Range<u64>) {
        self.publisher.wait_for_subscriber(topic, DEADLINE).unwrap();
        for n in numbers {
            self.publisher.publish(topic, &BTreeMap::from([("k", n)])).unwrap();
        }
    }

    /// Hears `n` for each number, in order; probes are passed over.
    pub(crate) fn hear(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            assert_eq!(self.next(), n);
        }
    }

    pub(crate) fn next(&self) -> u64 {
        loop {
            let message = self.inbox.recv_timeout(DEADLINE).expect("a message of the client");
            if let Ok(number) = message.payload().unwrap().get("n") {
                return number.as_u64().unwrap();
            }
        }
    }
}

pub(crate) const PROBE: &str = r#"{"probe": 1}"#;
pub(crate) const ENVELOPED_PROBE: &str = r#"{"op": "publish", "topic": "to_web", "payload": {"probe": 1}}"#;

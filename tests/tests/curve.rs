//! CURVE with libzmq on the other side, in both roles, and by the command line.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::curve::{AllowList, KeyPair, PublicKey, generate, read_public_key, write_keys};
use multiplane_bus::{Backplane, Bus, Engine, OnSlow, Route};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, python};
use multiplane_tests::spec;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Short and long frames, and those around the lengths where forms change.
const LENGTHS: [usize; 9] = [0, 1, 200, 222, 223, 255, 256, 70_000, 1_000_000];

struct Pyzmq(Process);

impl Pyzmq {
    fn start() -> Self {
        let mut python = python("curve.py", []);
        python.after("READY");
        Self(python)
    }

    fn order(&mut self, order: Value) -> Value {
        self.0.say(&order.to_string());
        serde_json::from_str(&self.0.after("DONE")).unwrap()
    }

    fn heard(&mut self, name: &str, count: usize) -> Vec<(String, usize)> {
        serde_json::from_value(self.order(json!(["recv", name, count]))).unwrap()
    }

    /// Waits for a subscription to come to an XPUB.
    fn hears(&mut self, name: &str, topic: &str) {
        let wanted: Vec<u8> = [&[1], topic.as_bytes()].concat();
        loop {
            let heard: Option<Vec<u8>> = serde_json::from_value(self.order(json!(["hear", name]))).unwrap();
            if heard.expect("a subscription") == wanted {
                return;
            }
        }
    }
}

fn keys(folder: &TempDir, name: &str) -> (KeyPair, String) {
    let (path, keys) = (folder.path().join(name), generate().unwrap());
    write_keys(&path, &keys).unwrap();
    (keys, path.to_str().unwrap().to_owned())
}

fn all_of(topic: &str) -> Vec<(String, usize)> {
    LENGTHS.iter().map(|&length| (topic.to_owned(), length)).collect()
}

fn component(keys: KeyPair, server: PublicKey, route: Route) -> Bus {
    let builder = Bus::builder("ours").engine(Engine::Native).routing(spec([route]));
    builder.curve(keys, server).start_deadline(DEADLINE).start().unwrap()
}

#[test]
fn clients_of_pyzmq_publish_and_subscribe_at_our_backplane() {
    let folder = TempDir::new().unwrap();
    let (server, _) = keys(&folder, "server");
    let (ours, _) = keys(&folder, "ours");
    let mut pyzmq = Pyzmq::start();
    // One side has keys of our making, the other of pyzmq's.
    let (writer, writer_path) = keys(&folder, "writer");
    let made = pyzmq.order(json!(["certificate", folder.path(), "reader"]));
    let reader_path = made.as_str().unwrap();
    let reader = read_public_key(reader_path).unwrap();
    let allow = AllowList::new()
        .allow("writer", *writer.public(), ["t"], [])
        .allow("reader", reader, [], ["t"])
        .allow("ours", *ours.public(), [""], [""]);
    let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block);
    let backplane = backplane.curve(server.clone(), allow).start().unwrap();
    let key = server.public().to_string();
    let bus = component(ours, *server.public(), backplane.route().topics(["no", "t"]));
    eventually("they are wanted", || backplane.stats().subscriptions == 2);

    pyzmq.order(json!(["make", "out", "XPUB", writer_path, key, backplane.publisher_port()]));
    pyzmq.hears("out", "no");
    pyzmq.hears("out", "t");
    pyzmq.order(json!(["make", "in", "SUB", reader_path, key, backplane.subscriber_port()]));
    // To all it has no right; to this it has.
    pyzmq.order(json!(["subscribe", "in", ""]));
    eventually("the subscription is denied", || backplane.stats().denied == 1);
    pyzmq.order(json!(["subscribe", "in", "tt"]));
    pyzmq.hears("out", "tt");
    pyzmq.order(json!(["send", "out", "no", [1]]));
    pyzmq.order(json!(["send", "out", "tt", LENGTHS]));
    assert_eq!(pyzmq.heard("in", LENGTHS.len()), all_of("tt"));
    let subscriber = bus.subscriber().unwrap();
    for length in LENGTHS {
        let message = subscriber.recv_timeout(DEADLINE).unwrap();
        assert_eq!((message.topic(), message.payload_bytes().len()), ("tt", length));
    }

    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("tt", DEADLINE).unwrap();
    LENGTHS.iter().for_each(|&length| publisher.publish_raw("tt", &vec![7; length]).unwrap());
    assert_eq!(pyzmq.heard("in", LENGTHS.len()), all_of("tt"));
    let stats = backplane.stats();
    // The subscription to all, and the message.
    assert_eq!((stats.refused, stats.denied), (0, 2));
}

#[test]
fn clients_of_pyzmq_that_may_not_are_refused() {
    let folder = TempDir::new().unwrap();
    let (server, _) = keys(&folder, "server");
    let (friend, friend_path) = keys(&folder, "friend");
    let (_, stranger_path) = keys(&folder, "stranger");
    let (other, _) = keys(&folder, "other");
    let allow = AllowList::new().allow("friend", *friend.public(), [""], [""]);
    let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let backplane = backplane.curve(server.clone(), allow).start().unwrap();
    let (right, wrong) = (server.public().to_string(), other.public().to_string());
    let mut pyzmq = Pyzmq::start();
    let mut refused = 0;
    for (name, keys, server) in [
        ("a stranger", json!(stranger_path), json!(right)),
        ("another server key", json!(friend_path), json!(wrong)),
        ("NULL", json!(null), json!(null)),
    ] {
        for (kind, port) in [("SUB", backplane.subscriber_port()), ("XPUB", backplane.publisher_port())] {
            pyzmq.order(json!(["make", name.to_owned() + kind, kind, keys, server, port]));
            eventually(name, || backplane.stats().refused > refused);
            refused = backplane.stats().refused;
        }
    }
    assert_eq!((backplane.stats().publishers, backplane.stats().subscribers), (0, 0));
}

#[test]
fn our_component_links_to_sockets_of_pyzmq() {
    let folder = TempDir::new().unwrap();
    let mut pyzmq = Pyzmq::start();
    let made = pyzmq.order(json!(["certificate", folder.path(), "server"]));
    let path = made.as_str().unwrap();
    let server = read_public_key(path).unwrap();
    let (ours, _) = keys(&folder, "ours");
    let subscriber_port: u16 =
        serde_json::from_value(pyzmq.order(json!(["make", "out", "XPUB", path, null, 0]))).unwrap();
    let publisher_port: u16 =
        serde_json::from_value(pyzmq.order(json!(["make", "in", "XSUB", path, null, 0]))).unwrap();
    let route =
        Route::new("BP1", "127.0.0.1").subscriber_port(subscriber_port).publisher_port(publisher_port);
    let bus = component(ours, server, route.topics(["t"]));
    pyzmq.hears("out", "t");
    pyzmq.order(json!(["send", "out", "t", LENGTHS]));
    let subscriber = bus.subscriber().unwrap();
    for length in LENGTHS {
        let message = subscriber.recv_timeout(DEADLINE).unwrap();
        assert_eq!((message.topic(), message.payload_bytes().len()), ("t", length));
    }
    pyzmq.order(json!(["want", "in", "t"]));
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("t", DEADLINE).unwrap();
    LENGTHS.iter().for_each(|&length| publisher.publish_raw("t", &vec![7; length]).unwrap());
    assert_eq!(pyzmq.heard("in", LENGTHS.len()), all_of("t"));
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(multiplane());
    command.args(arguments);
    command
}

/// What a command prints, which ends well.
fn prints(folder: &Path, arguments: &[&str]) -> String {
    let output = command(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_command_line_makes_keys_and_uses_them() {
    let folder = TempDir::new().unwrap();
    let prints = |arguments: &[&str]| prints(folder.path(), arguments);
    let server = prints(&["keys", "new", "server.key"]);
    assert_eq!(prints(&["keys", "show", "server.key"]), server);
    prints(&["keys", "new", "a.key"]);
    let rights = ["--publish", "t", "--subscribe", "t"];
    prints(&[&["keys", "allow", "allow.toml", "a.key", "--name", "a \"quoted\" name"][..], &rights].concat());
    prints(&["keys", "new", "stranger.key"]);

    let start =
        |arguments: &[&str]| Process::start(arguments[0], command(arguments).current_dir(folder.path()));
    let mut backplane =
        start(&["backplane", "-p", "0", "-s", "0", "--curve-key", "server.key", "--allow", "allow.toml"]);
    let subscriber = backplane.after("Subscriber Port = ").trim().to_owned();
    let publisher = backplane.after("Publisher  Port = ").trim().to_owned();
    let keys = ["--curve-key", "a.key", "--server-key", server.as_str()];
    let mut echo = start(&[&["echo", "-s", &subscriber, "t", "--count", "1"][..], &keys].concat());
    prints(&[&["publish", "-p", &publisher, "--wait-for-subscriber", "30", "t", "42"][..], &keys].concat());
    echo.line("the message", |line| line.contains("42"));

    let stranger = ["--curve-key", "stranger.key", "--server-key", "server.key"];
    let mut refused =
        start(&[&["publish", "-p", &publisher, "--timeout", "30", "t", "42"][..], &stranger].concat());
    refused.line("why", |line| line.contains("does not let our key in"));
    backplane.line("why", |line| line.contains("is not on the allow-list"));
    // A line a second, and each says why only for one.
    drop(refused);
    let mut open = start(&["publish", "-p", &publisher, "--timeout", "30", "t", "42"]);
    open.line("why", |line| line.contains("security mechanism CURVE, and here it is NULL"));
    backplane.line("why", |line| line.contains("security mechanism NULL, and here it is CURVE"));
    backplane.interrupt();
    backplane.line("the count", |line| line.contains("connections refused"));
}

//! CURVE with libzmq on the other side, in both roles, and by the command line.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::codec::zmtp::greeting;
use multiplane_bus::curve::{AllowList, KeyPair, PublicKey, generate, read_public_key, write_keys};
use multiplane_bus::{Backplane, Bus, Engine, OnSlow, Route, Subscriber};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, python};
use multiplane_tests::spec;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Short and long frames, and those around the lengths where forms change.
const LENGTHS: [usize; 9] = [0, 1, 200, 222, 223, 255, 256, 70_000, 1_000_000];

/// What we make of it when libzmq hangs up because of the mechanism; it says nothing of that.
const OTHER_SECURITY: &str = "probably wants another security mechanism than ours";

/// Where mechanisms differ libzmq itself hangs up, once and for all, often before we have heard anything to refuse.
const NULL: &str = "NULL";

/// A topic of messages that only find out whether anybody hears them.
const PROBE: &str = "t/probe";

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
fn clients_of_pyzmq_that_may_not_do_not_come_in() {
    let folder = TempDir::new().unwrap();
    let (server, _) = keys(&folder, "server");
    let (friend, friend_path) = keys(&folder, "friend");
    let (_, stranger_path) = keys(&folder, "stranger");
    let (other, _) = keys(&folder, "other");
    let allow = AllowList::new().allow("friend", *friend.public(), [""], [""]);
    let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let backplane = backplane.curve(server.clone(), allow);
    let (right, wrong) = (server.public().to_string(), other.public().to_string());
    for (name, keys, server) in [
        ("a stranger", json!(stranger_path), json!(right)),
        ("another server key", json!(friend_path), json!(wrong)),
        (NULL, json!(null), json!(null)),
    ] {
        for kind in ["SUB", "XPUB"] {
            // Each tries again and again, so each has a backplane of its own.
            let (backplane, mut pyzmq) = (backplane.clone().start().unwrap(), Pyzmq::start());
            let port = if kind == "SUB" { backplane.subscriber_port() } else { backplane.publisher_port() };
            pyzmq.order(json!(["make", name, kind, keys, server, port]));
            match name {
                NULL => assert_eq!(pyzmq.order(json!(["fails", name])), true),
                _ => eventually(name, || backplane.stats().refused > 0),
            }
            assert_eq!((backplane.stats().publishers, backplane.stats().subscribers), (0, 0));
        }
    }
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

/// What our end hears of the messages that are told from probes by their topic.
fn hears_all(subscriber: &Subscriber, topic: &str) {
    for length in LENGTHS {
        let message = loop {
            let message = subscriber.recv_timeout(DEADLINE).unwrap();
            if message.topic() != PROBE {
                break message;
            }
        };
        assert_eq!((message.topic(), message.payload_bytes().len()), (topic, length));
    }
}

/// A PUB does not say who listens: it sends until one of ours does hear it.
fn is_heard(pyzmq: &mut Pyzmq, subscriber: &Subscriber) {
    loop {
        pyzmq.order(json!(["send", "pub", PROBE, [1]]));
        if subscriber.recv_timeout(Duration::from_millis(20)).is_ok() {
            return;
        }
    }
}

#[test]
fn pub_and_sub_of_pyzmq_in_both_roles() {
    let folder = TempDir::new().unwrap();
    let (server, server_path) = keys(&folder, "server");
    let (ours, _) = keys(&folder, "ours");
    let (friend, friend_path) = keys(&folder, "friend");
    let allow = AllowList::new().allow("ours", *ours.public(), [""], [""]).allow(
        "friend",
        *friend.public(),
        [""],
        [""],
    );
    let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block);
    let backplane = backplane.curve(server.clone(), allow).start().unwrap();
    let key = server.public().to_string();
    let through = |pyzmq: &mut Pyzmq, bus: Bus| {
        let subscriber = bus.subscriber().unwrap();
        is_heard(pyzmq, &subscriber);
        pyzmq.order(json!(["send", "pub", "t", LENGTHS]));
        hears_all(&subscriber, "t");
        let publisher = bus.publisher("BP1").unwrap();
        pyzmq.order(json!(["subscribe", "sub", "u"]));
        publisher.wait_for_subscriber("u", DEADLINE).unwrap();
        LENGTHS.iter().for_each(|&length| publisher.publish_raw("u", &vec![7; length]).unwrap());
        assert_eq!(pyzmq.heard("sub", LENGTHS.len()), all_of("u"));
    };

    let mut pyzmq = Pyzmq::start();
    pyzmq.order(json!(["make", "pub", "PUB", friend_path, key, backplane.publisher_port()]));
    pyzmq.order(json!(["make", "sub", "SUB", friend_path, key, backplane.subscriber_port()]));
    through(&mut pyzmq, component(ours.clone(), *server.public(), backplane.route().topics(["t"])));
    assert_eq!((backplane.stats().refused, backplane.stats().denied), (0, 0));

    let mut pyzmq = Pyzmq::start();
    let mut make = |name: &str, kind: &str| -> u16 {
        serde_json::from_value(pyzmq.order(json!(["make", name, kind, server_path, null, 0]))).unwrap()
    };
    let route =
        Route::new("BP1", "127.0.0.1").subscriber_port(make("pub", "PUB")).publisher_port(make("sub", "SUB"));
    through(&mut pyzmq, component(ours, *server.public(), route.topics(["t"])));
}

/// Each says why, and nothing secret.
#[test]
fn our_component_and_servers_of_pyzmq_that_do_not_fit() {
    let folder = TempDir::new().unwrap();
    let (server, server_path) = keys(&folder, "server.key");
    let (other, _) = keys(&folder, "other.key");
    let (ours, ours_path) = keys(&folder, "ours.key");
    let (right, wrong) = (server.public().to_string(), other.public().to_string());
    let nobody = TempDir::new().unwrap();
    let mut pyzmq = Pyzmq::start();
    pyzmq.order(json!(["guard", nobody.path()]));
    for (secured, server_key, why) in [
        (
            true,
            Some(&wrong),
            "hangs up on our HELLO: the server key that we were given is probably not its own",
        ),
        (true, Some(&right), "does not let our key in"),
        (false, Some(&right), OTHER_SECURITY),
        (true, None, OTHER_SECURITY),
    ] {
        let path = secured.then_some(&server_path);
        let port = pyzmq.order(json!(["make", why, "SUB", path, null, 0])).to_string();
        let mut publish = command(&["publish", "-p", &port, "--timeout", "60", "t", "42"]);
        if let Some(key) = server_key {
            publish.args(["--curve-key", &ours_path, "--server-key", key]);
        }
        let mut publish = Process::start("publish", &mut publish);
        publish.line(why, |line| line.contains(why));
        assert!(publish.is_running(), "it keeps trying");
        let said = publish.to_string();
        for keys in [&ours, &server, &other] {
            assert!(!said.contains(keys.secret().reveal().as_str()), "{said}");
        }
    }
}

#[test]
fn a_client_of_pyzmq_with_curve_does_not_come_in_where_it_is_null() {
    let folder = TempDir::new().unwrap();
    let (server, _) = keys(&folder, "server");
    let (_, friend_path) = keys(&folder, "friend");
    let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).start().unwrap();
    for (kind, port) in [("SUB", backplane.subscriber_port()), ("PUB", backplane.publisher_port())] {
        let mut pyzmq = Pyzmq::start();
        pyzmq.order(json!(["make", kind, kind, friend_path, server.public().to_string(), port]));
        assert_eq!(pyzmq.order(json!(["fails", kind])), true);
    }
    assert_eq!((backplane.stats().publishers, backplane.stats().subscribers), (0, 0));
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

    // All that links does so by the same options: what passes the bus is served, and what a device says comes there.
    let links = [&["-s", &subscriber, "-p", &publisher][..], &keys].concat();
    let serve = [&["serve", "--listen", "0", "--subscribe", "t", "--format", "json"][..], &links].concat();
    let mut serve = start(&serve);
    let address = serve.after("serving at ");
    let mut client = TcpStream::connect(address.split(": ").next().unwrap()).unwrap();
    let gateway = [&["gateway", "tcp", "--listen", "0", "-e", "t"][..], &links].concat();
    let mut gateway = start(&gateway);
    let mut device = TcpStream::connect(gateway.after("Listening for devices at ")).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut served = String::new();
    // Links come up when they do; until then nobody hears.
    eventually("what a device says is served", || {
        device.write_all(&[1, 43]).unwrap();
        let _ = client.read_to_string(&mut served);
        served.contains("43")
    });

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

/// ZMTP has one mechanism for a connection: a password would be instead of a key.
#[test]
fn who_comes_with_a_password_is_refused_and_the_log_says_why() {
    let folder = TempDir::new().unwrap();
    let (_, server) = keys(&folder, "server.key");
    let (friend, _) = keys(&folder, "friend.key");
    let list = folder.path().join("allow.toml").to_str().unwrap().to_owned();
    let friend = friend.public().to_string();
    prints(folder.path(), &["keys", "allow", &list, &friend, "--name", "a", "--publish", ""]);
    let sealed = ["--curve-key", &server, "--allow", &list];
    for (mechanism, flags) in [("NULL", &[][..]), ("CURVE", &sealed)] {
        for port in ["Subscriber Port = ", "Publisher  Port = "] {
            let arguments = [&["backplane", "-p", "0", "-s", "0"][..], flags].concat();
            let mut backplane = Process::start("backplane", &mut command(&arguments));
            let port: u16 = backplane.after(port).trim().parse().unwrap();
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&greeting("PLAIN", 1, false)).unwrap();
            let mut answer = Vec::new();
            // A reset will do as well.
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.len() <= 64, "not a word but the greeting: {answer:?}");
            let why = format!("security mechanism PLAIN, and here it is {mechanism}");
            backplane.line("why", |line| line.contains(&why));
        }
    }
}

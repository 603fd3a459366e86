//! `multiplane gateway mqtt` between mosquitto, with paho-mqtt behind it, our backplane and real Banyan components.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::{Bus, OwnedMessage, Publisher, Subscriber};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::component;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::place::{await_listener, free_port};
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, python};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// A broker that forgets everything when it ends.
struct Broker {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

impl Broker {
    fn start() -> Self {
        let mut broker = Self::absent("");
        broker.restart();
        broker
    }

    fn absent(settings: &str) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        // Its own limits are not what is tested here.
        let settings = match settings {
            "" => "allow_anonymous true",
            some => some,
        };
        let text = format!(
            "listener {port} 127.0.0.1\nuser root\nmax_queued_messages 0\nmax_inflight_messages 100\n{settings}\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        Self { port, folder, process: None }
    }

    fn restart(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        self.process = Some(Process::start("mosquitto", &mut command));
        await_listener(self.port);
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn client(&self, version: &str) -> Process {
        let mut client = python("mqtt_peer.py", [self.port.to_string().as_str(), version]);
        client.after("CONNECTED");
        client
    }
}

fn gateway_command(hub: &Hub, broker: &Broker, arguments: &[&str]) -> Command {
    let [subscriber, publisher] = hub.ports();
    let mut command = Command::new(multiplane());
    command.args(["gateway", "mqtt", "-a", "127.0.0.1", "-d", &broker.port.to_string()]);
    command.args(["-s", &subscriber, "-p", &publisher]).args(arguments);
    command
}

/// The gateway, linked to one backplane.
fn gateway(hub: &Hub, broker: &Broker, arguments: &[&str]) -> Process {
    Process::start("gateway", &mut gateway_command(hub, broker, arguments))
}

fn connected(gateway: &mut Process) {
    gateway.line("connected", |line| line.starts_with("MQTT Gateway Connected to MQTT 127.0.0.1"));
}

fn subscribe(client: &mut Process, filter: &str, qos: &str) {
    client.say(&format!("subscribe {filter} {qos}"));
    client.after("SUBSCRIBED");
}

/// Ends the gateway and takes its last words.
fn ended(mut gateway: Process) -> String {
    gateway.interrupt();
    let words = gateway.after("stderr: from MQTT ");
    assert!(gateway.exit().success(), "{gateway}");
    words
}

/// What stands on the other side of the backplane.
struct Bench {
    hub: Hub,
    _bus: Bus,
    publisher: Publisher,
    heard: Subscriber,
}

impl Bench {
    fn new(topics: &[&str]) -> Self {
        let hub = Hub::start(Kind::Multiplane, "BP1");
        let bus = component("bench", [hub.route(topics.iter().copied())]);
        let (publisher, heard) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
        Self { hub, _bus: bus, publisher, heard }
    }

    fn await_gateway(&self, topic: &str) {
        self.publisher.wait_for_subscriber(topic, DEADLINE).unwrap();
    }

    /// Waits until what is published on `topic` arrives here: nobody tells when the backplane has this subscription again.
    fn await_own_link(&self, topic: &str) {
        eventually("a probe arrives", || {
            self.publisher.publish(topic, "probe").unwrap();
            self.heard.recv_timeout(Duration::from_millis(50)).is_ok()
        });
    }

    fn publish(&self, topic: &str, numbers: std::ops::Range<u64>) {
        for n in numbers {
            self.publisher.publish(topic, &BTreeMap::from([("bus", n)])).unwrap();
        }
    }

    fn next(&self) -> OwnedMessage {
        self.heard.recv_timeout(DEADLINE).expect("a message by the gateway")
    }

    fn number(&self) -> u64 {
        loop {
            let message = self.next();
            let payload = message.payload().unwrap();
            // Else it is a probe.
            if let Ok(number) = payload.get("mqtt") {
                return number.as_u64().unwrap();
            }
        }
    }
}

#[test]
#[ignore = "needs mosquitto, paho-mqtt and python-banyan: tests/run"]
fn a_client_and_a_banyan_component_talk_with_the_defaults() {
    let (hub, broker) = (Hub::start(Kind::Banyan, "BP1"), Broker::start());
    let [subscriber, publisher] = hub.ports();
    let mut component = python("component.py", [subscriber.as_str(), &publisher, "from_mqtt"]);
    component.after("READY");
    let mut client = broker.client("3");
    subscribe(&mut client, "from_banyan", "0");
    let mut gateway = gateway(&hub, &broker, &[]);
    connected(&mut gateway);
    eventually("what the client sends arrives", || {
        client.say(&format!("publish mqtt_network 0 - {}", hex(br#"{"k": 1, "u": "\u00e9"}"#)));
        client.after("SENT");
        component.after("HEARD ") == r#"from_mqtt {"k": 1, "u": "\u00e9"}"#
    });
    component.say(r#"to_mqtt {"answer": [1.5, null, true, 18446744073709551615]}"#);
    client.say("any");
    let expected = hex(br#"{"answer":[1.5,null,true,18446744073709551615]}"#);
    assert_eq!(client.after("HEARD "), format!("from_banyan False {expected}"));
    ended(gateway);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn ten_thousand_each_way_in_order() {
    for (version, name) in [("3", "3.1.1"), ("5", "5")] {
        for qos in ["0", "1"] {
            let (bench, broker) = (Bench::new(&["from_mqtt"]), Broker::start());
            let mut client = broker.client(version);
            subscribe(&mut client, "from_banyan", qos);
            let (out, into) = (format!("to_mqtt=from_banyan,qos={qos}"), format!("net=from_mqtt,qos={qos}"));
            let arguments = ["--out", out.as_str(), "--in", &into, "--mqtt-version", name];
            let mut gateway = gateway(&bench.hub, &broker, &arguments);
            connected(&mut gateway);
            bench.await_gateway("to_mqtt");
            client.say(&format!("send net {qos} mqtt 0 10000"));
            bench.publish("to_mqtt", 0..10_000);
            for n in 0..10_000 {
                assert_eq!(bench.number(), n, "MQTT {name}, quality {qos}");
            }
            client.after("SENT");
            client.say("hear bus 0 10000");
            client.after("HEARD");
            assert_eq!(ended(gateway), "10000, to MQTT 10000", "MQTT {name}, quality {qos}");
        }
    }
}

#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn the_broker_and_the_backplane_come_and_go() {
    let (mut bench, mut broker) = (Bench::new(&["from_mqtt"]), Broker::absent(""));
    let arguments =
        ["--out", "to_mqtt=from_banyan,qos=1", "--in", "net=from_mqtt,qos=1", "--client-id", "gateway"];
    let mut gateway = gateway(&bench.hub, &broker, &arguments);
    gateway.line("waiting", |line| line.starts_with("Waiting for MQTT"));
    bench.await_gateway("to_mqtt");
    // What is published before the broker comes waits for it, and is sent when it is there.
    bench.publish("to_mqtt", 0..100);
    broker.restart();
    connected(&mut gateway);
    let mut client = broker.client("3");
    subscribe(&mut client, "from_banyan", "1");
    bench.publish("to_mqtt", 100..5100);
    client.say("hear bus 100 2000");
    client.after("HEARD");

    broker.kill();
    gateway.line("the end of the broker", |line| line.starts_with("Lost MQTT"));
    bench.publish("to_mqtt", 5100..5200);
    broker.restart();
    connected(&mut gateway);
    client.after("CONNECTED");
    client.after("SUBSCRIBED");
    bench.publish("to_mqtt", 5200..5300);
    client.say("until bus 5299");
    client.after("HEARD");

    bench.hub.kill();
    // Nobody is there to take it, so the gateway and the broker keep it.
    client.say("send net 1 mqtt 0 50");
    client.after("SENT");
    bench.hub.restart();
    bench.await_own_link("from_mqtt");
    client.say("send net 1 mqtt 50 60");
    // The gateway may have been back before the subscriber was; from then on nothing is missing.
    let mut next = bench.number();
    while next < 59 {
        let number = bench.number();
        assert!(number == next + 1, "{number} after {next}");
        next = number;
    }
    let words = ended(gateway);
    // Every message of the bus has been acknowledged, some of them by the second broker.
    assert!(words.starts_with("60, to MQTT 5300"), "{words}");
}

#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn the_broker_keeps_what_the_bus_has_not_accepted() {
    let (mut bench, broker) = (Bench::new(&["from_mqtt"]), Broker::start());
    let arguments = ["--in", "net=from_mqtt,qos=1", "--client-id", "gateway"];
    let mut first = gateway(&bench.hub, &broker, &arguments);
    connected(&mut first);
    let mut client = broker.client("3");
    client.say("send net 1 mqtt 0 1");
    assert_eq!(bench.number(), 0);
    bench.hub.kill();
    // The gateway needs a moment to see that; what it takes before is accepted, and known to be lost.
    let sent = 200;
    for n in 1..sent {
        client.say(&format!("send net 1 mqtt {n} {}", n + 1));
        client.after("SENT");
    }
    first.kill();
    bench.hub.restart();
    bench.await_own_link("from_mqtt");
    let mut second = gateway(&bench.hub, &broker, &arguments);
    connected(&mut second);
    let mut last = 0;
    while last < sent - 1 {
        let number = bench.number();
        assert!(number > last, "{number} after {last}");
        last = number;
    }
}

/// Each case is counted and reported with its topic and the reason, and the next message passes all the same.
#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn what_has_no_form_on_the_other_side_is_counted_and_reported() {
    let (bench, broker) = (Bench::new(&["from_mqtt"]), Broker::start());
    let mut client = broker.client("3");
    subscribe(&mut client, "from_banyan", "0");
    let mut gateway = gateway(&bench.hub, &broker, &["-j", "net/#"]);
    connected(&mut gateway);
    bench.await_gateway("to_mqtt");
    client.say("publish net/a 0 - 6e6f204a534f4e");
    client.after("SENT");
    let words = gateway.line("a word about it", |line| line.contains("dropped a message of the broker"));
    assert!(words.contains("topic=\"net/a\"") && words.contains("error=not JSON"), "{words}");
    let deep = "[".repeat(100_000);
    for body in ["", "{\"k\": ", "NaN", "\u{0}", &deep] {
        client.say(&format!("publish net/b 1 - {}", hex(body.as_bytes())));
        client.after("SENT");
    }
    client.say("publish net/b 0 - 22ff22");
    client.say("send net/c 0 mqtt 7 8");
    assert_eq!(bench.number(), 7);

    for payload in [&b"\xc1"[..], b"", b"\x81\x01\x01", b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xc7\x01\x05x"] {
        bench.publisher.publish_raw("to_mqtt", payload).unwrap();
    }
    let words = gateway.line("a word about it", |line| line.contains("dropped a message of the bus"));
    assert!(words.contains("topic=\"to_mqtt\""), "{words}");
    bench.publish("to_mqtt", 3..4);
    client.say("hear bus 3 4");
    client.after("HEARD");
    let words = ended(gateway);
    assert!(words.contains("bodies from MQTT not understood 7"), "{words}");
    assert!(words.contains("messages without a form in MQTT 5"), "{words}");
}

/// A broker sends so many without an answer, and then no more.
#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn bodies_that_are_not_understood_are_acknowledged_too() {
    let (bench, broker) = (Bench::new(&["from_mqtt"]), Broker::start());
    let mut gateway = gateway(&bench.hub, &broker, &["--in", "net=from_mqtt,qos=1"]);
    connected(&mut gateway);
    let mut client = broker.client("3");
    for _ in 0..100 {
        client.say("publish net 1 - 6e6f204a534f4e");
        client.after("SENT");
    }
    client.say("send net 1 mqtt 7 8");
    assert_eq!(bench.number(), 7);
    let words = ended(gateway);
    assert!(words.contains("bodies from MQTT not understood 100"), "{words}");
}

#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn what_the_gateway_has_put_on_one_side_never_comes_back() {
    // Not "chat", which only the gateway is to want: so it can be waited for.
    let (bench, broker) = (Bench::new(&["chat/"]), Broker::start());
    let mirror = ["--out", "chat={topic}", "--in", "chat/#={topic}"];
    let mut refused = Process::start("gateway", &mut gateway_command(&bench.hub, &broker, &mirror));
    refused.line("the reason", |line| line.contains("would come back by the filter"));
    assert_eq!(refused.exit().code(), Some(2));

    let mut client = broker.client("5");
    subscribe(&mut client, "chat/#", "0");
    let mut gateway = gateway(&bench.hub, &broker, &[&mirror[..], &["--mqtt-version", "5"]].concat());
    connected(&mut gateway);
    bench.await_gateway("chat");
    bench.publish("chat/bus", 0..1);
    assert_eq!(bench.next().topic(), "chat/bus", "its own publisher hears it once");
    client.say("any");
    client.after("HEARD chat/bus");
    client.say("send chat/mqtt 0 mqtt 1 2");
    client.say("any");
    client.after("HEARD chat/mqtt");
    assert_eq!(bench.number(), 1);
    // Whatever came back would be before these.
    bench.publish("chat/bus", 2..3);
    assert_eq!(bench.next().topic(), "chat/bus");
    client.say("any");
    client.after("HEARD chat/bus");
    client.say("send chat/mqtt 0 mqtt 3 4");
    assert_eq!(bench.number(), 3);
    assert_eq!(ended(gateway), "2, to MQTT 2");
}

#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn a_file_maps_topics_bodies_and_retained_messages() {
    let (bench, broker) = (Bench::new(&["set:", "bytes"]), Broker::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mapping.toml");
    let text = r#"
        [[to_mqtt]]
        topic = "sensor/"
        mqtt = "home/{rest}/state"
        retain = true
        [[to_mqtt]]
        topic = "raw"
        mqtt = "raw"
        body = "raw"
        [[from_mqtt]]
        filter = "home/+/set"
        topic = "set:{topic}"
        qos = 1
        [[from_mqtt]]
        filter = "bytes"
        topic = "bytes"
        body = "msgpack"
    "#;
    std::fs::write(&file, text).unwrap();
    let mut gateway = gateway(&bench.hub, &broker, &["--mapping", file.to_str().unwrap()]);
    connected(&mut gateway);
    for topic in ["sensor/", "raw"] {
        bench.await_gateway(topic);
    }
    let mut client = broker.client("3");
    subscribe(&mut client, "raw", "0");
    bench.publish("sensor/door", 1..2);
    bench.publisher.publish_raw("raw", b"\xc4\x02\xff\x00").unwrap();
    client.say("any");
    assert_eq!(client.after("HEARD "), "raw False ff00");
    // Subscribed later, and there nevertheless.
    subscribe(&mut client, "home/#", "0");
    client.say("any");
    assert_eq!(client.after("HEARD "), format!("home/door/state True {}", hex(br#"{"bus":1}"#)));

    client.say("send home/door/set 1 mqtt 4 5");
    let message = bench.next();
    assert_eq!(message.topic(), "set:home/door/set");
    client.say("publish bytes 0 - 9301a178c0");
    let message = bench.next();
    assert_eq!((message.topic(), &message.payload_bytes()[..]), ("bytes", &b"\x93\x01\xa1x\xc0"[..]));
}

#[test]
#[ignore = "needs mosquitto and paho-mqtt: tests/run"]
fn a_broker_that_asks_who_it_is_gets_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // As mosquitto 2 reads it: one user a line, made with its own program.
    std::fs::write(path("users"), "gateway:secret\n").unwrap();
    let made = Command::new("mosquitto_passwd").arg("-U").arg(path("users")).status();
    assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd comes with mosquitto");
    let settings = format!("allow_anonymous false\npassword_file {}", path("users").display());
    let mut broker = Broker::absent(&settings);
    broker.restart();
    let hub = Hub::start(Kind::Multiplane, "BP1");

    for version in ["3.1.1", "5"] {
        let mut nobody = gateway(&hub, &broker, &["--mqtt-version", version]);
        nobody.line("refused", |line| line.contains("refuses the gateway"));
        assert!(nobody.is_running(), "it keeps trying");
        std::fs::write(path("credentials"), "gateway\nsecret\n").unwrap();
        let file = path("credentials");
        let arguments = ["--credentials", file.to_str().unwrap(), "--mqtt-version", version];
        connected(&mut gateway(&hub, &broker, &arguments));
    }
    let mut command = gateway_command(&hub, &broker, &[]);
    command.env("MULTIPLANE_MQTT_USER", "gateway").env("MULTIPLANE_MQTT_PASSWORD", "secret");
    let mut by_environment = Process::start("gateway", &mut command);
    connected(&mut by_environment);
    by_environment.interrupt();
    assert!(by_environment.exit().success());
}

#[test]
#[ignore = "needs mosquitto, paho-mqtt and openssl: tests/run"]
fn a_broker_under_tls_has_to_prove_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // An authority, a broker that it vouches for, and another authority that it does not know.
    let openssl = |arguments: &str| {
        let arguments = arguments.replace('@', &path(""));
        let made = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
        assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    for authority in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} -keyout @{authority}.key -out @{authority}.pem"
        ));
    }
    std::fs::write(path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    openssl("req -newkey rsa:2048 -nodes -subj /CN=broker -keyout @broker.key -out @broker.csr");
    openssl(
        "x509 -req -in @broker.csr -CA @ca.pem -CAkey @ca.key -CAcreateserial -days 2 -extfile @names -out @broker.pem",
    );
    let settings =
        format!("allow_anonymous true\ncertfile {}\nkeyfile {}", path("broker.pem"), path("broker.key"));
    let mut broker = Broker::absent(&settings);
    broker.restart();

    let bench = Bench::new(&["from_mqtt"]);
    let start = |authority: &str, way: [&str; 2]| {
        let authority = path(authority);
        gateway(&bench.hub, &broker, &[&["--tls-ca", authority.as_str()][..], &way].concat())
    };
    let mut doubtful = start("other.pem", ["--mqtt-version", "5"]);
    doubtful.line("refused", |line| line.contains("refuses the gateway") && line.contains("certificate"));
    drop(doubtful);

    let mut there = start("ca.pem", ["--out", "to_mqtt=x,qos=1"]);
    let mut back = start("ca.pem", ["--in", "x=from_mqtt,qos=1"]);
    connected(&mut there);
    connected(&mut back);
    bench.await_gateway("to_mqtt");
    bench.publish("to_mqtt", 0..2000);
    for n in 0..2000 {
        assert_eq!(bench.next().payload().unwrap().get("bus").unwrap().as_u64(), Some(n));
    }
    assert_eq!(ended(there), "0, to MQTT 2000");
    assert_eq!(ended(back), "2000, to MQTT 0");
}

//! `multiplane gateway tcp` between a device that Python plays, our backplane and real Banyan components.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::{Bus, Publisher, Subscriber};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::place::free_port;
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, python};
use multiplane_tests::{component, spec};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

fn device(port: u16, width: &str) -> Process {
    let mut device = python("device.py", [port.to_string().as_str(), width]);
    device.after("READY");
    device
}

/// The gateway, linked to one backplane.
fn gateway(hub: &Hub, arguments: &[&str]) -> Process {
    let [subscriber, publisher] = hub.ports();
    let mut command = Command::new(multiplane());
    command.args(["gateway", "tcp", "-s", &subscriber, "-p", &publisher]).args(arguments);
    Process::start("gateway", &mut command)
}

/// What stands on the other side of the backplane.
struct Bench {
    hub: Hub,
    bus: Bus,
    publisher: Publisher,
    heard: Subscriber,
}

impl Bench {
    fn new() -> Self {
        let hub = Hub::start(Kind::Multiplane, "BP1");
        let bus = component("bench", [hub.route(["from_pico"])]);
        let (publisher, heard) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
        Self { hub, bus, publisher, heard }
    }

    /// Waits until what the bus has for the device and what the device sends both pass.
    fn await_link(&self, device: &mut Process) {
        self.publisher.wait_for_subscriber("figura", DEADLINE).unwrap();
        // Nobody tells the device when the gateway's own link to the backplane is live.
        eventually("a probe arrives", || {
            device.say("probe");
            self.heard.recv_timeout(Duration::from_millis(100)).is_ok()
        });
    }

    fn publish(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            self.publisher.publish("figura", &BTreeMap::from([("Led_0", n)])).unwrap();
        }
    }

    /// Hears `pico_data` for each number, in order; probes are passed over.
    fn hear(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            assert_eq!(self.next(), n);
        }
    }

    fn next(&self) -> u64 {
        loop {
            let message = self.heard.recv_timeout(DEADLINE).expect("a message of the device");
            assert_eq!(message.topic(), "from_pico");
            let payload = message.payload().unwrap();
            if let Ok(number) = payload.get("pico_data") {
                return number.as_u64().unwrap();
            }
        }
    }
}

/// Ends the gateway and takes its last words.
fn ended(mut gateway: Process) -> String {
    gateway.interrupt();
    let words = gateway.after("stderr: from devices ");
    assert!(gateway.exit().success(), "{gateway}");
    words
}

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn a_device_and_a_banyan_component_talk_with_the_defaults() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let [subscriber, publisher] = hub.ports();
    let mut component = python("component.py", [subscriber.as_str(), &publisher, "from_pico"]);
    component.after("READY");
    let port = free_port();
    let mut gateway = gateway(&hub, &["-a", "127.0.0.1", "-n", &port.to_string()]);
    gateway.line("waiting", |line| line.starts_with("Waiting to connect to the server"));
    let mut device = device(port, "1");
    gateway.line("connected", |line| line == format!("Successfully connected to: 127.0.0.1:{port}"));
    device.after("CONNECTED");
    device.say("raw 0c81a97069636f5f6461746107");
    assert_eq!(component.after("HEARD "), r#"from_pico {"pico_data": 7}"#);
    component.say(r#"figura {"Led_0": 1}"#);
    device.say("any");
    assert_eq!(device.after("HEARD "), "{'Led_0': 1}");
    assert_eq!(ended(gateway), "1, to devices 1");
}

#[test]
#[ignore = "needs Python: tests/run"]
fn ten_thousand_each_way_in_order() {
    for width in ["1", "2", "4"] {
        let bench = Bench::new();
        let port = free_port();
        let mut device = device(port, width);
        let gateway =
            gateway(&bench.hub, &["-a", "127.0.0.1", "-n", &port.to_string(), "--length-bytes", width]);
        device.after("CONNECTED");
        bench.await_link(&mut device);
        device.say("send 0 10000");
        bench.publish(0..10_000);
        bench.hear(0..10_000);
        device.say("hear Led_0 0 10000");
        device.after("HEARD");
        drop(gateway);
    }
}

#[test]
#[ignore = "needs Python: tests/run"]
fn the_device_and_the_backplane_come_and_go() {
    let mut bench = Bench::new();
    let port = free_port();
    let mut first = device(port, "1");
    let mut gateway = gateway(&bench.hub, &["-a", "127.0.0.1", "-n", &port.to_string()]);
    first.after("CONNECTED");
    bench.await_link(&mut first);
    first.say("send 0 100");
    bench.hear(0..100);

    first.kill();
    gateway.line("the end of the device", |line| line.starts_with("Lost 127.0.0.1"));
    // What is published while it is away waits for it.
    bench.publish(0..500);
    let mut second = device(port, "1");
    second.say("hear Led_0 0 500");
    second.after("HEARD");
    second.say("send 100 200");
    bench.hear(100..200);

    bench.hub.kill();
    bench.hub.restart();
    bench.await_link(&mut second);
    second.say("send 200 10200");
    bench.hear(200..10_200);
    bench.publish(500..1500);
    second.say("hear Led_0 500 1500");
    second.after("HEARD");
    drop(bench.bus);
}

/// Each case ends as the table says, and the next message passes all the same.
#[test]
#[ignore = "needs Python: tests/run"]
fn what_is_wrong_is_counted_and_the_gateway_lives() {
    let bench = Bench::new();
    let port = free_port();
    let mut device = device(port, "1");
    let mut gateway = gateway(
        &bench.hub,
        &["-a", "127.0.0.1", "-n", &port.to_string(), "--frame-timeout", "0.3", "--trace-frames"],
    );
    device.after("CONNECTED");
    bench.await_link(&mut device);

    // Cut anywhere, and several in a segment.
    for part in ["0c", "81a9", "7069636f5f646174610000", "0c81a97069636f5f6461746101"] {
        device.say(&format!("raw {part}"));
    }
    bench.hear(0..2);
    // 255 bytes are the most; longer ones never reach the device.
    for length in [253, 254, 254] {
        bench.publisher.publish("figura", &"x".repeat(length)).unwrap();
    }
    bench.publish(0..1);
    device.say("any");
    assert!(device.after("HEARD ").starts_with("xxx"));
    device.say("hear Led_0 0 1");
    device.after("HEARD");
    gateway.line("a word about it", |line| line.contains("dropped a message for devices"));
    // A length that promises what never comes.
    device.say("raw 05a161");
    gateway.line("its bytes", |line| {
        line.contains("!! 3 bytes of a payload had come") && line.ends_with("05 a1 61")
    });
    gateway.line("the end", |line| line.starts_with("Lost 127.0.0.1"));
    device.after("GONE");
    device.after("CONNECTED");
    // A hang-up inside of a payload, and one between two.
    device.say("raw 05a161");
    device.say("hang_up");
    gateway.line("the end", |line| line.starts_with("Lost") && line.contains("inside of a payload"));
    device.after("CONNECTED");
    device.say("hang_up");
    gateway.line("the end", |line| line.starts_with("Lost") && line.contains("it hung up"));
    device.after("CONNECTED");

    device.say("send 2 3");
    bench.hear(2..3);
    let words = ended(gateway);
    for part in ["too long for the length field 2", "empty payloads dropped 1", "payloads cut off 2"] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
#[ignore = "needs Python: tests/run"]
fn devices_that_connect_and_devices_with_topics_of_their_own() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let bus = component("bench", [hub.route(["door", "from_pico"])]);
    let (publisher, heard) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    let port = free_port();
    let mut door = device(port, "1");
    let mut gateway =
        gateway(&hub, &["--listen", "0", "--device", &format!("127.0.0.1:{port},from=door,to=lock")]);
    let listening = gateway.after("Listening for devices at 127.0.0.1:");
    let mut clients = [1, 2].map(|_| python("device.py", [listening.as_str(), "1", "connect"]));
    for client in clients.iter_mut().chain([&mut door]) {
        client.after("CONNECTED");
    }
    for topic in ["figura", "lock"] {
        publisher.wait_for_subscriber(topic, DEADLINE).unwrap();
    }
    publisher.publish("figura", &1).unwrap();
    publisher.publish("lock", &2).unwrap();
    for (device, expected) in clients.iter_mut().zip(["1", "1"]).chain([(&mut door, "2")]) {
        device.say("any");
        assert_eq!(device.after("HEARD "), expected);
    }
    for (device, topic) in clients.iter_mut().zip(["from_pico", "from_pico"]).chain([(&mut door, "door")]) {
        eventually("a probe arrives", || {
            device.say("probe");
            heard.recv_timeout(Duration::from_millis(100)).is_ok_and(|message| message.topic() == topic)
        });
    }
}

#[test]
#[ignore = "needs Python: tests/run"]
fn what_a_device_has_said_does_not_come_back_to_it() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let bus = component("bench", [hub.route(["door"])]);
    let (publisher, heard) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    let port = free_port();
    let mut door = device(port, "1");
    // It is sent all topics that begin like its own.
    let _gateway = gateway(&hub, &["--device", &format!("127.0.0.1:{port},from=door,to=do")]);
    door.after("CONNECTED");
    publisher.wait_for_subscriber("do", DEADLINE).unwrap();
    eventually("a probe arrives", || {
        door.say("probe");
        heard.recv_timeout(Duration::from_millis(100)).is_ok()
    });
    publisher.publish("dog", &7).unwrap();
    door.say("any");
    assert_eq!(door.after("HEARD "), "7");
}

#[test]
#[ignore = "needs Python: tests/run"]
fn one_gateway_links_several_backplanes() {
    let hubs = [Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2")];
    let topics = ["from_pico", "door"];
    let bus = component("bench", hubs.each_ref().map(|hub| hub.route(topics)));
    let heard = bus.subscriber().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("spec.csv");
    std::fs::write(&csv, spec(hubs.each_ref().map(|hub| hub.route(topics))).to_string()).unwrap();

    let ports = [free_port(), free_port()];
    let [mut everywhere, mut second] = ports.map(|port| device(port, "1"));
    let devices = [
        format!("127.0.0.1:{}", ports[0]),
        format!("127.0.0.1:{},from=door,to=lock,backplane=BP2", ports[1]),
    ];
    let mut command = Command::new(multiplane());
    command.args(["gateway", "tcp", "--routing", csv.to_str().unwrap()]);
    command.args(["--device", &devices[0], "--device", &devices[1]]);
    let gateway = Process::start("gateway", &mut command);
    for device in [&mut everywhere, &mut second] {
        device.after("CONNECTED");
    }
    // What the second sends is heard on its backplane only, what the first sends on both.
    let mut found = std::collections::BTreeSet::new();
    eventually("probes arrive", || {
        everywhere.say("probe");
        second.say("probe");
        while let Ok(message) = heard.recv_timeout(Duration::from_millis(50)) {
            found.insert((message.topic().to_owned(), message.backplane().name()));
        }
        found.len() == 3
    });
    let expected = [("door", "BP2"), ("from_pico", "BP1"), ("from_pico", "BP2")];
    assert_eq!(found, expected.map(|(topic, name)| (topic.to_owned(), name)).into());

    for (name, topic, number) in [("BP1", "figura", 1), ("BP2", "figura", 2), ("BP2", "lock", 3)] {
        let publisher = bus.publisher(name).unwrap();
        publisher.wait_for_subscriber(topic, DEADLINE).unwrap();
        publisher.publish(topic, &number).unwrap();
        let device = if topic == "lock" { &mut second } else { &mut everywhere };
        device.say("any");
        assert_eq!(device.after("HEARD "), number.to_string());
    }
    drop(gateway);
}

/// Four bytes can promise four gigabytes: such a connection is ended, and nothing is allocated for it.
#[test]
#[ignore = "needs Python: tests/run"]
fn a_length_past_the_limit_ends_the_connection_only() {
    let bench = Bench::new();
    let port = free_port();
    let mut device = device(port, "4");
    let arguments = ["-a", "127.0.0.1", "-n", &port.to_string(), "--length-bytes", "4"];
    let mut gateway = gateway(&bench.hub, &arguments);
    device.after("CONNECTED");
    bench.await_link(&mut device);
    device.say("raw ffffffff00");
    gateway.line("the end", |line| line.starts_with("Lost 127.0.0.1") && line.contains("4294967295 bytes"));
    device.after("CONNECTED");
    device.say("send 0 1");
    bench.hear(0..1);
}

/// A device that is played here, with four bytes of length.
fn hostile(port: u16) -> TcpStream {
    let device = TcpStream::connect(("127.0.0.1", port)).unwrap();
    device.set_read_timeout(Some(DEADLINE)).unwrap();
    device.set_write_timeout(Some(DEADLINE)).unwrap();
    device
}

/// Waits until the gateway ends the connection.
fn is_let_go(mut device: TcpStream, what: &str) {
    let ended = device.read_to_end(&mut Vec::new());
    let waits = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!waits, "{what}: it is not let go");
}

const MIB: usize = 1024 * 1024;

fn send_what_is_wrong(port: u16) {
    for (what, begin, rest, ends) in [
        ("4 GiB promised", &b"\xff\xff\xff\xff"[..], 8 * MIB, true),
        ("a byte more than the limit", b"\x01\x00\x00\x01", 8 * MIB, true),
        ("the limit promised, and a byte of it kept back", b"\x01\x00\x00\x00", 16 * MIB - 1, true),
        ("a length cut off", b"\x00\x00", 0, true),
        ("millions of empty payloads", b"", 40 * MIB, false),
    ] {
        let mut device = hostile(port);
        let chunk = vec![0; MIB];
        let written = device.write_all(begin).and_then(|()| {
            (0..rest).step_by(MIB).try_for_each(|at| device.write_all(&chunk[..MIB.min(rest - at)]))
        });
        assert!(ends || written.is_ok(), "{what}: {written:?}");
        if ends {
            is_let_go(device, what);
        }
    }
    // As many as may connect, each in the middle of something; those beyond are turned away.
    let mut crowd: Vec<TcpStream> = (0..100).map(|_| hostile(port)).collect();
    for device in &mut crowd {
        let _ = device.write_all(b"\x00\x80\x00\x00").and_then(|()| device.write_all(&vec![0; MIB / 2]));
    }
    crowd.into_iter().for_each(|device| is_let_go(device, "one of many"));
}

/// Devices that promise much, send much, or take nothing: the gateway ends or bears them, its memory stays within what its
/// bounds say, and an honest device beside them is served.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn hostile_devices_cost_no_more_than_the_bounds() {
    let bench = Bench::new();
    let arguments = ["--listen", "0", "--length-bytes", "4", "--frame-timeout", "1", "--queue", "1000"];
    let mut gateway = gateway(&bench.hub, &arguments);
    let port: u16 = gateway.after("Listening for devices at 127.0.0.1:").parse().unwrap();
    let number = |n: u8| [b"\0\0\0\x0c\x81\xa9pico_data".as_slice(), &[n]].concat();
    let mut honest = hostile(port);
    eventually("a probe arrives", || {
        honest.write_all(&number(0)).unwrap();
        bench.heard.recv_timeout(Duration::from_millis(100)).is_ok()
    });
    let before = gateway.peak_kilobytes();
    let mut at = 0;
    let mut serve = || {
        at += 1;
        honest.write_all(&number(at)).unwrap();
        eventually("it arrives", || bench.next() == u64::from(at));
    };
    send_what_is_wrong(port);
    serve();
    // Two that take nothing.
    let deaf = hostile(port);
    for n in 0..50_000u64 {
        bench.publisher.publish("figura", &(n, "x".repeat(1000))).unwrap();
    }
    serve();
    let grown = gateway.peak_kilobytes().saturating_sub(before);
    assert!(grown < 120_000, "{grown} kB more than before");
    drop(deaf);
    serve();
    let words = ended(gateway);
    assert!(words.contains("empty payloads dropped") && words.contains("payloads cut off"), "{words}");
}

/// What has come in part is bounded for all devices together: who goes past that is let go, and the others finish.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn unfinished_payloads_of_all_devices_have_one_bound() {
    let bench = Bench::new();
    let bound = ["--unfinished-bytes", "1100000", "--frame-timeout", "60"];
    let mut gateway = gateway(&bench.hub, &[&["--listen", "0", "--length-bytes", "4"][..], &bound].concat());
    let port: u16 = gateway.after("Listening for devices at 127.0.0.1:").parse().unwrap();
    let mut honest = hostile(port);
    eventually("a probe arrives", || {
        honest.write_all(b"\0\0\0\x01\x07").unwrap();
        bench.heard.recv_timeout(Duration::from_millis(100)).is_ok()
    });
    let body = [b"\xc6\0\x07\xa1\x20".as_slice(), &[0; 500_000]].concat();
    let frame = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
    let (begin, rest) = frame.split_at(400_000);
    let mut devices = [(); 3].map(|()| hostile(port));
    for device in &mut devices {
        device.write_all(begin).unwrap();
    }
    gateway.line("the end", |line| {
        line.starts_with("Lost 127.0.0.1") && line.contains("were over the limit of 1100000 bytes")
    });
    // One of them is not there any more, whichever it was.
    for device in &mut devices {
        let _ = device.write_all(rest);
    }
    for _ in 0..2 {
        let large = |payload: &[u8]| payload.len() > 1;
        eventually("a large payload arrives", || {
            bench.heard.recv_timeout(DEADLINE).is_ok_and(|message| large(message.payload_bytes()))
        });
    }
    assert!(ended(gateway).contains("payloads cut off 1"));
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn wrong_use_is_told_in_a_line_with_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, part, code) in [
        (&["tcp"][..], "there is no device", 2),
        (&["tcp", "--device", "host"], "it begins with no address and port", 2),
        (&["tcp", "--device", "h:1,backplane=X"], "X", 2),
        (&["tcp", "--listen", &port], "in use", 1),
        (&["mqtt", "--out", "a"], "there is no `=`", 2),
        (&["mqtt", "--out", "a=b,qos=2"], "says nothing here", 2),
        (&["mqtt", "--in", "a/#/b=c"], "is no filter of MQTT", 2),
        (&["mqtt", "--mapping", "/absent.toml"], "/absent.toml: ", 2),
        (&["mqtt", "--tls-ca", "/absent.pem"], "/absent.pem: ", 2),
        (&["mqtt", "--credentials", "/absent"], "--credentials /absent: ", 2),
    ] {
        let output = Command::new(multiplane()).arg("gateway").args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

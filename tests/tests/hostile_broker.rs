//! `multiplane gateway mqtt` and a broker that means it harm.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::clock::DEADLINE;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::process::Process;
use multiplane_tests::programs::multiplane;
use multiplane_tests::{component, spec};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

const MIB: usize = 1024 * 1024;

/// A connection of the gateway to us, the broker.
struct Visit(TcpStream);

impl Visit {
    /// The gateway comes, and says who it is.
    fn next(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut visit = Self(stream);
        assert_eq!(visit.packet().0 >> 4, 1, "CONNECT");
        visit
    }

    /// The first byte and the body of what the gateway says (MQTT 3.1.1, section 2.2).
    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut byte = || {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            byte[0]
        };
        let first = byte();
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let digit = byte();
            length |= usize::from(digit & 0x7f) << shift;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (first, body)
    }

    /// CONNACK: it may come in.
    fn welcome(&mut self) {
        self.0.write_all(b"\x20\x02\0\0").unwrap();
    }

    /// Waits until the gateway ends the connection.
    fn until_left(mut self, what: &str) {
        let ended = self.0.read_to_end(&mut Vec::new());
        let waits = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!waits, "{what}: the gateway stays");
    }
}

/// PUBLISH at quality 0.
fn publish(topic: &[u8], body: &[u8]) -> Vec<u8> {
    let mut length = 2 + topic.len() + body.len();
    let mut packet = vec![0x30];
    while length > 0x7f {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend((topic.len() as u16).to_be_bytes());
    [&packet, topic, body].concat()
}

fn gateway(hub: &Hub, port: u16) -> Process {
    let [subscriber, publisher] = hub.ports();
    let mut command = Command::new(multiplane());
    command.args(["gateway", "mqtt", "-a", "127.0.0.1", "-d", &port.to_string(), "-j", "net/#"]);
    Process::start("gateway", command.args(["-s", &subscriber, "-p", &publisher]))
}

/// Sends what no broker sends, and what is too much; the gateway leaves each time, and comes back.
fn send_what_is_wrong(listener: &TcpListener) {
    for (what, welcomed, begin, rest) in [
        ("a web server", false, &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], 0),
        ("a welcome of 256 MB", false, b"\x20\xff\xff\xff\x7f", 8 * MIB),
        ("a message of 256 MB", true, b"\x30\xff\xff\xff\x7f", 8 * MIB),
        ("a length without an end", true, b"\x30\xff\xff\xff\xff\xff", MIB),
        ("a topic longer than its message", true, b"\x30\x04\xff\xffab", 0),
        ("a topic that is no UTF-8", true, b"\x30\x05\0\x02\xff\xfex", 0),
        ("an answer to no question", true, b"\x90\x03\0\x07\0", 0),
        ("a packet of no kind", true, b"\0\0", 0),
    ] {
        let mut visit = Visit::next(listener);
        if welcomed {
            visit.welcome();
        }
        let chunk = vec![0; MIB];
        // It may leave in the middle.
        let written = visit.0.write_all(begin);
        let _ = written.and_then(|()| (0..rest / MIB).try_for_each(|_| visit.0.write_all(&chunk)));
        visit.until_left(what);
    }
    // Ends amid a packet.
    let mut visit = Visit::next(listener);
    visit.welcome();
    visit.0.write_all(b"\x30\xff\xff\x03\0\x05net/a").unwrap();
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_hostile_broker_costs_no_more_than_the_bounds() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let bus = component("bench", [hub.route(["from_mqtt"])]);
    let heard = bus.subscriber().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut gateway = gateway(&hub, listener.local_addr().unwrap().port());
    bus.publisher("BP1").unwrap().wait_for_subscriber("to_mqtt", DEADLINE).unwrap();
    let before = gateway.peak_kilobytes();
    send_what_is_wrong(&listener);

    let mut visit = Visit::next(&listener);
    visit.welcome();
    assert_eq!(visit.packet().0 >> 4, 8, "SUBSCRIBE");
    let body = [b"{\"fill\":\"", vec![b'x'; 1000].as_slice(), b"\"}"].concat();
    let flood = publish(b"net/flood", &body).repeat(1000);
    (0..100).for_each(|_| visit.0.write_all(&flood).unwrap());
    visit.0.write_all(&publish(b"net/a", b"{\"mqtt\":7}")).unwrap();
    // It is the last, and the oldest make way.
    let arrives = || heard.recv_timeout(DEADLINE).expect("a message by the gateway");
    while arrives().payload().unwrap().get("mqtt").is_err() {}

    let grown = gateway.peak_kilobytes().saturating_sub(before);
    assert!(grown < 20_000, "{grown} kB more than before");
    assert!(gateway.is_running());
}

/// What comes from the broker goes to each backplane of the routing specification, and what each sends goes to the broker.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn two_backplanes_share_one_broker() {
    let names = ["BP1", "BP2"];
    let hubs = names.map(|name| Hub::start(Kind::Multiplane, name));
    let bus = component("bench", hubs.each_ref().map(|hub| hub.route(["from_mqtt"])));
    let heard = bus.subscriber().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("spec.csv");
    std::fs::write(&csv, spec(hubs.each_ref().map(|hub| hub.route(["to_mqtt"]))).to_string()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut command = Command::new(multiplane());
    command.args(["gateway", "mqtt", "-a", "127.0.0.1", "-d", &port, "-j", "net/#", "--routing"]).arg(&csv);
    let _gateway = Process::start("gateway", &mut command);
    let mut visit = Visit::next(&listener);
    visit.welcome();
    assert_eq!(visit.packet().0 >> 4, 8, "SUBSCRIBE");
    for name in names {
        let publisher = bus.publisher(name).unwrap();
        publisher.wait_for_subscriber("to_mqtt", DEADLINE).unwrap();
        publisher.publish("to_mqtt", name).unwrap();
        let (first, body) = visit.packet();
        assert_eq!(first >> 4, 3, "PUBLISH");
        assert!(body.ends_with(format!("\"{name}\"").as_bytes()), "{body:?}");
    }
    visit.0.write_all(&publish(b"net/a", b"{\"mqtt\":7}")).unwrap();
    let mut by = [(); 2].map(|()| heard.recv_timeout(DEADLINE).unwrap().backplane().name());
    by.sort();
    assert_eq!(by, names);
}

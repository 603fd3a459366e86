//! Strangers at both ports of a backplane in a process of its own: whatever they say, the honest lose nothing.
#![allow(clippy::unwrap_used)] // Helpers of tests.
#![allow(clippy::print_stdout)] // What was measured is shown to whoever asks with --nocapture.

use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::component;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::random::Random;
use multiplane_tests::zmtp::{command, frame, greeting, ready};
use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Sessions of strangers.
const SESSIONS: usize = 6000;
/// Strangers that are there at the same time, silent after what they said.
const LINGERING: usize = 64;
/// What they may cost in memory.
const MEMORY: usize = 25 << 20;
/// What the honest talk about. Nothing that a stranger says begins so.
const TOPIC: &str = "between_the_honest";
/// Messages of the honest that are on their way at the same time.
const WINDOW: u64 = 50;

/// How a session ends.
#[derive(Clone, Copy)]
enum End {
    Close,
    /// With what was not read, so that the connection is reset.
    Reset,
    /// Nothing more is sent, and all is read.
    Listen,
    /// It stays, and reads nothing.
    Linger,
}

struct Session {
    /// It waits for the greeting of the backplane between the two.
    parts: [Vec<u8>; 2],
    end: End,
}

/// What other programs say first.
const KNOCKS: [&[u8]; 7] = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04name",
    b"\x01\x01\x00",
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x02\x00\x00",
    b"{\"op\": \"hello\"}\n",
];

fn ready_of_some_kind(random: &mut Random) -> Vec<u8> {
    ready(["SUB", "XSUB", "PUB", "XPUB", "REQ", "DEALER"][random.below(6) as usize])
}

fn noise(random: &mut Random, most: u64) -> Vec<u8> {
    (0..random.below(most)).map(|_| random.below(256) as u8).collect()
}

/// What a peer may say behind its handshake, and some of it no peer may.
fn speech(random: &mut Random) -> Vec<u8> {
    let topic = noise(random, 40);
    match random.below(14) {
        0 => frame(0, &[&[1], topic.as_slice()].concat()),
        1 => frame(0, &[&[0], topic.as_slice()].concat()),
        2 => command(b"SUBSCRIBE", &topic),
        3 => command(b"CANCEL", &topic),
        4 => command(b"PING", &[&[0, 10], topic.as_slice()].concat()),
        5 => command(b"ERROR", b"\x03why"),
        6 => command("X".repeat(1 + random.below(200) as usize).as_bytes(), &topic),
        // All that the honest say, and nobody reads it.
        7 => command(b"SUBSCRIBE", b""),
        8 => frame(1, &topic),
        9 => [frame(1, &topic), frame(0, &noise(random, 400))].concat(),
        10 => (0..random.below(300)).flat_map(|_| frame(1, b"part")).collect(),
        11 => frame(0, &[&[1], "long".repeat(random.below(2000) as usize).as_bytes()].concat()),
        // A frame of up to 2^63 bytes, of which the first come.
        12 => [&[2][..], &(1_u64 << random.below(64)).to_be_bytes(), &noise(random, 300)].concat(),
        _ => command(b"SUBSCRIBE", "deep".repeat(random.below(2000) as usize).as_bytes()),
    }
}

fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 2, 4, 0x7f, 0xff][random.below(6) as usize],
            2 => bytes.truncate(at),
            3 => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.below(256) as u8),
        }
    }
}

fn session(random: &mut Random) -> Session {
    let mut parts = match random.below(8) {
        0 => [noise(random, 200), noise(random, 200)],
        1 => [KNOCKS[random.below(7) as usize].to_vec(), Vec::new()],
        _ => {
            let said: Vec<u8> = (0..random.below(6)).flat_map(|_| speech(random)).collect();
            [greeting(1), [ready_of_some_kind(random), said].concat()]
        }
    };
    if random.below(3) == 0 {
        let which = random.below(2) as usize;
        spoil(random, &mut parts[which]);
    }
    let end = [End::Close, End::Reset, End::Listen, End::Linger][random.below(4) as usize];
    Session { parts, end }
}

/// Plays a session; what stays open is handed back. The other side may hang up at any time.
fn play(session: &Session, port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a backplane that takes connections");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    let [first, rest] = &session.parts;
    let said = stream.write_all(first).and_then(|()| {
        if first.len() >= 64 && !rest.is_empty() {
            stream.read_exact(&mut [0; 64])?;
        }
        stream.write_all(rest)
    });
    match session.end {
        End::Linger if said.is_ok() => return Some(stream),
        End::Reset => drop(set_socket_linger(&stream, Some(Duration::ZERO))),
        End::Listen if stream.shutdown(Shutdown::Write).is_ok() => {
            let mut all = [0; 4096];
            while matches!(stream.read(&mut all), Ok(1..)) {}
        }
        _ => {}
    }
    None
}

/// A line of the process's status, in bytes.
fn memory(id: u32, line: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn six_thousand_strangers_cost_the_honest_nothing() {
    let mut random = Random::new();
    let sessions: Vec<Session> = (0..SESSIONS).map(|_| session(&mut random)).collect();
    let mut hub = Hub::start(Kind::Multiplane, "BP");
    let ports = [hub.publisher_port(), hub.subscriber_port()];
    let bus = component("honest", [hub.route([TOPIC])]);
    let (publisher, subscriber) = (bus.publisher("BP").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber(TOPIC, DEADLINE).unwrap();
    let mut sent = 0_u64;
    // Never more on their way than every queue has room for, so that each one that is missing was lost to a stranger.
    let mut talk = || {
        (sent..sent + WINDOW).for_each(|number| publisher.publish(TOPIC, &number).unwrap());
        for number in sent..sent + WINDOW {
            let message = subscriber.recv_timeout(DEADLINE).expect("a message of the honest was lost");
            assert_eq!(message.topic(), TOPIC);
            assert_eq!(message.decode::<u64>().unwrap(), number, "lost, or out of order");
        }
        sent += WINDOW;
    };
    (0..20).for_each(|_| talk());
    let id = hub.process().id();
    let before = memory(id, "VmRSS");
    std::thread::scope(|scope| {
        let strangers: Vec<_> = sessions
            .chunks(SESSIONS / 2)
            .map(|sessions| {
                scope.spawn(move || {
                    let mut there = std::collections::VecDeque::new();
                    for (nth, session) in sessions.iter().enumerate() {
                        there.extend(play(session, ports[nth % 2]));
                        if there.len() > LINGERING / 2 {
                            there.pop_front();
                        }
                    }
                })
            })
            .collect();
        while strangers.iter().any(|stranger| !stranger.is_finished()) {
            talk();
        }
    });
    talk();
    let most = memory(id, "VmHWM").saturating_sub(before);
    println!("{sent} messages of the honest beside {SESSIONS} sessions; memory +{} KiB at most", most >> 10);
    assert!(most < MEMORY, "the backplane took {most} bytes more");
    // It goes on, for others, too, and has counted whom it refused.
    let other = component("another", [hub.publishing_route()]);
    other.publisher("BP").unwrap().publish(TOPIC, &sent).unwrap();
    assert_eq!(subscriber.recv_timeout(DEADLINE).unwrap().decode::<u64>().unwrap(), sent);
    hub.process().interrupt();
    hub.process().line("the count of those refused", |line| line.contains("connections refused"));
    eventually("the backplane ends", || !hub.process().is_running());
}

//! Peers that break the rules, by mistake or malice: each hurts itself and nobody else. Native engine only.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use super::raw::*;
use multiplane_bus::{Backplane, Budget};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// SplitMix64.
struct Random(u64);

impl Random {
    /// `MULTIPLANE_SEED` repeats a run.
    fn new() -> Self {
        let given = std::env::var("MULTIPLANE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9));
        println!("seed: MULTIPLANE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

/// A publisher and a subscriber that notice if anything goes wrong.
struct Honest {
    publisher: Raw,
    subscriber: Raw,
    next: u32,
}

impl Honest {
    fn new(backplane: &Backplane) -> Self {
        let mut publisher = Raw::publisher(backplane);
        let subscriber = Raw::subscriber(backplane, &[b"honest"]);
        publisher.await_wanted(b"honest");
        // It will hear of all that the others want, and need not listen.
        let mut ears = publisher.stream.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut ears, &mut std::io::sink()));
        Self { publisher, subscriber, next: 0 }
    }

    fn exchange(&mut self) {
        self.publisher.send(&[b"honest", &self.next.to_be_bytes()]);
        assert_eq!(self.subscriber.recv(), [&b"honest"[..], &self.next.to_be_bytes()]);
        self.next += 1;
    }
}

fn refused(backplane: &Backplane, n: u64) {
    until("they are refused", || backplane.stats().refused == n);
}

/// What an honest peer would say on a port, for mutation.
fn script(random: &mut Random) -> Vec<u8> {
    let kind = ["SUB", "PUB", "XSUB", "XPUB"][random.below(4)];
    let mut script = [greeting(random.below(3) as u8), ready(kind)].concat();
    for _ in 0..random.below(6) {
        let topic = random.bytes(3);
        script.extend(match random.below(5) {
            0 => command(b"PING", b"\0\0context"),
            1 => message(&[&topic, b"a message of a hostile publisher", &topic]),
            n => subscription(n == 2, random.below(3) > 0, &topic),
        });
    }
    script
}

#[test]
fn thousands_of_mad_sessions_hurt_nobody() {
    const SESSIONS: usize = 5_000;
    let backplane = native(Budget::default()).start().unwrap();
    let ports = [backplane.subscriber_port(), backplane.publisher_port()];
    let mut honest = Honest::new(&backplane);
    let mut random = Random::new();
    for session in 0..SESSIONS {
        let mut bytes = script(&mut random);
        match random.below(4) {
            0 => {
                let n = random.below(200);
                bytes = random.bytes(n);
            }
            1 => {
                let (at, n) = (random.below(bytes.len()), random.below(100));
                bytes.truncate(at);
                bytes.extend(random.bytes(n));
            }
            _ => {
                for _ in 0..1 + random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.below(256) as u8;
                }
            }
        }
        let mut stream = TcpStream::connect(("127.0.0.1", ports[random.below(2)])).unwrap();
        // In pieces now and then, and with every kind of goodbye.
        for piece in bytes.chunks(1 + random.below(bytes.len().max(1))) {
            let _ = stream.write_all(piece);
        }
        match random.below(3) {
            0 => drop(stream),
            1 => {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read(&mut [0; 100]);
            }
            _ => {
                let _ = stream.read(&mut [0; 1]);
            }
        }
        if session % 5 == 0 {
            honest.exchange();
        }
    }
    until("only the honest are left", || {
        let stats = backplane.stats();
        (stats.subscribers, stats.publishers) == (1, 1)
    });
    honest.exchange();
    until("their wishes went with them", || backplane.stats().subscriptions == 1);
    let stats = quiet(&backplane);
    assert!(stats.refused > 500, "{stats:?}");
    assert_eq!(stats.dropped, 0);
}

#[test]
fn whoever_dawdles_over_the_handshake_is_sent_away() {
    let budget = Budget { handshake_deadline: Duration::from_millis(300), ..Budget::default() };
    let backplane = native(budget).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let ports = [backplane.subscriber_port(), backplane.publisher_port()];
    let said = [&b""[..], b"\xff", &greeting(1), &[greeting(1), ready("SUB")[..5].to_vec()].concat()];
    let mut count = 0;
    for port in ports {
        for said in said {
            let mut slow = Raw::connect(port);
            slow.write(said);
            slow.rest();
            count += 1;
        }
    }
    refused(&backplane, count);
    // A byte now and then is no excuse.
    let mut slow = Raw::connect(ports[0]);
    let mut ears = slow.stream.try_clone().unwrap();
    ears.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut gone = false;
    for byte in greeting(1) {
        gone = !slow.try_write(&[byte]) || matches!(ears.read(&mut [0; 100]), Ok(0));
        if gone {
            break;
        }
    }
    assert!(gone, "64 bytes in 3.2 seconds were taken");
    refused(&backplane, count + 1);
    honest.exchange();
    assert!(honest.subscriber.is_silent_for(Duration::from_millis(400)), "it was sent away, too");
    honest.exchange();
}

#[test]
fn impossible_frames_are_refused_at_once() {
    let backplane = native(Budget::default()).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let mut count = 0;
    let limit = Budget::default().message_bytes as u64;
    for (port, kind) in [(backplane.subscriber_port(), "SUB"), (backplane.publisher_port(), "PUB")] {
        for flags in [2, 3, 6] {
            for length in [limit + 1, 1 << 31, 1 << 40, 1 << 63, u64::MAX] {
                let mut peer = Raw::peer(port, kind, 1);
                peer.write(&[&[flags][..], &length.to_be_bytes()].concat());
                peer.rest();
                count += 1;
            }
        }
        let odd: [&[u8]; 6] = [
            b"\x08\x01x",
            b"\x80",
            b"\x05\x01x",
            b"\x01\x01a\x04\x05\x04PONG",
            b"\x04\0",
            b"\x04\x05\x09PING",
        ];
        for odd in odd {
            let mut peer = Raw::peer(port, kind, 1);
            peer.write(odd);
            peer.rest();
            count += 1;
        }
        // The limit is for all frames of a message together.
        let mut peer = Raw::peer(port, kind, 1);
        let half = [&[3][..], &(limit / 2).to_be_bytes()].concat();
        peer.write(&half);
        let piece = vec![0; 1 << 20];
        for _ in 0..limit / 2 / piece.len() as u64 {
            if !peer.try_write(&piece) {
                break;
            }
        }
        let _ = peer.try_write(&half);
        peer.rest();
        count += 1;
        honest.exchange();
    }
    refused(&backplane, count);
    assert_eq!(backplane.stats().received, u64::from(honest.next));
}

/// It would cost minutes if each read looked at all of it again.
#[test]
fn endless_tiny_frames_stall_nobody() {
    let backplane = native(Budget { message_bytes: 32 << 20, ..Budget::default() }).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let mut peer = Raw::publisher(&backplane);
    let frames = b"\x01\0".repeat(1 << 19);
    for _ in 0..31 {
        peer.write(&frames);
        honest.exchange();
    }
    while peer.try_write(&frames) {}
    refused(&backplane, 1);
}

#[test]
fn long_subscriptions_are_refused_and_those_within_the_limit_are_not() {
    let short = Budget { subscription_topic_bytes: 100, ..Budget::default() };
    for (budget, limit) in [(Budget::default(), 1024), (short, 100)] {
        let backplane = native(budget).start().unwrap();
        let mut honest = Honest::new(&backplane);
        let mut count = 0;
        for as_command in [false, true] {
            let longest = vec![b't'; limit];
            let mut peer = Raw::peer(backplane.subscriber_port(), "SUB", 1);
            peer.write(&subscription(as_command, true, &longest));
            peer.ping();
            assert_eq!(backplane.stats().subscriptions, 2);
            for length in [limit + 1, limit + 20, limit + 100, 1_000_000] {
                let mut peer = Raw::peer(backplane.subscriber_port(), "SUB", 1);
                let _ = peer.try_write(&subscription(as_command, true, &vec![b't'; length]));
                peer.rest();
                count += 1;
                refused(&backplane, count);
            }
            drop(peer);
            until("it has gone", || backplane.stats().subscribers == 1);
        }
        honest.exchange();
    }
}

#[test]
fn a_flood_of_subscriptions_ends_at_the_limit() {
    let backplane = native(Budget { subscriptions: 10_000, ..Budget::default() }).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let mut flood = Raw::peer(backplane.subscriber_port(), "SUB", 1);
    let topics = (0..20_000).flat_map(|n| subscription(true, true, format!("topic {n}").as_bytes()));
    let _ = flood.try_write(&topics.collect::<Vec<_>>());
    flood.rest();
    refused(&backplane, 1);
    assert_eq!(backplane.stats().subscriptions, 1, "and it leaves nothing behind");
    honest.exchange();
    let mut another = Raw::subscriber(&backplane, &[b"honest"]);
    honest.exchange();
    assert_eq!(another.recv()[0], b"honest");
}

/// A publisher that is busy while many wishes end at once is not sent away for that.
#[test]
fn a_publisher_may_hear_late_that_all_wishes_have_ended() {
    const TOPICS: usize = 20_000;
    let backplane = native(Budget { subscriber_queue_bytes: 100_000, ..Budget::default() }).start().unwrap();
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    let mut subscriber = Raw::subscriber(&backplane, &[]);
    // More than the system's buffers take.
    let topic = |n: usize| [&n.to_string().into_bytes()[..], &[b't'; 1000]].concat();
    for first in (0..TOPICS).step_by(100) {
        let some: Vec<_> = (first..first + 100).map(topic).collect();
        some.iter().for_each(|topic| subscriber.write(&subscription(true, true, topic)));
        some.into_iter().for_each(|topic| assert_eq!(publisher.wish(), (true, topic)));
    }
    drop(subscriber);
    until("all have ended", || backplane.stats().subscriptions == 0);
    let ended: std::collections::HashSet<_> = (0..TOPICS).map(|_| publisher.wish()).collect();
    assert!(ended.len() == TOPICS && ended.iter().all(|(subscribe, _)| !subscribe));
    assert_eq!(backplane.stats().refused, 0);
}

/// Nobody may make the backplane hoard answers or news that he does not read.
#[test]
fn whoever_does_not_read_what_he_asked_for_is_sent_away() {
    let backplane = native(Budget { subscriber_queue_bytes: 100_000, ..Budget::default() }).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let pings = command(b"PING", b"\0\x000123456789abcdef").repeat(1000);
    for (count, (port, kind)) in
        (1..).zip([(backplane.subscriber_port(), "SUB"), (backplane.publisher_port(), "PUB")])
    {
        let mut deaf = Raw::peer(port, kind, 1);
        while deaf.try_write(&pings) {}
        refused(&backplane, count);
        honest.exchange();
    }
    // A publisher that does not hear what is wanted, of a subscriber that changes its mind all the time.
    let _deaf = Raw::publisher(&backplane);
    let mut fickle = Raw::subscriber(&backplane, &[]);
    let topic = vec![b't'; 1000];
    let change = [subscription(true, true, &topic), subscription(true, false, &topic)].concat();
    while backplane.stats().refused == 2 {
        fickle.write(&change);
    }
    fickle.ping();
    refused(&backplane, 3);
    honest.exchange();
}

#[test]
fn wrong_sockets_are_told_and_counted() {
    let backplane = native(Budget::default()).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let wrong = [
        (backplane.subscriber_port(), ["PUB", "XPUB", "REQ", "ROUTER"]),
        (backplane.publisher_port(), ["SUB", "XSUB", "REQ", "ROUTER"]),
    ];
    let mut count = 0;
    for (port, kinds) in wrong {
        for kind in kinds {
            let mut peer = Raw::connect(port);
            peer.write(&[greeting(1), ready(kind)].concat());
            peer.greeting();
            assert!(peer.command().starts_with(b"\x05READY"));
            assert_eq!(peer.command(), b"\x05ERROR\x13Invalid socket type");
            assert_eq!(peer.rest(), b"");
            count += 1;
        }
        let mut plain = greeting(1);
        plain[12..17].copy_from_slice(b"PLAIN");
        for stranger in [&plain[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"SSH-2.0-x\r\n", b"\x01\0"]
        {
            let mut peer = Raw::connect(port);
            peer.write(stranger);
            peer.rest();
            count += 1;
        }
    }
    refused(&backplane, count);
    honest.exchange();
}

/// A thousand connections, or as many as this process may have: each has two ends here.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files = files.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    (files.saturating_sub(200) / 4 * 2).min(1000)
}

#[test]
fn a_thousand_idle_connections_and_none_beyond_the_limit() {
    let idle_limit = many();
    let backplane = native(Budget { connections: idle_limit + 3, ..Budget::default() }).start().unwrap();
    let mut honest = Honest::new(&backplane);
    let ports = [backplane.subscriber_port(), backplane.publisher_port()];
    let idle: Vec<Raw> =
        (0..idle_limit).map(|n| Raw::peer(ports[n % 2], ["SUB", "PUB"][n % 2], (n / 2 % 2) as u8)).collect();
    let stats = backplane.stats();
    assert_eq!((stats.subscribers, stats.publishers), (idle_limit as u64 / 2 + 1, idle_limit as u64 / 2 + 1));
    honest.exchange();
    let last = Raw::subscriber(&backplane, &[]);
    // The next one finds the door closed, at once and without a word.
    for n in 1..=3 {
        assert_eq!(Raw::connect(ports[n as usize % 2]).rest(), b"");
        refused(&backplane, n);
    }
    honest.exchange();
    // There is room again when somebody goes.
    drop(last);
    until("it has gone", || backplane.stats().subscribers == idle_limit as u64 / 2 + 1);
    let mut next = Raw::subscriber(&backplane, &[b"honest"]);
    honest.exchange();
    assert_eq!(next.recv()[0], b"honest");
    drop(idle);
    until("all have gone", || backplane.stats().publishers == 1);
}

//! Millions of streams that a peer might send, sound and spoilt: cut anywhere they are read as when they come whole, no
//! more is held than the limits allow, and nothing panics.
//!
//! `HOSTILE_SEED=n` and `HOSTILE_STREAMS=n` choose others.
#![allow(clippy::print_stdout, reason = "the seed is worth printing")]

mod counting;
mod random;

use counting::within;
use multiplane_codec::zmtp::frame::{self, COMMAND, Found, FrameError, LONG, MORE};
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType, command};
use random::{Random, setting};

/// The longest message here.
const LIMIT: usize = 300;

/// What an honest peer says after its greeting.
fn honest(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(5) {
        let length = [0, 1, 5, 20, 254, 255, 256][random.below(7)];
        let body = vec![random.next() as u8; length];
        match random.below(6) {
            0 => command::write_ping(&mut bytes, random.next() as u16, &body[..length.min(16)]),
            1 => {
                let (minor, subscribe) = (random.below(2) as u8, random.below(2) == 0);
                command::write_subscription(&mut bytes, minor, subscribe, &body);
            }
            _ => {
                for _ in 0..random.below(4) {
                    frame::write(&mut bytes, MORE, &body[..length.min(9)]);
                }
                frame::write(&mut bytes, 0, &body);
            }
        }
    }
    bytes
}

fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, MORE, LONG, COMMAND, 0x7f, 0xff][random.below(6)],
            2 => bytes.truncate(at),
            3 => drop(bytes.remove(at)),
            4 => bytes.insert(at, random.next() as u8),
            _ => {
                let end = bytes.len().min(at + 8);
                bytes[at..end].fill(0xff);
            }
        }
    }
}

/// Where each message or command ends, and how it ended.
#[derive(Debug, PartialEq, Default)]
struct Seen {
    ends: [usize; 32],
    count: usize,
    error: Option<FrameError>,
}

/// Reads a stream of which so much has come, and then more.
fn read(bytes: &[u8], arrivals: impl Iterator<Item = usize>) -> Seen {
    let (mut seen, mut at, mut scanned) = (Seen::default(), 0, 0);
    for end in arrivals {
        loop {
            match frame::find_from(&bytes[at..end], &mut scanned, LIMIT) {
                Ok(Found::Incomplete) => break,
                Ok(Found::Message { topic, topic_length, total }) => {
                    assert!(topic + topic_length <= total && total <= end - at);
                    at += total;
                }
                Ok(Found::Command { body, total }) => {
                    assert!(body <= total && total <= end - at);
                    let _ = command::parse(&bytes[at + body..at + total]);
                    at += total;
                }
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            }
            if seen.count < seen.ends.len() {
                seen.ends[seen.count] = at;
                seen.count += 1;
            }
        }
    }
    seen
}

/// The peer and what it offers, or why not; and how much was used.
type Shaken = (Result<Option<(Peer, Option<Vec<u8>>)>, Refusal>, usize);

fn shake(bytes: &[u8], arrivals: impl Iterator<Item = usize>) -> Shaken {
    let (handshake, mut out) = Handshake::start(SocketType::XPub);
    let mut handshake = handshake.offering("X-Way", b"here").seeking("X-Way");
    let mut at = 0;
    for end in arrivals {
        match handshake.handle(&bytes[at..end], &mut out) {
            Ok(used) => at += used,
            Err(refusal) => return (Err(refusal), 0),
        }
        if handshake.peer().is_some() {
            break;
        }
    }
    let peer = handshake.peer().map(|peer| (peer, handshake.found().map(<[u8]>::to_vec)));
    (Ok(peer), at)
}

#[test]
fn millions_of_streams_are_read_alike_however_they_are_cut() {
    let (seed, streams) = (setting("HOSTILE_SEED", 20_261_122), setting("HOSTILE_STREAMS", 1_000_000));
    println!("HOSTILE_SEED={seed} HOSTILE_STREAMS={streams}");
    let mut random = Random(seed);
    let (mut sound, mut inputs) = (0u64, 0u64);
    for _ in 0..streams {
        let mut bytes = honest(&mut random);
        spoil(&mut random, &mut bytes);
        let length = bytes.len();
        within(0, "reading frames", || {
            let whole = read(&bytes, std::iter::once(length));
            sound += u64::from(whole.error.is_none() && whole.count > 0);
            // Byte by byte, and every cut of a short one; of a long one some.
            assert_eq!(read(&bytes, 1..=length), whole, "byte by byte: {bytes:02x?}");
            let step = length / 24 + 1;
            for cut in (random.below(step)..length).step_by(step) {
                assert_eq!(read(&bytes, [cut, length].into_iter()), whole, "cut at {cut}: {bytes:02x?}");
                inputs += 1;
            }
            inputs += 2;
        });
    }
    println!("{inputs} inputs, {sound} of {streams} streams without a mistake");
    assert!(inputs > 5 * streams && sound > streams / 5 && sound < streams * 9 / 10, "{inputs} {sound}");
}

#[test]
fn a_million_handshakes_are_judged_alike_however_they_are_cut() {
    let mut random = Random(setting("HOSTILE_SEED", 20_261_122));
    let (_, ours) = Handshake::start(SocketType::Sub);
    let (mut accepted, mut refused, mut offered) = (0, 0, 0);
    for _ in 0..setting("HOSTILE_STREAMS", 1_000_000) / 10 {
        let mut bytes = ours.clone();
        bytes.resize(64, 0);
        let kind: &[u8] = [&b"SUB"[..], b"XSUB", b"PUB", b"REQ"][random.below(4)];
        let mut metadata = Vec::new();
        command::write_property(&mut metadata, "Identity", b"");
        command::write_property(&mut metadata, "Socket-Type", kind);
        command::write_property(&mut metadata, "x-way", &vec![b'w'; random.below(300)]);
        command::write(&mut bytes, "READY", &[&metadata]);
        spoil(&mut random, &mut bytes);
        let length = bytes.len();
        // Greeting, READY and a reason: what we say, in a buffer that doubles, and the words of a refusal.
        within(4 << 10, "a handshake", || {
            let whole = shake(&bytes, std::iter::once(length));
            for cut in [random.below(length + 1), random.below(length + 1), random.below(length + 1)] {
                assert_eq!(shake(&bytes, [cut, length].into_iter()), whole, "cut at {cut}: {bytes:02x?}");
            }
            assert_eq!(shake(&bytes, 1..=length), whole, "{bytes:02x?}");
            match whole.0 {
                Ok(Some((_, offer))) => {
                    accepted += 1;
                    offered += u64::from(offer.is_some());
                }
                Ok(None) => {}
                Err(_) => refused += 1,
            }
        });
    }
    println!("{accepted} accepted, {offered} with an offer, {refused} refused");
    assert!(accepted > 1000 && refused > 1000 && offered > accepted / 2 && offered < accepted);
}

//! What a peer sends to a port of a backplane.

use super::{chosen, cut};
use multiplane_codec::zmtp::command::{Command, parse, property};
use multiplane_codec::zmtp::frame::{Found, FrameError, Header, find, find_from, pair, repeats};
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType};

/// Where each message ends and whether it was a command; and the mistake at the end.
type Seen = (Vec<(usize, bool)>, Result<(), FrameError>);

fn read(bytes: &[u8], step: usize, limit: usize) -> Seen {
    let (mut at, mut scanned, mut seen) = (0, 0, Vec::new());
    for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
        loop {
            let (total, is_command) = match find_from(&bytes[at..end], &mut scanned, limit) {
                Ok(Found::Incomplete) => break,
                Ok(Found::Message { topic, topic_length, total }) => {
                    // One frame alone may have its header besides.
                    let whole = if topic + topic_length < total { limit } else { limit + topic };
                    assert!(topic + topic_length <= total && total <= whole);
                    (total, false)
                }
                Ok(Found::Command { body, total }) => {
                    assert!(body <= total && total <= limit + body);
                    (total, true)
                }
                Err(error) => return (seen, Err(error)),
            };
            assert!(total > 0 && total <= end - at);
            at += total;
            seen.push((at, is_command));
        }
    }
    (seen, Ok(()))
}

/// The same frames are found however a stream is cut, and none beyond its end; those who look faster see the same. The
/// choice says how small the parts are, and how long a message may be.
pub fn stream(data: &[u8]) {
    let (choice, bytes) = chosen(data);
    let (step, limit) = (choice % 16 + 1, choice / 16 * 24 + 8);
    let whole = read(bytes, usize::MAX, limit);
    assert_eq!(read(bytes, step, limit), whole);
    let starts = [0].into_iter().chain(whole.0.iter().map(|(end, _)| *end));
    for start in starts.take(8) {
        shortcuts(&bytes[start..], limit);
    }
}

/// [`pair`] and [`repeats`] look at a message or many with one glance, and [`find`] is right.
fn shortcuts(bytes: &[u8], limit: usize) {
    let found = find(bytes, limit);
    let Some(pair) = pair(bytes, limit) else { return };
    let Ok(Found::Message { topic, topic_length, total }) = found else { panic!("a pair, but {found:?}") };
    assert_eq!((pair.topic, pair.total), (&bytes[topic..topic + topic_length], total));
    assert!(total - pair.payload.len() <= topic + topic_length + 9);
    let first = &bytes[..topic + topic_length];
    let (messages, passed) = repeats(bytes, first, limit, (16, bytes.len()));
    assert!(messages >= 1 && passed >= total);
    let mut at = 0;
    for _ in 0..messages {
        assert!(bytes[at..].starts_with(first));
        match find(&bytes[at..], limit) {
            Ok(Found::Message { total, .. }) => at += total,
            other => panic!("a message was passed over, but there is {other:?}"),
        }
    }
    assert_eq!(at, passed);
}

/// The peer and what it offers, if all has come.
type Met = Option<(Peer, Option<Vec<u8>>)>;

fn shake(ours: SocketType, parts: &[&[u8]]) -> Result<Met, Refusal> {
    let (handshake, mut out) = Handshake::start(ours);
    let mut handshake = handshake.offering("X-Way", b"here").seeking("X-Way");
    let mut input = Vec::new();
    for part in parts {
        input.extend_from_slice(part);
        let used = handshake.handle(&input, &mut out)?;
        input.drain(..used);
        assert!(out.len() < 1024, "it says no more than it must");
        if handshake.peer().is_some() {
            break;
        }
    }
    Ok(handshake.peer().map(|peer| (peer, handshake.found().map(<[u8]>::to_vec))))
}

/// A handshake ends the same way however its bytes are cut.
pub fn handshake(data: &[u8]) {
    let (at, bytes) = chosen(data);
    for ours in [SocketType::XPub, SocketType::XSub] {
        let whole = shake(ours, &[bytes]);
        assert_eq!(shake(ours, &cut(bytes, at)), whole);
        if let Err(refusal) = whole {
            let said = refusal.to_string();
            assert!(said.len() < 1024 && !said.contains(char::is_control), "no line for a log: {said:?}");
        }
    }
}

/// Commands and their metadata, and the headers of frames.
pub fn command(data: &[u8]) {
    match parse(data) {
        Some(Command::Ready(metadata)) => {
            if let Some(value) = property(metadata, "Socket-Type") {
                assert!(value.len() < metadata.len());
            }
        }
        Some(Command::Ping { context, .. }) => assert!(context.len() <= 16),
        _ => {}
    }
    let _ = property(data, "Identity");
    if let Ok(Some(header)) = Header::parse(data, 100) {
        assert!(header.header <= data.len() && header.body <= 100);
    }
}

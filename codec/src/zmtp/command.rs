//! Commands (RFC 37, "Commands"): a name of up to 255 bytes with its length in front, then data.

use super::frame::{self, COMMAND};

/// A command of a connection past its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The peer wants topics with this prefix (3.1).
    Subscribe(&'a [u8]),
    /// It does not any more (3.1).
    Cancel(&'a [u8]),
    /// It asks whether we are there (3.1). `ttl`: it takes itself for dead after so many tenths of a second without a
    /// sign from it; 0 means never.
    Ping {
        /// Tenths of a second.
        ttl: u16,
        /// To be sent back, at most 16 bytes.
        context: &'a [u8],
    },
    /// It answers.
    Pong(&'a [u8]),
    /// It gives up, and says why.
    Error(&'a [u8]),
    /// The end of the handshake, with metadata.
    Ready(&'a [u8]),
    /// Something newer than this code.
    Unknown(&'a [u8]),
}

/// Reads the body of a command frame; `None` when it is none.
#[must_use]
pub fn parse(body: &[u8]) -> Option<Command<'_>> {
    let (&length, rest) = body.split_first()?;
    let (name, data) = rest.split_at_checked(usize::from(length))?;
    Some(match name {
        b"SUBSCRIBE" => Command::Subscribe(data),
        b"CANCEL" => Command::Cancel(data),
        b"PING" => {
            let (ttl, context) = data.split_first_chunk::<2>()?;
            Command::Ping { ttl: u16::from_be_bytes(*ttl), context: context.get(..16).unwrap_or(context) }
        }
        b"PONG" => Command::Pong(data),
        b"READY" => Command::Ready(data),
        b"ERROR" => {
            let (&length, reason) = data.split_first()?;
            Command::Error(reason.get(..usize::from(length))?)
        }
        name => Command::Unknown(name),
    })
}

/// Appends a command frame.
pub fn write(out: &mut Vec<u8>, name: &str, data: &[&[u8]]) {
    let name = &name.as_bytes()[..name.len().min(255)];
    let length = 1 + name.len() + data.iter().map(|part| part.len()).sum::<usize>();
    frame::write_header(out, COMMAND, length);
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    data.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends a subscription, or its end, in the form that a peer of this minor version understands: a command since 3.1,
/// before that a message that begins with 1 or 0 (RFC 23, "The PUB and SUB socket types").
pub fn write_subscription(out: &mut Vec<u8>, minor: u8, subscribe: bool, topic: &[u8]) {
    if minor >= 1 {
        write(out, if subscribe { "SUBSCRIBE" } else { "CANCEL" }, &[topic]);
    } else {
        frame::write_header(out, 0, topic.len() + 1);
        out.push(u8::from(subscribe));
        out.extend_from_slice(topic);
    }
}

/// Appends the answer to a PING.
pub fn write_pong(out: &mut Vec<u8>, context: &[u8]) {
    write(out, "PONG", &[context]);
}

/// Appends a PING.
pub fn write_ping(out: &mut Vec<u8>, ttl: u16, context: &[u8]) {
    write(out, "PING", &[&ttl.to_be_bytes(), context]);
}

/// Appends an ERROR, cut to 255 bytes.
pub fn write_error(out: &mut Vec<u8>, reason: &str) {
    let reason = &reason.as_bytes()[..reason.len().min(255)];
    write(out, "ERROR", &[&[reason.len() as u8], reason]);
}

/// Appends a property of a READY command; a name has up to 255 bytes.
pub fn write_property(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let name = &name.as_bytes()[..name.len().min(255)];
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// Reads one property of a READY command (RFC 37, "The NULL mechanism"), whose names do not mind case.
#[must_use]
pub fn property<'a>(mut metadata: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    while !metadata.is_empty() {
        let (&length, rest) = metadata.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        if name.eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(value);
        }
        metadata = rest;
    }
    None
}

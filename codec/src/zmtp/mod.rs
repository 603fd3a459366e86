//! ZMTP 3.1, the wire of ZeroMQ, without a socket or a clock.
//!
//! Bytes go in, decisions come out: [`Handshake`] takes a connection from its first byte to READY, [`frame`] finds the
//! borders of frames in place, [`command`] reads and writes SUBSCRIBE, CANCEL, PING, PONG and ERROR. The NULL mechanism
//! and peers of ZMTP 3.0 are understood; everything else is refused with a [`Refusal`] that says what knocked. [`curve`]
//! has the steps and the boxes of the CURVE mechanism.
//!
//! Sources: RFC 37 (ZMTP 3.1) and RFC 23 (ZMTP 3.0) of <https://rfc.zeromq.org>.

pub mod command;
pub mod curve;
pub mod frame;
mod handshake;

pub use handshake::{GREETING, Handshake, NULL, Peer, Refusal, SocketType, greeting, read_greeting};

/// A peer's own words, fit for one line of a log: what would move a cursor makes way for a replacement character.
fn words_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(char::is_control, "\u{fffd}")
}

//! Past the handshake: each frame is a MESSAGE command with a number that only rises.

use super::boxes::{Numbered, OVERHEAD, Sealed, short};
use super::{CurveError, HANDSHAKE_LIMIT, expect};
use crate::zmtp::frame;
use std::fmt;

const NAME: &[u8] = b"\x07MESSAGE";

/// Bytes of a MESSAGE before its box.
const HEAD: usize = NAME.len() + 8;

/// Flags inside of a box. They are not those of a frame.
const MORE: u8 = 1;
const COMMAND: u8 = 2;

type Prefix = [u8; 16];
const OF_CLIENT: &Prefix = b"CurveZMQMESSAGEC";
const OF_SERVER: &Prefix = b"CurveZMQMESSAGES";

/// Seals and opens the frames of a connection.
pub struct Traffic {
    /// For READY, which has a prefix of its own.
    sealed: Sealed,
    ours: Numbered,
    theirs: Numbered,
    /// What the next frame of ours is numbered.
    next: u64,
    /// The highest number that has come.
    last: u64,
}

/// A frame that came in a box.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// [`frame::MORE`] and [`frame::COMMAND`].
    pub flags: u8,
    /// Its body.
    pub body: &'a [u8],
}

impl Traffic {
    /// Bytes that the body of a MESSAGE has more than what it carries.
    pub const OVERHEAD: usize = HEAD + OVERHEAD + 1;

    pub(super) fn of_client(sealed: Sealed) -> Self {
        // HELLO was 1, INITIATE 2.
        Self {
            ours: sealed.numbered(OF_CLIENT),
            theirs: sealed.numbered(OF_SERVER),
            sealed,
            next: 3,
            last: 0,
        }
    }

    pub(super) fn of_server(sealed: Sealed, last: u64) -> Self {
        Self { ours: sealed.numbered(OF_SERVER), theirs: sealed.numbered(OF_CLIENT), sealed, next: 1, last }
    }

    pub(super) fn seal_ready(&mut self, metadata: &[u8], out: &mut Vec<u8>) {
        let number = self.number();
        out.extend_from_slice(&number.to_be_bytes());
        self.sealed.seal(&short(b"CurveZMQREADY---", number), &[metadata], out);
    }

    pub(super) fn open_ready(&mut self, number: u64, sealed: &[u8]) -> Result<Vec<u8>, CurveError> {
        self.last = number;
        let inside = self.sealed.open(&short(b"CurveZMQREADY---", number), sealed);
        let inside = inside.filter(|inside| inside.len() <= HANDSHAKE_LIMIT);
        Ok(inside.ok_or(CurveError::Forged { command: "READY" })?.to_vec())
    }

    /// No number is used twice; a billion messages a second would take five hundred years for all.
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Appends the whole frame that carries a frame with these flags, [`frame::MORE`] or [`frame::COMMAND`], and body.
    pub fn seal(&mut self, flags: u8, body: &[u8], out: &mut Vec<u8>) {
        let number = self.number();
        // On the wire it has no flag of a command, as libzmq has it.
        frame::write_header(out, 0, Self::OVERHEAD + body.len());
        let more = if flags & frame::MORE != 0 { MORE } else { 0 };
        let command = if flags & frame::COMMAND != 0 { COMMAND } else { 0 };
        let mut head = [0; Self::OVERHEAD];
        head[..NAME.len()].copy_from_slice(NAME);
        head[NAME.len()..HEAD].copy_from_slice(&number.to_be_bytes());
        head[Self::OVERHEAD - 1] = more | command;
        out.reserve(head.len() + body.len());
        let start = out.len() + HEAD;
        out.extend_from_slice(&head);
        out.extend_from_slice(body);
        self.ours.seal_in(number, &mut out[start..]);
    }

    /// Opens the body of a frame in place.
    ///
    /// # Errors
    /// [`CurveError`]: the connection cannot go on.
    pub fn open<'a>(&mut self, body: &'a mut [u8]) -> Result<Opened<'a>, CurveError> {
        let Some(rest) = body.strip_prefix(NAME) else {
            // Perhaps it says why it gives up.
            return Err(expect(body, "MESSAGE")
                .err()
                .unwrap_or(CurveError::Malformed { command: "MESSAGE" }));
        };
        let (Some(number), true) = (rest.first_chunk::<8>(), body.len() >= Self::OVERHEAD) else {
            return Err(CurveError::Malformed { command: "MESSAGE" });
        };
        let number = u64::from_be_bytes(*number);
        if number <= self.last {
            return Err(CurveError::Replayed { command: "MESSAGE" });
        }
        let inside = self.theirs.open_in(number, &mut body[HEAD..]);
        let inside = &*inside.ok_or(CurveError::Forged { command: "MESSAGE" })?;
        self.last = number;
        match inside.split_first() {
            Some((&flags, body)) if flags <= COMMAND => {
                let more = if flags == MORE { frame::MORE } else { 0 };
                let command = if flags == COMMAND { frame::COMMAND } else { 0 };
                Ok(Opened { flags: more | command, body })
            }
            _ => Err(CurveError::Malformed { command: "MESSAGE" }),
        }
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").finish_non_exhaustive()
    }
}

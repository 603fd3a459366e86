//! The bytes of a connection become messages on a backplane.

use bytes::{BufMut, Bytes, BytesMut};
use multiplane_bus::local::{LocalError, PublishError, PublishTo};
use multiplane_codec::framing::FramingError;
use multiplane_codec::framing::lines::Decoder;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

/// Small messages lie side by side in allocations of this size.
const ARENA: usize = 16 * 1024;
/// Longest line unless told otherwise.
const LINE: usize = 64 * 1024;
/// Bytes read from a connection at once.
pub(crate) const CHUNK: usize = 32 * 1024;
/// How soon to try again when the backplane is full.
pub(crate) const FULL_PAUSE: Duration = Duration::from_millis(1);

/// How bytes become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// As they come: no byte is changed, and the borders of the messages mean nothing.
    Chunks,
    /// A message is a line with its `\n`. A `\r` before that is taken away; a last line without one gets it.
    Lines {
        /// Longest line, its end not counted. Who sends a longer one is told so and cut off.
        limit: usize,
    },
}

impl Framing {
    /// Lines of up to 64 KiB.
    #[must_use]
    pub const fn lines() -> Self {
        Framing::Lines { limit: LINE }
    }
}

/// One connection's way into a backplane.
#[derive(Debug)]
pub(crate) struct Intake {
    publisher: PublishTo,
    framing: Framing,
    lines: Decoder,
    arena: BytesMut,
    /// There was no room for it yet.
    refused: Option<Bytes>,
    ended: bool,
}

/// How far it got.
#[derive(Debug)]
pub(crate) enum Pumped {
    /// Everything that had come is published.
    All,
    /// The backplane has no room: read nothing more, and try again.
    Full,
    /// The backplane is gone.
    Closed,
    /// The connection is to be cut off, and to be told why.
    Wrong(FramingError),
}

/// What a connection had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Had {
    Bytes(usize),
    Nothing,
    End,
}

/// Reads once.
pub(crate) fn read(mut stream: impl Read, buffer: &mut [u8]) -> io::Result<Had> {
    loop {
        return match stream.read(buffer) {
            Ok(0) => Ok(Had::End),
            Ok(count) => Ok(Had::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Had::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

impl Intake {
    pub(crate) fn new(backplane: &str, framing: Framing) -> Result<Self, LocalError> {
        let limit = match framing {
            Framing::Chunks => 0,
            Framing::Lines { limit } => limit,
        };
        let (publisher, lines) = (PublishTo::new(backplane)?, Decoder::new(limit));
        Ok(Self { publisher, framing, lines, arena: BytesMut::new(), refused: None, ended: false })
    }

    /// What came; to be pumped before more is fed.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        match self.framing {
            Framing::Chunks => self.arena.put_slice(bytes),
            Framing::Lines { .. } => self.lines.feed(bytes),
        }
    }

    /// Nothing more will come: what there is of the last line is a line.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the end was told and what there was is not yet taken over by a new connection.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// A new connection begins; everything of the former one must have been pumped.
    pub(crate) fn begin(&mut self) {
        self.ended = false;
    }

    /// Publishes what there is, and counts each message with `published`.
    pub(crate) fn pump(&mut self, mut published: impl FnMut()) -> Pumped {
        loop {
            let message = match self.refused.take().map_or_else(|| self.next(), |refused| Ok(Some(refused))) {
                Ok(Some(message)) => message,
                Ok(None) => return Pumped::All,
                Err(error) => return Pumped::Wrong(error),
            };
            match self.publisher.try_publish(message) {
                Ok(()) => published(),
                Err(PublishError::Full(message)) => {
                    self.refused = Some(message.into_payload());
                    return Pumped::Full;
                }
                Err(PublishError::Closed(_)) => return Pumped::Closed,
            }
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, FramingError> {
        if self.framing == Framing::Chunks {
            return Ok((!self.arena.is_empty()).then(|| self.arena.split().freeze()));
        }
        let line = match self.lines.next_line()? {
            Some(line) => line,
            None if self.ended => match self.lines.finish() {
                Some(line) => line,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let length = line.len() + 1;
        if self.arena.capacity() < length {
            self.arena = BytesMut::with_capacity(ARENA.max(length));
        }
        self.arena.put_slice(line);
        self.arena.put_u8(b'\n');
        Ok(Some(self.arena.split().freeze()))
    }
}

//! A big-endian length, then so many bytes: one, two or four bytes of length. One byte is what Python
//! Banyan's TCP gateway and its microcontrollers speak.
//!
//! ```
//! use multiplane_codec::framing::length_prefix::{Decoder, Width, encode};
//!
//! let mut stream = Vec::new();
//! encode(Width::One, b"hello", &mut stream)?;
//! encode(Width::One, b"", &mut stream)?;
//! assert_eq!(stream, b"\x05hello\0");
//!
//! let mut decoder = Decoder::new(Width::One, 255);
//! decoder.feed(&stream[..3]);
//! assert_eq!(decoder.next_frame()?, None);
//! decoder.feed(&stream[3..]);
//! assert_eq!(decoder.next_frame()?, Some(&b"hello"[..]));
//! assert_eq!(decoder.next_frame()?, Some(&b""[..]));
//! assert_eq!(decoder.next_frame()?, None);
//! # Ok::<(), multiplane_codec::framing::FramingError>(())
//! ```

use super::{Backlog, FramingError};

/// Bytes of the length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Messages up to 255 bytes.
    One = 1,
    /// Messages up to 65,535 bytes.
    Two = 2,
    /// Messages up to 4 GiB less one byte.
    Four = 4,
}

impl Width {
    /// Most bytes that a message of this width can have.
    pub const fn max(self) -> usize {
        match self {
            Width::One => u8::MAX as usize,
            Width::Two => u16::MAX as usize,
            Width::Four => u32::MAX as usize,
        }
    }

    fn bytes(self) -> usize {
        self as usize
    }
}

/// Appends `message` with its length in front.
///
/// # Errors
/// [`FramingError::TooLongToSend`] where the width cannot say its length; then nothing is written.
pub fn encode(width: Width, message: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
    let length = message.len();
    if length > width.max() {
        return Err(FramingError::TooLongToSend { length, limit: width.max() });
    }
    let field = (length as u64).to_be_bytes();
    out.extend_from_slice(&field[field.len() - width.bytes()..]);
    out.extend_from_slice(message);
    Ok(())
}

/// Finds messages in a stream that arrives in chunks.
#[derive(Debug)]
pub struct Decoder {
    width: Width,
    limit: usize,
    backlog: Backlog,
    lost: Option<FramingError>,
}

impl Decoder {
    /// A decoder that refuses messages of more than `limit` bytes.
    pub fn new(width: Width, limit: usize) -> Self {
        Decoder { width, limit, backlog: Backlog::default(), lost: None }
    }

    /// Adds what arrived; ignored once the stream is lost.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.lost.is_none() {
            self.backlog.feed(chunk);
        }
    }

    /// The next complete message, or `None` until more is fed.
    ///
    /// # Errors
    /// [`FramingError::TooLong`] as soon as the length field is read, before the message comes. There is no
    /// telling where the next one would start, so the error stays.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FramingError> {
        if let Some(error) = self.lost {
            return Err(error);
        }
        let Some((field, body)) = self.backlog.rest().split_at_checked(self.width.bytes()) else {
            return Ok(None);
        };
        let length = field.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        if length > self.limit {
            let error = FramingError::TooLong { length, limit: self.limit };
            self.lost = Some(error);
            self.backlog = Backlog::default();
            return Err(error);
        }
        if body.len() < length {
            return Ok(None);
        }
        self.backlog.take(self.width.bytes());
        Ok(Some(self.backlog.take(length)))
    }

    /// Bytes of an unfinished message: not zero at the end of a stream means that the peer broke off inside
    /// one.
    pub fn pending(&self) -> usize {
        self.backlog.rest().len()
    }
}

//! Frames (RFC 37, "Framing"): a flags byte, a length of one or eight bytes, a body.

/// More frames of this message follow.
pub const MORE: u8 = 1;
/// The length has eight bytes.
pub const LONG: u8 = 2;
/// The body is a command, not part of a message.
pub const COMMAND: u8 = 4;

/// What stands before the body of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`MORE`], [`LONG`] and [`COMMAND`].
    pub flags: u8,
    /// Bytes of the header itself: 2 or 9.
    pub header: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// A frame that no honest peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A flag that ZMTP does not have.
    #[error("a frame with the unknown flags {flags:#04x}: the stream is out of step, or no ZMTP")]
    Flags {
        /// The whole flags byte.
        flags: u8,
    },
    /// A command in the middle of a message, or one with more to follow.
    #[error("a command inside of a message")]
    CommandInside,
    /// Longer than allowed.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The announced length.
        length: u64,
        /// The limit.
        limit: usize,
    },
}

impl Header {
    /// Reads the header at the beginning of `input`; `None` when it is not complete. A body over `limit` bytes is an
    /// error at once, before any of it has come.
    ///
    /// # Errors
    /// [`FrameError`].
    ///
    /// ```
    /// use multiplane_codec::zmtp::frame::Header;
    ///
    /// let header = Header::parse(b"\x01\x04echo", 100)?.expect("complete");
    /// assert_eq!((header.flags, header.header, header.body), (1, 2, 4));
    /// assert_eq!(Header::parse(b"\x02\0\0\0", 100)?, None);
    /// # Ok::<(), multiplane_codec::zmtp::frame::FrameError>(())
    /// ```
    #[inline]
    pub fn parse(input: &[u8], limit: usize) -> Result<Option<Self>, FrameError> {
        let Some((&flags, rest)) = input.split_first() else { return Ok(None) };
        if flags > (MORE | LONG | COMMAND) {
            return Err(FrameError::Flags { flags });
        }
        if flags & COMMAND != 0 && flags & MORE != 0 {
            return Err(FrameError::CommandInside);
        }
        let (header, length) = if flags & LONG == 0 {
            let Some(&length) = rest.first() else { return Ok(None) };
            (2, u64::from(length))
        } else {
            let Some(&length) = rest.first_chunk::<8>() else { return Ok(None) };
            (9, u64::from_be_bytes(length))
        };
        match usize::try_from(length) {
            Ok(body) if body <= limit => Ok(Some(Self { flags, header, body })),
            _ => Err(FrameError::TooLong { length, limit }),
        }
    }

    /// Whether more frames of the message follow.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// Whether the body is a command.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.flags & COMMAND != 0
    }

    /// Bytes of header and body; what no memory can hold counts as the most that any can.
    #[must_use]
    pub fn total(&self) -> usize {
        self.header.saturating_add(self.body)
    }
}

/// Appends the header of a frame.
pub fn write_header(out: &mut Vec<u8>, flags: u8, body: usize) {
    match u8::try_from(body) {
        Ok(short) => out.extend_from_slice(&[flags & !LONG, short]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(body as u64).to_be_bytes());
        }
    }
}

/// Appends a whole frame.
pub fn write(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    write_header(out, flags, body.len());
    out.extend_from_slice(body);
}

/// What the first bytes of a stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole message.
    Message {
        /// Where the body of the first frame (the topic) begins.
        topic: usize,
        /// Its length.
        topic_length: usize,
        /// Bytes of all frames together.
        total: usize,
    },
    /// A command.
    Command {
        /// Where its body begins.
        body: usize,
        /// Bytes of the frame.
        total: usize,
    },
    /// Not all has come.
    Incomplete,
}

/// Finds the first message or command of `input`, of at most `limit` bytes in all frames.
///
/// # Errors
/// [`FrameError`]; the stream cannot be understood any further.
#[inline]
pub fn find(input: &[u8], limit: usize) -> Result<Found, FrameError> {
    find_from(input, &mut 0, limit)
}

/// As [`find`], for a message that comes bit by bit: `scanned` is 0 for a new one, and otherwise as the last call with
/// less of the same message left it. So no frame is looked at twice, and millions of tiny ones cost no more than one.
///
/// # Errors
/// As [`find`].
#[inline]
pub fn find_from(input: &[u8], scanned: &mut usize, limit: usize) -> Result<Found, FrameError> {
    let Some(first) = Header::parse(input, limit)? else { return Ok(Found::Incomplete) };
    if first.is_command() {
        let total = first.total();
        return Ok(if total <= input.len() {
            Found::Command { body: first.header, total }
        } else {
            Found::Incomplete
        });
    }
    let mut at = std::mem::take(scanned);
    loop {
        let next = match input.get(at..).map(|rest| Header::parse(rest, limit)).transpose()?.flatten() {
            Some(next) if next.is_command() => return Err(FrameError::CommandInside),
            Some(next) => next,
            None => break,
        };
        let total = at.saturating_add(next.total());
        if at > 0 && total > limit {
            return Err(FrameError::TooLong { length: total as u64, limit });
        }
        if total > input.len() {
            break;
        }
        if !next.has_more() {
            return Ok(Found::Message { topic: first.header, topic_length: first.body, total });
        }
        at = total;
    }
    *scanned = at;
    Ok(Found::Incomplete)
}

/// Passes over the messages at the beginning of `input` that have two frames each, the first of them byte for byte
/// `first` with its header: how many messages that are, and how many bytes. At most as many of either as `room` says, of
/// at most `limit` bytes each. Topics come in runs, and comparing costs a fraction of [`find`].
///
/// ```
/// use multiplane_codec::zmtp::frame::repeats;
///
/// let input = b"\x01\x01a\x00\x02hi\x01\x01a\x00\x00\x01\x01b\x00\x00";
/// assert_eq!(repeats(input, b"\x01\x01a", 100, (10, 100)), (2, 12));
/// ```
#[must_use]
pub fn repeats(input: &[u8], first: &[u8], limit: usize, room: (usize, usize)) -> (usize, usize) {
    if first.is_empty() {
        return (0, 0);
    }
    let input = &input[..input.len().min(room.1)];
    let (mut messages, mut left) = (0, input);
    while messages < room.0
        && let Some((_, rest)) = repeat(left, first, limit)
    {
        left = rest;
        messages += 1;
    }
    (messages, input.len() - left.len())
}

/// The payload of the message at the beginning of `input`, and what follows, if [`repeats`] would pass over that message.
///
/// ```
/// use multiplane_codec::zmtp::frame::repeat;
///
/// let input = b"\x01\x01a\x00\x02hi\x01\x01b\x00\x00";
/// let (payload, rest) = repeat(input, b"\x01\x01a", 100).expect("the same topic");
/// assert_eq!((payload, repeat(rest, b"\x01\x01a", 100)), (&b"hi"[..], None));
/// ```
#[inline]
#[must_use]
pub fn repeat<'a>(input: &'a [u8], first: &[u8], limit: usize) -> Option<(&'a [u8], &'a [u8])> {
    let (head, frame) = input.split_at_checked(first.len())?;
    if !is_same(head, first) {
        return None;
    }
    let (length, body) = match frame {
        [0, length, body @ ..] => (usize::from(*length), body),
        _ => long_body(frame)?,
    };
    let (payload, rest) = body.split_at_checked(length)?;
    (input.len() - rest.len() <= limit).then_some((payload, rest))
}

/// The length of the body of the last frame of a message, and what follows its header, if that is a long one.
#[cold]
fn long_body(frame: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = frame.strip_prefix(&[LONG])?.split_first_chunk::<8>()?;
    Some((usize::try_from(u64::from_be_bytes(*length)).ok()?, rest))
}

/// Compares two of the same length, which for most topics takes no call.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        17..=32 => a.first_chunk::<16>() == b.first_chunk() && a.last_chunk::<16>() == b.last_chunk(),
        _ => a == b,
    }
}

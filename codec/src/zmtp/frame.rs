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
    let (mut messages, mut at) = (0, 0);
    if first.is_empty() {
        return (0, 0);
    }
    let input = &input[..input.len().min(room.1)];
    while messages < room.0 {
        let Some((head, rest)) = input[at..].split_at_checked(first.len()) else { break };
        if !is_same(head, first) {
            break;
        }
        let length = match *rest {
            [0, length, ..] => 2 + usize::from(length),
            [LONG, a, b, c, d, e, f, g, h, ..] => {
                usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                    .unwrap_or(usize::MAX)
                    .saturating_add(9)
            }
            _ => break,
        };
        if length > rest.len() || first.len() + length > limit {
            break;
        }
        at += first.len() + length;
        messages += 1;
    }
    (messages, at)
}

/// A whole message of two frames, the first of them short, as topics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The body of the first frame.
    pub topic: &'a [u8],
    /// The body of the second frame.
    pub payload: &'a [u8],
    /// Bytes of both frames together.
    pub total: usize,
}

/// What stands at the beginning of `input`, if it is a [`Pair`] of at most `limit` bytes. This answers for most messages,
/// at a fraction of the cost of [`find`], which answers for all.
///
/// ```
/// use multiplane_codec::zmtp::frame::pair;
///
/// let found = pair(b"\x01\x04echo\x00\x02hi\x01", 100).expect("it is whole");
/// assert_eq!((found.topic, found.payload, found.total), (&b"echo"[..], &b"hi"[..], 10));
/// assert_eq!(pair(b"\x01\x04echo\x00\x02h", 100), None);
/// ```
#[inline]
#[must_use]
pub fn pair(input: &[u8], limit: usize) -> Option<Pair<'_>> {
    let [MORE, length, rest @ ..] = input else { return None };
    let (topic, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = match rest {
        [0, length, rest @ ..] => (usize::from(*length), rest),
        _ => long_body(rest)?,
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    let total = input.len() - rest.len();
    (total <= limit).then_some(Pair { topic, payload, total })
}

/// The length of the body of the last frame of a message, and what follows its header, if that is a long one.
#[cold]
fn long_body(frame: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = frame.strip_prefix(&[LONG])?.split_first_chunk::<8>()?;
    Some((usize::try_from(u64::from_be_bytes(*length)).ok()?, rest))
}

/// Compares two topics, which for most takes no call.
#[inline]
#[must_use]
pub fn is_same_topic(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && is_same(a, b)
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

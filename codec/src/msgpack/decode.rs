use serde::Deserialize;

use super::limits::Limits;
use super::token::Fault;
use super::view::{Kind, View};

/// Why a payload, or a question to it, could not be answered. Bytes count from 0 at the start of the frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No byte at all: MessagePack has no empty value.
    #[error("the payload is empty; the sender must send at least one MessagePack value")]
    Empty,
    /// The frame ends inside a value, or a length in it is forged.
    #[error("the payload ends inside the value at byte {at}; the sender cut it short or lied about a length")]
    Truncated {
        /// Byte of the value that has no end.
        at: usize,
    },
    /// Bytes after the one value that a frame holds.
    #[error(
        "{extra} bytes follow the payload's value, which ends at byte {at}; the sender must send one value per frame"
    )]
    TrailingBytes {
        /// First byte too many.
        at: usize,
        /// How many.
        extra: usize,
    },
    /// 0xc1, which the specification never uses.
    #[error("byte {at} is 0xc1, which MessagePack never uses; the sender does not send MessagePack")]
    Reserved {
        /// Where it stands.
        at: usize,
    },
    /// More containers inside one another than [`Limits::depth`].
    #[error(
        "the container at byte {at} is nested deeper than the limit of {limit}; flatten it or raise `Limits::depth`"
    )]
    TooDeep {
        /// Byte of the first container too deep.
        at: usize,
        /// The limit.
        limit: usize,
    },
    /// More values than [`Limits::items`].
    #[error(
        "the container at byte {at} brings the payload past {limit} values; send bulk data as bytes or raise `Limits::items`"
    )]
    TooManyItems {
        /// Byte of the container that announces them.
        at: usize,
        /// The limit.
        limit: usize,
    },
    /// More bytes than [`Limits::bytes`].
    #[error(
        "the payload has {length} bytes, past the limit of {limit}; send it in parts or raise `Limits::bytes`"
    )]
    TooLarge {
        /// Bytes in the frame.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A key was looked up in something that has none.
    #[error("the value at byte {at} is {kind}, not a map, so it has no key \"{}\"", key.escape_debug())]
    NotAMap {
        /// Byte of the value asked.
        at: usize,
        /// What it is.
        kind: Kind,
        /// The key asked for.
        key: Box<str>,
    },
    /// The map lacks the key.
    #[error("the map at byte {at} has no key \"{}\"; the sender sent another kind of message", key.escape_debug())]
    MissingKey {
        /// Byte of the map.
        at: usize,
        /// The key asked for.
        key: Box<str>,
    },
    /// The payload is sound MessagePack but does not fit the type asked for.
    #[error("the payload does not fit the type: {reason}; sender and receiver disagree on the message")]
    Type {
        /// What serde says.
        reason: String,
    },
}

impl DecodeError {
    pub(super) fn at(fault: Fault, at: usize) -> Self {
        match fault {
            Fault::Short => DecodeError::Truncated { at },
            Fault::Reserved => DecodeError::Reserved { at },
        }
    }
}

/// The typed path recurses through `serde`, one level of `T` per level of input, so the stack bounds it
/// whatever `Limits::depth` says.
const TYPED_DEPTH: usize = 256;

/// Decodes one complete frame into your type, which may borrow `&str` and `&[u8]` from it.
///
/// The frame is checked whole, as by [`View::parse`], before `T` sees any of it. Keys that `T` does not know
/// are skipped; a known key sent twice is an error here, while [`View`] and Python take the last. At most 256
/// levels are decoded, even where `limits.depth` is larger.
///
/// # Errors
/// Those of [`View::parse`], and [`DecodeError::Type`] where the frame does not fit `T`.
///
/// ```
/// use multiplane_codec::{Limits, decode};
///
/// #[derive(serde::Deserialize)]
/// struct Notice<'a> { message: &'a str, id: &'a str }
///
/// let notice: Notice = decode(b"\x82\xa7message\xa6got it\xa2id\xa1b", &Limits::default())?;
/// assert_eq!((notice.message, notice.id), ("got it", "b"));
/// # Ok::<(), multiplane_codec::DecodeError>(())
/// ```
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8], limits: &Limits) -> Result<T, DecodeError> {
    View::parse(frame, limits)?.to()
}

impl<'a> View<'a> {
    /// This value as your type, which may borrow from the frame; see [`decode`](super::decode()).
    ///
    /// # Errors
    /// [`DecodeError::Type`] where the value does not fit `T`.
    pub fn to<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(self.bytes());
        // rmp-serde refuses at zero, one level early.
        deserializer.set_max_depth(TYPED_DEPTH + 1);
        T::deserialize(&mut deserializer)
            .map_err(|error| DecodeError::Type { reason: tame(&error.to_string()) })
    }
}

/// serde quotes what the peer sent, whole and raw; a log wants neither.
fn tame(reason: &str) -> String {
    reason.chars().take(200).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

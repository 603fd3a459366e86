//! JSON to MessagePack and back, one value at a time: no tree is built, and nothing recurses.
//!
//! | MessagePack | JSON |
//! |---|---|
//! | nil, booleans, integers, finite floats, text, arrays, maps with text keys | the same |
//! | bytes | text, base64 (RFC 4648 section 4, padded); the way back leaves it text, because JSON cannot tell it from other text |
//! | NaN, infinities, extensions, text that is not UTF-8, other map keys | an error with the byte at fault; [`from_msgpack_tagged`] has forms for most of them |
//!
//! JSON numbers without fraction and exponent become integers, which must fit -2^63..2^64; all others become
//! 64-bit floats.
//!
//! ```
//! use multiplane_codec::{Limits, View, msgpack::json};
//!
//! let mut frame = Vec::new();
//! json::to_msgpack(br#"{"pin": 13, "on": [true, 0.5]}"#, &mut frame, &Limits::default())?;
//! assert_eq!(frame, b"\x82\xa3pin\x0d\xa2on\x92\xc3\xcb\x3f\xe0\0\0\0\0\0\0");
//!
//! let mut text = Vec::new();
//! json::from_msgpack(View::parse(&frame, &Limits::default())?, &mut text)?;
//! assert_eq!(text, br#"{"pin":13,"on":[true,0.5]}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod from_msgpack;
mod scan;
mod to_msgpack;

pub use from_msgpack::{from_msgpack, from_msgpack_tagged};
pub use to_msgpack::to_msgpack;

use super::encode::EncodeError;
use super::view::Kind;

/// Why a value has no form on the other side. `at` counts bytes of the input from 0; the fault is the
/// sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON.
    #[error("not JSON: byte {at} should start {expected}")]
    Syntax {
        /// Where it goes wrong.
        at: usize,
        /// What JSON has there.
        expected: &'static str,
    },
    /// A string or number is malformed.
    #[error("not JSON: the value at byte {at} is malformed: {reason}")]
    Malformed {
        /// Where the string or number starts.
        at: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// An integer outside -2^63..2^64.
    #[error("the integer at byte {at} does not fit 64 bits; send it as text or as a float")]
    IntegerTooBig {
        /// Where it starts.
        at: usize,
    },
    /// More bytes than [`Limits::bytes`](crate::Limits).
    #[error(
        "the JSON text has {length} bytes, past the limit of {limit}; send it in parts or raise `Limits::bytes`"
    )]
    TooLarge {
        /// Bytes of text.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// More levels than [`Limits::depth`](crate::Limits).
    #[error(
        "the container at byte {at} is nested deeper than the limit of {limit}; flatten it or raise `Limits::depth`"
    )]
    TooDeep {
        /// Where the first container too deep starts.
        at: usize,
        /// The limit.
        limit: usize,
    },
    /// More values than [`Limits::items`](crate::Limits).
    #[error(
        "the value at byte {at} is one more than the limit of {limit}; send less or raise `Limits::items`"
    )]
    TooManyItems {
        /// Where the first value too many starts.
        at: usize,
        /// The limit.
        limit: usize,
    },
    /// A NaN or an infinity.
    #[error("the number at byte {at} is {value}, which JSON cannot say; send nil or text")]
    NotFinite {
        /// Where it starts.
        at: usize,
        /// The number.
        value: String,
    },
    /// A map key that is not text.
    #[error(
        "the map key at byte {at} is {kind}, and JSON has only text keys; send text (NumPy arrays have keys of bytes)"
    )]
    KeyNotText {
        /// Where it starts.
        at: usize,
        /// What it is.
        kind: Kind,
    },
    /// Text that is not UTF-8.
    #[error("the text at byte {at} is not UTF-8, and JSON must be; send it as bytes")]
    NotUtf8 {
        /// Where it starts.
        at: usize,
    },
    /// An extension value.
    #[error("the value at byte {at} is an extension of type {kind}, which JSON cannot say; send text")]
    Extension {
        /// Where it starts.
        at: usize,
        /// The extension's type; -1 is a timestamp.
        kind: i8,
    },
    /// A string too long for MessagePack.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

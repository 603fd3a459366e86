//! Writing MessagePack into a buffer that you own.
//!
//! Python's choices, byte for byte: the smallest integer form (unsigned from 0 up), text as `str`, bytes as
//! `bin`, structs as maps with text keys, `f64` as 64 bits.

use rmp::encode as rmp;
use serde::Serialize;

use super::serialize::Serializer;

/// Why a value could not be written. The fault is on the sending side; the buffer is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A map key is not text. Python's decoders refuse such a frame and its components die of it.
    #[error(
        "map key at byte {at} is not text, and Python receivers die of that; use string keys, or `Value::encode` if every receiver is known to cope"
    )]
    KeyNotText {
        /// Byte of the key, counted from the start of this value.
        at: usize,
    },
    /// A string, byte string, array or map longer than a 32-bit length can say.
    #[error("{what} of {length} is too long: MessagePack lengths have 32 bits; send it in parts")]
    TooLong {
        /// What was too long.
        what: &'static str,
        /// Its length in bytes or elements.
        length: usize,
    },
    /// An integer outside -2^63..2^64.
    #[error("integer {value} does not fit 64 bits; send it as text")]
    IntegerTooBig {
        /// The integer in decimal.
        value: String,
    },
    /// A `Serialize` implementation announced one number of elements and wrote another.
    #[error("the Serialize implementation announced {announced} elements and wrote {written}; correct it")]
    CountMismatch {
        /// Elements announced.
        announced: usize,
        /// Elements written.
        written: usize,
    },
    /// Whatever a `Serialize` implementation had to say.
    #[error("{0}")]
    Custom(String),
}

impl serde::ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        EncodeError::Custom(message.to_string())
    }
}

/// Appends `value` to `buffer`. On error the buffer is what it was before.
///
/// Structs become maps with their field names as keys, `None` and `()` nil, `&[u8]` through `serde_bytes` (or
/// [`serde::Serializer::serialize_bytes`]) `bin`, a plain `Vec<u8>` an array of integers, a unit variant its
/// name, other variants a map of one entry. `f32` stays 32 bits wide, which Python reads but never writes.
///
/// # Errors
/// [`EncodeError`]: above all map keys that are not text, which would kill Python receivers.
///
/// ```
/// use multiplane_codec::encode;
///
/// #[derive(serde::Serialize)]
/// struct Notice<'a> { message: &'a str, id: &'a str }
///
/// let mut buffer = Vec::new();
/// encode::to(&mut buffer, &Notice { message: "got it", id: "b" })?;
/// assert_eq!(buffer, b"\x82\xa7message\xa6got it\xa2id\xa1b");
/// # Ok::<(), encode::EncodeError>(())
/// ```
pub fn to<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    let start = buffer.len();
    let result = value.serialize(&mut Serializer::new(buffer));
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

/// [`to`] into a new buffer.
///
/// # Errors
/// As [`to`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut buffer = Vec::new();
    to(&mut buffer, value)?;
    Ok(buffer)
}

/// Writes values one after another, for hot paths that need no `serde`.
///
/// It does not count: after `map(n)` write n keys and n values, after `array(n)` n values. Keys should be
/// text.
///
/// ```
/// use multiplane_codec::encode::Writer;
///
/// let mut buffer = Vec::new();
/// Writer::new(&mut buffer).map(2).str("pin")?.uint(13).str("value")?.f64(0.5);
/// assert_eq!(buffer, b"\x82\xa3pin\x0d\xa5value\xcb\x3f\xe0\0\0\0\0\0\0");
/// # Ok::<(), multiplane_codec::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> Writer<'b> {
    /// A writer that appends to `buffer`.
    #[inline]
    pub fn new(buffer: &'b mut Vec<u8>) -> Self {
        Writer { buffer }
    }

    /// Head of a map: `entries` keys, each followed by its value, must come next.
    #[inline]
    pub fn map(&mut self, entries: u32) -> &mut Self {
        sure(rmp::write_map_len(self.buffer, entries));
        self
    }

    /// Head of an array: `items` values must come next.
    #[inline]
    pub fn array(&mut self, items: u32) -> &mut Self {
        sure(rmp::write_array_len(self.buffer, items));
        self
    }

    /// Text.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] past 4 GiB.
    #[inline]
    pub fn str(&mut self, text: &str) -> Result<&mut Self, EncodeError> {
        self.raw_str(text.as_bytes())
    }

    /// `str` whose bytes may not be UTF-8, as old peers send; only relaying needs it.
    #[inline]
    pub(crate) fn raw_str(&mut self, bytes: &[u8]) -> Result<&mut Self, EncodeError> {
        sure(rmp::write_str_len(self.buffer, length32("str", bytes.len())?));
        self.buffer.extend_from_slice(bytes);
        Ok(self)
    }

    /// Bytes.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] past 4 GiB.
    #[inline]
    pub fn bin(&mut self, bytes: &[u8]) -> Result<&mut Self, EncodeError> {
        self.bin_head(length32("bin", bytes.len())?);
        self.buffer.extend_from_slice(bytes);
        Ok(self)
    }

    /// Head of a `bin` whose bytes the caller appends itself.
    #[inline]
    pub(crate) fn bin_head(&mut self, length: u32) {
        sure(rmp::write_bin_len(self.buffer, length));
    }

    /// An extension value: an application's `kind` (0 to 127; -1 is a timestamp) and its bytes.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] past 4 GiB.
    #[inline]
    pub fn ext(&mut self, kind: i8, bytes: &[u8]) -> Result<&mut Self, EncodeError> {
        sure(rmp::write_ext_meta(self.buffer, length32("ext", bytes.len())?, kind));
        self.buffer.extend_from_slice(bytes);
        Ok(self)
    }

    /// An integer from 0 to 2^64 - 1, in its smallest form.
    #[inline]
    pub fn uint(&mut self, n: u64) -> &mut Self {
        sure(rmp::write_uint(self.buffer, n));
        self
    }

    /// An integer from -2^63 to 2^63 - 1, in its smallest form (unsigned from 0 up, as Python does).
    #[inline]
    pub fn int(&mut self, n: i64) -> &mut Self {
        sure(rmp::write_sint(self.buffer, n));
        self
    }

    /// A 64-bit float, which is what Python sends.
    #[inline]
    pub fn f64(&mut self, x: f64) -> &mut Self {
        sure(rmp::write_f64(self.buffer, x));
        self
    }

    /// A 32-bit float. Python reads it but never sends it.
    #[inline]
    pub fn f32(&mut self, x: f32) -> &mut Self {
        sure(rmp::write_f32(self.buffer, x));
        self
    }

    /// True or false.
    #[inline]
    pub fn bool(&mut self, yes: bool) -> &mut Self {
        sure(rmp::write_bool(self.buffer, yes));
        self
    }

    /// Nil, Python's `None`.
    #[inline]
    pub fn nil(&mut self) -> &mut Self {
        sure(rmp::write_nil(self.buffer));
        self
    }

    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer
    }
}

pub(crate) fn length32(what: &'static str, length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLong { what, length })
}

/// rmp's writers return an I/O error that writing to a `Vec` never gives.
#[inline]
fn sure<T, E>(written: Result<T, E>) {
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

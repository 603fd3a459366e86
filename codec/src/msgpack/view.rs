use super::decode::DecodeError;
use super::limits::Limits;
use super::token::{self, Token};

/// One MessagePack value inside a frame that was checked whole: borrowed, `Copy`, no allocation.
///
/// [`parse`](View::parse) is the only way to one, so whoever holds a `View` holds a sound value, and
/// questions to it fail only by kind. Navigation walks the bytes: `get`, `index` and the iterators take time
/// in the size of what they pass over.
///
/// ```
/// use multiplane_codec::{Limits, View};
///
/// let frame = b"\x82\xa3pin\x0d\xa6values\x93\x01\x02\x03";
/// let payload = View::parse(frame, &Limits::default())?;
/// assert_eq!(payload.get("pin")?.as_u64(), Some(13));
/// assert_eq!(payload.get("values")?.iter().filter_map(|v| v.as_i64()).sum::<i64>(), 6);
/// assert_eq!(payload.get("color").unwrap_err().to_string(),
///     "the map at byte 0 has no key \"color\"; the sender sent another kind of message");
/// assert_eq!(payload.to_string(), r#"{"pin":13,"values":[1,2,3]}"#);
/// # Ok::<(), multiplane_codec::DecodeError>(())
/// ```
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Exactly this value, children included.
    bytes: &'a [u8],
    /// Where it starts in the frame, for errors.
    at: usize,
}

/// What a [`View`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Nil,
    Bool,
    Int,
    Float,
    Str,
    Bin,
    Ext,
    Array,
    Map,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Nil => "nil",
            Kind::Bool => "a boolean",
            Kind::Int => "an integer",
            Kind::Float => "a float",
            Kind::Str => "text",
            Kind::Bin => "bytes",
            Kind::Ext => "an extension",
            Kind::Array => "an array",
            Kind::Map => "a map",
        })
    }
}

impl<'a> View<'a> {
    /// Checks a complete frame: one value, sound to its last byte, within `limits`.
    ///
    /// Text need not be UTF-8 here, because old peers send raw bytes as `str`; [`as_str`](View::as_str)
    /// decides. The check is one loop; it allocates only past 16 levels, and never by a declared length.
    ///
    /// # Errors
    /// [`DecodeError`] with the byte at fault.
    pub fn parse(frame: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if frame.len() > limits.bytes {
            return Err(DecodeError::TooLarge { length: frame.len(), limit: limits.bytes });
        }
        if frame.is_empty() {
            return Err(DecodeError::Empty);
        }
        let mut open = Stack::default();
        let mut at = 0;
        // Values read plus values announced, and those of them still to come.
        let (mut items, mut pending) = (1_u64, 1_u64);
        while pending > 0 {
            let (token, size) = token::read(&frame[at..]).map_err(|fault| DecodeError::at(fault, at))?;
            pending -= 1;
            if token.is_container() {
                let children = token.children();
                pending += children;
                items += children;
                // A value takes a byte at least: a forged count is known before it is followed.
                if pending > (frame.len() - at - size) as u64 {
                    return Err(DecodeError::Truncated { at });
                }
                if items > limits.items as u64 {
                    return Err(DecodeError::TooManyItems { at, limit: limits.items });
                }
                if open.depth >= limits.capped_depth() {
                    return Err(DecodeError::TooDeep { at, limit: limits.capped_depth() });
                }
                open.enter(children);
            } else {
                open.finish_one();
            }
            at += size;
        }
        if at < frame.len() {
            return Err(DecodeError::TrailingBytes { at, extra: frame.len() - at });
        }
        Ok(View { bytes: frame, at: 0 })
    }

    /// The value's first token. It was checked, so it can be read.
    #[inline]
    pub(crate) fn token(&self) -> Token<'a> {
        token::read(self.bytes).map_or(Token::Nil, |(token, _)| token)
    }

    /// What this value is.
    pub fn kind(&self) -> Kind {
        self.token().kind()
    }

    /// The MessagePack of this value alone: a frame of its own.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Byte of the frame at which this value starts.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Whether it is nil, Python's `None`.
    pub fn is_nil(&self) -> bool {
        self.token() == Token::Nil
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.token() {
            Token::Bool(yes) => Some(yes),
            _ => None,
        }
    }

    /// An integer from 0 to 2^64 - 1.
    #[inline]
    pub fn as_u64(&self) -> Option<u64> {
        match self.token() {
            Token::Uint(n) => Some(n),
            _ => None,
        }
    }

    /// An integer from -2^63 to 2^63 - 1.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        match self.token() {
            Token::Uint(n) => i64::try_from(n).ok(),
            Token::Int(n) => Some(n),
            _ => None,
        }
    }

    /// A float of either width, or an integer, rounded to the nearest float: Python senders mix `1` and
    /// `1.0`.
    #[inline]
    pub fn as_f64(&self) -> Option<f64> {
        match self.token() {
            Token::F64(x) => Some(x),
            Token::F32(x) => Some(f64::from(x)),
            Token::Uint(n) => Some(n as f64),
            Token::Int(n) => Some(n as f64),
            _ => None,
        }
    }

    /// Text, if it is valid UTF-8; else see [`as_raw_str_bytes`](View::as_raw_str_bytes).
    #[inline]
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_raw_str_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The bytes of a `str`, valid UTF-8 or not: peers older than the `bin` type send bytes so.
    #[inline]
    pub fn as_raw_str_bytes(&self) -> Option<&'a [u8]> {
        match self.token() {
            Token::Str(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes.
    #[inline]
    pub fn as_bin(&self) -> Option<&'a [u8]> {
        match self.token() {
            Token::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An extension's type (-1 is a timestamp) and bytes.
    pub fn as_ext(&self) -> Option<(i8, &'a [u8])> {
        match self.token() {
            Token::Ext(kind, bytes) => Some((kind, bytes)),
            _ => None,
        }
    }

    /// Items of an array or entries of a map; 0 for anything else.
    #[inline]
    pub fn len(&self) -> usize {
        match self.token() {
            Token::Array(n) | Token::Map(n) => n as usize,
            _ => 0,
        }
    }

    /// Whether [`len`](View::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a text key.
    ///
    /// # Errors
    /// [`DecodeError::MissingKey`] or [`DecodeError::NotAMap`], naming the key.
    pub fn get(&self, key: &str) -> Result<View<'a>, DecodeError> {
        self.find(key).ok_or_else(|| match self.kind() {
            Kind::Map => DecodeError::MissingKey { at: self.at, key: key.into() },
            kind => DecodeError::NotAMap { at: self.at, kind, key: key.into() },
        })
    }

    /// The value under a text key; where a key occurs twice the last wins, as in Python.
    pub fn find(&self, key: &str) -> Option<View<'a>> {
        self.entries()
            .filter(|(k, _)| k.as_raw_str_bytes() == Some(key.as_bytes()))
            .last()
            .map(|(_, value)| value)
    }

    /// Item `index` of an array, from 0.
    pub fn index(&self, index: usize) -> Option<View<'a>> {
        self.iter().nth(index)
    }

    /// The items of an array; nothing for anything else.
    #[inline]
    pub fn iter(&self) -> Items<'a> {
        match token::read(self.bytes) {
            Ok((Token::Array(n), size)) => Items::new(self, size, n as usize),
            _ => Items::new(self, 0, 0),
        }
    }

    /// The entries of a map, key and value, in the order sent; nothing for anything else.
    #[inline]
    pub fn entries(&self) -> Entries<'a> {
        match token::read(self.bytes) {
            Ok((Token::Map(n), size)) => Entries { items: Items::new(self, size, 2 * n as usize) },
            _ => Entries { items: Items::new(self, 0, 0) },
        }
    }
}

/// The items of an array, from [`View::iter`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Items<'a> {
    #[inline]
    fn new(container: &View<'a>, head: usize, count: usize) -> Self {
        Items { rest: container.bytes.get(head..).unwrap_or_default(), at: container.at + head, left: count }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = View<'a>;

    #[inline]
    fn next(&mut self) -> Option<View<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (bytes, rest) = self.rest.split_at_checked(token::span(self.rest).ok()?)?;
        let view = View { bytes, at: self.at };
        self.rest = rest;
        self.at += bytes.len();
        Some(view)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The entries of a map, from [`View::entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    items: Items<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (View<'a>, View<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.items.next()?, self.items.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.items.left / 2, Some(self.items.left / 2))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Children still to come in each open container. The first sixteen levels, more than real payloads have,
/// need no allocation.
#[derive(Default)]
struct Stack {
    near: [u64; 16],
    far: Vec<u64>,
    depth: usize,
}

impl Stack {
    /// Opens a container; an empty one is finished at once.
    #[inline]
    fn enter(&mut self, children: u64) {
        if children == 0 {
            return self.finish_one();
        }
        match self.near.get_mut(self.depth) {
            Some(slot) => *slot = children,
            None => self.far.push(children),
        }
        self.depth += 1;
    }

    /// Counts one finished value, and closes every container that it completes.
    #[inline]
    fn finish_one(&mut self) {
        while let Some(top) = self.depth.checked_sub(1) {
            let Some(left) = self.near.get_mut(top).or(self.far.last_mut()) else { return };
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.far.truncate(top.saturating_sub(self.near.len()));
            self.depth = top;
        }
    }
}

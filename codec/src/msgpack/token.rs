//! One marker and what it announces: the only place that knows the byte layout of MessagePack for reading.

use rmp::Marker;

use super::view::Kind;

/// A scalar, or the head of a container whose children follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    /// Any integer that is not negative, whatever form the sender chose.
    Uint(u64),
    /// A negative integer.
    Int(i64),
    F32(f32),
    F64(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    Array(u32),
    /// So many key-value pairs.
    Map(u32),
}

impl Token<'_> {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Token::Nil => Kind::Nil,
            Token::Bool(_) => Kind::Bool,
            Token::Uint(_) | Token::Int(_) => Kind::Int,
            Token::F32(_) | Token::F64(_) => Kind::Float,
            Token::Str(_) => Kind::Str,
            Token::Bin(_) => Kind::Bin,
            Token::Ext(..) => Kind::Ext,
            Token::Array(_) => Kind::Array,
            Token::Map(_) => Kind::Map,
        }
    }

    /// Values that follow and belong to this one.
    #[inline]
    pub(crate) fn children(&self) -> u64 {
        match self {
            Token::Array(n) => u64::from(*n),
            Token::Map(n) => 2 * u64::from(*n),
            _ => 0,
        }
    }

    #[inline]
    pub(crate) fn is_container(&self) -> bool {
        matches!(self, Token::Array(_) | Token::Map(_))
    }
}

/// Why no token could be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The bytes end inside it.
    Short,
    /// 0xc1, "never used" in the spec.
    Reserved,
}

/// Reads the token at the start of `bytes`; also says how many bytes it takes, children not included.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<(Token<'_>, usize), Fault> {
    let (&first, rest) = bytes.split_first().ok_or(Fault::Short)?;
    let scalar = |token, size: usize| Ok((token, 1 + size));
    match Marker::from_u8(first) {
        Marker::FixPos(n) => scalar(Token::Uint(u64::from(n)), 0),
        Marker::FixNeg(n) => scalar(Token::Int(i64::from(n)), 0),
        Marker::Null => scalar(Token::Nil, 0),
        Marker::False => scalar(Token::Bool(false), 0),
        Marker::True => scalar(Token::Bool(true), 0),
        Marker::U8 => scalar(Token::Uint(u64::from(u8::from_be_bytes(head(rest)?))), 1),
        Marker::U16 => scalar(Token::Uint(u64::from(u16::from_be_bytes(head(rest)?))), 2),
        Marker::U32 => scalar(Token::Uint(u64::from(u32::from_be_bytes(head(rest)?))), 4),
        Marker::U64 => scalar(Token::Uint(u64::from_be_bytes(head(rest)?)), 8),
        Marker::I8 => scalar(signed(i64::from(i8::from_be_bytes(head(rest)?))), 1),
        Marker::I16 => scalar(signed(i64::from(i16::from_be_bytes(head(rest)?))), 2),
        Marker::I32 => scalar(signed(i64::from(i32::from_be_bytes(head(rest)?))), 4),
        Marker::I64 => scalar(signed(i64::from_be_bytes(head(rest)?)), 8),
        Marker::F32 => scalar(Token::F32(f32::from_be_bytes(head(rest)?)), 4),
        Marker::F64 => scalar(Token::F64(f64::from_be_bytes(head(rest)?)), 8),
        Marker::FixStr(n) => data(rest, 0, usize::from(n)).map(|(d, size)| (Token::Str(d), size)),
        Marker::Str8 => data(rest, 1, length8(rest)?).map(|(d, size)| (Token::Str(d), size)),
        Marker::Str16 => data(rest, 2, length16(rest)?).map(|(d, size)| (Token::Str(d), size)),
        Marker::Str32 => data(rest, 4, length32(rest)?).map(|(d, size)| (Token::Str(d), size)),
        Marker::Bin8 => data(rest, 1, length8(rest)?).map(|(d, size)| (Token::Bin(d), size)),
        Marker::Bin16 => data(rest, 2, length16(rest)?).map(|(d, size)| (Token::Bin(d), size)),
        Marker::Bin32 => data(rest, 4, length32(rest)?).map(|(d, size)| (Token::Bin(d), size)),
        Marker::FixExt1 => ext(rest, 0, 1),
        Marker::FixExt2 => ext(rest, 0, 2),
        Marker::FixExt4 => ext(rest, 0, 4),
        Marker::FixExt8 => ext(rest, 0, 8),
        Marker::FixExt16 => ext(rest, 0, 16),
        Marker::Ext8 => ext(rest, 1, length8(rest)?),
        Marker::Ext16 => ext(rest, 2, length16(rest)?),
        Marker::Ext32 => ext(rest, 4, length32(rest)?),
        Marker::FixArray(n) => scalar(Token::Array(u32::from(n)), 0),
        Marker::Array16 => scalar(Token::Array(u32::from(u16::from_be_bytes(head(rest)?))), 2),
        Marker::Array32 => scalar(Token::Array(u32::from_be_bytes(head(rest)?)), 4),
        Marker::FixMap(n) => scalar(Token::Map(u32::from(n)), 0),
        Marker::Map16 => scalar(Token::Map(u32::from(u16::from_be_bytes(head(rest)?))), 2),
        Marker::Map32 => scalar(Token::Map(u32::from_be_bytes(head(rest)?)), 4),
        Marker::Reserved => Err(Fault::Reserved),
    }
}

/// Bytes of the whole value at the start of `bytes`, children included; a loop, not a recursion.
pub(crate) fn span(bytes: &[u8]) -> Result<usize, Fault> {
    let mut at = 0;
    let mut pending = 1_u64;
    while pending > 0 {
        let (token, size) = read(bytes.get(at..).ok_or(Fault::Short)?)?;
        at += size;
        pending = pending - 1 + token.children();
        if pending > (bytes.len() - at) as u64 {
            return Err(Fault::Short);
        }
    }
    Ok(at)
}

#[inline]
fn head<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.first_chunk().copied().ok_or(Fault::Short)
}

#[inline]
fn length8(rest: &[u8]) -> Result<usize, Fault> {
    Ok(usize::from(u8::from_be_bytes(head(rest)?)))
}

#[inline]
fn length16(rest: &[u8]) -> Result<usize, Fault> {
    Ok(usize::from(u16::from_be_bytes(head(rest)?)))
}

#[inline]
fn length32(rest: &[u8]) -> Result<usize, Fault> {
    usize::try_from(u32::from_be_bytes(head(rest)?)).map_err(|_| Fault::Short)
}

/// `length` bytes behind a length field of `skip` bytes.
#[inline]
fn data(rest: &[u8], skip: usize, length: usize) -> Result<(&[u8], usize), Fault> {
    let bytes = rest.get(skip..).and_then(|bytes| bytes.get(..length)).ok_or(Fault::Short)?;
    Ok((bytes, 1 + skip + length))
}

#[inline]
fn ext(rest: &[u8], skip: usize, length: usize) -> Result<(Token<'_>, usize), Fault> {
    let kind = *rest.get(skip).ok_or(Fault::Short)?;
    let (bytes, size) = data(rest, skip + 1, length)?;
    Ok((Token::Ext(kind.cast_signed(), bytes), size))
}

#[inline]
fn signed(n: i64) -> Token<'static> {
    u64::try_from(n).map_or(Token::Int(n), Token::Uint)
}

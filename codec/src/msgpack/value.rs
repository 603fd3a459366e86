use super::encode::{EncodeError, Writer, length32};
use super::text::{Step, walk};
use super::token::Token;
use super::view::View;

/// An owned value, for when a payload must outlive its frame or be taken apart. Reading in place needs only a
/// [`View`].
///
/// Made from a `View` it is at most [`Limits::MAX_DEPTH`](super::Limits::MAX_DEPTH) deep, so dropping it
/// cannot exhaust the stack.
///
/// ```
/// use multiplane_codec::{Limits, Value, View};
///
/// let view = View::parse(b"\x81\xa1a\x92\x01\xc0", &Limits::default())?;
/// let value = Value::from(view);
/// assert_eq!(value, Value::Map(vec![("a".into(), Value::Array(vec![1_u64.into(), Value::Nil]))]));
///
/// let mut buffer = Vec::new();
/// value.encode(&mut buffer)?;
/// assert_eq!(buffer, view.bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Python's `None`.
    #[default]
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer from 0 up.
    Uint(u64),
    /// A negative integer. A value from 0 up is encoded as, and equals after a round trip, [`Value::Uint`].
    Int(i64),
    /// A 32-bit float, which Python never sends.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
    /// Text.
    Str(String),
    /// `str` that is not UTF-8, as peers older than the `bin` type send bytes; kept so that it can be sent on
    /// unchanged.
    RawStr(Vec<u8>),
    /// Bytes.
    Bin(Vec<u8>),
    /// An extension's type and bytes.
    Ext(i8, Vec<u8>),
    /// An array.
    Array(Vec<Value>),
    /// A map in the order sent, with whatever keys it came with, twice if sent twice.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Appends this value as it is, keys of any kind included. On error the buffer is what it was before.
    ///
    /// Python receivers die of keys that are neither text nor bytes; [`encode::to`](super::encode::to)
    /// refuses all but text.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = buffer.len();
        let result = self.write(&mut Writer::new(buffer));
        if result.is_err() {
            buffer.truncate(start);
        }
        result
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut todo = vec![self];
        while let Some(value) = todo.pop() {
            match value {
                Value::Nil => writer.nil(),
                Value::Bool(yes) => writer.bool(*yes),
                Value::Uint(n) => writer.uint(*n),
                Value::Int(n) => writer.int(*n),
                Value::F32(x) => writer.f32(*x),
                Value::F64(x) => writer.f64(*x),
                Value::Str(text) => writer.str(text)?,
                Value::RawStr(bytes) => writer.raw_str(bytes)?,
                Value::Bin(bytes) => writer.bin(bytes)?,
                Value::Ext(kind, bytes) => writer.ext(*kind, bytes)?,
                Value::Array(items) => {
                    todo.extend(items.iter().rev());
                    writer.array(length32("array", items.len())?)
                }
                Value::Map(entries) => {
                    todo.extend(entries.iter().rev().flat_map(|(key, value)| [value, key]));
                    writer.map(length32("map", entries.len())?)
                }
            };
        }
        Ok(())
    }

    /// The value under a text key of a map; the last where there are several.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries
                .iter()
                .rev()
                .find(|(k, _)| matches!(k, Value::Str(k) if k == key))
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

impl From<View<'_>> for Value {
    fn from(view: View<'_>) -> Self {
        // Containers being filled, with the place of each in the one around it implied by the order.
        let mut open: Vec<Vec<Value>> = vec![Vec::with_capacity(1)];
        let filled: Result<(), std::convert::Infallible> = walk(view, |step| {
            let value = match step {
                Step::Value { token, .. } if token.is_container() => {
                    // Believable: the view was checked, so so many values are there.
                    open.push(Vec::with_capacity(token.children() as usize));
                    return Ok(());
                }
                Step::Value { token, .. } => scalar(token),
                Step::Close { map: false } => Value::Array(open.pop().unwrap_or_default()),
                Step::Close { map: true } => {
                    let flat = open.pop().unwrap_or_default();
                    let mut entries = Vec::with_capacity(flat.len() / 2);
                    let mut flat = flat.into_iter();
                    while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                        entries.push((key, value));
                    }
                    Value::Map(entries)
                }
            };
            if let Some(around) = open.last_mut() {
                around.push(value);
            }
            Ok(())
        });
        let Ok(()) = filled;
        open.pop().and_then(|mut root| root.pop()).unwrap_or_default()
    }
}

fn scalar(token: Token<'_>) -> Value {
    match token {
        Token::Nil | Token::Array(_) | Token::Map(_) => Value::Nil,
        Token::Bool(yes) => Value::Bool(yes),
        Token::Uint(n) => Value::Uint(n),
        Token::Int(n) => Value::Int(n),
        Token::F32(x) => Value::F32(x),
        Token::F64(x) => Value::F64(x),
        Token::Str(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Str(text.to_owned()),
            Err(_) => Value::RawStr(bytes.to_owned()),
        },
        Token::Bin(bytes) => Value::Bin(bytes.to_owned()),
        Token::Ext(kind, bytes) => Value::Ext(kind, bytes.to_owned()),
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Value::Bool(yes)
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Value::Uint(n)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        u64::try_from(n).map_or(Value::Int(n), Value::Uint)
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::F64(x)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Array(items)
    }
}

use std::fmt;

use super::NumpyError;
use crate::msgpack::token::Token;
use crate::msgpack::view::{Items, View};

/// Element type of an array.
#[derive(Clone, Debug)]
pub enum Dtype<'a> {
    /// One value per element, such as `<f8`.
    Plain(Plain),
    /// A record per element.
    Structured(Fields<'a>),
}

/// Byte order of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `<`
    Little,
    /// `>`
    Big,
    /// `|`: single bytes have none.
    None,
}

/// What an element is: the letter of NumPy's type string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Class {
    Bool,
    Int,
    Uint,
    Float,
    Complex,
    /// `S`: bytes, padded with zeros.
    Bytes,
    /// `U`: UTF-32, padded with zeros.
    Text,
    /// `V`: bytes without meaning, such as padding.
    Void,
}

/// A type string, NumPy's array-protocol `typestr`: order, class, size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Byte order.
    pub order: Order,
    /// What it is.
    pub class: Class,
    /// Bytes per element (for text four per character).
    pub size: usize,
}

impl Plain {
    /// Reads a type string such as `<f8`. Without an order it is little-endian, as every machine that Banyan
    /// runs on.
    ///
    /// # Errors
    /// [`NumpyError::Dtype`], and [`NumpyError::Pickle`] for objects.
    pub fn parse(text: &str) -> Result<Self, NumpyError> {
        Self::read(text.as_bytes(), 0)
    }

    fn read(bytes: &[u8], at: usize) -> Result<Self, NumpyError> {
        let unknown = || NumpyError::Dtype {
            dtype: String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned(),
        };
        let (order, rest) = match bytes {
            [b'<' | b'=', rest @ ..] => (Order::Little, rest),
            [b'>', rest @ ..] => (Order::Big, rest),
            [b'|', rest @ ..] => (Order::None, rest),
            rest => (Order::Little, rest),
        };
        let (&class, digits) = rest.split_first().ok_or_else(unknown)?;
        if class == b'O' {
            return Err(NumpyError::Pickle { at });
        }
        // `parse` alone would take a sign.
        let number = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number: usize = number.and_then(|d| d.parse().ok()).ok_or_else(unknown)?;
        let (class, size) = match (class, number) {
            (b'b', 1) => (Class::Bool, 1),
            (b'i', 1 | 2 | 4 | 8) => (Class::Int, number),
            (b'u', 1 | 2 | 4 | 8) => (Class::Uint, number),
            (b'f', 2 | 4 | 8 | 12 | 16) => (Class::Float, number),
            (b'c', 8 | 16 | 24 | 32) => (Class::Complex, number),
            (b'S', _) => (Class::Bytes, number),
            (b'U', _) => (Class::Text, number.checked_mul(4).ok_or_else(unknown)?),
            (b'V', _) => (Class::Void, number),
            _ => return Err(unknown()),
        };
        let single = size == 1 || matches!(class, Class::Bytes | Class::Void);
        let order = match order {
            _ if single => Order::None,
            Order::None => Order::Little,
            order => order,
        };
        Ok(Plain { order, class, size })
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Little => '<',
            Order::Big => '>',
            Order::None => '|',
        };
        let (class, number) = match self.class {
            Class::Bool => ('b', self.size),
            Class::Int => ('i', self.size),
            Class::Uint => ('u', self.size),
            Class::Float => ('f', self.size),
            Class::Complex => ('c', self.size),
            Class::Bytes => ('S', self.size),
            Class::Text => ('U', self.size / 4),
            Class::Void => ('V', self.size),
        };
        write!(f, "{order}{class}{number}")
    }
}

impl<'a> Dtype<'a> {
    /// The `type` of an array: text, or a list of fields. Checked to its innermost field.
    pub(super) fn read(view: View<'a>, at: usize) -> Result<(Self, usize), NumpyError> {
        match view.token() {
            Token::Str(text) | Token::Bin(text) => {
                let plain = Plain::read(text, at)?;
                Ok((Dtype::Plain(plain), plain.size))
            }
            Token::Array(_) => {
                let size = structured_size(view, at)?;
                Ok((Dtype::Structured(Fields { items: view.iter(), offset: 0 }), size))
            }
            _ => Err(NumpyError::Field { at, field: "type", expected: "a type string or a list of fields" }),
        }
    }
}

impl fmt::Display for Dtype<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dtype::Plain(plain) => plain.fmt(f),
            Dtype::Structured(fields) => write!(f, "a record of {} fields", fields.items.len()),
        }
    }
}

/// The fields of a record, in order, from [`Dtype::Structured`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    items: Items<'a>,
    offset: usize,
}

/// One field of a record.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Its name; empty for padding.
    pub name: &'a str,
    /// Its type.
    pub dtype: Dtype<'a>,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Bytes that it takes, sub-array included.
    pub size: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let item = self.items.next()?;
        let (name, kind, times) = field(item, 0).ok()?;
        let (dtype, size) = Dtype::read(kind, 0).ok()?;
        let field = Field { name, dtype, offset: self.offset, size: size.checked_mul(times)? };
        self.offset = self.offset.checked_add(field.size)?;
        Some(field)
    }
}

const FIELDS: &str = "a list of [name, dtype] or [name, dtype, shape]";

/// Name, type and number of repetitions of one `[name, dtype, shape?]`. A name may be `[title, name]`.
fn field(item: View<'_>, at: usize) -> Result<(&str, View<'_>, usize), NumpyError> {
    let wrong = || NumpyError::Field { at, field: "type", expected: FIELDS };
    let mut parts = item.iter();
    let (name, kind) = parts.next().zip(parts.next()).ok_or_else(wrong)?;
    let name = name.index(1).unwrap_or(name);
    let name = name
        .as_raw_str_bytes()
        .or(name.as_bin())
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or_else(wrong)?;
    let times = match parts.next() {
        None => 1,
        Some(shape) => match shape.token() {
            Token::Uint(n) => usize::try_from(n).map_err(|_| NumpyError::Overflow { at })?,
            Token::Array(_) => product(shape, at)?,
            _ => return Err(wrong()),
        },
    };
    Ok((name, kind, times))
}

/// Bytes of a record whose fields may be records: a loop with a stack, as deep as the view at most.
fn structured_size(fields: View<'_>, at: usize) -> Result<usize, NumpyError> {
    let overflow = || NumpyError::Overflow { at };
    let wrong = || NumpyError::Field { at, field: "type", expected: FIELDS };
    // Fields still to read, bytes so far, times that this record occurs in the one around it.
    let mut open = vec![(fields.iter(), 0_usize, 1_usize)];
    let mut size = 0;
    while let Some((items, total, times)) = open.last_mut() {
        let Some(item) = items.next() else {
            size = total.checked_mul(*times).ok_or_else(overflow)?;
            open.pop();
            if let Some((_, total, _)) = open.last_mut() {
                *total = total.checked_add(size).ok_or_else(overflow)?;
            }
            continue;
        };
        let (_, kind, times) = field(item, at)?;
        match kind.token() {
            Token::Array(_) => open.push((kind.iter(), 0, times)),
            Token::Str(text) | Token::Bin(text) => {
                let bytes = Plain::read(text, at)?.size.checked_mul(times).ok_or_else(overflow)?;
                *total = total.checked_add(bytes).ok_or_else(overflow)?;
            }
            _ => return Err(wrong()),
        }
    }
    Ok(size)
}

/// Product of an array of sizes.
pub(super) fn product(shape: View<'_>, at: usize) -> Result<usize, NumpyError> {
    let wrong = NumpyError::Field { at, field: "shape", expected: "an array of sizes" };
    if !matches!(shape.token(), Token::Array(_)) {
        return Err(wrong);
    }
    let mut count = 1_usize;
    // A zero anywhere makes the product zero, whatever overflowed before it.
    let mut overflow = false;
    for size in shape.iter() {
        let Some(size) = size.as_u64() else { return Err(wrong) };
        let size = usize::try_from(size).map_err(|_| NumpyError::Overflow { at })?;
        match count.checked_mul(size) {
            Some(product) => count = product,
            None => (overflow, count) = (true, usize::MAX),
        }
        if size == 0 {
            (overflow, count) = (false, 0);
        }
    }
    if overflow { Err(NumpyError::Overflow { at }) } else { Ok(count) }
}

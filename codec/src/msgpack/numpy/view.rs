use super::NumpyError;
use super::dtype::{Dtype, Order, product};
use super::element::Element;
use crate::msgpack::token::Token;
use crate::msgpack::view::{Kind, View};

/// An array or scalar inside a payload, borrowed. Its data is exactly as long as its shape and dtype say.
#[derive(Clone, Debug)]
pub struct ArrayView<'a> {
    dtype: Dtype<'a>,
    /// `None` for a scalar.
    shape: Option<View<'a>>,
    data: &'a [u8],
}

impl<'a> ArrayView<'a> {
    /// The array or scalar that `view` is, or `None` for any other value: also a map with text keys, or one
    /// that lacks `type`, `data` or `shape`, which Python too leaves a plain map. A missing `kind` is fine
    /// (older senders).
    ///
    /// # Errors
    /// [`NumpyError::Pickle`] for object arrays, which are refused; [`NumpyError::Size`] and others where the
    /// map contradicts itself.
    pub fn from_view(view: View<'a>) -> Result<Option<Self>, NumpyError> {
        let Some([nd, kind, shape, data, dtype]) = fields(view, [b"nd", b"kind", b"shape", b"data", b"type"])
        else {
            return Ok(None);
        };
        let (Some(nd), Some(data), Some(dtype)) = (nd, data, dtype) else { return Ok(None) };
        let at = view.offset();
        let is_array = nd.as_bool() == Some(true);
        let shape = match (is_array, shape) {
            (true, None) => return Ok(None),
            (true, shape) => shape,
            (false, _) => None,
        };
        if kind.and_then(|kind| kind.as_bin().or(kind.as_raw_str_bytes())) == Some(b"O") {
            return Err(NumpyError::Pickle { at });
        }
        let (dtype, size) = Dtype::read(dtype, at)?;
        let data = data.as_bin().ok_or(NumpyError::Field { at, field: "data", expected: "bytes" })?;
        let count = shape.map_or(Ok(1), |shape| product(shape, at))?;
        let expected = count.checked_mul(size).ok_or(NumpyError::Overflow { at })?;
        if data.len() != expected {
            return Err(NumpyError::Size { at, expected, found: data.len() });
        }
        Ok(Some(ArrayView { dtype, shape, data }))
    }

    /// The element type.
    pub fn dtype(&self) -> &Dtype<'a> {
        &self.dtype
    }

    /// The lengths along each dimension, slowest first; none for a scalar or an array without dimensions.
    pub fn shape(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.shape
            .into_iter()
            .flat_map(|shape| shape.iter())
            .filter_map(|size| size.as_u64())
            .map(|size| size as usize)
    }

    /// Whether it was sent as a scalar, not as an array.
    pub fn is_scalar(&self) -> bool {
        self.shape.is_none()
    }

    /// The elements' bytes, in C order and the dtype's byte order. They need not be aligned.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The elements in C order, copied (the bytes in a frame are rarely aligned) and brought to this
    /// machine's byte order.
    ///
    /// # Errors
    /// [`NumpyError::Element`] where the dtype is not `T`'s; byte order does not matter.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, NumpyError> {
        match &self.dtype {
            Dtype::Plain(plain) if plain.class == T::DTYPE.class && plain.size == T::DTYPE.size => {
                Ok(T::read(self.data, plain.order == Order::Big))
            }
            other => Err(NumpyError::Element { found: other.to_string(), wanted: T::DTYPE.to_string() }),
        }
    }
}

/// The values under keys of bytes, the last where there are several; `None` if `view` is no map.
pub(super) fn fields<'a, const N: usize>(view: View<'a>, names: [&[u8]; N]) -> Option<[Option<View<'a>>; N]> {
    if view.kind() != Kind::Map {
        return None;
    }
    let mut found = [None; N];
    for (key, value) in view.entries() {
        if let Token::Bin(key) = key.token()
            && let Some(place) = names.iter().position(|name| *name == key)
        {
            found[place] = Some(value);
        }
    }
    Some(found)
}

//! NumPy arrays and scalars as msgpack-numpy 0.4.8 writes them, readable without Python.
//!
//! An array is a map whose five keys are *bytes*: `nd`, `type`, `kind`, `shape`, `data`; a scalar has `nd` =
//! false and no `kind` or `shape`. The data is in C order (last index fastest): senders rearrange
//! Fortran-order and strided arrays before they send. A map with the same names as text keys is a plain map,
//! for Python too. Only Python peers that asked for NumPy decode these maps.
//!
//! ```
//! use multiplane_codec::{Limits, View, encode::Writer, msgpack::numpy};
//!
//! let mut payload = Vec::new();
//! Writer::new(&mut payload).map(1).str("samples")?;
//! numpy::encode(&mut payload, &[2, 2], &[1.0, 2.0, 3.0, 4.0])?;
//!
//! let view = View::parse(&payload, &Limits::default())?;
//! let samples = numpy::ArrayView::from_view(view.get("samples")?)?.expect("it was sent as an array");
//! assert_eq!(samples.dtype().to_string(), "<f8");
//! assert_eq!(samples.shape().collect::<Vec<_>>(), [2, 2]);
//! assert_eq!(samples.to_vec::<f64>()?, [1.0, 2.0, 3.0, 4.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod complex;
mod dtype;
mod element;
mod encode;
#[cfg(feature = "ndarray")]
mod nd;
mod view;

pub use complex::{complex, encode_complex};
pub use dtype::{Class, Dtype, Field, Fields, Order, Plain};
pub use element::Element;
pub use encode::{encode, encode_raw, encode_scalar};
#[cfg(feature = "ndarray")]
pub use nd::encode_ndarray;
pub use view::ArrayView;

use super::encode::EncodeError;

/// Why an array could not be read or written. `at` is the byte of its map in the frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumpyError {
    /// The elements are Python objects: such data is a pickle, and reading one runs whatever code its sender
    /// put there.
    #[error(
        "the array at byte {at} holds Python objects (a pickle), which are refused: reading them would run the sender's code; send numbers or text"
    )]
    Pickle {
        /// Byte of the map.
        at: usize,
    },
    /// A field of the map is not what msgpack-numpy sends.
    #[error(
        "the array at byte {at} has no usable `{field}`: it must be {expected}; the sender does not follow msgpack-numpy"
    )]
    Field {
        /// Byte of the map.
        at: usize,
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An element type that NumPy does not know, or that cannot travel (times).
    #[error("the dtype \"{}\" cannot be read; send one of the kinds b i u f c S U V", dtype.escape_debug())]
    Dtype {
        /// The type as sent.
        dtype: String,
    },
    /// The data is not as long as shape and element type say.
    #[error(
        "the array at byte {at} needs {expected} bytes of data by its shape and dtype, and has {found}; the sender lies or cut it short"
    )]
    Size {
        /// Byte of the map.
        at: usize,
        /// Product of the shape times the element's size.
        expected: usize,
        /// Bytes of data.
        found: usize,
    },
    /// Shape times element size does not fit the machine's integers.
    #[error("the array at byte {at} has a shape larger than memory can be; the sender lies")]
    Overflow {
        /// Byte of the map.
        at: usize,
    },
    /// The elements are of another type than the one asked for. They are never converted silently.
    #[error("the array's dtype is {found}, not {wanted}; ask for the matching type or convert at the sender")]
    Element {
        /// What was sent.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The array to send has another number of elements than its shape says. The fault is on the sending
    /// side.
    #[error("a shape of {expected} elements does not fit data of {found}; correct one of them")]
    Shape {
        /// Product of the shape, or the largest number where that overflows.
        expected: usize,
        /// Elements, or whole elements' worth of bytes, given.
        found: usize,
    },
    /// The array to send cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

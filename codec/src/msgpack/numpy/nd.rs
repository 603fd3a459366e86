use ndarray::{Array, ArrayD, ArrayRef, Dimension, IxDyn};

use super::element::Element;
use super::encode::{array_head, size32};
use super::view::ArrayView;
use super::{NumpyError, encode};

impl ArrayView<'_> {
    /// The array as an `ndarray`, copied, in C order. Feature `ndarray`.
    ///
    /// ```
    /// use multiplane_codec::{Limits, View, msgpack::numpy};
    ///
    /// let table = ndarray::array![[1_i32, 2], [3, 4]];
    /// let mut buffer = Vec::new();
    /// numpy::encode_ndarray(&mut buffer, &table.t())?;
    /// let view = View::parse(&buffer, &Limits::default())?;
    /// let back = numpy::ArrayView::from_view(view)?.expect("an array").to_ndarray::<i32>()?;
    /// assert_eq!(back, table.t().into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`to_vec`](ArrayView::to_vec).
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>, NumpyError> {
        let elements = self.to_vec()?;
        let shape: Vec<usize> = self.shape().collect();
        // ndarray refuses shapes such as [0, 2^63], whose non-zero lengths overflow.
        Array::from_shape_vec(IxDyn(&shape), elements).map_err(|_| NumpyError::Overflow { at: 0 })
    }
}

/// Appends an `ndarray` of any layout, in C order as NumPy sends it. Feature `ndarray`.
///
/// # Errors
/// As [`encode`](super::encode()).
pub fn encode_ndarray<T: Element, D: Dimension>(
    buffer: &mut Vec<u8>,
    array: &ArrayRef<T, D>,
) -> Result<(), NumpyError> {
    if let Some(elements) = array.as_slice() {
        return encode(buffer, array.shape(), elements);
    }
    let size = size32(array.len(), T::DTYPE.size)?;
    array_head(buffer, &T::DTYPE.to_string(), array.shape(), size)?;
    for &element in array {
        T::write(&[element], buffer);
    }
    Ok(())
}

use super::NumpyError;
use super::dtype::{Class, Plain};
use super::element::Element;
use crate::msgpack::encode::{EncodeError, Writer, length32};

/// Appends an array: `data` in C order, its lengths slowest first in `shape` (`&[]` for an array without
/// dimensions).
///
/// # Errors
/// [`NumpyError::Shape`] where the shape does not fit the data, [`NumpyError::Encode`] past 4 GiB. On error
/// the buffer is what it was before.
pub fn encode<T: Element>(buffer: &mut Vec<u8>, shape: &[usize], data: &[T]) -> Result<(), NumpyError> {
    let expected = count(shape);
    if expected != data.len() {
        return Err(NumpyError::Shape { expected, found: data.len() });
    }
    let size = size32(data.len(), T::DTYPE.size)?;
    array_head(buffer, &T::DTYPE.to_string(), shape, size)?;
    T::write(data, buffer);
    Ok(())
}

/// Appends an array of bytes that already are in the order and layout of `dtype` (such as `>i2`), C order.
///
/// # Errors
/// [`NumpyError::Dtype`] and [`NumpyError::Pickle`] for types that cannot travel, else as [`encode`].
pub fn encode_raw(buffer: &mut Vec<u8>, dtype: &str, shape: &[usize], data: &[u8]) -> Result<(), NumpyError> {
    let plain = Plain::parse(dtype)?;
    let expected = count(shape);
    if expected.checked_mul(plain.size) != Some(data.len()) {
        return Err(NumpyError::Shape { expected, found: data.len().checked_div(plain.size).unwrap_or(0) });
    }
    array_head(buffer, &plain.to_string(), shape, size32(data.len(), 1)?)?;
    buffer.extend_from_slice(data);
    Ok(())
}

/// Appends a NumPy scalar. An `f64` becomes a plain MessagePack float: NumPy's is a Python float, and Python
/// sends it so.
pub fn encode_scalar<T: Element>(buffer: &mut Vec<u8>, value: T) -> Result<(), NumpyError> {
    let mut data = Vec::with_capacity(16);
    T::write(&[value], &mut data);
    let mut writer = Writer::new(buffer);
    if let (Class::Float, Ok(bytes)) = (T::DTYPE.class, <[u8; 8]>::try_from(data.as_slice())) {
        writer.f64(f64::from_le_bytes(bytes));
        return Ok(());
    }
    writer
        .map(3)
        .bin(b"nd")?
        .bool(false)
        .bin(b"type")?
        .str(&T::DTYPE.to_string())?
        .bin(b"data")?
        .bin(&data)?;
    Ok(())
}

/// Everything up to the bytes of the data. msgpack-numpy sends `kind` = `V` with a list of fields for
/// records, and nothing else has one.
pub(super) fn array_head(
    buffer: &mut Vec<u8>,
    dtype: &str,
    shape: &[usize],
    size: u32,
) -> Result<(), NumpyError> {
    let dimensions = length32("shape", shape.len())?;
    let mut writer = Writer::new(buffer);
    writer.map(5).bin(b"nd")?.bool(true).bin(b"type")?.str(dtype)?.bin(b"kind")?.bin(b"")?;
    writer.bin(b"shape")?.array(dimensions);
    for &length in shape {
        writer.uint(length as u64);
    }
    writer.bin(b"data")?.bin_head(size);
    Ok(())
}

pub(super) fn size32(count: usize, size: usize) -> Result<u32, EncodeError> {
    length32("array data", count.saturating_mul(size))
}

/// Elements of a shape; saturated where it overflows, which fits no data.
fn count(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.iter().fold(1, |count, &length| count.saturating_mul(length)) }
}

use super::NumpyError;
use super::view::fields;
use crate::msgpack::encode::Writer;
use crate::msgpack::view::View;

/// A Python `complex`, which msgpack-numpy sends as a map of `complex` = true and its text, such as `(1+2j)`:
/// real and imaginary part. `None` for any other value.
///
/// ```
/// use multiplane_codec::{Limits, View, msgpack::numpy};
///
/// let mut buffer = Vec::new();
/// numpy::encode_complex(&mut buffer, 1.0, -2.5)?;
/// assert_eq!(numpy::complex(View::parse(&buffer, &Limits::default())?), Some((1.0, -2.5)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn complex(view: View<'_>) -> Option<(f64, f64)> {
    let [mark, data] = fields(view, [b"complex", b"data"])?;
    mark?;
    let text = data?.as_raw_str_bytes().or(data?.as_bin())?;
    parse(std::str::from_utf8(text).ok()?)
}

/// Python's `repr`: `(1+2j)`, `(-0-1e-05j)`, `(nan+infj)`, or `2j` where the real part is plain zero.
fn parse(text: &str) -> Option<(f64, f64)> {
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    let Some(text) = text.strip_suffix('j') else { return Some((text.parse().ok()?, 0.0)) };
    // The sign of the imaginary part: the last one that belongs to no exponent.
    let bytes = text.as_bytes();
    let border = (1..bytes.len())
        .rev()
        .find(|&i| matches!(bytes[i], b'+' | b'-') && !matches!(bytes[i - 1], b'e' | b'E'));
    match border {
        Some(border) => Some((text[..border].parse().ok()?, text[border..].parse().ok()?)),
        None => Some((0.0, text.parse().ok()?)),
    }
}

/// Appends a Python `complex`.
pub fn encode_complex(buffer: &mut Vec<u8>, real: f64, imaginary: f64) -> Result<(), NumpyError> {
    let mut text = String::new();
    if real == 0.0 && real.is_sign_positive() {
        python_float(&mut text, imaginary);
        text.push('j');
    } else {
        text.push('(');
        python_float(&mut text, real);
        if imaginary.is_nan() || imaginary.is_sign_positive() {
            text.push('+');
        }
        python_float(&mut text, imaginary);
        text.push_str("j)");
    }
    Writer::new(buffer).map(2).bin(b"complex")?.bool(true).bin(b"data")?.str(&text)?;
    Ok(())
}

/// A float as in the `repr` of a complex number: shortest digits, no `.0`, an exponent of two digits below
/// 1e-4 and from 1e16 up.
fn python_float(text: &mut String, x: f64) {
    use std::fmt::Write;
    let written = if x.is_nan() {
        write!(text, "nan")
    } else if x.is_finite() && x != 0.0 && !(1e-4..1e16).contains(&x.abs()) {
        let short = format!("{x:e}");
        let (digits, exponent) = short.split_once('e').unwrap_or((&short, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        write!(text, "{digits}e{sign}{exponent:0>2}")
    } else {
        write!(text, "{x}")
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::JsonError;
use crate::msgpack::text::{Step, walk};
use crate::msgpack::token::Token;
use crate::msgpack::view::View;

/// Appends `view` as compact JSON. On error `out` is what it was before.
///
/// # Errors
/// [`JsonError`] for what JSON cannot say, with its byte in the frame.
pub fn from_msgpack(view: View<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let start = out.len();
    let result = walk(view, |step| {
        match step {
            Step::Close { map } => out.push(if map { b'}' } else { b']' }),
            Step::Value { token, before, key, at } => {
                if key && !matches!(token, Token::Str(_)) {
                    return Err(JsonError::KeyNotText { at, kind: token.kind() });
                }
                out.extend_from_slice(before.as_bytes());
                value(token, at, out)?;
            }
        }
        Ok(())
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn value(token: Token<'_>, at: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match token {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Bool(yes) => scalar(&yes, at, out)?,
        Token::Uint(n) => scalar(&n, at, out)?,
        Token::Int(n) => scalar(&n, at, out)?,
        // Widened as Python does when it reads one.
        Token::F32(x) => float(f64::from(x), at, out)?,
        Token::F64(x) => float(x, at, out)?,
        Token::Str(bytes) => {
            scalar(std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8 { at })?, at, out)?
        }
        Token::Bin(bytes) => {
            out.push(b'"');
            let start = out.len();
            // A length that does not fit is one that no slice has.
            out.resize(start + base64::encoded_len(bytes.len(), true).unwrap_or(0), 0);
            let written = STANDARD.encode_slice(bytes, &mut out[start..]);
            debug_assert!(written.is_ok(), "the room was measured");
            out.push(b'"');
        }
        Token::Ext(kind, _) => return Err(JsonError::Extension { at, kind }),
        Token::Array(_) => out.push(b'['),
        Token::Map(_) => out.push(b'{'),
    }
    Ok(())
}

fn float(x: f64, at: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if !x.is_finite() {
        return Err(JsonError::NotFinite { at, value: x.to_string() });
    }
    scalar(&x, at, out)
}

fn scalar<T: Serialize + ?Sized>(value: &T, at: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    serde_json::to_writer(out, value).map_err(|error| JsonError::Malformed { at, reason: error.to_string() })
}

/// As [`from_msgpack`], with a form for all but extensions and containers as keys: bytes, and text that is not UTF-8, become
/// `{"$bytes":"base64"}`, an extension `{"$ext":5,"data":"base64"}`, a key its text, NaN and infinities null. Says how many
/// numbers became null.
///
/// ```
/// use multiplane_codec::{Limits, View, msgpack::json};
///
/// let mut text = Vec::new();
/// let array = View::parse(b"\x82\xc4\x02nd\xc3\xc4\x04data\xc4\x01\xff", &Limits::default())?;
/// json::from_msgpack_tagged(array, &mut text)?;
/// assert_eq!(text, br#"{"nd":true,"data":{"$bytes":"/w=="}}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`JsonError::KeyNotText`].
pub fn from_msgpack_tagged(view: View<'_>, out: &mut Vec<u8>) -> Result<usize, JsonError> {
    let start = out.len();
    let mut nulled = 0;
    let result = walk(view, |step| {
        match step {
            Step::Close { map } => out.push(if map { b'}' } else { b']' }),
            Step::Value { token, before, key, at } => {
                out.extend_from_slice(before.as_bytes());
                match key {
                    true => tagged_key(token, at, out)?,
                    false => nulled += usize::from(tagged(token, at, out)?),
                }
            }
        }
        Ok(())
    });
    if result.is_err() {
        out.truncate(start);
    }
    result.map(|()| nulled)
}

/// Whether it became null.
fn tagged(token: Token<'_>, at: usize, out: &mut Vec<u8>) -> Result<bool, JsonError> {
    let (head, bytes) = match token {
        Token::Bin(bytes) => ("{\"$bytes\":".to_owned(), bytes),
        Token::Str(bytes) if std::str::from_utf8(bytes).is_err() => ("{\"$bytes\":".to_owned(), bytes),
        Token::Ext(kind, bytes) => (format!("{{\"$ext\":{kind},\"data\":"), bytes),
        Token::F32(x) if !x.is_finite() => return value(Token::Nil, at, out).map(|()| true),
        Token::F64(x) if !x.is_finite() => return value(Token::Nil, at, out).map(|()| true),
        token => return value(token, at, out).map(|()| false),
    };
    out.extend_from_slice(head.as_bytes());
    value(Token::Bin(bytes), at, out)?;
    out.push(b'}');
    Ok(false)
}

fn tagged_key(token: Token<'_>, at: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let text = match token {
        Token::Str(bytes) | Token::Bin(bytes) => String::from_utf8_lossy(bytes),
        Token::Nil => "null".into(),
        Token::Bool(yes) => yes.to_string().into(),
        Token::Uint(n) => n.to_string().into(),
        Token::Int(n) => n.to_string().into(),
        Token::F32(x) => x.to_string().into(),
        Token::F64(x) => x.to_string().into(),
        Token::Ext(..) | Token::Array(_) | Token::Map(_) => {
            return Err(JsonError::KeyNotText { at, kind: token.kind() });
        }
    };
    scalar(&*text, at, out)
}

//! Which payloads end a receiver written in Python.

use super::decode::DecodeError;
use super::limits::Limits;
use super::token::{self, Token};
use super::view::View;

/// Python's decoder gives up at 1024 levels.
const DEPTH: usize = 1000;

/// Extension type -1 is a point in time, of 4, 8 or 12 bytes.
const TIMESTAMP: i8 = -1;

/// Why a component written in Python cannot take a payload: its decoder raises, and few of them expect that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PythonRefuses {
    /// Not one whole value.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A key of a map that is neither text nor bytes.
    #[error("byte {at}: a map key that is no text")]
    Key {
        /// Where it begins.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("byte {at}: text that is not UTF-8")]
    Text {
        /// Where it begins.
        at: usize,
    },
    /// A point in time that has an impossible length, or more nanoseconds than a second has.
    #[error("byte {at}: a timestamp that cannot be")]
    Timestamp {
        /// Where it begins.
        at: usize,
    },
}

/// Whether a component written in Python can take this payload: one whole value, text in UTF-8, text or bytes for keys.
/// Takes time in the size of the payload, however it is nested.
///
/// # Errors
/// What its decoder would raise about.
///
/// ```
/// use multiplane_codec::msgpack::accepted_by_python;
///
/// assert!(accepted_by_python(b"\x81\xa1a\x01").is_ok());
/// assert_eq!(accepted_by_python(b"\x81\x01\x01").unwrap_err().to_string(), "byte 1: a map key that is no text");
/// ```
pub fn accepted_by_python(payload: &[u8]) -> Result<(), PythonRefuses> {
    View::parse(payload, &Limits { depth: DEPTH, items: usize::MAX, bytes: usize::MAX })?;
    // Values still to come in each open container, and whether that is a map: then every other one is a key.
    let mut open: Vec<(u64, bool)> = Vec::new();
    let mut at = 0;
    while let Ok((token, size)) = token::read(&payload[at..]) {
        let is_key = matches!(open.last(), Some((left, true)) if left % 2 == 0);
        match token {
            Token::Str(text) if std::str::from_utf8(text).is_err() => return Err(PythonRefuses::Text { at }),
            Token::Ext(TIMESTAMP, time) if !is_time(time) => return Err(PythonRefuses::Timestamp { at }),
            Token::Str(_) | Token::Bin(_) => {}
            _ if is_key => return Err(PythonRefuses::Key { at }),
            _ => {}
        }
        if let Some((left, _)) = open.last_mut() {
            *left -= 1;
        }
        if token.is_container() {
            open.push((token.children(), matches!(token, Token::Map(_))));
        }
        while open.last().is_some_and(|(left, _)| *left == 0) {
            open.pop();
        }
        at += size;
    }
    Ok(())
}

fn is_time(time: &[u8]) -> bool {
    const SECOND: u32 = 1_000_000_000;
    match *time {
        [_, _, _, _] => true,
        [a, b, c, d, _, _, _, _] => u32::from_be_bytes([a, b, c, d]) >> 2 < SECOND,
        [a, b, c, d, _, _, _, _, _, _, _, _] => u32::from_be_bytes([a, b, c, d]) < SECOND,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_raises_about_is_found_wherever_it_is() {
        let good: [&[u8]; 12] = [
            b"\x80",
            b"\xc0",
            b"\x81\xa1a\x01",
            b"\x82\xc4\x01a\x01\xa0\x90",
            b"\x82\xa1a\x81\xa1b\x01\xa1c\x92\x01\x81\xa0\xc0",
            b"\x92\x81\xa1a\x90\x01",
            b"\xd4\x05\0",
            b"\xd6\xff\0\0\0\0",
            b"\xd7\xff\0\0\0\0\0\0\0\0",
            b"\xc7\x0c\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xa3\xe2\x82\xac",
            b"\xc4\x01\xff",
        ];
        for payload in good {
            assert_eq!(accepted_by_python(payload), Ok(()), "{payload:x?}");
        }
        let malformed: [&[u8]; 6] = [b"", b"\xc1", b"\x01\x01", b"\x91", b"\xdf\xff\xff\xff\xff", b"\xa5abc"];
        for payload in malformed {
            assert!(matches!(accepted_by_python(payload), Err(PythonRefuses::Malformed(_))), "{payload:x?}");
        }
        assert!(accepted_by_python(&[&[0x91; 600][..], &[1]].concat()).is_ok());
        assert!(accepted_by_python(&[&[0x91; 1100][..], &[1]].concat()).is_err());
        for (payload, at) in [
            (&b"\x81\x01\x01"[..], 1),
            (b"\x81\xc0\x01", 1),
            (b"\x81\xcb\0\0\0\0\0\0\0\0\x01", 1),
            (b"\x81\x90\x01", 1),
            (b"\x81\x81\xa1a\x01\x01", 1),
            (b"\x81\xd4\x05\0\x01", 1),
            (b"\x82\xa1a\x81\xa1b\x01\x02\x03", 7),
            (b"\x92\x01\x82\xa1a\x90\xc3\x01", 6),
        ] {
            assert_eq!(accepted_by_python(payload), Err(PythonRefuses::Key { at }), "{payload:x?}");
        }
        for (payload, at) in [
            (&b"\xa1\xff"[..], 0),
            (b"\x81\xa1\xff\x01", 1),
            (b"\x91\xa3\xed\xa0\x80", 1),
            (b"\x81\xa1a\xa2\xc3\x28", 3),
        ] {
            assert_eq!(accepted_by_python(payload), Err(PythonRefuses::Text { at }), "{payload:x?}");
        }
        let times: [&[u8]; 4] = [
            b"\xd4\xff\0",
            b"\xd8\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc7\x0c\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        ];
        for payload in times {
            assert_eq!(accepted_by_python(payload), Err(PythonRefuses::Timestamp { at: 0 }), "{payload:x?}");
        }
    }
}

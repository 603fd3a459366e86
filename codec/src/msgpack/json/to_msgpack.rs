use super::JsonError;
use super::scan::{Container, Event, Scanner};
use crate::msgpack::encode::{EncodeError, Writer};
use crate::msgpack::limits::Limits;

/// What the one byte of a short head can count.
const SHORT: usize = 15;

/// Appends the MessagePack of one JSON text. On error `out` is what it was before.
///
/// MessagePack puts a container's count in front of it, and JSON does not tell it: each head gets one byte, which is enough
/// for up to fifteen entries, and the heads of larger containers their room at the end, all in one go.
///
/// # Errors
/// [`JsonError`], with the byte at fault in the text.
pub fn to_msgpack(json: &[u8], out: &mut Vec<u8>, limits: &Limits) -> Result<(), JsonError> {
    let start = out.len();
    let result = write(json, limits, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn write(json: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(json, limits)?;
    let mut long = Vec::new();
    while let Some((at, event)) = scanner.next(out.len())? {
        let mut writer = Writer::new(out);
        match event {
            Event::Open => out.push(0),
            Event::Close(container) => match short_head(container) {
                Some(head) => out[container.head] = head,
                None => long.push(container),
            },
            Event::Nil => {
                writer.nil();
            }
            Event::Bool(yes) => {
                writer.bool(yes);
            }
            Event::Text(quoted) => text(quoted, at, &mut writer)?,
            Event::Number(digits) => number(digits, at, &mut writer)?,
        }
    }
    if !long.is_empty() {
        widen(long, out)?;
    }
    Ok(())
}

/// Keys and values of a map count once.
fn entries(container: Container) -> usize {
    if container.map { container.values / 2 } else { container.values }
}

fn short_head(container: Container) -> Option<u8> {
    let entries = u8::try_from(entries(container)).ok().filter(|entries| usize::from(*entries) <= SHORT)?;
    Some(entries | if container.map { 0x80 } else { 0x90 })
}

/// Gives containers their heads of several bytes. Whatever lies behind them is moved once.
fn widen(mut long: Vec<Container>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    long.sort_unstable_by_key(|container| container.head);
    let mut heads = Vec::with_capacity(long.len());
    let mut shift = 0;
    for container in long {
        let length = entries(container);
        let entries =
            u32::try_from(length).map_err(|_| EncodeError::TooLong { what: "container", length })?;
        let mut head = Vec::with_capacity(5);
        let mut writer = Writer::new(&mut head);
        if container.map {
            writer.map(entries)
        } else {
            writer.array(entries)
        };
        shift += head.len() - 1;
        heads.push((container.head, head));
    }
    let mut end = out.len();
    out.resize(end + shift, 0);
    for (at, head) in heads.into_iter().rev() {
        out.copy_within(at + 1..end, at + 1 + shift);
        shift -= head.len() - 1;
        out[at + shift..][..head.len()].copy_from_slice(&head);
        end = at;
    }
    Ok(())
}

fn text(quoted: &[u8], at: usize, writer: &mut Writer<'_>) -> Result<(), JsonError> {
    // Most text is what it looks like; of all else serde_json knows what it says, or what is wrong with it.
    let plain = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    let odd = plain.iter().fold(false, |odd, byte| odd | (*byte == b'\\') | (*byte < b' '));
    match std::str::from_utf8(plain) {
        Ok(plain) if !odd => writer.str(plain)?,
        _ => {
            let malformed = |error: serde_json::Error| JsonError::Malformed { at, reason: error.to_string() };
            writer.str(&serde_json::from_slice::<String>(quoted).map_err(malformed)?)?
        }
    };
    Ok(())
}

/// serde_json judges the grammar; the value is taken from the digits themselves, because it rounds floats
/// less exactly and turns big integers into floats.
fn number(digits: &[u8], at: usize, writer: &mut Writer<'_>) -> Result<(), JsonError> {
    if let Some(n) = plain_integer(digits) {
        writer.uint(n);
        return Ok(());
    }
    let malformed = |reason: String| JsonError::Malformed { at, reason };
    serde_json::from_slice::<serde_json::Number>(digits).map_err(|error| malformed(error.to_string()))?;
    let digits = std::str::from_utf8(digits).map_err(|error| malformed(error.to_string()))?;
    if digits.contains(['.', 'e', 'E']) {
        writer.f64(digits.parse().map_err(|error| malformed(format!("{error}")))?);
    } else if let Ok(n) = digits.parse() {
        writer.uint(n);
    } else if let Ok(n) = digits.parse() {
        writer.int(n);
    } else {
        return Err(JsonError::IntegerTooBig { at });
    }
    Ok(())
}

/// An integer that is nothing but digits, and fits whatever they are.
fn plain_integer(digits: &[u8]) -> Option<u64> {
    let plain = match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    plain.then(|| digits.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;
    use serde_json::{Map, Value};

    /// A map and an array of so many entries.
    fn sized(entries: usize, inside: &Value) -> Value {
        let map: Map<String, Value> = (0..entries).map(|n| (format!("{n:06}"), inside.clone())).collect();
        let array = vec![inside.clone(); entries];
        Value::Array(vec![Value::Object(map), Value::Bool(true), Value::Array(array), Value::Null])
    }

    #[test]
    fn heads_of_all_lengths_find_their_place() {
        let small = [0, 1, 15, 16, 17];
        let nested =
            small.into_iter().flat_map(|outer| small.map(|inner| sized(outer, &sized(inner, &Value::Null))));
        let large = [65_535, 65_536].map(|entries| sized(entries, &Value::from(7)));
        for value in nested.chain(large) {
            let json = serde_json::to_vec(&value).unwrap();
            let mut frame = b"before".to_vec();
            to_msgpack(&json, &mut frame, &Limits::default()).unwrap();
            let expected = [b"before".to_vec(), encode::to_vec(&value).unwrap()].concat();
            assert!(frame == expected, "{}", &String::from_utf8_lossy(&json)[..json.len().min(200)]);
        }
    }

    #[test]
    fn integers_are_what_their_digits_say() {
        for (digits, fits) in [
            ("0", true),
            ("-0", true),
            ("999999999999999999", true),
            ("1000000000000000000", true),
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("00", false),
            ("01", false),
        ] {
            let mut frame = Vec::new();
            let packed = to_msgpack(digits.as_bytes(), &mut frame, &Limits::default());
            assert_eq!(packed.is_ok(), fits, "{digits}");
            let expected = digits
                .parse::<u64>()
                .or(digits.parse::<i64>().map(|_| 0))
                .map(|n| encode::to_vec(&n).unwrap());
            assert_eq!(frame, expected.ok().filter(|_| fits).unwrap_or_default(), "{digits}");
        }
    }
}

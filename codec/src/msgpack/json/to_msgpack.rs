use super::JsonError;
use super::scan::{Event, Scanner};
use crate::msgpack::encode::{EncodeError, Writer};
use crate::msgpack::limits::Limits;

/// Appends the MessagePack of one JSON text. On error `out` is what it was before.
///
/// MessagePack puts a container's count in front of it, JSON does not tell it: the text is scanned twice,
/// first to count, then to write. What it keeps in between is four bytes per container.
///
/// # Errors
/// [`JsonError`], with the byte at fault in the text.
pub fn to_msgpack(json: &[u8], out: &mut Vec<u8>, limits: &Limits) -> Result<(), JsonError> {
    let start = out.len();
    let result = count(json, limits).and_then(|counts| write(json, limits, counts, out));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Values directly inside each container, keys included, in the order in which containers open.
fn count(json: &[u8], limits: &Limits) -> Result<Vec<u32>, JsonError> {
    let mut scanner = Scanner::new(json, limits)?;
    let mut counts: Vec<u32> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    while let Some((_, event)) = scanner.next()? {
        if let Event::Close = event {
            open.pop();
            continue;
        }
        if let Some(around) = open.last().and_then(|&around| counts.get_mut(around)) {
            *around = around
                .checked_add(1)
                .ok_or(EncodeError::TooLong { what: "container", length: scanner.items() })?;
        }
        if let Event::Open { .. } = event {
            open.push(counts.len());
            counts.push(0);
        }
    }
    Ok(counts)
}

fn write(json: &[u8], limits: &Limits, counts: Vec<u32>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(json, limits)?;
    let mut counts = counts.into_iter();
    let mut writer = Writer::new(out);
    while let Some((at, event)) = scanner.next()? {
        match event {
            Event::Open { map: true } => {
                writer.map(counts.next().unwrap_or(0) / 2);
            }
            Event::Open { map: false } => {
                writer.array(counts.next().unwrap_or(0));
            }
            Event::Close => {}
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
    Ok(())
}

fn text(quoted: &[u8], at: usize, writer: &mut Writer<'_>) -> Result<(), JsonError> {
    let malformed = |error: serde_json::Error| JsonError::Malformed { at, reason: error.to_string() };
    if quoted.contains(&b'\\') {
        writer.str(&serde_json::from_slice::<String>(quoted).map_err(malformed)?)?;
    } else {
        writer.str(serde_json::from_slice::<&str>(quoted).map_err(malformed)?)?;
    }
    Ok(())
}

/// serde_json judges the grammar; the value is taken from the digits themselves, because it rounds floats
/// less exactly and turns big integers into floats.
fn number(digits: &[u8], at: usize, writer: &mut Writer<'_>) -> Result<(), JsonError> {
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

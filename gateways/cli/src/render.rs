//! How a message looks on the terminal, and to a program that reads it there.

use multiplane_bus::OwnedMessage;
use multiplane_codec::encode::Writer;
use multiplane_codec::msgpack::numpy::{ArrayView, Element};
use multiplane_codec::msgpack::{Kind, json};
use multiplane_codec::{EncodeError, View};
use std::fmt::Write as _;

/// The form in which messages are printed.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: `backplane topic payload`, arrays by dtype and shape, anything that is no MessagePack in hex
    Text,
    /// One JSON object a line: backplane, topic, payload; or error and hex for what JSON cannot say
    Json,
    /// One MessagePack map after the other: backplane, topic, payload; or error and raw for what is no MessagePack
    Msgpack,
    /// `backplane topic payload`, the payload's bytes in hex
    Hex,
}

impl Format {
    /// Appends the message, its end included.
    pub(crate) fn write(self, message: &OwnedMessage, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (backplane, topic) = (message.backplane().name(), message.topic());
        if self == Format::Msgpack {
            return write_msgpack(message, out);
        }
        let line = match self {
            Format::Text => format!("{backplane} {topic} {}", text(message)),
            Format::Hex => format!("{backplane} {topic} {}", hex(message.payload_bytes())),
            Format::Json | Format::Msgpack => {
                let rest = match json_of(message) {
                    Ok(payload) => format!("\"payload\":{payload}"),
                    Err(error) => {
                        format!("\"error\":{},\"hex\":\"{}\"", quoted(&error), hex(message.payload_bytes()))
                    }
                };
                format!("{{\"backplane\":{},\"topic\":{},{rest}}}", quoted(backplane), quoted(topic))
            }
        };
        out.extend_from_slice(printable(&line).as_bytes());
        out.push(b'\n');
        Ok(())
    }
}

fn write_msgpack(message: &OwnedMessage, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let payload = message.payload();
    let mut writer = Writer::new(out);
    writer.map(if payload.is_ok() { 3 } else { 4 });
    writer.str("backplane")?.str(message.backplane().name())?.str("topic")?.str(message.topic())?;
    match payload {
        Ok(payload) => {
            writer.str("payload")?;
            out.extend_from_slice(payload.bytes());
        }
        Err(error) => {
            writer.str("error")?.str(&error.to_string())?.str("raw")?.bin(message.payload_bytes())?;
        }
    }
    Ok(())
}

fn text(message: &OwnedMessage) -> String {
    match message.payload() {
        Ok(view) => {
            let mut out = String::new();
            // What JSON cannot say, people can still read.
            let _ = write_value(view, true, &mut out);
            out
        }
        Err(error) => format!("0x{} (not MessagePack: {error})", hex(message.payload_bytes())),
    }
}

fn json_of(message: &OwnedMessage) -> Result<String, String> {
    let view = message.payload().map_err(|error| error.to_string())?;
    let mut out = String::new();
    write_value(view, false, &mut out)?;
    Ok(out)
}

/// JSON, with bytes in base64 and NumPy's arrays as objects; for people, whatever JSON cannot say in the codec's
/// notation, and of arrays only what they are. As deep as the limits of a payload allow, which is not very.
fn write_value(view: View<'_>, people: bool, out: &mut String) -> Result<(), String> {
    match view.kind() {
        Kind::Array => {
            out.push('[');
            for (nth, item) in view.iter().enumerate() {
                out.push_str(if nth > 0 { "," } else { "" });
                write_value(item, people, out)?;
            }
            out.push(']');
        }
        Kind::Map => match ArrayView::from_view(view) {
            Ok(Some(array)) => write_array(view, &array, people, out)?,
            Err(error) if people => drop(write!(out, "<{error}>")),
            Err(error) => return Err(error.to_string()),
            Ok(None) => {
                out.push('{');
                for (nth, (key, value)) in view.entries().enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    if !people && key.kind() != Kind::Str {
                        return Err(format!(
                            "the map key {key} is {}, and JSON has only text keys",
                            key.kind()
                        ));
                    }
                    write_leaf(key, people, out)?;
                    out.push(':');
                    write_value(value, people, out)?;
                }
                out.push('}');
            }
        },
        _ => write_leaf(view, people, out)?,
    }
    Ok(())
}

fn write_leaf(view: View<'_>, people: bool, out: &mut String) -> Result<(), String> {
    let mut leaf = Vec::new();
    match json::from_msgpack(view, &mut leaf) {
        Ok(()) => out.push_str(&String::from_utf8_lossy(&leaf)),
        Err(_) if people => drop(write!(out, "{view}")),
        Err(error) => return Err(error.to_string()),
    }
    Ok(())
}

fn write_array(view: View<'_>, array: &ArrayView<'_>, people: bool, out: &mut String) -> Result<(), String> {
    let dtype = array.dtype();
    if array.is_scalar() {
        return match scalar(array) {
            Some(number) => {
                out.push_str(&number);
                Ok(())
            }
            None if people => {
                let _ = write!(out, "scalar({dtype})");
                Ok(())
            }
            None => Err(format!("the NumPy scalar is of dtype {dtype}, which JSON cannot say")),
        };
    }
    let shape: Vec<usize> = array.shape().collect();
    if people {
        let _ = write!(out, "ndarray({dtype}, {shape:?})");
        return Ok(());
    }
    let _ =
        write!(out, "{{\"ndarray\":{{\"dtype\":{},\"shape\":{shape:?},\"data\":", quoted(&dtype.to_string()));
    for (key, value) in view.entries() {
        if key.as_bin() == Some(b"data") {
            write_leaf(value, people, out)?;
        }
    }
    out.push_str("}}");
    Ok(())
}

/// The one number of a NumPy scalar, as JSON.
fn scalar(array: &ArrayView<'_>) -> Option<String> {
    fn number<T: Element + serde::Serialize>(array: &ArrayView<'_>) -> Option<String> {
        // NaN becomes `null`, which would be a lie.
        let text = array.to_vec::<T>().ok()?.first().and_then(|number| serde_json::to_string(number).ok())?;
        (text != "null").then_some(text)
    }
    let kinds = [
        number::<f64>,
        number::<f32>,
        number::<i64>,
        number::<i32>,
        number::<i16>,
        number::<i8>,
        number::<u64>,
        number::<u32>,
        number::<u16>,
        number::<u8>,
        number::<bool>,
    ];
    kinds.into_iter().find_map(|number| number(array))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Peers must not steer the terminal: what controls it, or the direction of writing, is escaped as JSON would.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match c {
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
            c if c.is_control() => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use multiplane_codec::{Limits, msgpack::numpy};

    fn show(payload: &[u8], people: bool) -> Result<String, String> {
        let view = View::parse(payload, &Limits::default()).unwrap();
        let mut out = String::new();
        write_value(view, people, &mut out).map(|()| out)
    }

    #[test]
    fn json_is_json() {
        assert_eq!(
            show(b"\x82\xa1a\x92\x01\xc0\xa1b\xc4\x02hi", false).unwrap(),
            r#"{"a":[1,null],"b":"aGk="}"#
        );
    }

    #[test]
    fn what_json_cannot_say_people_can_read() {
        let nan = b"\xcb\x7f\xf8\0\0\0\0\0\0";
        assert_eq!(show(nan, true).unwrap(), "NaN");
        assert!(show(nan, false).unwrap_err().contains("NaN"));
        assert_eq!(show(b"\x81\x01\x02", true).unwrap(), "{1:2}");
        assert!(show(b"\x81\x01\x02", false).unwrap_err().contains("text keys"));
    }

    #[test]
    fn arrays_are_shown_by_shape_and_kept_in_json() {
        let mut payload = Vec::new();
        numpy::encode(&mut payload, &[1, 2], &[1_u8, 2]).unwrap();
        assert_eq!(show(&payload, true).unwrap(), "ndarray(|u1, [1, 2])");
        assert_eq!(
            show(&payload, false).unwrap(),
            r#"{"ndarray":{"dtype":"|u1","shape":[1, 2],"data":"AQI="}}"#
        );
    }

    #[test]
    fn a_numpy_scalar_is_a_number() {
        let mut payload = Vec::new();
        numpy::encode_scalar(&mut payload, 2.5_f64).unwrap();
        assert_eq!((show(&payload, true), show(&payload, false)), (Ok("2.5".into()), Ok("2.5".into())));
    }

    #[test]
    fn peers_do_not_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}\u{202e}é"), "a\\u001b[2Jb\\u009b\\u202eé");
    }
}

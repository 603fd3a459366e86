//! Messages that mean the same on either side of a gateway: a map with the stamp in hexadecimal digits and a filling,
//! as MessagePack on the bus, as JSON where that is spoken.

use super::super::{Listener, Receiver, Sender, Until};
use crate::BenchError;
use crate::stamp;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    MessagePack,
}

const DIGITS: usize = 2 * stamp::BYTES;
/// JSON without the filling: what is written is as long as the payload that it stands for.
const LEAST: usize = r#"{"stamp":"","fill":""}"#.len() + DIGITS;
const FILL: u8 = b'x';
/// In both forms the first key is here, and its value begins a few bytes behind.
const KEY: std::ops::Range<usize> = 2..7;
const GAP: usize = 6;

/// Appends what stands for `payload`.
fn write(form: Form, payload: &[u8], out: &mut Vec<u8>) -> Result<(), BenchError> {
    let (Some(stamp), Some(fill)) = (payload.get(..stamp::BYTES), payload.len().checked_sub(LEAST)) else {
        return Err(BenchError::Misuse(format!("a payload between gateways is {LEAST} bytes or more")));
    };
    out.extend_from_slice(match form {
        Form::Json => br#"{"stamp":""#,
        Form::MessagePack => b"\x82\xa5stamp\xd9\x20",
    });
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half & 15)];
    out.extend(stamp.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
    match form {
        Form::Json => out.extend_from_slice(br#"","fill":""#),
        Form::MessagePack => {
            out.extend_from_slice(b"\xa4fill");
            out.push(0xdb);
            out.extend_from_slice(&(fill as u32).to_be_bytes());
        }
    }
    out.resize(out.len() + fill, FILL);
    if form == Form::Json {
        out.extend_from_slice(br#""}"#);
    }
    Ok(())
}

/// Reads either form, with blanks or without, into the payload that it stands for; false if it stands for none.
fn read(body: &[u8], payload: &mut Vec<u8>) -> bool {
    let value = |body: &[u8]| {
        let rest = body.get(KEY.end..).filter(|_| body[KEY] == *b"stamp")?;
        let begin = KEY.end + rest.iter().take(GAP).position(u8::is_ascii_hexdigit)?;
        (body.len() >= begin + DIGITS).then_some(begin)
    };
    let Some(begin) = value(body) else { return false };
    let (digits, rest) = body[begin..].split_at(DIGITS);
    let fill = rest.iter().filter(|byte| **byte == FILL).count();
    payload.resize(LEAST + fill, 0);
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, digits) in payload.iter_mut().zip(digits.chunks_exact(2)) {
        match (half(digits[0]), half(digits[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return false,
        }
    }
    true
}

/// Writes the bodies for a sender.
pub(super) struct Writing<S> {
    form: Form,
    sender: S,
    body: Vec<u8>,
}

impl<S: Sender> Writing<S> {
    pub(super) fn new(form: Form, sender: S) -> Self {
        Self { form, sender, body: Vec::new() }
    }
}

impl<S: Sender> Sender for Writing<S> {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        self.body.clear();
        write(self.form, payload, &mut self.body)?;
        self.sender.send(topic, &self.body)
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.sender.flush()
    }
}

/// Reads what a receiver hears.
pub(super) struct Reading<R>(pub(super) R);

struct Hearing<L> {
    listener: L,
    payload: Vec<u8>,
}

impl<L: Listener> Listener for Hearing<L> {
    #[inline]
    fn hear(&mut self, body: &[u8]) -> Option<&[u8]> {
        if !read(body, &mut self.payload) {
            // Nothing that was sent: it counts as foreign.
            self.payload.clear();
        }
        self.listener.hear(&self.payload)
    }
}

impl<R: Receiver> Receiver for Reading<R> {
    fn receive<L: Listener>(
        self,
        listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let hearing = Hearing { listener, payload: Vec::new() };
        Ok(self.0.receive(hearing, opening, until)?.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    #[test]
    fn what_is_written_is_read_and_is_what_it_says() {
        for size in [LEAST, 100, 255, 4096] {
            let mut payload = vec![0; size];
            Stamp { publisher: 3, sequence: 0x1234_5678_9abc, due: u64::MAX }.write(&mut payload);
            let (mut json, mut msgpack) = (Vec::new(), Vec::new());
            write(Form::Json, &payload, &mut json).unwrap();
            write(Form::MessagePack, &payload, &mut msgpack).unwrap();
            assert_eq!(json.len(), size);
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let blanks = serde_json::to_vec_pretty(&value).unwrap();
            let same: serde_json::Value = rmp_serde::from_slice(&msgpack).unwrap();
            assert_eq!(value, same);
            let spaced = String::from_utf8(json.clone()).unwrap().replace(':', ": ").replace(',', ", ");
            for body in [&json[..], &msgpack, spaced.as_bytes()] {
                let mut found = Vec::new();
                assert!(read(body, &mut found));
                assert_eq!(found, payload);
                let mut short = Vec::new();
                assert!(!read(&body[..30], &mut short) && !read(&blanks, &mut short));
            }
        }
        assert!(write(Form::Json, &[0; LEAST - 1], &mut Vec::new()).is_err());
    }
}

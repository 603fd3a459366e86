//! What is done to bytes of clients, for `tests/fuzz`: panics when something does not hold.

use crate::http::{Gate, Step};
use crate::translate::{First, Form, LIMITS, body_of, error, first, ok, parse, payload_of, raw, reports_of};
use multiplane_codec::{Limits, View};

/// A message: it is understood or there is a reason why not, and what is said in return has a form.
pub fn message(data: &[u8]) {
    let Some((choice, message)) = data.split_first() else { return };
    let form = if choice % 2 == 0 { Form::Json } else { Form::Msgpack };
    let mut buffer = Vec::new();
    let view = match body_of(form, message, &mut buffer) {
        Ok(view) => view,
        Err(reason) => {
            let reply = error(&reason, None).expect("a reason has a form");
            assert!(!form.frame_of(&reply).is_empty());
            return;
        }
    };
    if let Some(First::Banyan { id, .. }) = first(&view) {
        let _ = (reports_of(id, true), reports_of(id, false));
    }
    let (request, tag) = parse(&view);
    if let Ok(crate::translate::Request::Publish { payload, .. }) = &request
        && let Ok(payload) = payload_of(form, payload)
    {
        View::parse(&payload, &Limits { depth: LIMITS.depth + 1, ..LIMITS }).expect("it was judged");
    }
    let reply = match (request, tag) {
        (Ok(_), Some(tag)) => ok(tag),
        (Ok(_), None) => return,
        (Err(reason), tag) => error(&reason, tag),
    };
    let reply = reply.expect("a tag was judged");
    View::parse(&reply, &Limits::DEFAULT).expect("we wrote it");
    assert!(!form.frame_of(&reply).is_empty());
    let mut text = Vec::new();
    raw(message, &mut text);
    assert!(std::str::from_utf8(&text).is_ok(), "it goes out as text");
}

/// The head of a request: judged, once it is whole, the same way however it came.
pub fn head(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let gate = Gate {
        loopback: choice & 1 == 0,
        token: choice & 2 == 0,
        origins: vec!["https://friend.example:8443".to_owned()],
    };
    let whole = gate.judge(bytes);
    if let Step::Upgrade { taken, bytes: said } = &whole {
        assert!(*taken <= bytes.len() && said.starts_with(b"HTTP/1.1 101 "));
        assert_eq!(gate.judge(&bytes[..*taken]), whole, "what follows a head is no part of it");
    }
    let part = gate.judge(&bytes[..bytes.len() / 2]);
    if let Step::Upgrade { .. } = part {
        assert_eq!(part, whole);
    }
    if let Step::Answer { bytes: said, refused } = &whole {
        assert!(said.starts_with(b"HTTP/1.1 "));
        let line = refused.as_deref().unwrap_or_default();
        assert!(!line.contains(char::is_control), "no line for a log: {line:?}");
    }
}

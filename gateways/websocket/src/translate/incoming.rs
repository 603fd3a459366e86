//! What clients say.

use super::{Form, LIMITS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use multiplane_codec::encode::Writer;
use multiplane_codec::msgpack::json;
use multiplane_codec::{Limits, View};
use std::borrow::Cow;
use std::time::Duration;

/// Bytes of a `ref`, which is repeated to the client.
const REF: usize = 256;
/// How often a view may be sent, and how seldom.
const LEAST_EVERY: f64 = 0.1;
const MOST_EVERY: f64 = 60.0;
/// Messages a second of one topic, on request.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// A message as MessagePack that was checked; what was JSON is put into `buffer`.
pub(crate) fn packed<'b>(form: Form, message: &'b [u8], buffer: &'b mut Vec<u8>) -> Result<&'b [u8], String> {
    match form {
        Form::Msgpack => view(message).map(|_| message),
        Form::Json => to_msgpack(message, buffer),
    }
}

/// The same, to be looked into.
pub(crate) fn body_of<'b>(
    form: Form,
    message: &'b [u8],
    buffer: &'b mut Vec<u8>,
) -> Result<View<'b>, String> {
    match form {
        Form::Msgpack => view(message),
        Form::Json => to_msgpack(message, buffer).and_then(view),
    }
}

fn to_msgpack<'b>(message: &[u8], buffer: &'b mut Vec<u8>) -> Result<&'b [u8], String> {
    buffer.clear();
    json::to_msgpack(message, buffer, &LIMITS).map_err(|error| error.to_string())?;
    Ok(buffer)
}

fn view(packed: &[u8]) -> Result<View<'_>, String> {
    View::parse(packed, &Limits { depth: LIMITS.depth + 1, ..LIMITS }).map_err(|error| error.to_string())
}

/// Who a client is, by its first message.
#[derive(Debug, PartialEq)]
pub(crate) enum First<'m> {
    Banyan { id: &'m str, token: Option<&'m str> },
    Enveloped,
}

/// Tells by the first message who a client is.
pub(crate) fn first<'m>(message: &View<'m>) -> Option<First<'m>> {
    if message.find("op").is_some_and(|op| op.as_str().is_some()) {
        return Some(First::Enveloped);
    }
    let id = message.find("id")?.as_str()?;
    Some(First::Banyan { id, token: text(message, "token") })
}

/// The topic of what is sent to the Banyan client of that id.
pub(crate) fn reports_of(id: &str, compat: bool) -> Option<String> {
    match compat {
        true => Some(id.replace("to", "from")),
        false => id.strip_prefix("to_").map(|rest| format!("from_{rest}")),
    }
}

/// What a client asks.
#[derive(Debug)]
pub(crate) enum Request<'m> {
    Hello { token: Option<&'m str> },
    Subscribe { topic: &'m str, backplane: Option<&'m str>, pace: Option<Duration> },
    Unsubscribe { topic: &'m str, backplane: Option<&'m str> },
    Publish { topic: &'m str, backplane: Option<&'m str>, payload: View<'m> },
    Watch { every: Option<Duration> },
}

/// What a client asks, and its `ref`, as it is in MessagePack.
pub(crate) fn parse<'m>(message: &View<'m>) -> (Result<Request<'m>, Cow<'static, str>>, Option<&'m [u8]>) {
    let tag = match message.find("ref") {
        None => None,
        Some(tag)
            if tag.as_str().is_none()
                && tag.as_f64().is_none()
                && tag.as_i64().is_none()
                && tag.as_u64().is_none() =>
        {
            return (Err("`ref` is a text or a number".into()), None);
        }
        Some(tag) if tag.bytes().len() > REF => return (Err("`ref` is longer than 256 bytes".into()), None),
        Some(tag) => Some(tag.bytes()),
    };
    (request(message), tag)
}

fn request<'m>(message: &View<'m>) -> Result<Request<'m>, Cow<'static, str>> {
    let op = text(message, "op")
        .ok_or("a message is a map with `op`: hello, subscribe, unsubscribe, publish or watch")?;
    let topic =
        || text(message, "topic").ok_or_else(|| Cow::from(format!("{op} needs a `topic`, which is text")));
    let backplane = || match message.find("backplane") {
        None => Ok(None),
        Some(name) if name.is_nil() => Ok(None),
        Some(name) => {
            name.as_str().map(Some).ok_or("`backplane` is the name of one, as the welcome has them")
        }
    };
    Ok(match op {
        "hello" => Request::Hello { token: text(message, "token") },
        "subscribe" => Request::Subscribe { topic: topic()?, backplane: backplane()?, pace: pace(message)? },
        "unsubscribe" => Request::Unsubscribe { topic: topic()?, backplane: backplane()? },
        "publish" => Request::Publish {
            topic: topic()?,
            backplane: backplane()?,
            payload: message.find("payload").ok_or("publish needs a `payload`; null is one")?,
        },
        "watch" => Request::Watch { every: every(message)? },
        _ => return Err("`op` is hello, subscribe, unsubscribe, publish or watch".into()),
    })
}

/// How long a topic pauses after each message, where its messages may be left out for newer ones.
fn pace(message: &View<'_>) -> Result<Option<Duration>, &'static str> {
    let conflate = match message.find("conflate") {
        None => false,
        Some(conflate) => conflate.as_bool().ok_or("`conflate` is true or false")?,
    };
    match message.find("rate") {
        Some(rate) if !rate.is_nil() => match number(&rate) {
            Some(rate) if RATES.contains(&rate) => Ok(Some(Duration::from_secs_f64(1.0 / rate))),
            _ => Err("`rate` is a number of messages a second, 0.01 to 1000"),
        },
        _ => Ok(conflate.then_some(Duration::ZERO)),
    }
}

fn every(message: &View<'_>) -> Result<Option<Duration>, &'static str> {
    match message.find("every").and_then(|every| number(&every)) {
        Some(0.0) => Ok(None),
        Some(every) if (LEAST_EVERY..=MOST_EVERY).contains(&every) => {
            Ok(Some(Duration::from_secs_f64(every)))
        }
        _ => Err("watch needs `every`, a number of seconds from 0.1 to 60; 0 ends it"),
    }
}

fn number(value: &View<'_>) -> Option<f64> {
    value.as_f64().or_else(|| value.as_i64().map(|n| n as f64)).or_else(|| value.as_u64().map(|n| n as f64))
}

fn text<'m>(message: &View<'m>, key: &str) -> Option<&'m str> {
    message.find(key)?.as_str()
}

/// The payload that a client wants published: what came as JSON may stand for bytes.
pub(crate) fn payload_of<'m>(form: Form, payload: &View<'m>) -> Result<Cow<'m, [u8]>, &'static str> {
    let bytes = match form {
        Form::Json if payload.len() == 1 => payload.find("$bytes"),
        _ => None,
    };
    let Some(bytes) = bytes else { return Ok(payload.bytes().into()) };
    let wrong = "`$bytes` is text in base64";
    let bytes = STANDARD.decode(bytes.as_str().ok_or(wrong)?).map_err(|_| wrong)?;
    let mut packed = Vec::with_capacity(bytes.len() + 5);
    Writer::new(&mut packed).bin(&bytes).map_err(|_| "there are too many bytes")?;
    Ok(packed.into())
}

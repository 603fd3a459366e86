//! What is said to clients.

use super::Form;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use multiplane_bus::{OwnedMessage, RoutingSpec};
use multiplane_codec::encode::Writer;
use multiplane_codec::msgpack::json;
use multiplane_codec::{EncodeError, Limits, View};

/// A message of the bus in all the forms that clients want, each made once, however many want it.
#[derive(Debug)]
pub(crate) struct Copies<'m> {
    message: &'m OwnedMessage,
    view: Option<View<'m>>,
    zone: &'m TimeZone,
    made: [Made; 4],
    /// Numbers that became null.
    pub(crate) nulled: u64,
}

#[derive(Clone, Debug, Default)]
enum Made {
    #[default]
    Not,
    Impossible,
    Frame(Bytes),
}

impl<'m> Copies<'m> {
    pub(crate) fn new(message: &'m OwnedMessage, zone: &'m TimeZone) -> Self {
        let view = View::parse(message.payload_bytes(), &Limits::default()).ok();
        Self { message, view, zone, made: Default::default(), nulled: 0 }
    }

    /// A frame with the message; Banyan clients get the payload alone, and nothing if it has no form.
    pub(crate) fn get(&mut self, form: Form, banyan: bool) -> Option<Bytes> {
        let place = usize::from(banyan) * 2 + usize::from(form == Form::Json);
        if let Made::Not = self.made[place] {
            let made = if banyan { self.banyan(form) } else { Some(self.enveloped(form)) };
            self.made[place] = made.map_or(Made::Impossible, |body| Made::Frame(form.frame(&body)));
        }
        match &self.made[place] {
            Made::Frame(frame) => Some(frame.clone()),
            Made::Not | Made::Impossible => None,
        }
    }

    fn json(&mut self, view: View<'_>, out: &mut Vec<u8>) -> bool {
        let nulled = json::from_msgpack_tagged(view, out);
        self.nulled += nulled.as_ref().map_or(0, |nulled| *nulled as u64);
        nulled.is_ok()
    }

    fn enveloped(&mut self, form: Form) -> Vec<u8> {
        let payload = self.message.payload_bytes();
        let (backplane, topic) = (self.message.backplane().name(), self.message.topic());
        let mut out = Vec::with_capacity(payload.len() * 2 + topic.len() + 64);
        match form {
            Form::Msgpack => {
                // Nothing that arrived is longer than MessagePack can say.
                let _ = packed(&mut out, self.view.is_none(), backplane, topic, payload);
            }
            Form::Json => {
                out.extend_from_slice(br#"{"op":"message","backplane":"#);
                text(backplane, &mut out);
                out.extend_from_slice(br#","topic":"#);
                text(topic, &mut out);
                out.extend_from_slice(br#","payload":"#);
                let start = out.len();
                if !self.view.is_some_and(|view| self.json(view, &mut out)) {
                    out.truncate(start);
                    raw(payload, &mut out);
                }
                out.push(b'}');
            }
        }
        out
    }

    fn banyan(&mut self, form: Form) -> Option<Vec<u8>> {
        let view = self.view?;
        let dated = dated(&view, self.zone);
        let packed = dated.as_deref().unwrap_or(view.bytes());
        if form == Form::Msgpack {
            return Some(packed.to_vec());
        }
        let mut out = Vec::with_capacity(packed.len() * 2);
        let view = View::parse(packed, &Limits::default()).ok()?;
        self.json(view, &mut out).then_some(out)
    }
}

fn packed(
    out: &mut Vec<u8>,
    raw: bool,
    backplane: &str,
    topic: &str,
    payload: &[u8],
) -> Result<(), EncodeError> {
    let mut writer = Writer::new(out);
    writer.map(if raw { 5 } else { 4 }).str("op")?.str("message")?.str("backplane")?.str(backplane)?;
    writer.str("topic")?.str(topic)?.str("payload")?;
    if raw {
        writer.bin(payload)?.str("raw")?.bool(true);
    } else {
        out.extend_from_slice(payload);
    }
    Ok(())
}

/// JSON text.
fn text(text: &str, out: &mut Vec<u8>) {
    // Text has a form, and writing into memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// Bytes that are no MessagePack, in JSON.
pub(crate) fn raw(bytes: &[u8], out: &mut Vec<u8>) {
    use base64::Engine;
    let coded = base64::engine::general_purpose::STANDARD.encode(bytes);
    out.extend_from_slice(format!(r#"{{"$raw":"{coded}"}}"#).as_bytes());
}

/// The same map with local time in place of the number under `timestamp`, if there is one.
pub(super) fn dated(view: &View<'_>, zone: &TimeZone) -> Option<Vec<u8>> {
    let stamp = view.find("timestamp")?;
    let seconds = stamp.as_f64().or_else(|| stamp.as_i64().map(|n| n as f64))?;
    let time = Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()?;
    let time = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut out = Vec::with_capacity(view.bytes().len() + 32);
    Writer::new(&mut out).map(u32::try_from(view.len()).ok()?);
    for (key, value) in view.entries() {
        out.extend_from_slice(key.bytes());
        match key.as_str() {
            Some("timestamp") => Writer::new(&mut out).str(&time).map(|_| ()).ok()?,
            _ => out.extend_from_slice(value.bytes()),
        }
    }
    Some(out)
}

/// An answer, as MessagePack.
pub(crate) type Reply = Result<Vec<u8>, EncodeError>;

pub(crate) fn ok(tag: &[u8]) -> Reply {
    let mut out = Vec::new();
    Writer::new(&mut out).map(2).str("op")?.str("ok")?.str("ref")?;
    out.extend_from_slice(tag);
    Ok(out)
}

pub(crate) fn error(reason: &str, tag: Option<&[u8]>) -> Reply {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.map(if tag.is_some() { 3 } else { 2 }).str("op")?.str("error")?.str("reason")?.str(reason)?;
    if let Some(tag) = tag {
        writer.str("ref")?;
        out.extend_from_slice(tag);
    }
    Ok(out)
}

pub(crate) fn dropped(count: u64) -> Reply {
    let mut out = Vec::new();
    Writer::new(&mut out).map(2).str("op")?.str("dropped")?.str("count")?.uint(count);
    Ok(out)
}

pub(crate) fn welcome(name: &str, routing: &RoutingSpec, token: bool) -> Reply {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.map(5).str("op")?.str("welcome")?.str("name")?.str(name)?;
    writer.str("version")?.str(env!("CARGO_PKG_VERSION"))?.str("token")?.bool(token);
    let routes = routing.routes();
    writer.str("backplanes")?.array(routes.len() as u32);
    for route in routes {
        writer.map(4).str("name")?.str(&route.name)?.str("address")?.str(&route.host)?;
        for (key, port) in
            [("publisher_port", route.publisher_port), ("subscriber_port", route.subscriber_port)]
        {
            match port {
                Some(port) => writer.str(key)?.uint(port.into()),
                None => writer.str(key)?.nil(),
            };
        }
    }
    Ok(out)
}

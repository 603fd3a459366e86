//! Topics and bodies of one side to those of the other, without a socket.

use crate::config::{Body, FromMqtt, ToMqtt};
use multiplane_codec::encode::Writer;
use multiplane_codec::msgpack::json;
use multiplane_codec::{DecodeError, EncodeError, Limits, View};

/// Bytes of an MQTT topic at most.
const TOPIC: usize = 65_535;

/// Why a message has no form on the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untranslatable {
    #[error(transparent)]
    Json(#[from] json::JsonError),
    #[error(transparent)]
    Msgpack(#[from] DecodeError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("a raw body is made of a MessagePack binary or text, and this is something else")]
    NotRaw,
    #[error("its topic {0:?} {1}")]
    Topic(String, &'static str),
}

/// A topic with places for that of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template<'t>(&'t str);

const TOPIC_MARK: &str = "{topic}";
const REST_MARK: &str = "{rest}";

impl<'t> Template<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self(text)
    }

    fn fill(&self, topic: &str, rest: &str) -> String {
        // What is filled in first is never looked at again.
        let parts = self.0.split(TOPIC_MARK).map(|part| part.replace(REST_MARK, rest));
        parts.collect::<Vec<_>>().join(topic)
    }

    /// What every topic made of it begins with, and whether that is all of it.
    fn fixed(&self) -> (&'t str, bool) {
        let end = [TOPIC_MARK, REST_MARK].into_iter().filter_map(|mark| self.0.find(mark)).min();
        end.map_or((self.0, true), |end| (&self.0[..end], false))
    }

    /// Whether a topic made of it may begin with `prefix`.
    pub(crate) fn may_begin_with(&self, prefix: &str) -> bool {
        let (fixed, whole) = self.fixed();
        fixed.starts_with(prefix) || !whole && prefix.starts_with(fixed)
    }

    /// Whether it can be a topic to publish on.
    pub(crate) fn check_mqtt(&self) -> Result<(), &'static str> {
        check_topic(self.0)
    }
}

fn check_topic(topic: &str) -> Result<(), &'static str> {
    if topic.is_empty() {
        return Err("is empty, which MQTT does not allow");
    }
    if topic.len() > TOPIC {
        return Err("is longer than MQTT allows");
    }
    if topic.contains('\0') {
        return Err("has a zero character, which MQTT does not allow");
    }
    if topic.contains(['+', '#']) {
        return Err("has a wildcard, and MQTT publishes on plain topics only");
    }
    Ok(())
}

/// Whether MQTT takes it for a filter.
pub(crate) fn check_filter(filter: &str) -> Result<(), &'static str> {
    if filter.is_empty() || filter.len() > TOPIC || filter.contains('\0') {
        return Err("is no filter of MQTT: it is empty, too long, or has a zero character");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err("is no filter of MQTT: `#` stands alone in the last level");
        }
        if level.contains('+') && level != "+" {
            return Err("is no filter of MQTT: `+` stands alone in its level");
        }
    }
    Ok(())
}

/// Whether `filter` matches; then what its `#` stands for.
fn matches<'t>(filter: &str, topic: &'t str) -> Option<&'t str> {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return None;
    }
    let mut rest = Some(topic);
    for level in filter.split('/') {
        if level == "#" {
            return Some(rest.unwrap_or(""));
        }
        let (here, behind) = match rest?.split_once('/') {
            Some((here, behind)) => (here, Some(behind)),
            None => (rest?, None),
        };
        if level != "+" && level != here {
            return None;
        }
        rest = behind;
    }
    rest.is_none().then_some("")
}

/// Whether a topic made of `target` may match `filter`. Says yes where it cannot know.
pub(crate) fn filter_overlaps(filter: &str, target: &Template<'_>) -> bool {
    let (fixed, whole) = target.fixed();
    if whole {
        return matches(filter, fixed).is_some();
    }
    // Whole levels that are known, the first ones and the last, must match; the rest may be anything.
    let end = target.0.rsplit_once('/').map(|(_, end)| end).filter(|end| !end.contains('{'));
    let last = filter.rsplit('/').next().filter(|last| !["#", "+"].contains(last));
    if end.zip(last).is_some_and(|(end, last)| end != last) {
        return false;
    }
    let known = fixed.rsplit_once('/').map_or("", |(known, _)| known);
    let mut levels = filter.split('/');
    for known in known.split('/').filter(|_| !known.is_empty()) {
        match levels.next() {
            Some("#") => return true,
            Some("+") => {}
            Some(level) if level == known => {}
            _ => return false,
        }
    }
    true
}

/// The topic and body of a message of the bus on the broker's side, for a row that wants it.
pub(crate) fn to_mqtt(
    row: &ToMqtt,
    topic: &str,
    payload: &[u8],
) -> Option<Result<(String, Vec<u8>), Untranslatable>> {
    let rest = topic.strip_prefix(row.topic.as_str())?;
    let target = Template::new(&row.mqtt).fill(topic, rest);
    Some(match check_topic(&target) {
        Ok(()) => body_to_mqtt(row.body, payload).map(|body| (target, body)),
        Err(why) => Err(Untranslatable::Topic(target, why)),
    })
}

fn body_to_mqtt(form: Body, payload: &[u8]) -> Result<Vec<u8>, Untranslatable> {
    let view = || View::parse(payload, &Limits::default());
    match form {
        Body::Json => {
            let mut text = Vec::with_capacity(payload.len() * 2);
            json::from_msgpack(view()?, &mut text)?;
            Ok(text)
        }
        Body::Msgpack => view().map(|_| payload.to_vec()).map_err(Untranslatable::from),
        Body::Raw => {
            let value = view()?;
            let bytes = value.as_bin().or_else(|| value.as_str().map(str::as_bytes));
            bytes.map(<[u8]>::to_vec).ok_or(Untranslatable::NotRaw)
        }
    }
}

/// The topic of a message of the broker on the bus, if the row's filter matches.
pub(crate) fn topic_on_bus(row: &FromMqtt, topic: &str) -> Option<String> {
    matches(&row.filter, topic).map(|rest| Template::new(&row.topic).fill(topic, rest))
}

/// The payload of a message of the broker on the bus.
pub(crate) fn body_on_bus(form: Body, body: &[u8]) -> Result<Vec<u8>, Untranslatable> {
    match form {
        Body::Json => {
            let mut payload = Vec::with_capacity(body.len());
            json::to_msgpack(body, &mut payload, &Limits::default())?;
            Ok(payload)
        }
        Body::Msgpack => {
            View::parse(body, &Limits::default())?;
            Ok(body.to_vec())
        }
        Body::Raw => {
            let mut payload = Vec::with_capacity(body.len() + 5);
            Writer::new(&mut payload).bin(body)?;
            Ok(payload)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, rest) in [
            ("a/b", "a/b", Some("")),
            ("a/b", "a", None),
            ("a", "a/b", None),
            ("a/+", "a/b", Some("")),
            ("a/+", "a/", Some("")),
            ("a/+", "a", None),
            ("+/+", "/a", Some("")),
            ("a/#", "a/b/c", Some("b/c")),
            ("a/#", "a", Some("")),
            ("a/#", "ab", None),
            ("#", "a/b", Some("a/b")),
            ("#", "$SYS/x", None),
            ("+/x", "$SYS/x", None),
            ("$SYS/#", "$SYS/x", Some("x")),
        ] {
            assert_eq!(matches(filter, topic), rest, "{filter} {topic}");
        }
    }

    #[test]
    fn an_echo_is_foreseen() {
        for (filter, target, expected) in [
            ("x", "x", true),
            ("x", "y", false),
            ("x/#", "x/{topic}", true),
            ("y/#", "x/{topic}", false),
            ("+/b", "x/{topic}", true),
            ("#", "{topic}", true),
            ("a/b", "a{rest}", true),
            ("home/+/set", "home/{rest}/state", false),
            ("home/#", "home/{rest}/state", true),
            ("home/+/+", "home/{rest}/state", true),
        ] {
            assert_eq!(filter_overlaps(filter, &Template::new(target)), expected, "{filter} {target}");
        }
        for (target, prefix, expected) in [
            ("from_mqtt", "to_mqtt", false),
            ("to_mqtt", "to_", true),
            ("to", "to_mqtt", false),
            ("{topic}", "anything", true),
            ("m:{topic}", "m:x", true),
            ("m:{topic}", "n", false),
        ] {
            assert_eq!(Template::new(target).may_begin_with(prefix), expected, "{target} {prefix}");
        }
    }

    #[test]
    fn topics_carry_over() {
        let row = ToMqtt::new("sensor/", "home/{rest}/{topic}");
        let topic = |topic| to_mqtt(&row, topic, b"\x01").map(|done| done.map(|(topic, _)| topic));
        assert_eq!(topic("sensor/a"), Some(Ok("home/a/sensor/a".to_owned())));
        assert_eq!(topic("other"), None);
        assert!(matches!(topic("sensor/#"), Some(Err(Untranslatable::Topic(..)))));
        let row = FromMqtt::new("home/#", "m:{rest}");
        assert_eq!(topic_on_bus(&row, "home/a/{topic}"), Some("m:a/{topic}".to_owned()));
        assert_eq!(topic_on_bus(&row, "office"), None);
    }

    #[test]
    fn bodies_go_both_ways() {
        let table: [(Body, &[u8], &[u8]); 7] = [
            (Body::Json, br#"{"k":1}"#, b"\x81\xa1k\x01"),
            (Body::Json, b"18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
            (Body::Json, b"1.5", b"\xcb\x3f\xf8\0\0\0\0\0\0"),
            (Body::Json, "\"é\"".as_bytes(), "\u{a2}é".trim_start_matches('\u{a2}').as_bytes()),
            (Body::Msgpack, b"\x92\x01\x02", b"\x92\x01\x02"),
            (Body::Raw, b"\xff\0", b"\xc4\x02\xff\0"),
            (Body::Raw, b"", b"\xc4\0"),
        ];
        for (form, mqtt, bus) in table {
            if mqtt.first() == Some(&b'"') {
                let payload = body_on_bus(form, mqtt).unwrap();
                assert_eq!(&payload[1..], bus, "text keeps its bytes");
                assert_eq!(body_to_mqtt(form, &payload).unwrap(), mqtt);
                continue;
            }
            assert_eq!(body_on_bus(form, mqtt).unwrap(), bus, "{form:?} {mqtt:?}");
            assert_eq!(body_to_mqtt(form, bus).unwrap(), mqtt, "{form:?} {bus:?}");
        }
        assert_eq!(body_to_mqtt(Body::Raw, b"\xa1x").unwrap(), b"x");
    }

    #[test]
    fn what_has_no_form_is_refused() {
        let deep = [b"[".repeat(5000), b"]".repeat(5000)].concat();
        let bad: [(Body, &[u8]); 8] = [
            (Body::Json, b""),
            (Body::Json, b"{\"k\": "),
            (Body::Json, b"NaN"),
            (Body::Json, b"hello"),
            (Body::Json, b"\"\xff\""),
            (Body::Json, &deep),
            (Body::Msgpack, b"\xc1"),
            (Body::Msgpack, b"\x01\x02"),
        ];
        for (form, body) in bad {
            assert!(body_on_bus(form, body).is_err(), "{form:?} {body:?}");
        }
        let bad: [(Body, &[u8]); 4] = [
            (Body::Json, b"\xcb\x7f\xf8\0\0\0\0\0\0"),
            (Body::Json, b"\x81\x01\x01"),
            (Body::Json, b""),
            (Body::Raw, b"\x01"),
        ];
        for (form, payload) in bad {
            assert!(body_to_mqtt(form, payload).is_err(), "{form:?} {payload:?}");
        }
        assert_eq!(body_to_mqtt(Body::Json, b"\xc4\x01\0").unwrap(), b"\"AA==\"", "bytes are base64");
    }
}

//! What is done to bytes of either side, for `tests/fuzz`: panics when something does not hold.

use crate::client::{Client, News};
use crate::config::{Body, Config, FromMqtt, Mapping, ToMqtt, Version};
use crate::translate::{Template, body_on_bus, check_filter, filter_overlaps, to_mqtt, topic_on_bus};
use std::time::Instant;

/// Topics and bodies: what was translated can be translated back, and an echo is foreseen. The input is a choice, a
/// filter, a template and a topic with a byte that is no text behind each, and a body.
pub fn mapping(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(4, |byte| *byte == 0xff);
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (Some(filter), Some(template), Some(topic)) = (text(), text(), text()) else { return };
    let body = parts.next().unwrap_or_default();
    let form = [Body::Json, Body::Msgpack, Body::Raw][usize::from(*choice) % 3];
    let row = ToMqtt { body: form, ..ToMqtt::new("", template) };
    if let Ok(payload) = body_on_bus(form, body)
        && let Some(Ok((target, once))) = to_mqtt(&row, topic, &payload)
    {
        if form != Body::Json {
            assert_eq!(once, body, "bytes stay bytes");
        }
        let payload = body_on_bus(form, &once).expect("we wrote it");
        let twice = to_mqtt(&row, topic, &payload).and_then(Result::ok).map(|(_, body)| body);
        assert_eq!(twice.as_ref(), Some(&once));
        let heard = topic_on_bus(&FromMqtt::new(filter, template), &target).is_some();
        assert!(
            !heard || check_filter(filter).is_err() || filter_overlaps(filter, &Template::new(template)),
            "{filter:?} hears {target:?}, which was not foreseen"
        );
    }
    if let Some(heard) = topic_on_bus(&FromMqtt::new(filter, template), topic) {
        assert!(
            heard.char_indices().all(|(at, _)| Template::new(template).may_begin_with(&heard[..at])),
            "that {heard:?} comes of {template:?} was not foreseen"
        );
    }
}

/// What a broker says: it ends its connection at worst. The choice is the version, whether we are let in first, and where
/// the bytes are cut.
#[allow(clippy::disallowed_methods, reason = "a connection has to begin somewhere; nothing depends on when")]
pub fn broker(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let version = if choice % 2 == 0 { Version::V3 } else { Version::V5 };
    let mapping = Mapping {
        to_mqtt: vec![ToMqtt::new("a", "b")],
        from_mqtt: vec![FromMqtt { qos: 1, ..FromMqtt::new("net/#", "c") }],
    };
    let config = Config { version, ..Config::new("broker:1883", mapping) };
    let now = Instant::now();
    let mut client = Client::connect(&config, "gateway", now).expect("it is a sound configuration");
    if choice & 2 == 0 {
        let welcome: &[u8] = match version {
            Version::V3 => &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 1],
            Version::V5 => &[0x20, 3, 0, 0, 0, 0x90, 4, 0, 1, 0, 1],
        };
        client.feed(welcome, now);
    }
    let (head, tail) = bytes.split_at(bytes.len().min(usize::from(choice >> 2)));
    for part in [head, tail] {
        client.feed(part, now);
        for news in client.take_news() {
            match news {
                News::Received(message) => {
                    message.id.into_iter().for_each(|id| client.acknowledge(id, now));
                }
                // The session reads no further.
                News::Over(_) => return,
                _ => {}
            }
        }
        client.take_out();
    }
}

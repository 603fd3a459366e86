//! Which broker, and what goes where: from a program, from words on the command line, or from a TOML file.

use crate::translate::{Template, check_filter, filter_overlaps};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All that a gateway is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker's `HOST:PORT`.
    pub broker: String,
    /// The version of MQTT. 3.1.1 by default, which every broker speaks.
    pub version: Version,
    /// Named, the broker keeps a session for it: messages of quality 1 that are published while the gateway is away
    /// arrive when it is back. Without, the name is made up and nothing is kept.
    pub client_id: Option<String>,
    /// Who it is.
    pub credentials: Option<Credentials>,
    /// Encrypted, and with a broker that proves its name; in the clear by default.
    pub tls: Option<Tls>,
    /// After so long without a word the broker is asked whether it is there. 30 seconds by default.
    pub keep_alive: Duration,
    /// Messages that wait for a broker that is away or slow; beyond, the oldest make way and are counted. 16,384 by
    /// default.
    pub queue: usize,
    /// What goes where.
    pub mapping: Mapping,
}

/// How the broker proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file with the certificates of the authorities that may vouch for it; those that the system trusts by default.
    pub authority: Option<PathBuf>,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V3,
    /// 5.0.
    V5,
}

/// A user and a password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What goes where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// From the bus to the broker. A message goes as often as its topic is found here.
    #[serde(default)]
    pub to_mqtt: Vec<ToMqtt>,
    /// From the broker to the bus. The first whose filter matches takes a message.
    #[serde(default)]
    pub from_mqtt: Vec<FromMqtt>,
}

/// From the bus to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToMqtt {
    /// A topic of the bus: it stands for all that begin with it.
    pub topic: String,
    /// The topic of MQTT. `{topic}` in it stands for the whole topic on the bus, `{rest}` for what follows `topic`.
    pub mqtt: String,
    /// Quality of service: 0, or 1 where the broker is to acknowledge.
    #[serde(default)]
    pub qos: u8,
    /// Whether the broker keeps the last message for those that subscribe later.
    #[serde(default)]
    pub retain: bool,
    /// The form of the body.
    #[serde(default)]
    pub body: Body,
    /// The backplanes it comes from; all if none is named.
    #[serde(default)]
    pub backplanes: Vec<String>,
}

/// From the broker to the bus.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromMqtt {
    /// A topic filter of MQTT, with `+` and `#`.
    pub filter: String,
    /// The topic on the bus. `{topic}` in it stands for the whole topic of MQTT, `{rest}` for what `#` stands for.
    pub topic: String,
    /// Quality of service: 0, or 1 where the broker repeats a message until the bus has accepted it.
    #[serde(default)]
    pub qos: u8,
    /// The form of the body.
    #[serde(default)]
    pub body: Body,
    /// The backplanes it goes to; all if none is named.
    #[serde(default)]
    pub backplanes: Vec<String>,
}

/// The form of a body on the MQTT side; on the bus it is MessagePack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// JSON.
    #[default]
    Json,
    /// MessagePack, as it is.
    Msgpack,
    /// Bytes: of a MessagePack binary or text, and to a MessagePack binary.
    Raw,
}

/// A mapping that cannot be; the message says where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// Not a line of a mapping.
    #[error("{text:?}: {why}; write {form}")]
    Word {
        /// What was given.
        text: String,
        /// What is wrong.
        why: String,
        /// How it is done.
        form: &'static str,
    },
    /// The file cannot be read, or is no mapping.
    #[error("{file}: {why}")]
    File {
        /// The file.
        file: String,
        /// What is wrong, and in which line.
        why: String,
    },
    /// A topic or a filter that MQTT does not know.
    #[error("{topic:?} {why}")]
    Topic {
        /// The topic or filter.
        topic: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Quality 2 is not offered.
    #[error("quality of service {qos} for {topic:?}: use 0, or 1 where nothing may get lost")]
    Qos {
        /// What was given.
        qos: u8,
        /// For which topic.
        topic: String,
    },
    /// The broker would send back what it gets.
    #[error(
        "what goes to {mqtt:?} would come back by the filter {filter:?}; use MQTT 5.0, whose brokers can leave that out, or another topic"
    )]
    Echo {
        /// Where it goes.
        mqtt: String,
        /// How it comes back.
        filter: String,
    },
    /// Nothing would pass.
    #[error("the mapping is empty: nothing would pass")]
    Empty,
}

const OUT_FORM: &str = "TOPIC=MQTT_TOPIC[,qos=1][,retain][,body=json|msgpack|raw][,backplane=NAME]...";
const IN_FORM: &str = "FILTER=TOPIC[,qos=1][,body=json|msgpack|raw][,backplane=NAME]...";

/// What may follow the first comma.
#[derive(Default)]
struct Options {
    qos: u8,
    retain: bool,
    body: Body,
    backplanes: Vec<String>,
}

fn read_words<'t>(text: &'t str, form: &'static str) -> Result<(&'t str, &'t str, Options), MappingError> {
    let wrong = |why: String| MappingError::Word { text: text.to_owned(), why, form };
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let (left, right) = first.split_once('=').ok_or_else(|| wrong("there is no `=`".to_owned()))?;
    let mut options = Options::default();
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("qos", "0") => options.qos = 0,
            ("qos", "1") => options.qos = 1,
            ("retain", "") => options.retain = true,
            ("body", "json") => options.body = Body::Json,
            ("body", "msgpack") => options.body = Body::Msgpack,
            ("body", "raw") => options.body = Body::Raw,
            ("backplane", name) if !name.is_empty() => options.backplanes.push(name.to_owned()),
            _ => return Err(wrong(format!("{part:?} says nothing here"))),
        }
    }
    Ok((left, right, options))
}

impl ToMqtt {
    /// With quality 0, not retained, as JSON, from all backplanes.
    #[must_use]
    pub fn new(topic: &str, mqtt: &str) -> Self {
        let Options { qos, retain, body, backplanes } = Options::default();
        Self { topic: topic.to_owned(), mqtt: mqtt.to_owned(), qos, retain, body, backplanes }
    }

    /// Reads `TOPIC=MQTT_TOPIC[,qos=1][,retain][,body=json|msgpack|raw][,backplane=NAME]...`.
    ///
    /// # Errors
    /// [`MappingError::Word`].
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let (topic, mqtt, Options { qos, retain, body, backplanes }) = read_words(text, OUT_FORM)?;
        Ok(Self { topic: topic.to_owned(), mqtt: mqtt.to_owned(), qos, retain, body, backplanes })
    }
}

impl FromMqtt {
    /// With quality 0, as JSON, to all backplanes.
    #[must_use]
    pub fn new(filter: &str, topic: &str) -> Self {
        let Options { qos, body, backplanes, .. } = Options::default();
        Self { filter: filter.to_owned(), topic: topic.to_owned(), qos, body, backplanes }
    }

    /// Reads `FILTER=TOPIC[,qos=1][,body=json|msgpack|raw][,backplane=NAME]...`.
    ///
    /// # Errors
    /// [`MappingError::Word`].
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let (filter, topic, Options { qos, retain, body, backplanes }) = read_words(text, IN_FORM)?;
        if retain {
            let why = "`retain` says nothing here".to_owned();
            return Err(MappingError::Word { text: text.to_owned(), why, form: IN_FORM });
        }
        Ok(Self { filter: filter.to_owned(), topic: topic.to_owned(), qos, body, backplanes })
    }
}

impl Mapping {
    /// Reads a TOML file: tables `[[to_mqtt]]` with the fields of [`ToMqtt`], and `[[from_mqtt]]` with those of
    /// [`FromMqtt`].
    ///
    /// ```
    /// let mapping = multiplane_mqtt::Mapping::from_toml(r#"
    ///     [[to_mqtt]]
    ///     topic = "sensor/"
    ///     mqtt = "home/{rest}"
    ///     retain = true
    ///
    ///     [[from_mqtt]]
    ///     filter = "home/+/set"
    ///     topic = "set:{topic}"
    ///     qos = 1
    /// "#).unwrap();
    /// assert!(mapping.to_mqtt[0].retain);
    /// ```
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// As [`from_toml`](Self::from_toml), from a file.
    ///
    /// # Errors
    /// [`MappingError::File`].
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, MappingError> {
        let path = path.as_ref();
        let wrong = |why: String| MappingError::File { file: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::from_toml(&text).map_err(|why| wrong(why.trim_end().replace('\n', " ")))
    }

    /// Finds what cannot work.
    pub(crate) fn check(&self, version: Version) -> Result<(), MappingError> {
        if self.to_mqtt.is_empty() && self.from_mqtt.is_empty() {
            return Err(MappingError::Empty);
        }
        for row in &self.from_mqtt {
            check_filter(&row.filter)
                .map_err(|why| MappingError::Topic { topic: row.filter.clone(), why })?;
            check_qos(row.qos, &row.filter)?;
        }
        for row in &self.to_mqtt {
            Template::new(&row.mqtt)
                .check_mqtt()
                .map_err(|why| MappingError::Topic { topic: row.mqtt.clone(), why })?;
            check_qos(row.qos, &row.topic)?;
            let comes_back = |from: &&FromMqtt| filter_overlaps(&from.filter, &Template::new(&row.mqtt));
            if version == Version::V3
                && let Some(from) = self.from_mqtt.iter().find(comes_back)
            {
                return Err(MappingError::Echo { mqtt: row.mqtt.clone(), filter: from.filter.clone() });
            }
        }
        Ok(())
    }

    /// Whether what the gateway publishes on the bus may be among what it takes from there.
    pub(crate) fn mirrors(&self) -> bool {
        self.from_mqtt.iter().any(|from| {
            let target = Template::new(&from.topic);
            self.to_mqtt.iter().any(|to| target.may_begin_with(&to.topic))
        })
    }
}

fn check_qos(qos: u8, topic: &str) -> Result<(), MappingError> {
    if qos > 1 { Err(MappingError::Qos { qos, topic: topic.to_owned() }) } else { Ok(()) }
}

impl Config {
    /// A broker at `HOST:PORT`, and the defaults.
    #[must_use]
    pub fn new(broker: &str, mapping: Mapping) -> Self {
        Self {
            broker: broker.to_owned(),
            version: Version::V3,
            client_id: None,
            credentials: None,
            tls: None,
            keep_alive: Duration::from_secs(30),
            queue: 16_384,
            mapping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_rows() {
        assert_eq!(ToMqtt::parse("a=b"), Ok(ToMqtt::new("a", "b")));
        let row = ToMqtt { qos: 1, retain: true, body: Body::Raw, ..ToMqtt::new("", "x/{topic}") };
        assert_eq!(ToMqtt::parse("=x/{topic},qos=1,retain,body=raw"), Ok(row));
        let row = FromMqtt { backplanes: vec!["A".to_owned(), "B".to_owned()], ..FromMqtt::new("#", "t") };
        assert_eq!(FromMqtt::parse("#=t,backplane=A,backplane=B"), Ok(row));
        for wrong in ["", "a", "a=b,qos=2", "a=b,body=xml", "a=b,backplane=", "a=b,retain=1"] {
            assert!(ToMqtt::parse(wrong).is_err() && FromMqtt::parse(wrong).is_err(), "{wrong}");
        }
        assert!(FromMqtt::parse("a=b,retain").is_err());
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        let out = |topic, mqtt| Mapping { to_mqtt: vec![ToMqtt::new(topic, mqtt)], from_mqtt: vec![] };
        let both = |mqtt, filter| Mapping { from_mqtt: vec![FromMqtt::new(filter, "b")], ..out("a", mqtt) };
        let cases = [
            (Mapping::default(), "nothing would pass"),
            (out("a", "x/#"), "wildcard"),
            (out("a", ""), "empty"),
            (both("x", "a/#/b"), "`#`"),
            (both("x", "x+"), "`+`"),
            (both("x", "x"), "come back"),
            (both("x/{topic}", "+/y"), "come back"),
            (
                Mapping { to_mqtt: vec![ToMqtt { qos: 2, ..ToMqtt::new("a", "b") }], from_mqtt: vec![] },
                "use 0",
            ),
        ];
        for (mapping, part) in cases {
            let error = mapping.check(Version::V3).unwrap_err().to_string();
            assert!(error.contains(part), "{mapping:?}: {error}");
        }
        assert_eq!(both("x", "x").check(Version::V5), Ok(()), "5.0 leaves the echo out");
        assert_eq!(both("x", "y/#").check(Version::V3), Ok(()));
        let error = Mapping::from_toml("[[to_mqtt]]\ntopic = 1").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert!(Mapping::from_toml("[[to_mqtt]]\ntopic='a'\nmqtt='b'\ncolour=1").is_err());
    }
}

//! What is measured: the names and parameters of all scenarios, once.

use crate::BenchError;
use crate::stamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The payload sizes that tables show.
pub const SIZES: [usize; 4] = [16, 100, 1024, 65_536];

/// Larger payloads tell nothing new.
const LARGEST: usize = 16 * 1024 * 1024;

/// More processes than this measure the scheduler.
const MOST: u32 = 64;

/// Topics have five digits.
const MOST_TOPICS: u32 = 100_000;

/// What there is, as it is written.
pub const NAMES: &str = "one_to_one, direct, fan_out:N, fan_in:N, ping_pong, many_backplanes:N, many_topics:N, local:N, \
     to_mqtt, from_mqtt, to_tcp, from_tcp, to_websocket or from_websocket";

/// Who talks to whom. Each party is a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Scenario {
    /// One publisher, a backplane, one subscriber.
    OneToOne,
    /// One publisher, one subscriber, no process between.
    Direct,
    /// One publisher, a backplane, so many subscribers that all get everything.
    FanOut(u32),
    /// So many publishers, a backplane, one subscriber.
    FanIn(u32),
    /// One message at a time, there and back, each way through the backplane.
    PingPong,
    /// One publisher, one subscriber that is linked to so many backplanes, of which the first is busy and the others
    /// are idle. The backplanes share a process.
    ManyBackplanes(u32),
    /// One publisher, a backplane, one subscriber that holds so many subscriptions; each message goes to the next of up
    /// to a thousand topics, evenly spaced among them.
    ManyTopics(u32),
    /// One publishing thread and so many receiving ones in one process; all get everything, and share each payload by
    /// reference.
    Local(u32),
    /// One publisher and one subscriber, of which one is on the bus and the other in a foreign world; a gateway between.
    Gateway(World, Way),
}

/// What a gateway leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum World {
    /// An MQTT broker, with JSON.
    Mqtt,
    /// A device that is a TCP server, with MessagePack behind a length of one byte.
    Tcp,
    /// A web client, with JSON.
    WebSocket,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Off the bus.
    To,
    /// Onto the bus.
    From,
}

impl Scenario {
    /// How many publish.
    #[must_use]
    pub fn publishers(self) -> u32 {
        if let Scenario::FanIn(n) = self { n } else { 1 }
    }

    /// How many subscribe.
    #[must_use]
    pub fn subscribers(self) -> u32 {
        if let Scenario::FanOut(n) | Scenario::Local(n) = self { n } else { 1 }
    }

    /// How many backplanes there are.
    #[must_use]
    pub fn backplanes(self) -> u32 {
        if let Scenario::ManyBackplanes(n) = self { n } else { 1 }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scenario::OneToOne => f.write_str("one_to_one"),
            Scenario::Direct => f.write_str("direct"),
            Scenario::FanOut(n) => write!(f, "fan_out:{n}"),
            Scenario::FanIn(n) => write!(f, "fan_in:{n}"),
            Scenario::PingPong => f.write_str("ping_pong"),
            Scenario::ManyBackplanes(n) => write!(f, "many_backplanes:{n}"),
            Scenario::ManyTopics(n) => write!(f, "many_topics:{n}"),
            Scenario::Local(n) => write!(f, "local:{n}"),
            Scenario::Gateway(World::Mqtt, Way::To) => f.write_str("to_mqtt"),
            Scenario::Gateway(World::Mqtt, Way::From) => f.write_str("from_mqtt"),
            Scenario::Gateway(World::Tcp, Way::To) => f.write_str("to_tcp"),
            Scenario::Gateway(World::Tcp, Way::From) => f.write_str("from_tcp"),
            Scenario::Gateway(World::WebSocket, Way::To) => f.write_str("to_websocket"),
            Scenario::Gateway(World::WebSocket, Way::From) => f.write_str("from_websocket"),
        }
    }
}

impl FromStr for Scenario {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let many = |n: &str, most| n.parse().ok().filter(|n| (1..=most).contains(n));
        let known = match text.split_once(':') {
            None => match text {
                "one_to_one" => Some(Scenario::OneToOne),
                "direct" => Some(Scenario::Direct),
                "ping_pong" => Some(Scenario::PingPong),
                "to_mqtt" => Some(Scenario::Gateway(World::Mqtt, Way::To)),
                "from_mqtt" => Some(Scenario::Gateway(World::Mqtt, Way::From)),
                "to_tcp" => Some(Scenario::Gateway(World::Tcp, Way::To)),
                "from_tcp" => Some(Scenario::Gateway(World::Tcp, Way::From)),
                "to_websocket" => Some(Scenario::Gateway(World::WebSocket, Way::To)),
                "from_websocket" => Some(Scenario::Gateway(World::WebSocket, Way::From)),
                _ => None,
            },
            Some(("fan_out", n)) => many(n, MOST).map(Scenario::FanOut),
            Some(("fan_in", n)) => many(n, MOST).map(Scenario::FanIn),
            Some(("many_backplanes", n)) => many(n, MOST).map(Scenario::ManyBackplanes),
            Some(("many_topics", n)) => many(n, MOST_TOPICS).map(Scenario::ManyTopics),
            Some(("local", n)) => many(n, MOST).map(Scenario::Local),
            Some(_) => None,
        };
        known.ok_or_else(|| {
            BenchError::Misuse(format!(
                "no scenario `{text}`: write {NAMES}, with N from 1 to {MOST}, for topics to {MOST_TOPICS}"
            ))
        })
    }
}

/// Parses a payload size in bytes.
///
/// # Errors
/// When it is no number, has no room for the [stamp], or is larger than sensible.
pub fn size(text: &str) -> Result<usize, BenchError> {
    match text.parse() {
        Ok(size) if (stamp::BYTES..=LARGEST).contains(&size) => Ok(size),
        _ => Err(BenchError::Misuse(format!(
            "no payload size `{text}`: write bytes from {} (each message carries its number and time) to {LARGEST}",
            stamp::BYTES
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = ["one_to_one", "direct", "fan_out:4", "fan_in:16", "ping_pong"];
        let more = ["many_backplanes:64", "many_topics:100000", "local:4"];
        let gateways = ["to_mqtt", "from_mqtt", "to_tcp", "from_tcp", "to_websocket", "from_websocket"];
        for name in names.into_iter().chain(more).chain(gateways) {
            assert_eq!(name.parse::<Scenario>().unwrap().to_string(), name);
        }
        let wrong = ["", "fan_out", "fan_out:0", "fan_out:65", "fan_in:x", "direct:2", "One_to_one"];
        for wrong in
            wrong.into_iter().chain(["many_topics:100001", "many_backplanes:65", "local", "local:-1"])
        {
            assert!(wrong.parse::<Scenario>().is_err(), "{wrong}");
        }
        assert!(SIZES.iter().all(|bytes| size(&bytes.to_string()).is_ok()));
        assert!(["15", "", "-1", "1e9", "99999999999"].into_iter().all(|wrong| size(wrong).is_err()));
    }
}

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
}

impl Scenario {
    /// How many processes publish.
    #[must_use]
    pub fn publishers(self) -> u32 {
        if let Scenario::FanIn(n) = self { n } else { 1 }
    }

    /// How many processes subscribe.
    #[must_use]
    pub fn subscribers(self) -> u32 {
        if let Scenario::FanOut(n) = self { n } else { 1 }
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
        }
    }
}

impl FromStr for Scenario {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let many = |text: &str| text.parse().ok().filter(|n| (1..=MOST).contains(n));
        let known = match text.split_once(':') {
            None => match text {
                "one_to_one" => Some(Scenario::OneToOne),
                "direct" => Some(Scenario::Direct),
                "ping_pong" => Some(Scenario::PingPong),
                _ => None,
            },
            Some(("fan_out", n)) => many(n).map(Scenario::FanOut),
            Some(("fan_in", n)) => many(n).map(Scenario::FanIn),
            Some(_) => None,
        };
        known.ok_or_else(|| {
            let choice = "write one_to_one, direct, fan_out:N, fan_in:N or ping_pong, with N from 1 to";
            BenchError::Misuse(format!("no scenario `{text}`: {choice} {MOST}"))
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
        for name in ["one_to_one", "direct", "fan_out:4", "fan_in:16", "ping_pong"] {
            assert_eq!(name.parse::<Scenario>().unwrap().to_string(), name);
        }
        for wrong in ["", "fan_out", "fan_out:0", "fan_out:65", "fan_in:x", "direct:2", "One_to_one"] {
            assert!(wrong.parse::<Scenario>().is_err(), "{wrong}");
        }
        assert!(SIZES.iter().all(|bytes| size(&bytes.to_string()).is_ok()));
        assert!(["15", "", "-1", "1e9", "99999999999"].into_iter().all(|wrong| size(wrong).is_err()));
    }
}

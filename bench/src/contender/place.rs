//! Where an end or a middle stands, and what it talks about.

use super::Contender;
use crate::BenchError;
use crate::scenario::{Scenario, Way, World};
use serde::{Deserialize, Serialize};

/// The topic that is measured: 11 bytes, as in the tables of others.
pub const TOPIC: &str = "bench/topic";

/// The topic of the way back in ping-pong.
pub const BACK: &str = "bench/reply";

/// Over how many of many topics the messages go round.
const SPREAD: usize = 1000;

/// Where an end or a middle stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Of which system it is a part.
    pub contender: Contender,
    /// Who talks to whom.
    pub scenario: Scenario,
    /// The machine to connect to.
    #[serde(default = "here")]
    pub host: String,
    /// Where to connect to: publisher port and subscriber port of the middle, and of the next one if there are several;
    /// without a middle, for subscribers, those of all publishers.
    pub ports: Vec<u16>,
}

/// This machine.
fn here() -> String {
    "127.0.0.1".to_owned()
}

impl Place {
    /// On this machine, and nobody there yet.
    #[must_use]
    pub fn new(contender: Contender, scenario: Scenario) -> Self {
        Place { contender, scenario, host: here(), ports: Vec::new() }
    }

    /// Whether to connect to a middle.
    #[must_use]
    pub fn has_middle(&self) -> bool {
        self.contender.has_middle(self.scenario)
    }

    /// Whether subscribers answer.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.scenario == Scenario::PingPong
    }

    /// What a subscriber subscribes to. `first`: in ping-pong, the one who begins.
    #[must_use]
    pub fn hears(&self, first: bool) -> Vec<String> {
        match self.scenario {
            Scenario::ManyTopics(n) => (0..n as usize).map(topic).collect(),
            Scenario::Gateway(World::Mqtt, Way::To) => vec!["from_banyan".to_owned()],
            Scenario::Gateway(World::Mqtt, Way::From) => vec!["from_mqtt".to_owned()],
            Scenario::Gateway(World::Tcp, _) => vec!["from_pico".to_owned()],
            Scenario::Gateway(World::WebSocket, _) => vec!["to_web".to_owned()],
            _ if first => vec![BACK.to_owned()],
            _ => vec![TOPIC.to_owned()],
        }
    }

    /// What a subscriber answers on.
    #[must_use]
    pub fn says(&self, first: bool) -> &'static str {
        if first { TOPIC } else { BACK }
    }

    /// What messages are published on, in turn: up to a thousand topics, evenly spaced among those subscribed to.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        match self.scenario {
            Scenario::ManyTopics(n) => {
                let spread = SPREAD.min(n as usize);
                (0..spread).map(|nth| topic(nth * n as usize / spread)).collect()
            }
            // Between gateways they are the defaults of Python Banyan's.
            Scenario::Gateway(World::Mqtt, Way::To) => vec!["to_mqtt".to_owned()],
            Scenario::Gateway(World::Mqtt, Way::From) => vec!["mqtt_network".to_owned()],
            Scenario::Gateway(World::Tcp, _) => vec!["figura".to_owned()],
            Scenario::Gateway(World::WebSocket, _) => vec!["from_web".to_owned()],
            _ => vec![TOPIC.to_owned()],
        }
    }

    pub(crate) fn port(&self, which: usize) -> Result<u16, BenchError> {
        let missing = || BenchError::failed("connecting", "was told too few ports");
        self.ports.get(which).copied().ok_or_else(missing)
    }
}

/// One of many topics: as long as the only one, and no prefix of another.
fn topic(nth: usize) -> String {
    format!("bench/{nth:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_subscribed_to() {
        for n in [1, 3, 1000, 1001, 100_000] {
            let contender = Contender::all()[0];
            let place = Place::new(contender, Scenario::ManyTopics(n));
            let (hears, topics) = (place.hears(false), place.topics());
            assert_eq!((hears.len(), topics.len()), (n as usize, SPREAD.min(n as usize)));
            assert!(hears.iter().all(|topic| topic.len() == TOPIC.len()));
            // Both are sorted, so that this finds each once.
            let mut hears = hears.iter();
            assert!(topics.iter().all(|topic| hears.any(|heard| heard == topic)), "{n}");
        }
    }
}

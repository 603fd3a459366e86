//! What is told while the gateway runs, and what was counted.

use multiplane_bridge::tell_counts;
use std::fmt;

/// Something that a person may want to see. Prints as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The broker does not answer; the gateway keeps trying.
    Waiting {
        /// Where.
        broker: &'a str,
        /// What came of the last attempt.
        why: &'a str,
    },
    /// The broker has let the gateway in.
    Connected {
        /// Which.
        broker: &'a str,
    },
    /// The broker answers, and refuses the gateway, which keeps trying.
    Refused {
        /// Which.
        broker: &'a str,
        /// Its reason.
        why: &'a str,
    },
    /// The broker refuses a subscription.
    NotSubscribed {
        /// To what.
        filter: &'a str,
        /// Its reason.
        why: &'a str,
    },
    /// The connection is over; the gateway makes another.
    Lost {
        /// To which broker.
        broker: &'a str,
        /// Why.
        why: &'a str,
        /// Messages of quality 0 that were on their way. Those of quality 1 are sent again.
        unsent: u64,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Waiting { broker, why } => write!(f, "Waiting for MQTT {broker} ... ({why})"),
            // This line is what Python Banyan's gateway prints.
            Event::Connected { broker } => {
                write!(f, "MQTT Gateway Connected to MQTT {broker} with result code 0.")
            }
            Event::Refused { broker, why } => write!(f, "MQTT {broker} refuses the gateway: {why}"),
            Event::NotSubscribed { filter, why } => {
                write!(f, "The broker refuses the subscription to {filter}: {why}")
            }
            Event::Lost { broker, why, unsent: 0 } => write!(f, "Lost MQTT {broker}: {why}"),
            Event::Lost { broker, why, unsent } => {
                write!(f, "Lost MQTT {broker}: {why}; {unsent} messages unsent")
            }
        }
    }
}

/// What a gateway counted since it started. Messages that made way in the queue for an absent broker are in
/// `inbox_full` of the [bus's own numbers](multiplane_bus::BackplaneStats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages of the broker that the bus took.
    pub from_mqtt: u64,
    /// Messages that the broker acknowledged, or, of quality 0, that the system took for it.
    pub to_mqtt: u64,
    /// Messages of the broker whose body is not what the mapping says.
    pub unreadable: u64,
    /// Messages of the bus that have no form on the side of MQTT.
    pub unsayable: u64,
    /// Messages larger than the broker takes.
    pub too_large: u64,
    /// Messages of the broker that the bus refused.
    pub refused: u64,
    /// Messages for the broker that were on their way when the connection or the gateway ended.
    pub unsent: u64,
    /// Messages that were sent to the broker again, since it had not acknowledged them.
    pub repeated: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from MQTT {}, to MQTT {}", self.from_mqtt, self.to_mqtt)?;
        let counts = [
            (self.unreadable, "bodies from MQTT not understood"),
            (self.unsayable, "messages without a form in MQTT"),
            (self.too_large, "too large for the broker"),
            (self.refused, "refused by the bus"),
            (self.unsent, "unsent when a connection ended"),
            (self.repeated, "sent again"),
        ];
        tell_counts(f, counts)
    }
}

/// The final numbers.
pub type Report = multiplane_bridge::Report<Stats>;

//! What is told while the gateway runs, and what was counted.

use multiplane_bridge::tell_counts;
use std::fmt;
use std::net::SocketAddr;

/// Something that a person may want to see. Prints as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The gateway listens.
    Listening {
        /// Where.
        address: SocketAddr,
        /// Whether it is encrypted.
        tls: bool,
    },
    /// A session has begun.
    Connected {
        /// With whom.
        peer: SocketAddr,
        /// Which kind of client.
        kind: &'a str,
    },
    /// A session or an attempt at one has ended.
    Ended {
        /// Whose.
        peer: SocketAddr,
        /// Why.
        why: &'a str,
        /// Messages that had waited for it.
        unsent: u64,
    },
    /// A request was refused. Told once a second at most.
    Refused {
        /// Whose.
        peer: SocketAddr,
        /// Why.
        why: &'a str,
        /// How many were since the last one that was told.
        before: u64,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening { address, tls } => {
                let s = if *tls { "s" } else { "" };
                write!(f, "Listening at http{s}://{address} (the page) and ws{s}://{address} (clients)")
            }
            Event::Connected { peer, kind } => write!(f, "Connected: {peer} ({kind})"),
            Event::Ended { peer, why, unsent: 0 } => write!(f, "Ended: {peer}: {why}"),
            Event::Ended { peer, why, unsent } => {
                write!(f, "Ended: {peer}: {why}; {unsent} messages unsent")
            }
            Event::Refused { peer, why, before: 0 } => write!(f, "Refused: {peer}: {why}"),
            Event::Refused { peer, why, before } => {
                write!(f, "Refused: {peer}: {why}; {before} others since the last line")
            }
        }
    }
}

/// What a gateway counted since it started. Messages that made way because the gateway itself was too slow are in
/// `inbox_full` of the [bus's own numbers](multiplane_bus::BackplaneStats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages of clients that the bus took.
    pub from_clients: u64,
    /// Messages that the system took for a client, each counted for each client.
    pub to_clients: u64,
    /// Messages that made way because a client was too slow.
    pub dropped: u64,
    /// Messages that a client wanted left out, for newer ones.
    pub conflated: u64,
    /// Messages that waited for a client when its session or the gateway ended.
    pub unsent: u64,
    /// Messages of clients that were not published: the gateway's rules or the bus forbid it.
    pub refused: u64,
    /// Messages of clients that could not be read.
    pub unreadable: u64,
    /// Messages of the bus that have no form for a Banyan client.
    pub undecodable: u64,
    /// Numbers that became null on their way to JSON: NaN and infinities.
    pub nulled: u64,
    /// Sessions.
    pub sessions: u64,
    /// Connections that ended without a session although they asked for one, or spoke no HTTP.
    pub turned_away: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from clients {}, to clients {}", self.from_clients, self.to_clients)?;
        let counts = [
            (self.dropped, "dropped for slow clients"),
            (self.conflated, "left out on request"),
            (self.unsent, "unsent when a session ended"),
            (self.refused, "refused"),
            (self.unreadable, "not understood"),
            (self.undecodable, "without a form for Banyan clients"),
            (self.nulled, "numbers that JSON cannot say"),
            (self.turned_away, "connections turned away"),
        ];
        tell_counts(f, counts)
    }
}

/// The final numbers.
pub type Report = multiplane_bridge::Report<Stats>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_numbers_are_lines() {
        let peer = "127.0.0.1:7".parse().unwrap();
        assert_eq!(
            Event::Ended { peer, why: "it hung up", unsent: 2 }.to_string(),
            "Ended: 127.0.0.1:7: it hung up; 2 messages unsent"
        );
        assert_eq!(
            Event::Listening { address: peer, tls: true }.to_string(),
            "Listening at https://127.0.0.1:7 (the page) and wss://127.0.0.1:7 (clients)"
        );
        let stats = Stats { from_clients: 3, dropped: 1, ..Stats::default() };
        assert_eq!(stats.to_string(), "from clients 3, to clients 0, dropped for slow clients 1");
    }
}

//! How much of anything a backplane takes from whoever connects. `LIMITS.md` lists the limits of every port.

use crate::seconds::seconds;
use clap::value_parser;
use multiplane_bus::Budget;
use std::time::Duration;

/// Flags for the bounds of a backplane. Those that have none are fixed: see [`Budget`].
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Bytes of one message, all its frames; who sends a longer one is disconnected
    #[arg(long, value_name = "BYTES", default_value_t = usual().message_bytes as u64, value_parser = value_parser!(u64).range(1..))]
    max_message: u64,

    /// Bytes of one subscription; who sends a longer one is disconnected
    #[arg(long, value_name = "BYTES", default_value_t = usual().subscription_topic_bytes as u64, value_parser = value_parser!(u64).range(1..))]
    max_subscription: u64,

    /// Subscriptions of one subscriber; who sends more is disconnected
    #[arg(long, value_name = "N", default_value_t = usual().subscriptions_per_peer as u64, value_parser = value_parser!(u64).range(1..))]
    subscriptions_per_peer: u64,

    /// Subscriptions of all subscribers
    #[arg(long, value_name = "N", default_value_t = usual().subscriptions as u64, value_parser = value_parser!(u64).range(1..))]
    subscriptions: u64,

    /// Connections at a time, to both ports; whoever comes then is refused
    #[arg(long, value_name = "N", default_value_t = usual().connections as u64, value_parser = value_parser!(u64).range(1..))]
    connections: u64,

    /// Connections at a time from one address of another host
    #[arg(long, value_name = "N", default_value_t = usual().connections_per_address as u64, value_parser = value_parser!(u64).range(1..))]
    connections_per_address: u64,

    /// How long a connection may take to say who it is
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    handshake_time: Duration,

    /// Messages that wait for one subscriber; beyond, --on-slow says what happens
    #[arg(long, value_name = "N", default_value_t = usual().high_water_mark as u64, value_parser = value_parser!(u64).range(1..))]
    queue: u64,

    /// Bytes that wait for one subscriber, besides one message of any size
    #[arg(long, value_name = "BYTES", default_value_t = usual().subscriber_queue_bytes as u64, value_parser = value_parser!(u64).range(1..))]
    queue_bytes: u64,

    /// Bytes of messages that have come in part, of all publishers
    #[arg(long, value_name = "BYTES", default_value_t = usual().unfinished_bytes as u64, value_parser = value_parser!(u64).range(1..))]
    unfinished_bytes: u64,
}

fn usual() -> Budget {
    Budget::default()
}

impl Limits {
    pub(crate) fn budget(&self) -> Budget {
        let usual = usual();
        let message_bytes = self.max_message as usize;
        // What the others imply is not asked for twice.
        let subscription_topic_bytes = (self.max_subscription as usize).min(message_bytes);
        Budget {
            message_bytes,
            topic_bytes: usual.topic_bytes.clamp(subscription_topic_bytes, message_bytes),
            subscription_topic_bytes,
            subscriptions_per_peer: self.subscriptions_per_peer.min(self.subscriptions) as usize,
            subscriptions: self.subscriptions as usize,
            connections: self.connections as usize,
            connections_per_address: self.connections_per_address as usize,
            handshake_deadline: self.handshake_time,
            high_water_mark: self.queue as usize,
            subscriber_queue_bytes: self.queue_bytes as usize,
            unfinished_bytes: (self.unfinished_bytes as usize).max(message_bytes),
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: Limits,
    }

    fn budget(flags: &[&str]) -> Budget {
        Line::parse_from([&["multiplane"], flags].concat()).limits.budget()
    }

    #[test]
    fn without_flags_all_is_as_usual() {
        assert_eq!(budget(&[]), usual());
    }

    #[test]
    fn whatever_is_asked_for_fits_together() {
        for flags in [
            ["--max-message", "1"],
            ["--max-message", "18446744073709551615"],
            ["--max-subscription", "18446744073709551615"],
            ["--subscriptions", "1"],
            ["--unfinished-bytes", "1"],
        ] {
            assert_eq!(budget(&flags).check(), Ok(()), "{flags:?}");
        }
        let few = budget(&["--connections", "3", "--handshake-time", "0.5", "--queue", "7"]);
        assert_eq!((few.connections, few.high_water_mark), (3, 7));
        assert_eq!(few.handshake_deadline, Duration::from_millis(500));
    }
}

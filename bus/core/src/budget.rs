//! Every bound of the bus: its name, its default, and why it is that large.
//!
//! Nothing in Multiplane grows without a limit, and all limits are on this page. The constants are the defaults;
//! a [`Budget`] is a set of them that a program may change.
//!
//! ```
//! use multiplane_core::Budget;
//!
//! let small = Budget { inbox: 64, publish_queue_bytes: 4096, ..Budget::default() };
//! assert!(small.check().is_ok());
//! ```

use std::time::Duration;

/// One table makes the constant, the field, the default and the zero check, so that none can be forgotten.
macro_rules! budget {
    ($($(#[doc = $doc:literal])+ $field:ident, $constant:ident: $kind:ty = $default:expr;)+) => {
        $($(#[doc = $doc])+ pub const $constant: $kind = $default;)+

        /// The bounds of one component or backplane. Start from [`Budget::default`] and change what you must.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Budget {
            $($(#[doc = $doc])+ #[doc = concat!("\n\nDefault: [`", stringify!($constant), "`].")] pub $field: $kind,)+
        }

        impl Default for Budget {
            fn default() -> Self {
                Budget { $($field: $constant,)+ }
            }
        }

        impl Budget {
            /// The name of the first bound that is zero, if any.
            fn first_zero(&self) -> Option<&'static str> {
                $(if self.$field == <$kind>::default() { return Some(stringify!($field)); })+
                None
            }
        }
    };
}

budget! {
    /// Bytes that wait in the publish queue of one link, besides one message of any size: two thousand small messages,
    /// and little enough to stay in a processor's cache.
    publish_queue_bytes, PUBLISH_QUEUE_BYTES: usize = 256 * 1024;
    /// Messages that wait in one inbox: twice a publish queue, because several backplanes may feed it.
    inbox, INBOX: usize = 8192;
    /// Messages taken from one link before the next has its turn: a busy backplane must not starve a quiet one.
    drain_batch, DRAIN_BATCH: usize = 2048;
    /// Messages that wait per link and direction in libzmq, or for one subscriber in a backplane: ten times libzmq's own
    /// high-water mark, which bursts overrun.
    high_water_mark, HIGH_WATER_MARK: usize = 10_000;
    /// Bytes that wait for one subscriber of a backplane, besides one message of any size: some seconds of a slow link.
    subscriber_queue_bytes, SUBSCRIBER_QUEUE_BYTES: usize = 8 * 1024 * 1024;
    /// Connections of one backplane; each costs a descriptor and some kilobytes.
    connections, CONNECTIONS: usize = 10_000;
    /// Connections of one backplane that come from one address of another host: one stranger must not take all places.
    connections_per_address, CONNECTIONS_PER_ADDRESS: usize = 1000;
    /// How long a connection may take for its handshake: a stranger must not keep a place by saying nothing.
    handshake_deadline, HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);
    /// Bytes of one subscription's topic: it is kept for the life of a link, sent again after each reconnection, and
    /// compared with every message; a longer one is a mistake or an attack.
    subscription_topic_bytes, SUBSCRIPTION_TOPIC_BYTES: usize = 1024;
    /// Bytes of a published message's topic: it passes by and is forgotten, and Python peers know no limit, so there
    /// is room; but beyond 64 KiB it is a payload in the wrong frame.
    topic_bytes, TOPIC_BYTES: usize = 64 * 1024;
    /// Bytes of one whole message, all frames: room for an uncompressed 4K image with alpha (33 MB).
    message_bytes, MESSAGE_BYTES: usize = 64 * 1024 * 1024;
    /// Subscriptions of one component, and of one backplane's table: about 65 MB of memory when full of short
    /// topics, at most 250 MB when full of anything. Measured of a whole backplane with five subscribers: 64 MB with
    /// a million topics like `sensor/123456/temperature`, 120 MB with 32 random characters each.
    subscriptions, SUBSCRIPTIONS: usize = 1_000_000;
    /// Subscriptions of one subscriber of a backplane: one alone must not take all places of the table. No fewer, because
    /// who wants more is sent away, and a gateway wants on one connection what all its clients want: a thousand of them
    /// with 250 topics each. Memory is bounded by the table, not by this.
    subscriptions_per_peer, SUBSCRIPTIONS_PER_PEER: usize = 250_000;
    /// Memory for messages of which a backplane has a part: several of the longest at the same time. Publishers that
    /// send small ones, whose parts take at most 16 KiB each, are never sent away for it.
    unfinished_bytes, UNFINISHED_BYTES: usize = 256 * 1024 * 1024;
    /// Link events kept for somebody who looks later; the oldest go first.
    events, EVENTS: usize = 1024;
    /// Backplanes of one component: each costs two sockets, and a process often has 1024 descriptors; see `ulimit -n`.
    backplanes, BACKPLANES: usize = 1024;
    /// Bytes of the chunk into which small messages are copied side by side: one allocation serves hundreds of them.
    arena_chunk_bytes, ARENA_CHUNK_BYTES: usize = 16 * 1024;
    /// Messages of fewer bytes are copied, not shared: a 20-byte message must not keep a 64 KiB buffer alive.
    copy_below_bytes, COPY_BELOW_BYTES: usize = 4 * 1024;
    /// The longest time between two looks of a worker at its deadlines: short for a person, free for a processor.
    tick, TICK: Duration = Duration::from_millis(100);
    /// The wait before the first reconnection attempt; it doubles up to [`RECONNECT_MAXIMUM`].
    reconnect_interval, RECONNECT_INTERVAL: Duration = Duration::from_millis(50);
    /// The longest wait between reconnection attempts: a restarted backplane has its links back in a quarter of a second.
    reconnect_maximum, RECONNECT_MAXIMUM: Duration = Duration::from_millis(200);
    /// How long `start` waits until every link is live: a machine that boots beside us has some seconds to answer.
    start_deadline, START_DEADLINE: Duration = Duration::from_secs(5);
    /// How long `close` flushes what was accepted: Ctrl-C must end a program in under a second.
    close_deadline, CLOSE_DEADLINE: Duration = Duration::from_millis(500);
}

// Relations between the defaults are checked when this crate is compiled; those of a changed budget by `check`.
const _: () = assert!(DRAIN_BATCH <= INBOX && CONNECTIONS_PER_ADDRESS <= CONNECTIONS);
const _: () = assert!(COPY_BELOW_BYTES <= ARENA_CHUNK_BYTES);
const _: () = assert!(SUBSCRIPTION_TOPIC_BYTES <= TOPIC_BYTES && TOPIC_BYTES <= MESSAGE_BYTES);
const _: () = assert!(MESSAGE_BYTES <= UNFINISHED_BYTES && SUBSCRIPTIONS_PER_PEER <= SUBSCRIPTIONS);

/// A budget that cannot work; the message names the field and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// A bound of zero would let nothing pass.
    #[error("budget: `{field}` is zero, so nothing could pass; set it to 1 or more, or leave the default")]
    Zero {
        /// The field of [`Budget`].
        field: &'static str,
    },
    /// One bound contradicts another.
    #[error("budget: `{smaller}` is larger than `{larger}`; lower the first or raise the second")]
    Order {
        /// The field that must not be the larger one.
        smaller: &'static str,
        /// The field that limits it.
        larger: &'static str,
    },
}

impl Budget {
    /// Says whether these bounds can work together.
    ///
    /// # Errors
    /// A bound of zero, or one that contradicts another.
    ///
    /// ```
    /// use multiplane_core::Budget;
    ///
    /// let deaf = Budget { inbox: 0, ..Budget::default() };
    /// assert_eq!(
    ///     deaf.check().unwrap_err().to_string(),
    ///     "budget: `inbox` is zero, so nothing could pass; set it to 1 or more, or leave the default"
    /// );
    /// ```
    pub fn check(&self) -> Result<(), BudgetError> {
        if let Some(field) = self.first_zero() {
            return Err(BudgetError::Zero { field });
        }
        let order = |fits: bool, smaller, larger| {
            if fits { Ok(()) } else { Err(BudgetError::Order { smaller, larger }) }
        };
        order(self.copy_below_bytes <= self.arena_chunk_bytes, "copy_below_bytes", "arena_chunk_bytes")?;
        order(self.topic_bytes <= self.message_bytes, "topic_bytes", "message_bytes")?;
        order(self.message_bytes <= self.unfinished_bytes, "message_bytes", "unfinished_bytes")?;
        order(self.subscription_topic_bytes <= self.topic_bytes, "subscription_topic_bytes", "topic_bytes")?;
        order(self.reconnect_interval <= self.reconnect_maximum, "reconnect_interval", "reconnect_maximum")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(Budget::default().check(), Ok(()));
    }

    #[test]
    fn zero_is_refused_by_name() {
        let count = Budget { connections: 0, ..Budget::default() };
        assert_eq!(count.check(), Err(BudgetError::Zero { field: "connections" }));
        let time = Budget { tick: Duration::ZERO, ..Budget::default() };
        assert_eq!(time.check(), Err(BudgetError::Zero { field: "tick" }));
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        let error = |budget: Budget| match budget.check() {
            Err(BudgetError::Order { smaller, larger }) => (smaller, larger),
            other => panic!("{other:?}"),
        };
        let base = Budget::default;
        assert_eq!(
            error(Budget { copy_below_bytes: 20_000, ..base() }),
            ("copy_below_bytes", "arena_chunk_bytes")
        );
        assert_eq!(error(Budget { message_bytes: 10, ..base() }), ("topic_bytes", "message_bytes"));
        assert_eq!(error(Budget { topic_bytes: 10, ..base() }), ("subscription_topic_bytes", "topic_bytes"));
        assert_eq!(error(Budget { message_bytes: 1 << 30, ..base() }), ("message_bytes", "unfinished_bytes"));
        let slow = Duration::from_secs(1);
        assert_eq!(
            error(Budget { reconnect_interval: slow, ..base() }),
            ("reconnect_interval", "reconnect_maximum")
        );
    }
}

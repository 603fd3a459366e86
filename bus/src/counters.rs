//! What was counted: every place where a message can get lost has a name here.

use crate::latency::{Latency, LatencyCounts};
use crate::message::BackplaneId;
use crossbeam_utils::CachePadded;
use multiplane_core::LinkState;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A count that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Only the worker that owns the link may call this: it is a load and a store.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Release);
    }

    /// What was counted too early. Only the worker that owns the link may call this.
    pub(crate) fn take_back(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Any thread may call this.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Only the one thread that writes it may call this.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// What its writer did before happens before what the caller does next.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }
}

/// The counters of one backplane of a component, written by its publishers (first line) and by its worker (the rest).
/// What publishers put into the publish queue is counted there.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) refused: CachePadded<Count>,
    /// Messages of outboxes that the worker's own link took.
    pub(crate) offered: Count,
    pub(crate) sent: Count,
    pub(crate) link_down: Count,
    pub(crate) no_subscriber: Count,
    pub(crate) transport: Count,
    pub(crate) received: Count,
    pub(crate) received_bytes: Count,
    pub(crate) delivered: Count,
    pub(crate) inbox_full: Count,
    /// Was delivered into an inbox and had to make way before anybody took it; any worker writes this.
    pub(crate) displaced: CachePadded<Count>,
    pub(crate) inbox_closed: Count,
    pub(crate) undelivered: Count,
    pub(crate) malformed: Count,
    pub(crate) missed: Count,
    pub(crate) late: Count,
    pub(crate) handler_errors: Count,
    pub(crate) latency: LatencyCounts,
}

/// What a component counted on one backplane since it started.
///
/// The books close. Publishing: `accepted == sent + dropped.total() + queued`. Receiving, with one receiver:
/// `received == delivered + inbox_full + inbox_closed + undelivered` (each receiver of a message counts, when there
/// are several).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackplaneStats {
    /// Which backplane.
    pub backplane: BackplaneId,
    /// The link to its publisher port, if there is one.
    pub publisher_link: Option<LinkState>,
    /// The link to its subscriber port, if there is one.
    pub subscriber_link: Option<LinkState>,
    /// Messages that `publish` took.
    pub accepted: u64,
    /// Messages that `publish` gave back: no room, too large, closed. They are the caller's again.
    pub refused: u64,
    /// Messages that wait to be sent.
    pub queued: u64,
    /// Messages handed to the link.
    pub sent: u64,
    /// Accepted messages that were not sent, by reason.
    pub dropped: Dropped,
    /// Messages that arrived and matched a subscription.
    pub received: u64,
    /// Bytes of their topics and payloads.
    pub received_bytes: u64,
    /// Messages given to a handler or put into an inbox.
    pub delivered: u64,
    /// Messages that a full inbox lost, by its policy.
    pub inbox_full: u64,
    /// Messages for a receiver that is gone, or for that of the routing specification while it had not come yet and
    /// others were listening.
    pub inbox_closed: u64,
    /// Messages that had arrived when the bus closed and that nobody took.
    pub undelivered: u64,
    /// Arrivals that are no message: a single frame, or a topic that is not UTF-8. Not in `received`.
    pub malformed: u64,
    /// Messages that publishers with a [trailer](crate::Publisher::with_trailer) sent and that never arrived, counted
    /// when a later one of the same topic does.
    pub missed: u64,
    /// Messages with a trailer that arrived again or out of order.
    pub late: u64,
    /// How long messages with a trailer were on their way.
    pub latency: Latency,
    /// Messages whose handler answered with an error.
    pub handler_errors: u64,
}

/// Accepted messages that were not sent, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The link was down.
    pub link_down: u64,
    /// Nobody on that backplane subscribes to the topic.
    pub no_subscriber: u64,
    /// The transport refused the message.
    pub transport: u64,
    /// The bus was closed before they could be sent.
    pub unsent: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.link_down + self.no_subscriber + self.transport + self.unsent
    }
}

impl Counters {
    /// A message of so many bytes has arrived.
    #[inline]
    pub(crate) fn note_received(&self, bytes: usize) {
        self.received.add(1);
        self.received_bytes.add(bytes as u64);
    }

    /// `enqueued` says how many messages the publish queue ever took. It is asked last: whatever was sent until now was
    /// accepted before.
    pub(crate) fn snapshot(
        &self,
        backplane: BackplaneId,
        links: (Option<LinkState>, Option<LinkState>),
        enqueued: impl FnOnce() -> u64,
    ) -> BackplaneStats {
        let sent = self.sent.get();
        let displaced = self.displaced.get();
        let mut dropped = Dropped {
            link_down: self.link_down.get(),
            no_subscriber: self.no_subscriber.get(),
            transport: self.transport.get(),
            unsent: 0,
        };
        let accepted = self.offered.get() + enqueued();
        let (mut queued, mut unsent) = (accepted.saturating_sub(sent + dropped.total()), 0);
        if links.0 == Some(LinkState::Closed) {
            std::mem::swap(&mut queued, &mut unsent);
        }
        dropped.unsent = unsent;
        BackplaneStats {
            backplane,
            publisher_link: links.0,
            subscriber_link: links.1,
            accepted,
            refused: self.refused.get(),
            queued,
            sent,
            dropped,
            received: self.received.get(),
            received_bytes: self.received_bytes.get(),
            delivered: self.delivered.get().saturating_sub(displaced),
            inbox_full: self.inbox_full.get() + displaced,
            inbox_closed: self.inbox_closed.get(),
            undelivered: self.undelivered.get(),
            malformed: self.malformed.get(),
            missed: self.missed.get(),
            late: self.late.get(),
            latency: self.latency.snapshot(),
            handler_errors: self.handler_errors.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message is accepted and sent while somebody looks.
    #[test]
    fn the_books_close_at_any_moment() {
        let counters = Counters::default();
        let enqueued = || {
            counters.sent.add(1);
            1
        };
        let stats = counters.snapshot(BackplaneId::intern("BP1", 0), (None, None), enqueued);
        assert_eq!((stats.accepted, stats.sent, stats.queued), (1, 0, 1));
    }
}

//! The forwarder as the simulated network of the tests sees it.

use super::connection::Side;
use super::forwarder::{Forwarder, Readiness};
use crate::backplane::{Backplane, Counters, ForwardStats, OnSlow};
use multiplane_codec::zmtp::command;
use multiplane_core::Budget;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Simulated<S> {
    forwarder: Forwarder<S>,
    counters: Arc<Counters>,
    budget: Budget,
}

impl<S: Read + Write> Simulated<S> {
    pub(crate) fn new(budget: Budget, on_slow: OnSlow, guard: bool) -> Self {
        let builder = Backplane::builder("SIM").budget(budget.clone()).on_slow(on_slow).guard(guard);
        let counters = Arc::<Counters>::default();
        Self { forwarder: Forwarder::new(&builder, counters.clone()), counters, budget }
    }

    /// Takes a connection in; what it is called.
    pub(crate) fn connect(&mut self, stream: S, publishes: bool, now: Instant) -> u32 {
        let id = self.forwarder.next_id();
        let side = if publishes { Side::Publisher } else { Side::Subscriber };
        self.forwarder.connect(stream, id.to_string(), side, now);
        id
    }

    pub(crate) fn ready(&mut self, id: u32, what: crate::io::Readiness) {
        let crate::io::Readiness { readable, writable, ended } = what;
        self.forwarder.ready(id, Readiness { readable, writable, ended });
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        self.forwarder.turn(now);
        self.forwarder.expire(now);
    }

    /// The end of all connections.
    pub(crate) fn end(&mut self, now: Instant) {
        self.forwarder.disconnect_all(now);
    }

    /// Asks everybody for a sign of life, as other backplanes do.
    pub(crate) fn ping(&mut self) {
        let mut ping = Vec::new();
        command::write_ping(&mut ping, 10, b"context");
        for id in self.forwarder.peers.ids() {
            let Some(peer) = self.forwarder.peers.get_mut(id) else { continue };
            if peer.peer().is_some() && peer.queue.control() == 0 {
                peer.queue.push_control(&ping);
                self.forwarder.peers.mark_dirty(id);
            }
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        self.forwarder.has_work()
    }

    pub(crate) fn stats(&self) -> ForwardStats {
        let counters = &self.counters;
        ForwardStats {
            received: counters.received.get(),
            unwanted: counters.unwanted.get(),
            guarded: counters.guarded.get(),
            copies: counters.copies.get(),
            forwarded: counters.forwarded.get(),
            dropped: counters.dropped.get(),
            lost: counters.lost.get(),
            queued: counters.queued(),
            subscriptions: counters.subscriptions.get(),
            ..ForwardStats::default()
        }
    }

    /// Every queue is within its bounds, and the books agree with what waits. By `OnSlow::Block` one run more may wait,
    /// which is itself at most as long as a queue, or one message.
    pub(crate) fn check(&self, longest: usize) {
        let messages = 2 * self.budget.high_water_mark;
        let bytes = 2 * self.budget.subscriber_queue_bytes + 2 * longest + 4096;
        let mut queued = 0;
        for id in self.forwarder.peers.ids() {
            let Some(peer) = self.forwarder.peers.get(id) else { continue };
            queued += peer.queue.messages();
            assert!(peer.queue.messages() <= messages, "{} messages wait", peer.queue.messages());
            let memory = peer.queue.memory();
            assert!(memory <= bytes, "what waits keeps {memory} bytes of memory, over {bytes}");
            assert!(peer.queue.bytes() <= bytes, "{} bytes wait, over {bytes}", peer.queue.bytes());
        }
        let stats = self.stats();
        let gone = stats.forwarded + stats.dropped + stats.lost;
        assert_eq!(stats.copies, gone + queued as u64, "the books of the backplane do not close: {stats:?}");
    }
}

//! The forwarder as the simulated network of the tests sees it, or those of several workers.

use super::connection::{Newcomer, Side};
use super::forwarder::{Forwarder, Readiness};
use super::team::Team;
use crate::backplane::{Backplane, Counters, ForwardStats, OnSlow, Shared};
use multiplane_codec::zmtp::command;
use multiplane_core::Budget;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Simulated<S> {
    workers: Vec<Forwarder<S>>,
    shared: Vec<Arc<Shared>>,
    budget: Budget,
    /// Whose turn it is to get a connection.
    next: usize,
}

impl<S: Read + Write> Simulated<S> {
    pub(crate) fn new(budget: Budget, on_slow: OnSlow, guard: bool, workers: usize) -> Self {
        let builder = Backplane::builder("SIM").budget(budget.clone()).on_slow(on_slow).guard(guard);
        let shared: Vec<_> = (0..workers).map(|_| builder.open().unwrap()).collect();
        let mut workers: Vec<_> =
            shared.iter().map(|shared| Forwarder::new(&builder, shared.counters.clone())).collect();
        if workers.len() > 1 {
            let teams = Team::form(&shared, budget.subscriptions);
            workers.iter_mut().zip(teams).for_each(|(worker, team)| worker.join(team));
        }
        Self { workers, shared, budget, next: 0 }
    }

    /// What a connection of a worker is called outside.
    fn name(&self, worker: usize, id: u32) -> u32 {
        id * self.workers.len() as u32 + worker as u32
    }

    /// Takes in the ends of a joint between two workers; what they are called.
    pub(crate) fn join(&mut self, from: usize, to: usize, [ours, theirs]: [S; 2], now: Instant) -> [u32; 2] {
        let ids = [from, to].map(|worker| self.name(worker, self.workers[worker].next_id()));
        self.workers[from].connect_joint(ours, Side::Subscriber, to, now);
        self.workers[to].connect_joint(theirs, Side::Publisher, from, now);
        ids
    }

    /// Takes a connection in; what it is called.
    pub(crate) fn connect(&mut self, stream: S, publishes: bool, now: Instant) -> u32 {
        self.next = (self.next + 1) % self.workers.len();
        let worker = &mut self.workers[self.next];
        worker.team.iter().for_each(Team::has_come);
        let id = worker.next_id();
        let side = if publishes { Side::Publisher } else { Side::Subscriber };
        let newcomer = Newcomer {
            stream,
            address: id.to_string(),
            side,
            is_here: true,
            offer: Some([].into()),
            place: None,
        };
        worker.connect(newcomer, now);
        self.name(self.next, id)
    }

    pub(crate) fn ready(&mut self, name: u32, what: crate::io::Readiness) {
        let crate::io::Readiness { readable, writable, ended } = what;
        let workers = self.workers.len() as u32;
        let worker = &mut self.workers[(name % workers) as usize];
        worker.ready(name / workers, Readiness { readable, writable, ended });
    }

    pub(crate) fn turn(&mut self, worker: usize, now: Instant) {
        self.workers[worker].turn(now);
        self.workers[worker].expire(now);
    }

    /// The end of all connections; what is on its way between workers is counted as lost when they have had their turns.
    pub(crate) fn end(&mut self, now: Instant) {
        self.workers.iter_mut().for_each(|worker| worker.disconnect_all(now));
    }

    pub(crate) fn hears_joints(&self) -> bool {
        self.workers.iter().any(Forwarder::hears_joints)
    }

    /// Asks everybody for a sign of life, as other backplanes do.
    pub(crate) fn ping(&mut self) {
        let mut ping = Vec::new();
        command::write_ping(&mut ping, 10, b"context");
        for worker in &mut self.workers {
            for id in worker.peers.ids() {
                let Some(peer) = worker.peers.get_mut(id) else { continue };
                if peer.peer().is_some() && !peer.joint && peer.queue.control() == 0 {
                    peer.queue.push_control(&ping);
                    worker.peers.mark_dirty(id);
                }
            }
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        let has_wishes = |worker: &Forwarder<S>| worker.team.as_ref().is_some_and(Team::has_wishes);
        self.workers.iter().any(|worker| worker.has_work() || has_wishes(worker))
    }

    pub(crate) fn stats(&self) -> ForwardStats {
        let sum =
            |count: fn(&Counters) -> u64| self.shared.iter().map(|worker| count(&worker.counters)).sum();
        ForwardStats {
            received: sum(|counters| counters.received.get()),
            unwanted: sum(|counters| counters.unwanted.get()),
            guarded: sum(|counters| counters.guarded.get()),
            copies: sum(|counters| counters.copies.get()),
            forwarded: sum(|counters| counters.forwarded.get()),
            dropped: sum(|counters| counters.dropped.get()),
            lost: sum(|counters| counters.lost.get()),
            queued: sum(Counters::queued),
            subscriptions: self.shared[0].counters.subscriptions.get(),
            ..ForwardStats::default()
        }
    }

    /// Every queue is within its bounds, and the books agree with what waits. By `OnSlow::Block` one run more may wait,
    /// which is itself at most as long as a queue, or one message.
    pub(crate) fn check(&self, longest: usize) {
        let messages = 2 * self.budget.high_water_mark;
        let bytes = 2 * self.budget.subscriber_queue_bytes + 2 * longest + 4096;
        let mut queued = 0;
        let all = self
            .workers
            .iter()
            .flat_map(|worker| worker.peers.ids().into_iter().filter_map(|id| worker.peers.get(id)));
        for peer in all {
            if !peer.joint {
                queued += peer.queue.messages();
                assert!(peer.queue.messages() <= messages, "{} messages wait", peer.queue.messages());
            }
            let memory = peer.queue.memory();
            assert!(memory <= bytes, "what waits keeps {memory} bytes of memory, over {bytes}");
            assert!(peer.queue.bytes() <= bytes, "{} bytes wait, over {bytes}", peer.queue.bytes());
        }
        let stats = self.stats();
        let gone = stats.forwarded + stats.dropped + stats.lost;
        assert_eq!(stats.copies, gone + queued as u64, "the books of the backplane do not close: {stats:?}");
    }
}

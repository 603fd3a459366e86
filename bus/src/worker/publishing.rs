//! A link to a publisher port: what the component sends.

use super::life::Life;
use super::log::RateLimit;
use crate::io::zmq::{Monitor, Notice, PublisherSocket, Signal, TrySend};
use crate::shared::{BackplaneShared, Outgoing};
use multiplane_core::{Sequencer, Subscriptions, Trailer};
use multiplane_ring::queue::{Receiver, Sender};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// After a handshake a backplane tells its subscriptions. One that says nothing for so long has none to tell.
const SYNCHRONISATION_GRACE: Duration = Duration::from_millis(200);

/// (publisher, topic) pairs that get sequence numbers; further ones are sent without a trailer.
const SEQUENCED_TOPICS: usize = 65_536;

pub(crate) struct PublisherLink {
    shared: Arc<BackplaneShared>,
    pub(super) socket: PublisherSocket,
    pub(super) monitor: Monitor,
    pub(super) life: Life,
    /// The handshake was then, and the backplane's subscriptions may still be coming.
    synchronising: Option<Instant>,
    /// What somebody on the backplane wants.
    wanted: Subscriptions<u8>,
    queue: Receiver<Outgoing>,
    /// What an outbox published and the link had no room for.
    backlog: VecDeque<Outgoing>,
    /// What the link had no room for when it was its turn.
    refused: Option<Outgoing>,
    /// Something may wait to be sent or heard.
    pub(super) pending: bool,
    /// The link has no room; its descriptor will fire.
    pub(super) blocked: bool,
    sequencer: Sequencer,
    waiters: Vec<Waiter>,
    complaint: RateLimit,
}

/// Somebody who waits for a subscriber.
struct Waiter {
    topic: Box<[u8]>,
    deadline: Instant,
    reply: Sender<bool>,
}

enum Outcome {
    /// Sent, or dropped and counted.
    Done,
    Full,
}

impl PublisherLink {
    pub(crate) fn new(
        shared: Arc<BackplaneShared>,
        socket: PublisherSocket,
        monitor: Monitor,
        queue: Receiver<Outgoing>,
        life: Life,
    ) -> Self {
        Self {
            wanted: Subscriptions::with_limit(shared.budget.subscriptions),
            shared,
            socket,
            monitor,
            life,
            synchronising: None,
            queue,
            backlog: VecDeque::new(),
            refused: None,
            pending: false,
            blocked: false,
            sequencer: Sequencer::with_limit(SEQUENCED_TOPICS),
            waiters: Vec::new(),
            complaint: RateLimit::new(),
        }
    }

    /// Whether something that a handler published still waits here.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether it waits to hear the backplane's subscriptions, and so sends nothing yet.
    pub(super) fn is_synchronising(&self) -> bool {
        self.synchronising.is_some()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.refused.is_none() && self.backlog.is_empty() && self.queue.is_empty()
    }

    /// Sends a message of an outbox at once. When there is no room it is kept in the backlog, if the caller wants that
    /// and the backlog has room, or given back.
    pub(crate) fn offer(&mut self, outgoing: Outgoing, keep: bool, now: Instant) -> Result<(), Outgoing> {
        self.pending = true;
        if self.backlog.is_empty() && self.refused.is_none() && self.synchronising.is_none() {
            match self.send(&outgoing, now) {
                Outcome::Done => {
                    self.shared.worker.pool.give(outgoing.buffer);
                    return Ok(());
                }
                Outcome::Full => self.blocked = true,
            }
        }
        if !keep || self.backlog.len() >= self.shared.budget.publish_queue {
            return Err(outgoing);
        }
        self.backlog.push_back(outgoing);
        Ok(())
    }

    /// Sends what waits, at most `budget` messages, and hears what the backplane says; how many were sent.
    pub(super) fn flush(&mut self, budget: usize, now: Instant) -> usize {
        if self.synchronising.is_some() {
            // Nobody is known to want anything yet, so everything would be dropped.
            self.hear(now);
            return 0;
        }
        let mut sent = self.send_waiting(budget, now);
        // A send may swallow the descriptor's signal for a notice, and hearing a notice the one for room: so both are
        // looked at until neither has anything.
        loop {
            let heard = self.hear(now);
            if !self.blocked {
                return sent;
            }
            let more = self.send_waiting(budget - sent, now);
            sent += more;
            if self.blocked && more == 0 && !heard {
                return sent;
            }
        }
    }

    fn send_waiting(&mut self, budget: usize, now: Instant) -> usize {
        self.blocked = false;
        for sent in 0..budget {
            let next = self.refused.take().or_else(|| self.backlog.pop_front());
            let Some(outgoing) = next.or_else(|| self.queue.try_recv().ok()) else {
                self.pending = false;
                return sent;
            };
            match self.send(&outgoing, now) {
                Outcome::Done => self.shared.worker.pool.give(outgoing.buffer),
                Outcome::Full => {
                    self.refused = Some(outgoing);
                    self.blocked = true;
                    return sent;
                }
            }
        }
        budget
    }

    #[inline]
    fn send(&mut self, outgoing: &Outgoing, now: Instant) -> Outcome {
        let counters = &self.shared.counters;
        let topic = outgoing.topic();
        if !self.life.is_live() {
            counters.link_down.add(1);
            self.complaint.complain(now, |before| {
                let (backplane, state) = (self.shared.id, self.life.state());
                tracing::warn!(%backplane, ?state, before, "published on a link that is down: dropped");
            });
            return Outcome::Done;
        }
        if !self.wanted.matches(topic) {
            counters.no_subscriber.add(1);
            return Outcome::Done;
        }
        let trailer = stamp(&mut self.sequencer, outgoing);
        match self.socket.try_send(topic, outgoing.payload(), trailer.as_ref().map(|bytes| &bytes[..])) {
            Ok(TrySend::Sent) => {
                counters.sent.add(1);
                Outcome::Done
            }
            Ok(TrySend::Full) => {
                if trailer.is_some() {
                    self.sequencer.give_back(outgoing.trailer, topic);
                }
                Outcome::Full
            }
            Err(error) => {
                counters.transport.add(1);
                self.complaint.complain(now, |before| {
                    tracing::warn!(backplane = %self.shared.id, %error, before, "the transport refused a message");
                });
                Outcome::Done
            }
        }
    }

    /// Hears what the backplane says about its subscribers; whether it said anything.
    pub(super) fn hear(&mut self, now: Instant) -> bool {
        let (mut heard, mut changed, mut complete) = (false, false, false);
        let wanted = &mut self.wanted;
        while self.socket.notice(|notice| match notice {
            Notice::Subscribed(topic) => {
                changed = true;
                // Python's backplane asks for everything, and then there is nothing left to hear.
                complete |= topic.is_empty();
                if let Err(error) = wanted.add(topic, 0) {
                    tracing::error!(backplane = %self.shared.id, %error, "a subscription is not known here");
                }
            }
            Notice::Unsubscribed(topic) => {
                wanted.remove(topic, 0);
            }
            Notice::Synchronised => complete = true,
        }) {
            heard = true;
        }
        if complete && self.synchronising.is_some() {
            self.up(now);
        }
        if changed {
            self.answer_found();
        }
        heard
    }

    fn up(&mut self, now: Instant) {
        self.synchronising = None;
        self.pending = true;
        self.life.connected(now);
        self.answer_found();
    }

    /// Answers those whose subscriber is there.
    fn answer_found(&mut self) {
        let wanted = &self.wanted;
        self.waiters.retain(|waiter| !(wanted.matches(&waiter.topic) && answer(waiter, true)));
    }

    /// Takes what the monitor signals.
    pub(super) fn handle_signals(&mut self, now: Instant) {
        while let Some(signal) = self.monitor.next() {
            match signal {
                Signal::Connected => self.synchronising = Some(now),
                Signal::Disconnected => {
                    self.synchronising = None;
                    self.life.disconnected(now);
                }
                Signal::Retried => self.life.retried(now),
                Signal::HandshakeFailed => self.life.handshake_failed(),
            }
        }
        self.pending = true;
        self.blocked = false;
    }

    /// Does what is due; when to look again.
    pub(super) fn handle_time(&mut self, now: Instant) -> Option<Instant> {
        if self.synchronising.is_some_and(|since| now >= since + SYNCHRONISATION_GRACE) {
            self.up(now);
        }
        self.waiters.retain(|waiter| !(now >= waiter.deadline && answer(waiter, false)));
        let waiting = self.waiters.iter().map(|waiter| waiter.deadline).min();
        waiting.into_iter().chain(self.synchronising.map(|since| since + SYNCHRONISATION_GRACE)).min()
    }

    /// Answers when somebody wants `topic`, or at the deadline.
    pub(super) fn await_subscriber(&mut self, topic: Box<[u8]>, deadline: Instant, reply: Sender<bool>) {
        let waiter = Waiter { topic, deadline, reply };
        if self.life.is_live() && self.wanted.matches(&waiter.topic) {
            answer(&waiter, true);
        } else {
            self.waiters.push(waiter);
        }
    }

    /// The end of the link. What was accepted and is neither sent nor dropped is unsent from now on, including what a
    /// thread puts into the queue at this very moment.
    pub(super) fn close(mut self, now: Instant, linger: Duration) {
        self.socket.set_linger(linger);
        drop(self.queue);
        self.life.closed(now);
    }
}

/// Numbers the message, if it wants a trailer.
fn stamp(sequencer: &mut Sequencer, outgoing: &Outgoing) -> Option<[u8; Trailer::LENGTH]> {
    if outgoing.trailer == 0 {
        return None;
    }
    let sequence = sequencer.next(outgoing.trailer, outgoing.topic())?;
    let sent_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    Some(Trailer { publisher: outgoing.trailer, sequence, sent_at }.encode())
}

/// Always true, so that it can be asked for in a condition.
fn answer(waiter: &Waiter, found: bool) -> bool {
    let _ = waiter.reply.send(found);
    true
}

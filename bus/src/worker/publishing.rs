//! A link to a publisher port: what the component sends.

use super::after;
use super::life::Life;
use super::log::RateLimit;
use super::receiving::FAR;
use super::source::{Outbound, Source};
use super::synchronising::Synchronising;
use crate::error::PublishError;
use crate::io::zmtp::{Broken, Stream};
use crate::io::{Notice, Outlet, Signal, Socket};
use crate::outgoing::{self, Outgoing};
use crate::shared::BackplaneShared;
use mio::{Registry, Token};
use multiplane_core::{RecentTopics, Sequencer, Subscriptions, Trailer};
use multiplane_ring::queue::Sender;
use multiplane_ring::stream::StreamReceiver;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// (publisher, topic) pairs that get sequence numbers; further ones are sent unnumbered.
const SEQUENCED_TOPICS: usize = 65_536;

/// Topics that are known to be wanted or not: 256 KiB for each link on which so many are published.
const KNOWN_TOPICS: usize = 4096;

/// What an outbox gathers before it is written.
const OUTBOX_BATCH: usize = 64 * 1024;

/// Runs that are sent in a turn, each up to a block of the publish queue: sending must not starve receiving.
const RUNS: usize = 4;

pub(crate) struct PublisherLink<S = Socket> {
    gate: Gate,
    pub(super) outlet: Outlet<S>,
    /// The handshake is done, and the backplane's subscriptions may still be coming.
    synchronising: Option<Synchronising>,
    /// What threads publish.
    queue: Source<StreamReceiver>,
    /// What handlers publish.
    outbox: Source<Outbound>,
    /// Something may wait to be sent or heard.
    pub(super) pending: bool,
    /// The link has no room; its descriptor will fire.
    pub(super) blocked: bool,
    /// Something is due then.
    pub(super) due: Instant,
    waiters: Vec<Waiter>,
    /// Messages that were sent on connections before this one.
    sent_before: u64,
}

/// Decides which messages may pass.
pub(super) struct Gate {
    shared: Arc<BackplaneShared>,
    pub(super) life: Life,
    /// What somebody on the backplane wants.
    wanted: Subscriptions<u8>,
    /// Which topics are wanted, of those that were published of late.
    known: RecentTopics<bool>,
    sequencer: Sequencer,
    complaint: RateLimit,
}

/// Somebody who waits for a subscriber.
struct Waiter {
    topic: Box<[u8]>,
    deadline: Instant,
    reply: Sender<bool>,
}

/// Why sending stopped.
enum Stopped {
    /// Nothing is left.
    Empty,
    /// The transport has no room.
    Full,
    /// Others have their turn.
    Enough,
}

impl<S: Stream> PublisherLink<S> {
    pub(crate) fn new(
        shared: Arc<BackplaneShared>,
        outlet: Outlet<S>,
        queue: StreamReceiver,
        life: Life,
        now: Instant,
    ) -> Self {
        let gate = Gate {
            wanted: Subscriptions::with_limit(shared.budget.subscriptions),
            shared,
            life,
            known: RecentTopics::with_slots(KNOWN_TOPICS),
            sequencer: Sequencer::with_limit(SEQUENCED_TOPICS),
            complaint: RateLimit::new(),
        };
        Self {
            gate,
            outlet,
            synchronising: None,
            queue: Source::new(queue),
            outbox: Source::new(Outbound::default()),
            pending: false,
            blocked: false,
            due: now,
            waiters: Vec::new(),
            sent_before: 0,
        }
    }

    pub(super) fn is_of(&self, backplane: &Arc<BackplaneShared>) -> bool {
        Arc::ptr_eq(&self.gate.shared, backplane)
    }

    pub(super) fn life(&self) -> &Life {
        &self.gate.life
    }

    /// Whether something that a handler published waits here for room.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.outbox.frames.is_empty() && (self.blocked || self.synchronising.is_some())
    }

    /// Whether it waits to hear the backplane's subscriptions, and so sends nothing yet.
    pub(super) fn is_synchronising(&self) -> bool {
        self.synchronising.is_some()
    }

    pub(super) fn is_drained(&mut self) -> bool {
        self.outbox.frames.is_empty() && self.queue.is_empty()
    }

    /// Takes a message of an outbox; it leaves at the end of the turn, together with what else there is. When there is
    /// no room it waits, if the caller wants that and not too much waits already.
    pub(crate) fn offer(
        &mut self,
        message: &Outgoing<'_>,
        keep: bool,
        now: Instant,
    ) -> Result<(), PublishError> {
        let limit = self.gate.shared.budget.publish_queue_bytes;
        let waits = self.outbox.frames.length();
        let held = self.blocked || self.synchronising.is_some();
        if held && (!keep || (waits > 0 && waits + message.length() > limit)) {
            return Err(PublishError::Full { backplane: self.gate.shared.id.name() });
        }
        self.outbox.frames.push(message);
        self.gate.shared.counters.offered.add(1);
        self.pending = true;
        if !held && self.outbox.frames.length() >= OUTBOX_BATCH {
            self.send(now);
        }
        Ok(())
    }

    /// Sends what waits, and hears what the backplane says; whether anything was sent.
    pub(super) fn flush(&mut self, now: Instant) -> bool {
        let sent = self.exchange(now);
        self.pending |= self.outlet.has_work();
        sent
    }

    fn exchange(&mut self, now: Instant) -> bool {
        if self.synchronising.is_some() {
            // Nobody is known to want anything yet, so everything would be dropped.
            self.hear(now);
            return false;
        }
        let mut sent = self.send(now);
        // With libzmq a send may swallow the descriptor's signal for a notice, and hearing a notice the one for room:
        // so both are looked at until neither has anything.
        loop {
            let heard = self.hear(now);
            if !self.blocked {
                return sent;
            }
            let more = self.send(now);
            sent |= more;
            if self.blocked && !more && !heard {
                return sent;
            }
        }
    }

    /// Sends what waits; whether anything left.
    fn send(&mut self, now: Instant) -> bool {
        let before = self.gate.shared.counters.sent.get();
        self.blocked = false;
        match self.send_sources(now) {
            Ok(Stopped::Empty) => self.pending = false,
            Ok(Stopped::Full) => self.blocked = true,
            Ok(Stopped::Enough) => {}
            Err(broken) => self.lost(&broken, now),
        }
        self.gate.shared.counters.sent.get() != before
    }

    fn send_sources(&mut self, now: Instant) -> Result<Stopped, Broken> {
        // A half written message goes first, for only between messages there is room for a command.
        if self.queue.is_midway()
            && let full @ Stopped::Full = self.queue.send(&mut self.gate, &mut self.outlet, 1, now)?
        {
            return Ok(full);
        }
        if !self.outbox.is_midway() {
            self.outlet.flush()?;
        }
        // What is numbered goes before what is not.
        if self.queue.cleared > 0
            && let full @ Stopped::Full = self.queue.send(&mut self.gate, &mut self.outlet, 1, now)?
        {
            return Ok(full);
        }
        if let full @ Stopped::Full = self.outbox.send(&mut self.gate, &mut self.outlet, usize::MAX, now)? {
            return Ok(full);
        }
        self.queue.send(&mut self.gate, &mut self.outlet, RUNS, now)
    }

    /// Hears what the backplane says about its subscribers; whether it said anything.
    pub(super) fn hear(&mut self, now: Instant) -> bool {
        let (mut changed, mut complete) = (false, false);
        let Gate { wanted, shared, known, complaint, .. } = &mut self.gate;
        let heard = self.outlet.hear(now, |notice| match notice {
            Notice::Subscribed(topic) => {
                changed = true;
                // Python's backplane asks for everything, and then there is nothing left to hear.
                complete |= topic.is_empty();
                if let Err(error) = wanted.add(topic, 0) {
                    complaint.complain(now, |before| {
                        tracing::error!(backplane = %shared.id, %error, before, "a subscription is not known here");
                    });
                }
            }
            Notice::Unsubscribed(topic) => {
                changed = true;
                wanted.remove(topic, 0);
            }
            Notice::Synchronised => complete = true,
        });
        if changed {
            known.forget();
            self.synchronising.iter_mut().for_each(|synchronising| synchronising.hear(now));
        }
        if complete && self.synchronising.is_some() {
            self.up(now);
        }
        if changed {
            self.answer_found();
        }
        heard.unwrap_or_else(|broken| {
            self.lost(&broken, now);
            false
        })
    }

    fn up(&mut self, now: Instant) {
        self.synchronising = None;
        self.pending = true;
        self.gate.life.connected(self.outlet.transport(), now);
        self.answer_found();
    }

    /// The connection broke. A message that was half written is lost with it.
    #[cold]
    fn lost(&mut self, broken: &Broken, now: Instant) {
        tracing::debug!(backplane = %self.gate.shared.id, %broken, "a publisher link ends");
        let unwritten = self.take_back_unwritten();
        self.gate.shared.counters.link_down.add(unwritten);
        self.outlet.end(now);
        self.down(now);
        self.due = now;
    }

    fn down(&mut self, now: Instant) {
        self.synchronising = None;
        self.gate.life.disconnected(now);
        self.queue.break_off(&mut self.gate);
        self.outbox.break_off(&mut self.gate);
        // libzmq itself takes back what a lost connection wanted; a new one tells everything anew.
        if matches!(self.outlet, Outlet::Native(_)) {
            self.gate.wanted = Subscriptions::with_limit(self.gate.shared.budget.subscriptions);
        }
        self.gate.known.forget();
        (self.pending, self.blocked) = (true, false);
    }

    /// Answers those whose subscriber is there.
    fn answer_found(&mut self) {
        let wanted = &self.gate.wanted;
        self.waiters.retain(|waiter| !(wanted.matches(&waiter.topic) && answer(waiter, true)));
    }

    /// Hears what became of the connection.
    pub(super) fn handle_signals(&mut self, registry: &Registry, token: Token, now: Instant) {
        while let Some(signal) = self.outlet.advance(registry, token, now) {
            match signal {
                // Whoever hosts the backplane knows at once what is wanted.
                Signal::Connected if matches!(self.outlet, Outlet::Hosted(_)) => self.up(now),
                Signal::Connected => {
                    self.synchronising = Some(Synchronising::begin(now));
                    self.sent_before = self.gate.shared.counters.sent.get();
                    self.hear(now);
                }
                Signal::Disconnected => self.down(now),
                Signal::Retried => self.gate.life.retried(now),
                Signal::HandshakeFailed(reason) => self.gate.life.handshake_failed(&reason),
            }
        }
        (self.pending, self.blocked) = (true, false);
    }

    /// Does what is due.
    pub(super) fn handle_time(&mut self, registry: &Registry, token: Token, now: Instant) {
        self.handle_signals(registry, token, now);
        if self.synchronising.as_ref().is_some_and(|synchronising| now >= synchronising.end()) {
            self.up(now);
        }
        self.waiters.retain(|waiter| !(now >= waiter.deadline && answer(waiter, false)));
        let waiting = self.waiters.iter().map(|waiter| waiter.deadline);
        let grace = self.synchronising.as_ref().map(Synchronising::end);
        let due = waiting.chain(grace).chain(self.outlet.due()).min();
        self.due = due.unwrap_or(after(now, FAR));
    }

    /// Looks whether the backplane is alive. In the middle of a message there is no room for the question.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        if self.queue.is_midway() || self.outbox.is_midway() {
            return;
        }
        let sent = self.gate.shared.counters.sent.get() - self.sent_before;
        if let Err(broken) = self.outlet.keep_alive(sent, now) {
            self.lost(&broken, now);
        }
    }

    /// The backplane is silent elsewhere, too.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.gate.life.is_live() {
            self.lost(&Broken::Silent, now);
        }
    }

    /// Answers when somebody wants `topic`, or at the deadline.
    pub(super) fn await_subscriber(&mut self, topic: Box<[u8]>, deadline: Instant, reply: Sender<bool>) {
        let waiter = Waiter { topic, deadline, reply };
        if self.gate.life.is_live() && self.gate.wanted.matches(&waiter.topic) {
            answer(&waiter, true);
        } else {
            self.due = self.due.min(deadline);
            self.waiters.push(waiter);
        }
    }

    /// What was sealed and has not left counts as not sent; how many messages.
    fn take_back_unwritten(&mut self) -> u64 {
        let unwritten = self.outlet.unwritten();
        self.gate.shared.counters.sent.take_back(unwritten);
        unwritten
    }

    /// The end of the link. What was accepted and is neither sent nor dropped is unsent from now on, including what a
    /// thread puts into the queue at this very moment.
    pub(super) fn close(mut self, now: Instant, deadline: Instant) {
        self.take_back_unwritten();
        drop(self.queue);
        self.outlet.finish(now, deadline);
        self.gate.life.closed(now);
    }
}

impl<F: super::source::Frames> Source<F> {
    /// Sends at most `runs` runs of messages.
    fn send<S: Stream>(
        &mut self,
        gate: &mut Gate,
        outlet: &mut Outlet<S>,
        runs: usize,
        now: Instant,
    ) -> Result<Stopped, Broken> {
        for _ in 0..runs {
            if self.cleared == 0 {
                let Some(frames) = self.frames.peek() else { return Ok(Stopped::Empty) };
                let skipped = gate.skip(frames, now);
                if skipped > 0 {
                    self.frames.advance(skipped);
                    continue;
                }
                (self.cleared, self.messages) = gate.clear(frames);
            }
            let Some(run) = self.frames.peek().and_then(|frames| frames.get(self.written..self.cleared))
            else {
                return Ok(Stopped::Empty);
            };
            let wrote = outlet.write(run, now)?;
            let counters = &gate.shared.counters;
            counters.transport.add(wrote.refused);
            let gone = self.settle(wrote.bytes);
            counters.sent.add(gone.saturating_sub(wrote.refused));
            if self.cleared > 0 {
                return Ok(Stopped::Full);
            }
        }
        Ok(if self.is_empty() { Stopped::Empty } else { Stopped::Enough })
    }

    /// The connection is gone: a half written message is lost with it, and those that were only numbered give their
    /// numbers back.
    fn break_off(&mut self, gate: &mut Gate) {
        let lost = self.written > 0;
        let cleared = std::mem::take(&mut self.cleared);
        (self.messages, self.written) = (0, 0);
        let Some(frames) = self.frames.peek() else { return };
        let (mut at, mut first) = (0, None);
        while at < cleared
            && let Some(found) = frames.get(at..).and_then(outgoing::find)
        {
            gate.give_back(&frames[at..], &found);
            at += found.total;
            first = first.or(Some(found.total));
        }
        if lost {
            self.frames.advance(first.unwrap_or(cleared));
            gate.shared.counters.link_down.add(1);
        }
    }
}

impl Gate {
    /// Counts the messages at the beginning of `frames` that do not pass; their bytes.
    #[inline]
    fn skip(&mut self, frames: &[u8], now: Instant) -> usize {
        let live = self.life.is_live();
        let (mut at, mut dropped) = (0, 0);
        while let Some(rest) = frames.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(found) = outgoing::find(rest) else {
                // Cannot be: `Outgoing` has written them. Were it so, nothing behind could be found either.
                self.shared.counters.transport.add(1);
                at = frames.len();
                break;
            };
            if live && self.is_wanted(&rest[found.topic.clone()]) {
                break;
            }
            let (messages, bytes) = found.run(rest);
            at += bytes;
            dropped += messages;
        }
        if dropped > 0 && live {
            self.shared.counters.no_subscriber.add(dropped);
        } else if dropped > 0 {
            self.shared.counters.link_down.add(dropped);
            self.complaint.complain(now, |before| {
                let (backplane, state) = (self.shared.id, self.life.state());
                tracing::warn!(%backplane, ?state, before, "published on a link that is down: dropped");
            });
        }
        at
    }

    /// Numbers the messages at the beginning of `frames` that pass; their bytes and their number.
    #[inline]
    fn clear(&mut self, frames: &mut [u8]) -> (usize, u64) {
        let (mut at, mut messages) = (0, 0);
        while let Some(found) = frames.get(at..).and_then(outgoing::find) {
            let message = &mut frames[at..];
            if !self.is_wanted(&message[found.topic.clone()]) {
                break;
            }
            if found.trailer.is_some() {
                self.number(message, &found);
            }
            let (more, bytes) = found.run(message);
            at += bytes;
            messages += more;
        }
        (at, messages)
    }

    #[inline]
    fn is_wanted(&mut self, topic: &[u8]) -> bool {
        if let Some(wanted) = self.known.find(topic) {
            return *wanted;
        }
        let wanted = self.wanted.matches(topic);
        self.known.add(topic, |known| *known = wanted);
        wanted
    }

    /// Completes the trailer.
    fn number(&mut self, message: &mut [u8], found: &outgoing::Found) {
        let Some((at, trailer)) = read_trailer(message, found) else { return };
        let topic = &message[found.topic.clone()];
        let sequence = self.sequencer.next(trailer.publisher, topic).unwrap_or(0);
        let sent_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let trailer = Trailer { sequence, sent_at, ..trailer };
        message[at..at + Trailer::LENGTH].copy_from_slice(&trailer.encode());
    }

    fn give_back(&mut self, message: &[u8], found: &outgoing::Found) {
        if let Some((_, trailer)) = read_trailer(message, found)
            && trailer.sequence > 0
        {
            self.sequencer.give_back(trailer.publisher, &message[found.topic.clone()]);
        }
    }
}

fn read_trailer(message: &[u8], found: &outgoing::Found) -> Option<(usize, Trailer)> {
    let at = found.trailer?;
    Some((at, Trailer::decode(message.get(at..found.total)?)?))
}

/// Always true, so that it can be asked for in a condition.
fn answer(waiter: &Waiter, found: bool) -> bool {
    let _ = waiter.reply.send(found);
    true
}

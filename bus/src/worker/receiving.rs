//! A link to a subscriber port: what the component receives.

use super::after;
use super::life::Life;
use super::log::RateLimit;
use crate::io::zmtp::{Broken, Stream};
use crate::io::{Inlet, Received, Signal, Socket};
use crate::message::{Arena, Message, OwnedMessage};
use crate::shared::{BackplaneShared, BusShared};
use crate::subscriber::{InboxSender, Put};
use mio::{Registry, Token};
use multiplane_codec::zmtp::frame::is_same_topic;
use multiplane_core::{GapTracker, Observation, RecentTopics, SubscriptionError, Subscriptions};
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// (publisher, topic) pairs whose sequence numbers are followed; gaps of further ones are not seen.
const TRACKED_TOPICS: usize = 65_536;

/// Topics whose receivers are known: half a megabyte and their text for each link that gets as many.
const KNOWN_TOPICS: usize = 4096;

/// When a link without a deadline is looked at anyway.
pub(super) const FAR: Duration = Duration::from_secs(3600);

/// Bit of the receiver of the routing specification's topics.
pub(super) const MAIN: u8 = 0;

pub(crate) struct SubscriberLink<S = Socket> {
    shared: Arc<BackplaneShared>,
    pub(super) inlet: Inlet<S>,
    pub(super) life: Life,
    /// There may be something to receive.
    pub(super) hot: bool,
    /// Something is due then.
    pub(super) due: Instant,
    /// Who wants what.
    topics: Subscriptions<u8>,
    /// One bit per receiver with a topic here.
    listeners: u64,
    /// The engine was asked for more than somebody wants, so even a sole receiver's messages are matched.
    widened: bool,
    last: LastTopic,
    /// For whom the topics are that came of late.
    known: RecentTopics<Known>,
    /// A message that some receivers (bits) still have to get when their inboxes have room.
    stash: Option<(OwnedMessage, u64)>,
    gaps: GapTracker,
    complaint: RateLimit,
}

/// A topic that was found to be text, and who gets it.
#[derive(Clone, Default)]
struct Known {
    topic: String,
    receivers: u64,
}

/// For whom the last topic was: topics come in runs.
#[derive(Default)]
struct LastTopic {
    topic: String,
    known: bool,
    receivers: u64,
}

/// The inboxes of a worker, by receiver.
pub(super) struct Inboxes {
    pub(super) senders: Vec<Option<InboxSender>>,
    pub(super) bus: Arc<BusShared>,
}

/// Where a message goes.
pub(super) enum Arrival {
    /// To these receivers (bits).
    For(u64),
    /// Nothing to receive now.
    Empty,
    /// Something came that nobody gets.
    Nobody,
}

impl<S: Stream> SubscriberLink<S> {
    pub(crate) fn new(shared: Arc<BackplaneShared>, inlet: Inlet<S>, life: Life, now: Instant) -> Self {
        Self {
            topics: Subscriptions::with_limit(shared.budget.subscriptions),
            shared,
            inlet,
            life,
            hot: true,
            due: now,
            listeners: 0,
            widened: false,
            last: LastTopic::default(),
            known: RecentTopics::with_slots(KNOWN_TOPICS),
            stash: None,
            gaps: GapTracker::with_limit(TRACKED_TOPICS),
            complaint: RateLimit::new(),
        }
    }

    pub(super) fn shared(&self) -> &Arc<BackplaneShared> {
        &self.shared
    }

    pub(super) fn listens(&self, who: u8) -> bool {
        self.listeners & 1 << who != 0
    }

    /// Whether nobody but `who` has a topic here.
    pub(super) fn listens_only(&self, who: u8) -> bool {
        self.listeners == 1 << who
    }

    /// Whether an inbox without room holds this link back.
    pub(super) fn is_stashed(&self) -> bool {
        self.stash.is_some()
    }

    pub(super) fn subscribe(&mut self, who: u8, topic: &[u8]) -> Result<(), SubscriptionError> {
        self.forget();
        if self.topics.add(topic, who)? {
            self.widened |= self.inlet.widens(topic);
            self.tell(true, topic);
        }
        self.listeners |= 1 << who;
        Ok(())
    }

    /// Subscribes the receiver of the routing specification.
    pub(crate) fn subscribe_main(&mut self, topic: &str) -> Result<(), SubscriptionError> {
        self.subscribe(MAIN, topic.as_bytes())
    }

    pub(super) fn unsubscribe(&mut self, who: u8, topic: &[u8]) {
        self.forget();
        if self.topics.remove(topic, who) {
            self.tell(false, topic);
        }
        if !self.topics.subscribers().any(|other| other == who) {
            self.listeners &= !(1 << who);
        }
    }

    /// Takes back all that `who` wants.
    pub(super) fn detach(&mut self, who: u8) {
        self.forget();
        for topic in self.topics.remove_all(who) {
            self.tell(false, &topic);
        }
        self.listeners &= !(1 << who);
        if let Some((message, receivers)) = self.stash.take() {
            self.shared.counters.inbox_closed.add(receivers >> who & 1);
            let left = receivers & !(1 << who);
            // What waited for this one alone holds nobody back any longer.
            self.stash = (left != 0).then_some((message, left));
        }
    }

    fn tell(&mut self, subscribe: bool, topic: &[u8]) {
        self.inlet.subscribe(subscribe, topic);
        // A call into libzmq may have swallowed its descriptor's signal; a native link sends what it was told.
        self.hot = true;
        self.due = self.due.min(self.life.since());
    }

    /// Receives one message, which [`message`](Self::message) then shows, and says who gets it.
    #[inline]
    pub(super) fn receive(&mut self, now: Instant) -> Arrival {
        match self.inlet.recv(now) {
            Received::Message => {}
            Received::Empty => {
                self.hot = false;
                return Arrival::Empty;
            }
            Received::OneFrame => return self.malformed(now, "a single frame, no payload"),
            Received::Broken(broken) => {
                self.lost(&broken, now);
                return Arrival::Empty;
            }
        }
        let (topic, payload) = self.inlet.frames();
        let length = topic.len() + payload.len();
        if (!self.last.known || self.last.topic.as_bytes() != topic) && !self.look_up() {
            return self.malformed(now, "the topic is not UTF-8");
        }
        if self.inlet.trailer().is_some() {
            self.follow();
        }
        let receivers = self.last.receivers;
        if receivers == 0 {
            // Unsubscribed while it was on its way.
            return Arrival::Nobody;
        }
        self.shared.counters.note_received(length);
        Arrival::For(receivers)
    }

    /// What is wanted has changed.
    fn forget(&mut self) {
        self.last.known = false;
        self.known.forget();
    }

    /// Finds out who gets the topic of the message that was received last; `false` if it is none.
    fn look_up(&mut self) -> bool {
        let (last, topic) = (&mut self.last, self.inlet.frames().0);
        last.topic.clear();
        if let Some(Known { topic, receivers }) = self.known.find(topic) {
            last.topic.push_str(topic);
            (last.known, last.receivers) = (true, *receivers);
            return true;
        }
        let Ok(text) = std::str::from_utf8(topic) else {
            last.known = false;
            return false;
        };
        last.topic.push_str(text);
        (last.known, last.receivers) = (true, 0);
        if self.listeners.is_power_of_two() && !self.widened {
            last.receivers = self.listeners;
        } else {
            self.topics.for_each_match(topic, |who| last.receivers |= 1 << who);
        }
        self.known.add(topic, |known| {
            known.topic.clone_from(&last.topic);
            known.receivers = last.receivers;
        });
        true
    }

    /// Counts what the trailer tells.
    fn follow(&mut self) {
        let Some(trailer) = self.inlet.trailer() else { return };
        self.shared.counters.latency.arrived(trailer.sent_at);
        // A number of 0 says that the publisher had no room to count this topic.
        if trailer.sequence == 0 {
            return;
        }
        match self.gaps.observe(trailer.publisher, self.last.topic.as_bytes(), trailer.sequence) {
            Observation::Gap { missed } => self.shared.counters.missed.add(missed),
            Observation::Late => self.shared.counters.late.add(1),
            _ => {}
        }
    }

    /// The message that was received last.
    #[inline]
    pub(super) fn message(&self) -> Message<'_> {
        Message::new(self.shared.id, &self.last.topic, self.inlet.frames().1, self.inlet.trailer())
    }

    /// Gives the message that was received last to `handle`, and then what lies behind it in the buffer and is known to
    /// have the same receivers: `most` messages in all, or as many as `handle` wants. How many it were, and its last
    /// answer.
    #[inline]
    pub(super) fn hand_out<B>(
        &mut self,
        most: usize,
        mut handle: impl FnMut(&Message<'_>) -> ControlFlow<B>,
    ) -> (usize, ControlFlow<B>) {
        let mut outcome = handle(&self.message());
        let counters = &self.shared.counters;
        counters.delivered.add(1);
        let mut handled = 1;
        let Some(mut pairs) = self.inlet.pairs() else { return (handled, outcome) };
        let mut message = Message::new(self.shared.id, &self.last.topic, &[], None);
        while handled < most
            && outcome.is_continue()
            && let Some(pair) = pairs.peek()
        {
            if !is_same_topic(pair.topic, message.topic().as_bytes()) {
                match self.known.find(pair.topic) {
                    Some(Known { topic, receivers }) if *receivers == self.last.receivers => {
                        message.set_topic(topic);
                    }
                    _ => break,
                }
            }
            message.set_payload(pair.payload);
            pairs.take(pair);
            counters.note_received(pair.topic.len() + pair.payload.len());
            outcome = handle(&message);
            counters.delivered.add(1);
            handled += 1;
        }
        (handled, outcome)
    }

    /// The connection broke.
    #[cold]
    fn lost(&mut self, broken: &Broken, now: Instant) {
        tracing::debug!(backplane = %self.shared.id, %broken, "a subscriber link ends");
        self.inlet.end(now);
        self.life.disconnected(now);
        (self.due, self.hot) = (now, true);
    }

    #[cold]
    fn malformed(&mut self, now: Instant, what: &str) -> Arrival {
        self.shared.counters.malformed.add(1);
        self.complaint.complain(now, |before| {
            tracing::warn!(backplane = %self.shared.id, what, before, "a peer sends what is no message: ignored");
        });
        Arrival::Nobody
    }

    /// Counts a message that a handler could not handle, and says so.
    #[cold]
    pub(super) fn handler_failed(&mut self, error: &(dyn Error + Send + Sync), now: Instant) {
        self.shared.counters.handler_errors.add(1);
        let topic = &self.last.topic;
        self.complaint.complain(now, |before| {
            tracing::warn!(backplane = %self.shared.id, topic, %error, before, "the handler could not handle a message");
        });
    }

    /// Puts the message that was received last into the inboxes of `receivers`. When one has no room, it is stashed.
    pub(super) fn put(&mut self, arena: &mut Arena, receivers: u64, inboxes: &Inboxes) {
        let owned = match arena.keep(&self.message()) {
            Ok(owned) => owned,
            Err(part) => part.with_payload(self.inlet.take_payload()),
        };
        self.put_owned(owned, receivers, inboxes);
    }

    fn put_owned(&mut self, message: OwnedMessage, receivers: u64, inboxes: &Inboxes) {
        let counters = &self.shared.counters;
        let worker = self.shared.worker.index;
        let mut message = Some(message);
        let (mut left, mut waiting) = (receivers, 0);
        while left != 0 {
            let who = left.trailing_zeros();
            left &= left - 1;
            let inbox = inboxes.senders.get(who as usize).and_then(Option::as_ref);
            // The last one gets the message itself, the others share it.
            let copy = if left == 0 && waiting == 0 { message.take() } else { message.clone() };
            let (Some(inbox), Some(copy)) = (inbox, copy) else {
                counters.inbox_closed.add(1);
                continue;
            };
            match inbox.put(copy, worker, &inboxes.bus.backplanes) {
                Put::Delivered => counters.delivered.add(1),
                Put::DroppedNewest => counters.inbox_full.add(1),
                Put::Abandoned => counters.inbox_closed.add(1),
                Put::Blocked(back) => {
                    waiting |= 1 << who;
                    message = Some(back);
                }
            }
        }
        self.stash = message.filter(|_| waiting != 0).map(|message| (message, waiting));
    }

    /// Tries once more to get rid of the stashed message.
    pub(super) fn retry(&mut self, inboxes: &Inboxes) {
        if let Some((message, receivers)) = self.stash.take() {
            self.put_owned(message, receivers, inboxes);
        }
    }

    /// Hears what became of the connection.
    pub(super) fn handle_signals(&mut self, registry: &Registry, token: Token, now: Instant) {
        while let Some(signal) = self.inlet.advance(registry, token, now) {
            match signal {
                Signal::Connected => {
                    self.inlet.subscribe_all(self.topics.prefixes());
                    self.life.connected(self.inlet.transport(), now);
                }
                Signal::Disconnected => self.life.disconnected(now),
                Signal::Retried => self.life.retried(now),
                Signal::HandshakeFailed(reason) => self.life.handshake_failed(&reason),
            }
            // libzmq sends the subscriptions again when the socket is touched.
            self.hot = true;
        }
    }

    /// Does what is due.
    pub(super) fn handle_time(&mut self, registry: &Registry, token: Token, now: Instant) {
        self.handle_signals(registry, token, now);
        self.due = self.inlet.due().unwrap_or(after(now, FAR));
        if let Err(broken) = self.inlet.flush() {
            self.lost(&broken, now);
        }
    }

    /// Notices what becomes of the backplane while nobody takes messages.
    pub(super) fn look(&mut self, now: Instant) {
        if let Err(broken) = self.inlet.look(now) {
            self.lost(&broken, now);
        }
    }

    /// Looks whether the backplane is alive. `held`: something has come that is not taken yet, and a sign of
    /// life may lie behind it, so silence means nothing. Whether it was given up for being silent.
    pub(super) fn keep_alive(&mut self, held: bool, now: Instant) -> bool {
        if held {
            self.inlet.excuse_silence(now);
            return false;
        }
        let Err(broken) = self.inlet.keep_alive(now) else { return false };
        self.lost(&broken, now);
        matches!(broken, Broken::Silent)
    }

    /// The end of the link: what has arrived and nobody takes any more is counted.
    pub(super) fn close(mut self, now: Instant) {
        let mut undelivered = self.stash.take().map_or(0, |(_, receivers)| u64::from(receivers.count_ones()));
        for _ in 0..self.shared.budget.high_water_mark.saturating_mul(2) {
            match self.receive(now) {
                Arrival::For(receivers) => undelivered += u64::from(receivers.count_ones()),
                Arrival::Nobody => {}
                Arrival::Empty => break,
            }
        }
        self.shared.counters.undelivered.add(undelivered);
        self.life.closed(now);
    }
}

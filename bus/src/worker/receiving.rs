//! A link to a subscriber port: what the component receives.

use super::life::Life;
use super::log::RateLimit;
use crate::io::zmq::{Incoming, Monitor, Received, Signal, SubscriberSocket};
use crate::message::{Arena, Message, OwnedMessage};
use crate::shared::{BackplaneShared, BusShared};
use crate::subscriber::{InboxSender, Put};
use multiplane_core::{GapTracker, Observation, SubscriptionError, Subscriptions};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// (publisher, topic) pairs whose sequence numbers are followed; gaps of further ones are not seen.
const TRACKED_TOPICS: usize = 65_536;

/// Bit of the receiver of the routing specification's topics.
pub(super) const MAIN: u8 = 0;

pub(crate) struct SubscriberLink {
    shared: Arc<BackplaneShared>,
    pub(super) socket: SubscriberSocket,
    pub(super) monitor: Monitor,
    pub(super) life: Life,
    /// There may be something to receive.
    pub(super) hot: bool,
    /// Who wants what.
    topics: Subscriptions<u8>,
    /// One bit per receiver with a topic here.
    listeners: u64,
    /// libzmq was asked for more than somebody wants, so even a sole receiver's messages are matched.
    widened: bool,
    /// A message that some receivers (bits) still have to get when their inboxes have room.
    stash: Option<(OwnedMessage, u64)>,
    gaps: GapTracker,
    complaint: RateLimit,
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

impl SubscriberLink {
    pub(crate) fn new(
        shared: Arc<BackplaneShared>,
        socket: SubscriberSocket,
        monitor: Monitor,
        life: Life,
    ) -> Self {
        Self {
            topics: Subscriptions::with_limit(shared.budget.subscriptions),
            shared,
            socket,
            monitor,
            life,
            hot: true,
            listeners: 0,
            widened: false,
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
        if self.topics.add(topic, who)? {
            self.widened |= crate::io::zmq::wire_prefix(topic).len() != topic.len();
            if let Err(error) = self.socket.subscribe(topic) {
                tracing::error!(backplane = %self.shared.id, %error, "cannot subscribe");
            }
            // The call may have swallowed the descriptor's signal.
            self.hot = true;
        }
        self.listeners |= 1 << who;
        Ok(())
    }

    /// Subscribes the receiver of the routing specification.
    pub(crate) fn subscribe_main(&mut self, topic: &str) -> Result<(), SubscriptionError> {
        self.subscribe(MAIN, topic.as_bytes())
    }

    pub(super) fn unsubscribe(&mut self, who: u8, topic: &[u8]) {
        if self.topics.remove(topic, who) {
            self.unsubscribe_wire(topic);
        }
        if !self.topics.subscribers().any(|other| other == who) {
            self.listeners &= !(1 << who);
        }
    }

    /// Takes back all that `who` wants.
    pub(super) fn detach(&mut self, who: u8) {
        for topic in self.topics.remove_all(who) {
            self.unsubscribe_wire(&topic);
        }
        self.listeners &= !(1 << who);
        if let Some((_, receivers)) = &mut self.stash {
            self.shared.counters.inbox_closed.add(u64::from(*receivers >> who & 1 == 1));
            *receivers &= !(1 << who);
        }
    }

    fn unsubscribe_wire(&mut self, topic: &[u8]) {
        if let Err(error) = self.socket.unsubscribe(topic) {
            tracing::error!(backplane = %self.shared.id, %error, "cannot unsubscribe");
        }
        self.hot = true;
    }

    /// Receives one message into `incoming` and says who gets it.
    #[inline]
    pub(super) fn receive(&mut self, incoming: &mut Incoming, now: Instant) -> Arrival {
        match self.socket.recv(incoming) {
            Received::Empty => {
                self.hot = false;
                return Arrival::Empty;
            }
            Received::OneFrame => return self.malformed(now, "a single frame, no payload"),
            Received::Message => {}
        }
        if std::str::from_utf8(incoming.topic()).is_err() {
            return self.malformed(now, "the topic is not UTF-8");
        }
        if let Some(trailer) = incoming.trailer() {
            match self.gaps.observe(trailer.publisher, incoming.topic(), trailer.sequence) {
                Observation::Gap { missed } => self.shared.counters.missed.add(missed),
                Observation::Late => self.shared.counters.late.add(1),
                _ => {}
            }
        }
        let mut receivers = 0;
        if self.listeners.is_power_of_two() && !self.widened {
            receivers = self.listeners;
        } else {
            self.topics.for_each_match(incoming.topic(), |who| receivers |= 1 << who);
        }
        if receivers == 0 {
            // Unsubscribed while it was on its way.
            return Arrival::Nobody;
        }
        let counters = &self.shared.counters;
        counters.received.add(1);
        counters.received_bytes.add((incoming.topic().len() + incoming.payload().len()) as u64);
        Arrival::For(receivers)
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
    pub(super) fn handler_failed(&mut self, topic: &str, error: &(dyn Error + Send + Sync), now: Instant) {
        self.shared.counters.handler_errors.add(1);
        self.complaint.complain(now, |before| {
            tracing::warn!(backplane = %self.shared.id, topic, %error, before, "the handler could not handle a message");
        });
    }

    /// Puts what is in `incoming` into the inboxes of `receivers`. When one has no room, the message is stashed.
    pub(super) fn put(
        &mut self,
        incoming: &mut Incoming,
        arena: &mut Arena,
        receivers: u64,
        inboxes: &Inboxes,
    ) {
        let topic = std::str::from_utf8(incoming.topic()).unwrap_or_default();
        let message = Message::new(self.shared.id, topic, incoming.payload(), incoming.trailer());
        let owned = match arena.keep(&message) {
            Ok(owned) => owned,
            Err(part) => part.with_payload(incoming.take_payload()),
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

    /// Takes what the monitor signals.
    pub(super) fn handle_signals(&mut self, now: Instant) {
        while let Some(signal) = self.monitor.next() {
            match signal {
                Signal::Connected => self.life.connected(now),
                Signal::Disconnected => self.life.disconnected(now),
                Signal::Retried => self.life.retried(now),
                Signal::HandshakeFailed => self.life.handshake_failed(),
            }
            // libzmq sends the subscriptions again when the socket is touched.
            self.hot = true;
        }
    }

    /// The end of the link: what has arrived and nobody takes any more is counted.
    pub(super) fn close(mut self, incoming: &mut Incoming, now: Instant) {
        let mut undelivered = self.stash.take().map_or(0, |(_, receivers)| u64::from(receivers.count_ones()));
        for _ in 0..2 * self.shared.budget.high_water_mark {
            match self.receive(incoming, now) {
                Arrival::For(receivers) => undelivered += u64::from(receivers.count_ones()),
                Arrival::Nobody => {}
                Arrival::Empty => break,
            }
        }
        self.shared.counters.undelivered.add(undelivered);
        self.life.closed(now);
    }
}

//! The links of a component, driven as the worker drives them.

use super::network::{Stream, network};
use super::payload::{Said, filling};
use crate::events::{Direction, EventSink};
use crate::io::zmtp::{PublisherWire, SubscriberWire, Way};
use crate::io::{Inlet, Outlet, Readiness};
use crate::message::{BackplaneId, Message};
use crate::outgoing::Outgoing;
use crate::shared::{BackplaneShared, PublishSide, SubscribeSide, WorkerShared};
use crate::worker::{Life, PublisherLink, SubscriberLink, receiving::Arrival};
use mio::{Registry, Token};
use multiplane_core::Budget;
use multiplane_ring::stream::{Capacity, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

fn way(endpoint: &str) -> Way<'_> {
    Way { endpoint, unix: true, curve: None }
}

/// What all links of a world share.
pub(super) struct Ground {
    pub(super) worker: Arc<WorkerShared>,
    pub(super) budget: Arc<Budget>,
}

pub(super) struct Publishing {
    shared: Arc<BackplaneShared>,
    link: PublisherLink<Stream>,
    token: Token,
    next_tick: Instant,
    /// Its number, twice: for what threads publish, and one more for what handlers publish.
    first: u8,
    pub(super) trailer: u64,
    sequences: [u64; 2],
    /// Whether it was live when last looked at, and how many times it has lost its connection.
    was_live: bool,
    pub(super) breaks: u64,
    /// All that was accepted.
    pub(super) accepted: Vec<Said>,
}

impl Publishing {
    pub(super) fn new(ground: &Ground, n: usize, trailer: bool, now: Instant) -> Self {
        let budget = &ground.budget;
        let (sender, queue) = stream(Capacity::of_bytes(budget.publish_queue_bytes));
        let endpoint = "tcp://10.0.0.1:1";
        let shared = Arc::new(BackplaneShared {
            id: BackplaneId::intern("SIM", 0),
            worker: ground.worker.clone(),
            counters: Default::default(),
            publish: Some(PublishSide::new(sender, 0, endpoint.to_owned(), budget)),
            subscribe: None,
            budget: budget.clone(),
        });
        let wire = PublisherWire::new(way(endpoint), budget, Arc::new(|| {}), now).unwrap();
        let life = Life::new(shared.clone(), Direction::Publish, EventSink::new(4).0, now);
        let link = PublisherLink::new(shared.clone(), Outlet::Native(Box::new(wire)), queue, life, now);
        let (first, trailer) = (2 * n as u8, if trailer { 1 + n as u64 } else { 0 });
        let token = Token(2 * n);
        Self {
            shared,
            link,
            token,
            next_tick: now,
            first,
            trailer,
            sequences: [0; 2],
            was_live: false,
            breaks: 0,
            accepted: Vec::new(),
        }
    }

    /// Publishes one message, from a thread or from a handler, if there is room.
    pub(super) fn publish(&mut self, topic: &str, harmful: bool, now: Instant) {
        let (handler, filling) = network(|network| (network.random.chance(3), filling(&mut network.random)));
        let sequence = self.sequences[usize::from(handler)] + 1;
        let publisher = self.first + u8::from(handler);
        let said = Said { publisher, sequence, topic: topic.to_owned(), harmful };
        let payload = said.write(filling);
        let message = Outgoing::new(topic, &payload, self.trailer, &self.shared.budget).unwrap();
        let taken = if handler {
            let keep = network(|network| network.random.chance(2));
            self.link.offer(&message, keep, now).is_ok()
        } else {
            self.link.pending = true;
            self.shared.publish.as_ref().unwrap().try_push(&message).is_ok()
        };
        if taken {
            self.sequences[usize::from(handler)] = sequence;
            self.accepted.push(said);
        }
        network(|network| network.note(&[4, u64::from(publisher), sequence, u64::from(taken)]));
    }

    pub(super) fn hear(&mut self, what: Readiness, registry: &Registry, now: Instant) {
        self.link.outlet.ready(what);
        (self.link.pending, self.link.blocked) = (true, false);
        if !self.link.life().is_live() {
            self.link.handle_signals(registry, self.token, now);
            self.link.due = now;
        }
        self.look();
    }

    fn look(&mut self) {
        self.breaks += u64::from(self.was_live && !self.is_live());
        self.was_live = self.is_live();
    }

    pub(super) fn turn(&mut self, registry: &Registry, now: Instant) {
        if self.link.pending && !self.link.blocked {
            self.link.flush(now);
            self.look();
        }
        if now >= self.next_tick {
            self.next_tick = now + self.shared.budget.tick;
            self.link.keep_alive(now);
            self.look();
        }
        if now >= self.link.due {
            self.link.handle_time(registry, self.token, now);
        }
        self.look();
    }

    pub(super) fn has_work(&self) -> bool {
        self.link.pending && !self.link.blocked && !self.link.is_synchronising()
    }

    pub(super) fn is_live(&self) -> bool {
        self.link.life().is_live()
    }

    pub(super) fn sent(&self) -> u64 {
        self.shared.counters.sent.get()
    }

    pub(super) fn unwanted(&self) -> u64 {
        self.shared.counters.no_subscriber.get()
    }

    /// Once nothing waits any more, everything that was accepted is accounted for.
    pub(super) fn check_books(&mut self) {
        assert!(self.link.is_drained(), "publisher {} still has something to send", self.first);
        let counters = &self.shared.counters;
        let dropped = counters.link_down.get() + counters.no_subscriber.get() + counters.transport.get();
        let accepted = counters.offered.get() + self.shared.publish.as_ref().unwrap().enqueued();
        let sent = counters.sent.get();
        assert_eq!(counters.transport.get(), 0, "what waited to be sent was no message");
        assert_eq!(accepted, sent + dropped, "the books of publisher {}: {counters:?}", self.first);
    }
}

pub(super) struct Subscribing {
    shared: Arc<BackplaneShared>,
    link: SubscriberLink<Stream>,
    token: Token,
    /// Whether it takes messages now.
    pub(super) taking: bool,
    next_tick: Instant,
    /// What it wants now, as often as it asked for it.
    pub(super) wanted: Vec<&'static str>,
    pub(super) heard: Heard,
    /// What came when nothing was wanted any more.
    pub(super) late: u64,
    /// As a publisher's.
    was_live: bool,
    pub(super) breaks: u64,
}

/// What a subscriber got.
#[derive(Default)]
pub(super) struct Heard {
    number: usize,
    /// What it ever wanted.
    ever: Vec<&'static str>,
    /// The last number of each publisher, all that came, and whose did not come in order, each once.
    last: BTreeMap<u8, u64>,
    seen: BTreeSet<(u8, u64)>,
    disordered: BTreeSet<u8>,
    pub(super) received: u64,
    /// Whether nothing harmful may come.
    pub(super) guarded: bool,
}

impl Heard {
    fn note(&mut self, message: &Message<'_>) {
        let number = self.number;
        let said = Said::read(message.payload_bytes());
        let said = said.unwrap_or_else(|| panic!("subscriber {number} got something corrupt: {message:?}"));
        assert_eq!(said.topic, message.topic(), "subscriber {number} got a payload under another topic");
        assert!(
            self.ever.iter().any(|prefix| said.topic.starts_with(prefix)),
            "subscriber {number} got what it never wanted: {said:?}"
        );
        assert!(!(self.guarded && said.harmful), "the guard let {said:?} pass");
        self.seen.insert((said.publisher, said.sequence));
        let last = self.last.entry(said.publisher).or_default();
        if said.sequence <= *last {
            self.disordered.insert(said.publisher);
        }
        *last = said.sequence;
        self.received += 1;
        let note = [5, number as u64, u64::from(said.publisher), said.sequence];
        network(|network| network.note(&note));
    }
}

impl Subscribing {
    pub(super) fn new(ground: &Ground, n: usize, guarded: bool, now: Instant) -> Self {
        let endpoint = "tcp://10.0.0.1:2";
        let shared = Arc::new(BackplaneShared {
            id: BackplaneId::intern("SIM", 0),
            worker: ground.worker.clone(),
            counters: Default::default(),
            publish: None,
            subscribe: Some(SubscribeSide::new(0, endpoint.to_owned())),
            budget: ground.budget.clone(),
        });
        let wire = SubscriberWire::new(way(endpoint), &ground.budget, Arc::new(|| {}), now).unwrap();
        let life = Life::new(shared.clone(), Direction::Subscribe, EventSink::new(4).0, now);
        let link = SubscriberLink::new(shared.clone(), Inlet::Native(Box::new(wire)), life, now);
        let token = Token(2 * n + 1);
        let heard = Heard { number: n, guarded, ..Heard::default() };
        let (taking, next_tick, wanted, late) = (true, now, Vec::new(), 0);
        let (was_live, breaks) = (false, 0);
        Self { shared, link, token, taking, next_tick, wanted, heard, late, was_live, breaks }
    }

    pub(super) fn subscribe(&mut self, topic: &'static str) {
        self.link.subscribe(0, topic.as_bytes()).unwrap();
        self.wanted.push(topic);
        self.heard.ever.push(topic);
    }

    pub(super) fn unsubscribe(&mut self, n: usize) {
        let topic = self.wanted.swap_remove(n);
        self.link.unsubscribe(0, topic.as_bytes());
    }

    pub(super) fn wants(&self, topic: &str) -> bool {
        self.wanted.iter().any(|prefix| topic.starts_with(prefix))
    }

    pub(super) fn hear(&mut self, what: Readiness, registry: &Registry, now: Instant) {
        self.link.inlet.ready(what);
        self.link.hot = true;
        if what.writable || !self.link.life.is_live() {
            self.link.handle_signals(registry, self.token, now);
            self.link.due = now;
        }
        if what.ended || !self.taking {
            self.link.look(now);
        }
        self.look();
    }

    fn look(&mut self) {
        self.breaks += u64::from(self.was_live && !self.is_live());
        self.was_live = self.is_live();
    }

    /// Receives at most `batch` messages, and does what is due.
    pub(super) fn turn(&mut self, batch: usize, registry: &Registry, now: Instant) {
        let mut left = batch;
        while left > 0 && self.has_work() {
            left -= match self.link.receive(now) {
                Arrival::Empty => break,
                Arrival::Nobody => {
                    self.late += 1;
                    1
                }
                Arrival::For(_) => {
                    let heard = &mut self.heard;
                    let note = |message: &Message<'_>| {
                        heard.note(message);
                        ControlFlow::<()>::Continue(())
                    };
                    self.link.hand_out(left, note).0
                }
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + self.shared.budget.tick;
            self.link.keep_alive(self.link.hot && !self.taking, now);
        }
        self.look();
        if now >= self.link.due {
            self.link.handle_time(registry, self.token, now);
        }
        self.look();
    }

    pub(super) fn has_work(&self) -> bool {
        self.link.hot && self.taking
    }

    pub(super) fn is_live(&self) -> bool {
        self.link.life.is_live()
    }

    /// How many messages of `publisher`'s threads and handlers came.
    pub(super) fn received_from(&self, publisher: usize) -> u64 {
        self.heard.seen.iter().filter(|(number, _)| usize::from(*number) / 2 == publisher).count() as u64
    }

    /// The publishers of which messages came out of order, or twice.
    pub(super) fn disordered(&self) -> impl Iterator<Item = usize> {
        self.heard.disordered.iter().map(|number| usize::from(*number) / 2)
    }

    /// How many numbers of publishers are said to be missing.
    pub(super) fn missed(&self) -> u64 {
        self.shared.counters.missed.get()
    }

    pub(super) fn check_books(&self, complete: bool) {
        let counters = &self.shared.counters;
        assert_eq!(counters.received.get(), self.heard.received);
        assert_eq!(counters.delivered.get(), self.heard.received);
        assert_eq!(counters.malformed.get(), 0, "at subscriber {}", self.heard.number);
        let may_be_late = !self.heard.disordered.is_empty();
        assert!(counters.late.get() == 0 || may_be_late, "at subscriber {}", self.heard.number);
        assert!(!complete || counters.missed.get() == 0, "subscriber {} missed something", self.heard.number);
    }
}

//! A backplane, publishers and subscribers on a network on which anything may happen.

use super::component::{Ground, Publishing, Subscribing};
use super::network::{CLIENT, Network, SERVER, Stream, network};
use super::payload::LONGEST;
use crate::backplane::OnSlow;
use crate::backplane::simulated::Simulated;
use crate::shared::WorkerShared;
use multiplane_core::Budget;
use multiplane_ring::queue::bounded;
use multiplane_ring::{ReadySet, Wake};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOPICS: [&str; 10] = ["", "a", "ab", "abc", "abd", "b", "ba", "bb", "n", "ö"];

/// Rounds in which all that is under way must have arrived, and ticks in which all links must be back.
const ROUNDS: usize = 20_000;
const TICKS: usize = 300;

/// What became of all backplanes that there were.
#[derive(Default)]
struct Forwarded {
    received: u64,
    forwarded: u64,
}

pub(super) struct World {
    now: Instant,
    poll: mio::Poll,
    budget: Budget,
    on_slow: OnSlow,
    guard: bool,
    /// Nothing is cut, and nobody changes what he wants.
    calm: bool,
    /// The network breaks connections.
    breaks: bool,
    workers: usize,
    forwarder: Option<Simulated<Stream>>,
    /// The names in the backplane of ends of connections.
    names: BTreeMap<(usize, usize), u32>,
    past: Forwarded,
    publishers: Vec<Publishing>,
    subscribers: Vec<Subscribing>,
}

fn below(limit: usize) -> usize {
    network(|network| network.random.below(limit))
}

fn chance(times: usize) -> bool {
    below(times) == 0
}

fn topic() -> &'static str {
    network(|network| network.random.pick(&TOPICS))
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        network(|network| *network = Network::new(seed));
        let now = crate::worker::now();
        let calm = chance(3);
        let budget = Budget {
            high_water_mark: [1, 2, 3, 10, 100, 1000][below(6)],
            subscriber_queue_bytes: [100, 1_000, 20_000, 200_000][below(4)],
            publish_queue_bytes: [200, 2_000, 20_000][below(3)],
            ..Budget::default()
        };
        let ground = Ground {
            worker: Arc::new(WorkerShared {
                index: 0,
                ready: ReadySet::new(4),
                wake: Wake::new().unwrap(),
                commands: bounded(1).0,
                publishers: 1,
            }),
            budget: Arc::new(budget.clone()),
        };
        let on_slow = [OnSlow::DropOldest, OnSlow::DropNewest, OnSlow::Block, OnSlow::Disconnect][below(4)];
        let guard = chance(4);
        let publishers = (0..=below(4)).map(|n| Publishing::new(&ground, n, chance(2), now)).collect();
        let subscribers = (0..=below(4)).map(|n| {
            let mut subscriber = Subscribing::new(&ground, n, guard, now);
            (0..below(5)).for_each(|_| subscriber.subscribe(topic()));
            subscriber
        });
        let subscribers = subscribers.collect();
        network(|network| network.faulty = !calm);
        let mut world = Self {
            now,
            poll: mio::Poll::new().unwrap(),
            forwarder: None,
            budget,
            on_slow,
            guard,
            calm,
            breaks: !calm && chance(2),
            workers: [1, 1, 2, 3][below(4)],
            names: BTreeMap::new(),
            past: Forwarded::default(),
            publishers,
            subscribers,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let mut forwarder = Simulated::new(self.budget.clone(), self.on_slow, self.guard, self.workers);
        for (from, to) in (0..self.workers).flat_map(|from| (0..self.workers).map(move |to| (from, to))) {
            if from != to {
                let joint = network(Network::join);
                let ends = [CLIENT, SERVER].map(|end| Stream::end(joint, end));
                let names = forwarder.join(from, to, ends, self.now);
                [CLIENT, SERVER].into_iter().zip(names).for_each(|(end, name)| {
                    self.names.insert((joint, end), name);
                });
            }
        }
        self.forwarder = Some(forwarder);
        network(|network| network.listening = true);
    }

    /// Ends the backplane, and with it all connections.
    fn kill(&mut self) {
        let Some(forwarder) = &mut self.forwarder else { return };
        network(|network| {
            network.listening = false;
            network.note(&[6]);
        });
        forwarder.end(self.now);
        while self.forwarder.as_ref().is_some_and(Simulated::hears_joints) {
            self.serve_forwarder();
        }
        let Some(forwarder) = self.forwarder.take() else { return };
        forwarder.check(LONGEST);
        let stats = forwarder.stats();
        self.past.received += stats.received;
        self.past.forwarded += stats.forwarded;
        self.names.clear();
    }

    /// The whole life of a world; a digest of it.
    pub(super) fn run(mut self) -> u64 {
        if self.calm {
            self.settle();
        }
        for _ in 0..30 + below(600) {
            self.step();
        }
        network(Network::heal);
        self.subscribers.iter_mut().for_each(|subscriber| subscriber.taking = true);
        if self.forwarder.is_none() {
            self.start();
        }
        self.settle();
        self.check();
        self.probe();
        self.check();
        network(|network| network.trace)
    }

    /// Anything may happen next.
    fn step(&mut self) {
        self.now += Duration::from_micros(match below(60) {
            0 if !self.calm => 3_000_000,
            1..4 => 100_000,
            _ => below(5_000) as u64,
        });
        match below(20) {
            0..4 => self.publish(),
            4 if !self.calm => self.change_a_wish(),
            5 => {
                let n = below(self.subscribers.len());
                self.subscribers[n].taking = chance(2);
            }
            6 if self.breaks && chance(3) => network(Network::harm),
            7 if chance(8) => self.forwarder.iter_mut().for_each(Simulated::ping),
            7 if !self.calm && chance(4) => match &self.forwarder {
                Some(_) => self.kill(),
                None => self.start(),
            },
            8..13 => self.serve_clients(1 + below(10)),
            _ => self.serve_forwarder(),
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.check(LONGEST);
        }
    }

    fn publish(&mut self) {
        let n = below(self.publishers.len());
        let mut topic = topic();
        for _ in 0..below(30) {
            if chance(4) {
                topic = self::topic();
            }
            let harmful = chance(12);
            self.publishers[n].publish(topic, harmful, self.now);
        }
    }

    fn change_a_wish(&mut self) {
        let n = below(self.subscribers.len());
        let subscriber = &mut self.subscribers[n];
        if chance(2) {
            subscriber.subscribe(topic());
        } else if !subscriber.wanted.is_empty() {
            let which = below(subscriber.wanted.len());
            subscriber.unsubscribe(which);
        }
    }

    /// Lets the network move, and the backplane take its turn.
    fn serve_forwarder(&mut self) {
        let accepted = network(Network::pump);
        let Some(forwarder) = &mut self.forwarder else { return };
        for (connection, publishes) in accepted {
            let id = forwarder.connect(Stream::end(connection, SERVER), publishes, self.now);
            self.names.insert((connection, SERVER), id);
        }
        for told in network(|network| network.take_told(SERVER)) {
            if let Some(&id) = self.names.get(&(told.connection, told.end)) {
                forwarder.ready(id, told.what);
            }
        }
        // Each worker in its own time.
        let mut order: Vec<usize> = (0..self.workers).collect();
        network(|network| network.random.shuffle(&mut order));
        for worker in order {
            let waits = self.workers > 1 && network(|network| network.piecemeal && network.random.chance(3));
            if !waits {
                forwarder.turn(worker, self.now);
            }
        }
    }

    fn serve_clients(&mut self, batch: usize) {
        let (registry, now) = (self.poll.registry(), self.now);
        for told in network(|network| network.take_told(CLIENT)) {
            if told.token % 2 == 0 {
                self.publishers[told.token / 2].hear(told.what, registry, now);
            } else {
                self.subscribers[told.token / 2].hear(told.what, registry, now);
            }
        }
        self.publishers.iter_mut().for_each(|publisher| publisher.turn(registry, now));
        self.subscribers.iter_mut().for_each(|subscriber| subscriber.turn(batch, registry, now));
    }

    /// Goes on until all links are live and nothing moves any more.
    fn settle(&mut self) {
        let (mut ticks, mut quiet) = (0, 0);
        for _ in 0..ROUNDS {
            self.serve_forwarder();
            self.serve_clients(100);
            let has_work = self.forwarder.as_ref().is_some_and(Simulated::has_work)
                || self.publishers.iter().any(Publishing::has_work)
                || self.subscribers.iter().any(Subscribing::has_work);
            if has_work || !network(Network::is_quiet) {
                self.now += Duration::from_micros(100);
                quiet = 0;
                continue;
            }
            let live = self.publishers.iter().all(Publishing::is_live)
                && self.subscribers.iter().all(Subscribing::is_live);
            (ticks, quiet) = (ticks + 1, quiet + 1);
            if live && quiet > 3 {
                return;
            }
            if ticks >= TICKS {
                let publishers: Vec<bool> = self.publishers.iter().map(Publishing::is_live).collect();
                let subscribers: Vec<bool> = self.subscribers.iter().map(Subscribing::is_live).collect();
                panic!(
                    "a link does not come back: live are {publishers:?}, {subscribers:?}, {}",
                    network(Network::describe)
                );
            }
            self.now += self.budget.tick;
        }
        panic!("it goes on without an end");
    }

    /// Nothing waits anywhere: all that was ever published is accounted for.
    fn check(&mut self) {
        let Some(forwarder) = &self.forwarder else { return };
        forwarder.check(LONGEST);
        let stats = forwarder.stats();
        assert_eq!(stats.queued, 0, "nobody sends what waits in the backplane");
        let complete = self.calm && self.on_slow == OnSlow::Block;
        self.publishers.iter_mut().for_each(Publishing::check_books);
        self.subscribers.iter().for_each(|subscriber| subscriber.check_books(complete && !self.guard));
        let sent: u64 = self.publishers.iter().map(Publishing::sent).sum();
        let received: u64 = self.subscribers.iter().map(|subscriber| subscriber.heard.received).sum();
        let taken = self.past.received + stats.received;
        let forwarded = self.past.forwarded + stats.forwarded;
        assert!(taken <= sent, "the backplane took {taken} of {sent} messages");
        let late: u64 = self.subscribers.iter().map(|subscriber| subscriber.late).sum();
        let arrived = received + late;
        assert!(arrived <= forwarded, "subscribers got {arrived} of {forwarded} copies");
        let lost = network(|network| network.lost);
        assert!(lost[1] || arrived == forwarded, "subscribers got only {arrived} of {forwarded} copies");
        self.check_order();
        self.check_numbers();
        if !self.calm {
            return;
        }
        assert_eq!(taken, sent, "what was sent arrives at the backplane");
        assert!(self.on_slow == OnSlow::Disconnect || stats.lost == 0, "nobody went away");
        let mut copies = 0;
        for subscriber in &self.subscribers {
            let accepted = self.publishers.iter().flat_map(|publisher| &publisher.accepted);
            let mine = accepted.filter(|said| subscriber.wants(&said.topic) && !(self.guard && said.harmful));
            let mine = mine.count() as u64;
            assert!(
                !complete || subscriber.heard.received == mine,
                "it got {} of {mine}",
                subscriber.heard.received
            );
            copies += mine;
        }
        if self.on_slow != OnSlow::Disconnect {
            assert_eq!(stats.copies, copies, "there is one copy for each who wants it");
        }
    }

    /// Each publisher's messages come in order, each once. Who loses a connection may come back to another worker, and so
    /// overtake what is still on its way between the two.
    fn check_order(&self) {
        for (n, subscriber) in self.subscribers.iter().enumerate() {
            for publisher in subscriber.disordered() {
                let moved = subscriber.breaks + self.publishers[publisher].breaks > 0;
                assert!(
                    self.workers > 1 && moved,
                    "messages of publisher {publisher} reach subscriber {n} out of order, or twice"
                );
            }
        }
    }

    /// Numbers go to nothing but messages that are sent, or lost halfway: with each connection at most one.
    fn check_numbers(&self) {
        for subscriber in self.subscribers.iter().filter(|one| one.disordered().next().is_none()) {
            let numbered = self.publishers.iter().enumerate().filter(|(_, publisher)| publisher.trailer > 0);
            let absent = numbered
                .map(|(n, publisher)| publisher.sent() + publisher.breaks - subscriber.received_from(n));
            let absent = absent.sum::<u64>();
            assert!(subscriber.missed() <= absent, "{} missed of {absent}", subscriber.missed());
        }
    }

    /// Everybody gets what he wants now, and nobody else does.
    fn probe(&mut self) {
        for topic in TOPICS {
            let n = below(self.publishers.len());
            let (unwanted, accepted) = (self.publishers[n].unwanted(), self.publishers[n].accepted.len());
            let before: Vec<u64> =
                self.subscribers.iter().map(|subscriber| subscriber.heard.received).collect();
            self.publishers[n].publish(topic, false, self.now);
            assert_eq!(self.publishers[n].accepted.len(), accepted + 1, "there is room again");
            self.settle();
            let wanted = self.subscribers.iter().any(|subscriber| subscriber.wants(topic));
            let was_unwanted = self.publishers[n].unwanted() > unwanted;
            assert_eq!(wanted, !was_unwanted, "what publisher {n} knows of {topic:?}");
            for (subscriber, before) in self.subscribers.iter().zip(before) {
                let got = subscriber.heard.received - before;
                assert_eq!(got, u64::from(subscriber.wants(topic)), "copies of {topic:?}");
            }
        }
    }
}

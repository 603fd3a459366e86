//! What the server's thread does.

use super::client::{Client, Next};
use super::feed::Feed;
use super::stats::Counters;
use super::{Plan, Protocol, Rules};
use crate::intake::{CHUNK, FULL_PAUSE, Intake};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};
use multiplane_bridge::{Accept, Listener, RateLimit, Setup, Turn, Work};
use multiplane_bus::local::LocalError;
use multiplane_bus::{OnSlow, Place};
use slab::Slab;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LISTENER: Token = Token(0);
/// Client `n` has token `FIRST + n`.
const FIRST: usize = 1;
/// How often to look for clients whose time is over, at most and at least.
const SWEEPS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

#[derive(Debug)]
pub(super) struct Server {
    registry: Registry,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    listener: Option<Listener>,
    plan: Plan,
    rules: Rules,
    clients: Slab<Client>,
    /// One for each backplane that somebody asked for.
    feeds: Slab<Feed>,
    /// Clients to be served.
    listed: Vec<usize>,
    /// Clients that wait for room on their backplane.
    held: Vec<usize>,
    knocked: bool,
    stopping: bool,
    sweep: Option<Instant>,
    buffer: Vec<u8>,
    complaint: RateLimit,
}

impl Server {
    pub(super) fn new(
        setup: Setup,
        mut listener: Listener,
        plan: Plan,
        rules: Rules,
        counters: Arc<Counters>,
    ) -> Result<Self, crate::StreamError> {
        listener.register(&setup.registry, LISTENER)?;
        let mut server = Self {
            registry: setup.registry,
            waker: setup.waker,
            counters,
            listener: Some(listener),
            plan,
            rules,
            clients: Slab::new(),
            feeds: Slab::new(),
            listed: Vec::new(),
            held: Vec::new(),
            knocked: false,
            stopping: false,
            sweep: None,
            buffer: vec![0; CHUNK],
            complaint: RateLimit::default(),
        };
        if let Plan::Same(protocol) = &server.plan {
            // What is missing is told now and not to the first client; and nothing is missed before he comes.
            let protocol = protocol.clone();
            server.open(&protocol)?;
        }
        Ok(server)
    }

    /// Finds the backplanes of a client.
    fn open(&mut self, protocol: &Protocol) -> Result<(Option<Intake>, Option<usize>), LocalError> {
        let intake = match &protocol.publishes {
            Some((backplane, framing)) => Some(Intake::new(backplane, *framing)?),
            None => None,
        };
        let feed = match &protocol.subscribes {
            Some(backplane) => Some(self.feed(backplane)?),
            None => None,
        };
        Ok((intake, feed))
    }

    fn feed(&mut self, backplane: &str) -> Result<usize, LocalError> {
        let known = self.feeds.iter().find(|(_, feed)| feed.backplane() == backplane && !feed.ended);
        match known {
            Some((key, _)) => Ok(key),
            None => Ok(self.feeds.insert(Feed::new(backplane, self.waker.clone())?)),
        }
    }

    fn accept(&mut self, now: Instant) {
        loop {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept(now) {
                Accept::Connected(stream, address, place) => self.admit(stream, address, place, now),
                Accept::TurnedAway => self.counters.turned_away.add(1),
                Accept::Nobody => return,
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream, client: SocketAddr, place: Option<Place>, now: Instant) {
        let full = self.clients.len() >= self.rules.clients;
        let token = Token(FIRST + self.clients.vacant_key());
        let opened = if full { Err("there are too many clients".to_owned()) } else { self.lines(client) };
        let opened = opened.and_then(|lines| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = self.registry.register(&mut stream, token, interest);
            registered.map(|()| lines).map_err(|error| error.to_string())
        });
        match opened {
            Ok((intake, feed)) => {
                let client = Client::new(stream, client, intake, feed, &self.rules, now).with_place(place);
                let key = self.clients.insert(client);
                if let Some(feed) = feed {
                    self.feeds[feed].clients.push(key);
                }
                self.list(key);
                self.counters.accepted.add(1);
                self.counters.clients.set(self.clients.len() as u64);
            }
            Err(error) => {
                self.counters.turned_away.add(1);
                self.complaint.complain(now, |before| tracing::warn!(%client, error, before, "turned away"));
            }
        }
    }

    fn lines(&mut self, client: SocketAddr) -> Result<(Option<Intake>, Option<usize>), String> {
        let protocol = match &self.plan {
            Plan::Same(protocol) => protocol.clone(),
            Plan::Each(factory) => factory(client),
        };
        self.open(&protocol).map_err(|error| error.to_string())
    }

    /// It will be served in this turn, or the next.
    fn list(&mut self, key: usize) {
        if let Some(client) = self.clients.get_mut(key)
            && !std::mem::replace(&mut client.listed, true)
        {
            self.listed.push(key);
        }
    }

    /// Takes what was published. Who connected before that gets it: so the door is looked at in between.
    fn take(&mut self, now: Instant) -> bool {
        let mut took = false;
        for (_, feed) in &mut self.feeds {
            if !holds(self.rules.on_slow, feed, &mut self.clients, now) {
                took |= feed.take();
            }
            let missed = feed.missed();
            if missed > 0 {
                self.counters.missed.add(missed);
                let backplane = feed.backplane();
                self.complaint.complain(now, |before| {
                    tracing::warn!(backplane, missed, before, "the server lagged and missed messages");
                });
            }
        }
        let knocked = std::mem::take(&mut self.knocked);
        let due = self.listener.as_ref().and_then(Listener::due).is_some_and(|due| due <= now);
        if took || knocked || due {
            self.accept(now);
        }
        took
    }

    /// Gives each client its share.
    fn distribute(&mut self, now: Instant) {
        let mut slow = Vec::new();
        for (_, feed) in &mut self.feeds {
            let pieces = feed.pieces();
            for &key in &feed.clients {
                let Some(client) = self.clients.get_mut(key).filter(|client| !client.leaves()) else {
                    continue;
                };
                if feed.ended {
                    client.leave(now);
                } else if pieces.is_empty() {
                    continue;
                }
                let mut pieces = pieces.iter().cloned();
                if !pieces.all(|piece| client.offer(piece, &self.rules, &self.counters, now)) {
                    slow.push(key);
                } else if !std::mem::replace(&mut client.listed, true) {
                    self.listed.push(key);
                }
            }
            feed.keep(pieces);
        }
        slow.into_iter().for_each(|key| self.remove(key));
        self.feeds.retain(|_, feed| !feed.ended);
    }

    fn serve(&mut self, now: Instant) {
        let listed = std::mem::take(&mut self.listed);
        for key in listed {
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.listed = false;
            let next = client.serve(&mut self.buffer, &self.counters, self.stopping, now);
            if client.leaves() || self.rules.idle_timeout.is_some() {
                self.sweep.get_or_insert(now + self.pace());
            }
            match next {
                Next::Soon => self.list(key),
                Next::Later => self.held.push(key),
                Next::Ready => {}
                Next::Gone => self.remove(key),
            }
        }
    }

    fn pace(&self) -> Duration {
        self.rules.idle_timeout.map_or(SWEEPS.1, |timeout| (timeout / 4).clamp(SWEEPS.0, SWEEPS.1))
    }

    /// Ends clients whose time is over.
    fn sweep(&mut self, now: Instant) {
        if self.sweep.is_none_or(|sweep| now < sweep) {
            return;
        }
        let (mut gone, mut idle, mut more) = (Vec::new(), Vec::new(), false);
        for (key, client) in &self.clients {
            match client.due(self.rules.idle_timeout) {
                Some(due) if due <= now && client.leaves() => gone.push(key),
                Some(due) if due <= now => idle.push(key),
                due => more |= due.is_some(),
            }
        }
        for &key in &idle {
            let client = &mut self.clients[key];
            tracing::warn!(client = %client.address, "idle for too long: disconnected");
            self.counters.idle.add(1);
            if client.publishes() {
                client.end_of_input();
                client.leave(now);
                self.list(key);
            } else {
                gone.push(key);
            }
        }
        gone.into_iter().for_each(|key| self.remove(key));
        more |= !idle.is_empty();
        self.sweep = more.then(|| now + self.pace());
    }

    fn remove(&mut self, key: usize) {
        let Some(client) = self.clients.try_remove(key) else { return };
        if let Some(feed) = client.feed.and_then(|feed| self.feeds.get_mut(feed))
            && let Some(place) = feed.clients.iter().position(|&other| other == key)
        {
            feed.clients.swap_remove(place);
        }
        self.counters.lost.add(client.waiting());
        self.counters.queued.sub(client.waiting());
        self.counters.clients.set(self.clients.len() as u64);
    }

    /// Once nobody publishes any more and all that was published is handed out, everybody may go.
    fn part(&mut self, took: bool, now: Instant) {
        if took || self.clients.iter().any(|(_, client)| client.publishes()) {
            return;
        }
        for key in 0..self.clients.capacity() {
            if let Some(client) = self.clients.get_mut(key) {
                client.leave(now);
                self.list(key);
            }
        }
    }

    /// Whether a feed has something that may be taken, and will not call.
    fn has_more(&mut self, now: Instant) -> bool {
        let (on_slow, clients) = (self.rules.on_slow, &mut self.clients);
        self.feeds.iter_mut().any(|(_, feed)| !holds(on_slow, feed, clients, now) && !feed.sleeps())
    }
}

/// Whether one client makes all others wait.
fn holds(on_slow: OnSlow, feed: &Feed, clients: &mut Slab<Client>, now: Instant) -> bool {
    if on_slow != OnSlow::Block {
        return false;
    }
    let mut holding = feed.clients.iter().copied().filter(|&key| clients.get(key).is_some_and(Client::holds));
    let Some(key) = holding.next() else { return false };
    clients[key].complain_that_it_holds(now);
    true
}

impl Work for Server {
    fn ready(&mut self, event: &Event, _: Instant) {
        if event.token() == LISTENER {
            self.knocked = true;
            return;
        }
        let key = event.token().0 - FIRST;
        if let Some(client) = self.clients.get_mut(key) {
            client.ready(event);
            self.list(key);
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        let took = self.take(now);
        self.distribute(now);
        for key in std::mem::take(&mut self.held) {
            self.list(key);
        }
        if self.stopping {
            self.part(took, now);
        }
        self.sweep(now);
        self.serve(now);
        if self.stopping && self.clients.is_empty() {
            return Turn::Done;
        }
        let parts = self.stopping && self.clients.iter().all(|(_, client)| !client.publishes());
        let parts = parts && self.clients.iter().any(|(_, client)| !client.leaves());
        if parts || !self.listed.is_empty() || self.has_more(now) {
            return Turn::Again;
        }
        let held = (!self.held.is_empty()).then(|| now + FULL_PAUSE);
        let listener = self.listener.as_ref().and_then(Listener::due);
        Turn::first([held, listener, self.sweep].into_iter().flatten())
    }

    fn stop(&mut self, now: Instant) {
        // Who came before we were asked to end is served.
        self.accept(now);
        self.listener = None;
        self.stopping = true;
        for key in 0..self.clients.capacity() {
            if let Some(client) = self.clients.get_mut(key) {
                client.look_again();
                self.list(key);
            }
        }
    }
}

impl Drop for Server {
    /// The end came before all was sent.
    fn drop(&mut self) {
        let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }
}

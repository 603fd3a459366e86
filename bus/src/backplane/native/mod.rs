//! The native backplane: ZMTP on plain sockets, one thread, one `mio` poll.
//!
//! A chunk is read from a publisher, the borders of its messages are found in place, and a run of messages that the
//! same subscribers want goes to each of them as one piece: shared if it is long, copied behind the others if it is
//! short. All that a turn gathered for a subscriber leaves in one `writev`.

mod connection;
mod peers;
mod queue;

use super::{BackplaneBuilder, BackplaneError, OnSlow, Shared};
use crate::worker::{RateLimit, now};
use bytes::BytesMut;
use connection::{Connection, ReadOutcome, Side};
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use multiplane_codec::zmtp::command::{self, Command};
use multiplane_codec::zmtp::frame::{self, Found};
use multiplane_core::{Budget, Subscriptions};
use peers::Peers;
use queue::SendQueue;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const WAKE: Token = Token(0);
const SUBSCRIBERS: Token = Token(1);
const PUBLISHERS: Token = Token(2);
/// Connection `n` has token `FIRST + n`.
const FIRST: usize = 3;

/// Reads per connection and turn: a busy publisher must not starve the others.
const READS: usize = 4;

/// A run of messages is cut at so many, or at so many bytes, so that queues are bounded in small steps.
const RUN_MESSAGES: usize = 256;
const RUN_BYTES: usize = 64 * 1024;

/// How long to accept nobody after the descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Native {
    shared: Arc<Shared>,
    name: String,
    budget: Budget,
    on_slow: OnSlow,
    poll: Poll,
    listeners: Option<(TcpListener, TcpListener)>,
    peers: Peers,
    /// Who wants what.
    wanted: Subscriptions<u32>,
    router: Router,
    /// Connections with something left to read or to parse.
    hot: Vec<u32>,
    /// Those of the present turn.
    serving: Vec<u32>,
    /// Subscribers that hold the publishers back.
    holding: usize,
    /// Accept nobody until then.
    accept_after: Option<Instant>,
    complaint: RateLimit,
}

/// Finds out for whom a topic is; the answer for the last one is kept, for topics come in runs.
#[derive(Default)]
struct Router {
    topic: Vec<u8>,
    known: bool,
    targets: Vec<u32>,
    next: Vec<u32>,
}

impl Router {
    /// Looks `topic` up; whether it goes elsewhere than the one before.
    #[inline]
    fn look_up(&mut self, wanted: &mut Subscriptions<u32>, topic: &[u8]) -> bool {
        if self.known && self.topic == topic {
            return false;
        }
        self.next.clear();
        wanted.for_each_match(topic, |who| self.next.push(who));
        self.topic.clear();
        self.topic.extend_from_slice(topic);
        self.known = true;
        self.next != self.targets
    }
}

/// Binds both ports.
pub(super) fn bind(
    builder: &BackplaneBuilder,
) -> Result<((TcpListener, TcpListener), (u16, u16)), BackplaneError> {
    let listen = |port| -> Result<(TcpListener, u16), BackplaneError> {
        let refused = |error: &io::Error| builder.refused(port, error);
        let host = builder.host.trim_start_matches('[').trim_end_matches(']');
        let host = if host == "*" { "0.0.0.0" } else { host };
        let mut addresses = (host, port).to_socket_addrs().map_err(|error| refused(&error))?;
        let address = addresses.next().ok_or_else(|| refused(&io::ErrorKind::AddrNotAvailable.into()))?;
        let listener = TcpListener::bind(address).map_err(|error| refused(&error))?;
        let port = listener.local_addr().map_err(|error| refused(&error))?.port();
        Ok((listener, port))
    };
    let (subscribers, publishers) = (listen(builder.ports.0)?, listen(builder.ports.1)?);
    Ok(((subscribers.0, publishers.0), (subscribers.1, publishers.1)))
}

impl Native {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut listeners: (TcpListener, TcpListener),
        builder: &BackplaneBuilder,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&shared.wake.fd().as_raw_fd()), WAKE, Interest::READABLE)?;
        registry.register(&mut listeners.0, SUBSCRIBERS, Interest::READABLE)?;
        registry.register(&mut listeners.1, PUBLISHERS, Interest::READABLE)?;
        Ok(Self {
            shared,
            name: builder.name.clone(),
            on_slow: builder.on_slow.unwrap_or_default(),
            poll,
            listeners: Some(listeners),
            peers: Peers::default(),
            wanted: Subscriptions::with_limit(builder.budget.subscriptions),
            budget: builder.budget.clone(),
            router: Router::default(),
            hot: Vec::new(),
            serving: Vec::new(),
            holding: 0,
            accept_after: None,
            complaint: RateLimit::new(),
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut now = now();
        loop {
            let closing = self.shared.closing.load(Relaxed) != 0;
            if closing {
                return self.close(&mut events, now);
            }
            self.turn(&mut events, self.sleep(now));
            now = crate::worker::now();
            self.expire(now);
        }
    }

    /// How long nothing is due; `None`: for ever.
    fn sleep(&self, now: Instant) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let due = self.peers.first_deadline().into_iter().chain(self.accept_after).min()?;
        Some(due.saturating_duration_since(now))
    }

    /// Whether something can go on without an event.
    fn has_work(&self) -> bool {
        self.holding == 0 && !self.hot.is_empty()
            || self.hot.iter().any(|&id| self.peers.get(id).is_some_and(|peer| peer.side == Side::Subscriber))
    }

    /// Waits, reads, forwards, writes.
    fn turn(&mut self, events: &mut Events, sleep: Option<Duration>) {
        if let Err(error) = self.poll.poll(events, sleep)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(backplane = self.name, %error, "the backplane cannot poll");
        }
        let now = now();
        for event in events.iter() {
            match event.token() {
                WAKE => {}
                side @ (SUBSCRIBERS | PUBLISHERS) => self.accept(side, now),
                Token(token) => {
                    let id = (token - FIRST) as u32;
                    let Some(peer) = self.peers.get_mut(id) else { continue };
                    peer.ended |= event.is_read_closed() || event.is_error();
                    peer.readable |= event.is_readable() || peer.ended;
                    if peer.readable && !std::mem::replace(&mut peer.hot, true) {
                        self.hot.push(id);
                    }
                    if event.is_writable() {
                        peer.writable = true;
                        self.peers.mark_dirty(id);
                    }
                }
            }
        }
        std::mem::swap(&mut self.hot, &mut self.serving);
        for n in 0..self.serving.len() {
            let id = self.serving[n];
            let more = self.serve(id, now);
            if let Some(peer) = self.peers.get_mut(id) {
                peer.hot = more;
                if more {
                    self.hot.push(id);
                }
            }
        }
        self.serving.clear();
        self.write(now);
    }

    fn accept(&mut self, side: Token, now: Instant) {
        let Some(listeners) = &self.listeners else { return };
        let (listener, side) = match side {
            SUBSCRIBERS => (&listeners.0, Side::Subscriber),
            _ => (&listeners.1, Side::Publisher),
        };
        loop {
            match listener.accept() {
                Ok((stream, address)) => {
                    if self.peers.len() >= self.budget.connections {
                        let limit = self.budget.connections;
                        self.complaint.complain(now, |before| {
                            tracing::warn!(backplane = self.name, %address, limit, before, "refused: no place left");
                        });
                        continue;
                    }
                    let queue = match side {
                        Side::Subscriber => {
                            SendQueue::new(self.budget.high_water_mark, self.budget.subscriber_queue_bytes)
                        }
                        // Only subscriptions go there, and those are bounded by themselves.
                        Side::Publisher => SendQueue::new(usize::MAX, usize::MAX),
                    };
                    let opened = Connection::set_options(&stream).and_then(|()| {
                        let deadline = now + self.budget.handshake_deadline;
                        let connection = Connection::new(stream, address, side, queue, deadline);
                        self.peers.insert(connection, self.poll.registry(), FIRST)
                    });
                    match opened {
                        Ok(id) => self.hot.push(id),
                        Err(error) => {
                            tracing::warn!(backplane = self.name, %address, %error, "a connection failed")
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors: those who wait in the backlog are taken later.
                    self.accept_after = Some(now + ACCEPT_PAUSE);
                    self.complaint.complain(now, |before| {
                        tracing::warn!(backplane = self.name, %error, before, "cannot accept connections now");
                    });
                    return;
                }
            }
        }
    }

    /// Does what time demands: accepts again, and closes those who did not finish their handshake.
    fn expire(&mut self, now: Instant) {
        if self.accept_after.is_some_and(|after| now >= after) {
            self.accept_after = None;
            self.accept(SUBSCRIBERS, now);
            self.accept(PUBLISHERS, now);
        }
        while let Some(id) = self.peers.take_expired(now) {
            self.disconnect(id, now, "the handshake took too long");
        }
    }

    /// Reads and handles what a connection has; whether there is more.
    fn serve(&mut self, id: u32, now: Instant) -> bool {
        for _ in 0..READS {
            // What was left when the publishers were held back comes first.
            if let Err(reason) = self.handle_input(id, now) {
                self.disconnect(id, now, &reason);
                return false;
            }
            let Some(peer) = self.peers.get_mut(id) else { return false };
            if peer.side == Side::Publisher && self.holding > 0 {
                return true;
            }
            if !peer.readable {
                return false;
            }
            match peer.read() {
                ReadOutcome::Some => {}
                ReadOutcome::WouldBlock => return false,
                ReadOutcome::Closed => {
                    self.disconnect(id, now, "");
                    return false;
                }
            }
        }
        true
    }

    /// Handles all that is complete in the input of a connection.
    fn handle_input(&mut self, id: u32, now: Instant) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(id) else { return Ok(()) };
        if peer.input.is_empty() || peer.side == Side::Publisher && self.holding > 0 {
            return Ok(());
        }
        if peer.peer().is_none() {
            let done = peer.shake_hands();
            self.peers.mark_dirty(id);
            if !done.map_err(|refusal| refusal.to_string())? {
                return Ok(());
            }
            self.greet(id);
        }
        let Some(peer) = self.peers.get_mut(id) else { return Ok(()) };
        let side = peer.side;
        let mut input = std::mem::take(&mut peer.input);
        let handled = match side {
            Side::Publisher => self.forward(id, &mut input, now),
            Side::Subscriber => self.hear(id, &mut input),
        };
        if let Some(peer) = self.peers.get_mut(id) {
            peer.input = input;
        }
        handled
    }

    /// A handshake is done: a publisher hears all that is wanted, and last the marker.
    fn greet(&mut self, id: u32) {
        self.peers.established(id);
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let (Side::Publisher, Some(theirs)) = (peer.side, peer.peer()) {
            let mut frames = Vec::new();
            for topic in self.wanted.prefixes().chain([crate::io::SYNC_MARKER]) {
                command::write_subscription(&mut frames, theirs.minor, true, topic);
            }
            peer.queue.push_control(&frames);
            self.peers.mark_dirty(id);
        }
        self.show();
    }

    /// Takes the wishes of a subscriber.
    fn hear(&mut self, id: u32, input: &mut BytesMut) -> Result<(), String> {
        let limit = self.budget.subscription_topic_bytes + 64;
        loop {
            let found = frame::find(input, limit).map_err(|error| error.to_string())?;
            let (total, wish) = match found {
                Found::Incomplete => return Ok(()),
                Found::Command { body, total } => match command::parse(&input[body..total]) {
                    Some(Command::Subscribe(topic)) => (total, Some((true, topic.to_vec()))),
                    Some(Command::Cancel(topic)) => (total, Some((false, topic.to_vec()))),
                    Some(other) => {
                        self.answer(id, &other)?;
                        (total, None)
                    }
                    None => return Err("a command that is none".to_owned()),
                },
                // The form of ZMTP 3.0, and of an XSUB at any version.
                Found::Message { topic, topic_length, total } => match input[topic..topic + topic_length] {
                    [1, ref topic @ ..] => (total, Some((true, topic.to_vec()))),
                    [0, ref topic @ ..] => (total, Some((false, topic.to_vec()))),
                    _ => (total, None),
                },
            };
            drop(input.split_to(total));
            match wish {
                Some((true, topic)) => self.subscribe(id, &topic)?,
                Some((false, topic)) => {
                    self.router.known = false;
                    if self.wanted.remove(&topic, id) {
                        self.tell_publishers(false, &topic);
                    }
                }
                None => {}
            }
        }
    }

    fn subscribe(&mut self, id: u32, topic: &[u8]) -> Result<(), String> {
        self.router.known = false;
        if self.wanted.add(topic, id).map_err(|error| error.to_string())? {
            self.tell_publishers(true, topic);
        }
        Ok(())
    }

    /// PING, and commands that need no answer.
    fn answer(&mut self, id: u32, command: &Command<'_>) -> Result<(), String> {
        match command {
            Command::Ping { context, .. } => {
                let Some(peer) = self.peers.get_mut(id) else { return Ok(()) };
                if peer.queue.bytes() > 2 * self.budget.subscriber_queue_bytes {
                    return Err("it asks for answers and does not read them".to_owned());
                }
                let mut pong = Vec::new();
                command::write_pong(&mut pong, context);
                peer.queue.push_control(&pong);
                self.peers.mark_dirty(id);
                Ok(())
            }
            Command::Error(reason) => Err(format!("the peer says: {}", String::from_utf8_lossy(reason))),
            _ => Ok(()),
        }
    }

    fn tell_publishers(&mut self, subscribe: bool, topic: &[u8]) {
        for minor in 0..=1 {
            let mut frames = Vec::new();
            command::write_subscription(&mut frames, minor, subscribe, topic);
            self.peers.tell_publishers(minor, &frames);
        }
        self.show();
    }

    /// Forwards all complete messages of a publisher, in runs with the same destination.
    fn forward(&mut self, id: u32, input: &mut BytesMut, now: Instant) -> Result<(), String> {
        let limit = self.budget.message_bytes;
        let (mut run, mut messages) = (0, 0);
        loop {
            match frame::find(&input[run..], limit) {
                Ok(Found::Message { topic, topic_length, total }) => {
                    let topic = &input[run + topic..][..topic_length];
                    let elsewhere = self.router.look_up(&mut self.wanted, topic);
                    if elsewhere || messages >= RUN_MESSAGES || run + total > RUN_BYTES && messages > 0 {
                        self.deliver(input, run, messages, now);
                        (run, messages) = (0, 0);
                        if elsewhere {
                            std::mem::swap(&mut self.router.targets, &mut self.router.next);
                        }
                        if self.holding > 0 {
                            return Ok(());
                        }
                    }
                    run += total;
                    messages += 1;
                }
                Ok(Found::Command { body, total }) => {
                    self.deliver(input, run, messages, now);
                    (run, messages) = (0, 0);
                    match command::parse(&input[body..total]) {
                        Some(command) => self.answer(id, &command)?,
                        None => return Err("a command that is none".to_owned()),
                    }
                    drop(input.split_to(total));
                }
                Ok(Found::Incomplete) => {
                    self.deliver(input, run, messages, now);
                    return Ok(());
                }
                Err(error) => {
                    self.deliver(input, run, messages, now);
                    return Err(error.to_string());
                }
            }
        }
    }

    /// Takes a run of whole messages from the input and queues it for everybody who wants it.
    fn deliver(&mut self, input: &mut BytesMut, run: usize, messages: usize, now: Instant) {
        if messages == 0 {
            return;
        }
        let counters = &self.shared.counters;
        let run = input.split_to(run).freeze();
        counters.received.add(messages as u64);
        counters.received_bytes.add(run.len() as u64);
        if self.router.targets.is_empty() {
            counters.unwanted.add(messages as u64);
            return;
        }
        counters.copies.add((messages * self.router.targets.len()) as u64);
        for &id in &self.router.targets {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if peer.queue.has_room(messages, run.len()) {
                peer.queue.push(&run, messages);
            } else {
                let before = peer.dropped;
                match self.on_slow {
                    OnSlow::Block => {
                        peer.queue.push(&run, messages);
                        self.holding += usize::from(!std::mem::replace(&mut peer.holds, true));
                    }
                    OnSlow::DropNewest => peer.push_what_fits(&run, messages),
                    OnSlow::DropOldest => peer.make_room_and_push(&run, messages),
                }
                let dropped = peer.dropped - before;
                if dropped > 0 {
                    counters.dropped.add(dropped);
                    let (name, address, all) = (&self.name, peer.address, peer.dropped);
                    peer.complaint.complain(now, |_| {
                        tracing::warn!(backplane = name, subscriber = %address, dropped = all, "too slow: loses messages");
                    });
                }
            }
            self.peers.mark_dirty(id);
        }
    }

    /// Writes to everybody who has something to get.
    fn write(&mut self, now: Instant) {
        while let Some(id) = self.peers.take_dirty() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if !peer.writable {
                continue;
            }
            match peer.queue.write_to(&mut peer.stream) {
                Ok((sent, more)) => {
                    peer.writable = more;
                    self.shared.counters.forwarded.add(sent as u64);
                    if peer.holds && peer.queue.is_half_empty() {
                        peer.holds = false;
                        self.holding -= 1;
                    }
                }
                Err(_) => self.disconnect(id, now, ""),
            }
        }
    }

    /// The end of a connection; an empty `reason` is an ordinary one.
    fn disconnect(&mut self, id: u32, now: Instant, reason: &str) {
        let Some(mut peer) = self.peers.remove(id, self.poll.registry()) else { return };
        if !reason.is_empty() {
            self.shared.counters.refused.add(1);
            // The peer may understand what was written for it, say an ERROR; nobody waits for that.
            let _ = peer.queue.write_to(&mut peer.stream);
            self.complaint.complain(now, |before| {
                tracing::warn!(backplane = self.name, address = %peer.address, side = ?peer.side, reason, before, "disconnected");
            });
        }
        self.holding -= usize::from(peer.holds);
        self.shared.counters.lost.add(peer.queue.messages() as u64);
        if peer.side == Side::Subscriber {
            self.router.known = false;
            self.router.targets.retain(|&target| target != id);
            for topic in self.wanted.remove_all(id) {
                self.tell_publishers(false, &topic);
            }
        }
        self.show();
    }

    /// Shows the world what is connected.
    fn show(&self) {
        let counters = &self.shared.counters;
        counters.publishers.set(self.peers.established_on(Side::Publisher) as u64);
        counters.subscribers.set(self.peers.established_on(Side::Subscriber) as u64);
        counters.subscriptions.set(self.wanted.len() as u64);
    }

    /// Forwards what has arrived, for at most half of the time, and writes it for at most the rest.
    fn close(mut self, events: &mut Events, asked: Instant) {
        let deadline = Duration::from_nanos(self.shared.closing.load(Relaxed).saturating_sub(1));
        self.listeners = None;
        // Whoever wrote before we were asked to close is readable now.
        while crate::worker::now() < asked + deadline / 2 {
            self.turn(events, Some(Duration::ZERO));
            if events.is_empty() && !self.has_work() {
                break;
            }
        }
        while self.shared.counters.queued() > 0 {
            let left = (asked + deadline).saturating_duration_since(crate::worker::now());
            if left.is_zero() {
                break;
            }
            self.turn(events, Some(left));
        }
        for id in self.peers.ids() {
            self.disconnect(id, asked, "");
        }
    }
}

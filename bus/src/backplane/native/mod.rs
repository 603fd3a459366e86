//! The native backplane: ZMTP on plain sockets, one thread, one `mio` poll.
//!
//! A chunk is read from a publisher, the borders of its messages are found in place, and a run of messages that the
//! same subscribers want goes to each of them as one piece: shared if it is long, copied behind the others if it is
//! short. All that a turn gathered for a subscriber leaves in one `writev`.

mod connection;
mod peers;
mod queue;
mod wishes;

use super::{BackplaneBuilder, BackplaneError, OnSlow, Shared};
use crate::worker::{RateLimit, after, now};
use bytes::BytesMut;
use connection::{Connection, ReadOutcome, Side};
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use multiplane_codec::zmtp::command;
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

/// Connections taken from a listener in one turn, for the same reason.
const ACCEPTS: usize = 64;

/// A run of messages is cut at so many, or at so many bytes, so that queues are bounded in small steps.
const RUN_MESSAGES: usize = 256;
const RUN_BYTES: usize = 64 * 1024;

/// How long to accept nobody after the descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For subscribers, for publishers.
type Listeners = (TcpListener, TcpListener);

pub(super) struct Native {
    shared: Arc<Shared>,
    name: String,
    budget: Budget,
    on_slow: OnSlow,
    poll: Poll,
    listeners: Option<Listeners>,
    peers: Peers,
    /// Who wants what.
    wanted: Subscriptions<u32>,
    router: Router,
    /// Connections that are served in the present turn.
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
pub(super) fn bind(builder: &BackplaneBuilder) -> Result<(Listeners, (u16, u16)), BackplaneError> {
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
        mut listeners: Listeners,
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
        self.peers.hot().iter().any(|&id| self.peers.get(id).is_some_and(|peer| !self.is_held(peer)))
    }

    /// Whether it is a publisher from whom nothing is taken now; handshakes go on, for they have a deadline.
    fn is_held(&self, peer: &Connection) -> bool {
        self.holding > 0 && peer.side == Side::Publisher && peer.peer().is_some()
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
                    let readable = peer.readable;
                    peer.writable |= event.is_writable();
                    if readable {
                        self.peers.mark_hot(id);
                    }
                    if event.is_writable() {
                        self.peers.mark_dirty(id);
                    }
                }
            }
        }
        self.peers.take_hot(&mut self.serving);
        for n in 0..self.serving.len() {
            let id = self.serving[n];
            if self.serve(id, now) {
                self.peers.mark_hot(id);
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
        for _ in 0..ACCEPTS {
            match listener.accept() {
                Ok((stream, address)) => {
                    if self.peers.len() >= self.budget.connections {
                        let limit = self.budget.connections;
                        self.shared.counters.refused.add(1);
                        self.complaint.complain(now, |before| {
                            tracing::warn!(backplane = self.name, %address, limit, before, "refused: no place left");
                        });
                        continue;
                    }
                    let queue = match side {
                        Side::Subscriber => {
                            SendQueue::new(self.budget.high_water_mark, self.budget.subscriber_queue_bytes)
                        }
                        // Only commands go there, and those have a limit of their own.
                        Side::Publisher => SendQueue::new(usize::MAX, usize::MAX),
                    };
                    let opened = Connection::set_options(&stream).and_then(|()| {
                        let deadline = after(now, self.budget.handshake_deadline);
                        let connection = Connection::new(stream, address, side, queue, deadline);
                        self.peers.insert(connection, self.poll.registry(), FIRST)
                    });
                    if let Err(error) = opened {
                        self.complaint.complain(now, |before| {
                            tracing::warn!(backplane = self.name, %address, %error, before, "a connection failed");
                        });
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
        // There may be more, and there will be no event for them.
        self.accept_after = Some(now);
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
            let Some(peer) = self.peers.get(id) else { return false };
            if self.is_held(peer) {
                return true;
            }
            let Some(peer) = self.peers.get_mut(id) else { return false };
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
        if peer.input.is_empty() {
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

    /// Forwards all complete messages of a publisher, in runs with the same destination.
    fn forward(&mut self, id: u32, input: &mut BytesMut, now: Instant) -> Result<(), String> {
        if self.holding > 0 {
            return Ok(());
        }
        let limit = self.budget.message_bytes;
        // A run that is longer than a whole queue would be hard to bound.
        let run_messages = RUN_MESSAGES.min(self.budget.high_water_mark);
        let run_bytes = RUN_BYTES.min(self.budget.subscriber_queue_bytes);
        let mut scanned = self.peers.get_mut(id).map_or(0, |peer| std::mem::take(&mut peer.scanned));
        let (mut run, mut messages) = (0, 0);
        loop {
            match frame::find_from(&input[run..], &mut scanned, limit) {
                Ok(Found::Message { topic, topic_length, total }) => {
                    let topic = &input[run + topic..][..topic_length];
                    let elsewhere = self.router.look_up(&mut self.wanted, topic);
                    if elsewhere || messages >= run_messages || run + total > run_bytes && messages > 0 {
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
                    if let Some(peer) = self.peers.get_mut(id) {
                        peer.scanned = scanned;
                    }
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
        if run.len() > 2 * RUN_BYTES {
            // A large message leaves its buffer alone, so that nothing small keeps all of it alive.
            *input = BytesMut::from(&input[..]);
        }
        counters.received.add(messages as u64);
        counters.received_bytes.add(run.len() as u64);
        if self.router.targets.is_empty() {
            counters.unwanted.add(messages as u64);
            return;
        }
        counters.copies.add((messages * self.router.targets.len()) as u64);
        for &id in &self.router.targets {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if !peer.queue.has_room(messages, run.len()) && peer.writable {
                // It is not slow: nothing was written in this turn yet. An error shows itself again in `write`.
                peer.writable = peer.queue.write_to(&mut peer.stream).unwrap_or(true);
            }
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
            counters.forwarded.add(peer.queue.take_sent() as u64);
            self.peers.mark_dirty(id);
        }
    }

    /// Writes to everybody who has something to get.
    fn write(&mut self, now: Instant) {
        while let Some(id) = self.peers.take_dirty() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if peer.writable {
                match peer.queue.write_to(&mut peer.stream) {
                    Ok(more) => peer.writable = more,
                    Err(_) => {
                        self.disconnect(id, now, "");
                        continue;
                    }
                }
            }
            self.shared.counters.forwarded.add(peer.queue.take_sent() as u64);
            if peer.holds && peer.queue.is_half_empty() {
                peer.holds = false;
                self.holding -= 1;
            }
            if peer.side == Side::Publisher && peer.queue.control() > peer.control_limit {
                self.disconnect(id, now, "it does not read what is wanted of it");
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
        self.shared.counters.forwarded.add(peer.queue.take_sent() as u64);
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
        let (half, end) = (asked + deadline / 2, asked + deadline);
        self.listeners = None;
        self.accept_after = None;
        let mut takes = true;
        loop {
            let now = crate::worker::now();
            if now >= end {
                break;
            }
            if takes && now >= half {
                // From here on we ourselves hold the publishers.
                takes = false;
                self.holding += 1;
            }
            let waits = self.shared.counters.queued() > 0;
            let next = if takes { half } else { end };
            let sleep =
                if waits && !self.has_work() { next.saturating_duration_since(now) } else { Duration::ZERO };
            self.turn(events, Some(sleep));
            // Whoever wrote before we were asked to close is readable at once.
            if !waits && events.is_empty() && !self.has_work() && self.shared.counters.queued() == 0 {
                break;
            }
        }
        for id in self.peers.ids() {
            self.disconnect(id, asked, "");
        }
    }
}

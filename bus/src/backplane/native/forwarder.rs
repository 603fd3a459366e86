//! What a backplane does with bytes: whose they are, for whom, and in what order they leave.
//!
//! No socket and no clock: a connection is anything that reads and writes without waiting, that it may do so is told by
//! [`Forwarder::ready`], and the time is an argument. So a simulated network can drive it as well as a real one.

use super::chunk::{CHUNK, Pool, Source};
use super::connection::{Connection, Newcomer, ReadOutcome, Side};
use super::guard;
use super::peers::Peers;
use super::queue::SendQueue;
use super::router::Router;
use super::team::Team;
use crate::backplane::{BackplaneBuilder, Counters, OnSlow};
use crate::worker::{RateLimit, after};
use multiplane_codec::zmtp::command;
use multiplane_codec::zmtp::frame::{self, Found};
use multiplane_core::{Budget, Subscriptions};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Reads per connection and turn: a busy publisher must not starve the others.
const READS: usize = 4;

/// A run of messages is cut at so many, or at so many bytes, so that queues are bounded in small steps.
const RUN_MESSAGES: usize = 256;
const RUN_BYTES: usize = 64 * 1024;

/// Read of a publisher that is held back, for the sake of its PINGs.
const HELD_READ: usize = 4 * 1024;

/// Bytes of answers to PING that may wait: hundreds, and honest peers have one at a time.
const ANSWERS: usize = 16 * 1024;

/// What a wish takes at most besides its topic when a publisher is told of it.
const WISH_OVERHEAD: usize = 9 + 10;

/// Who has messages and no connection.
const NO_CONNECTION: u32 = u32::MAX;

/// What a connection may do without waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer has sent its last byte.
    pub(super) ended: bool,
}

/// Connections of type `S`, what their peers want, and what is on its way between them.
pub(super) struct Forwarder<S> {
    pub(super) name: String,
    pub(super) budget: Budget,
    pub(super) on_slow: OnSlow,
    guard: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) peers: Peers<S>,
    /// Who wants what.
    pub(super) wanted: Subscriptions<u32>,
    /// Bytes that it takes to tell a publisher all of it, and the most that there ever were.
    telling: (usize, usize),
    pub(super) router: Router,
    /// For a component that hosts this backplane: what its subscribers began and ended to want.
    pub(super) upstream: Option<Vec<(bool, Vec<u8>)>>,
    /// When there are several workers.
    pub(super) team: Option<Team>,
    /// Connections that are served in the present turn.
    serving: Vec<u32>,
    /// Subscribers that hold all back.
    pub(super) holding: usize,
    /// Joints that are full, and hold back our own publishers alone: if they held each other back, that might never end.
    pub(super) full_joints: usize,
    /// Subscribers that were too slow and are to go.
    pub(super) condemned: Vec<u32>,
    pool: Pool,
    /// Memory that unfinished messages keep, at all workers.
    pub(super) unfinished: Arc<AtomicUsize>,
    complaint: RateLimit,
    pub(super) guard_complaint: RateLimit,
}

impl<S: Read + Write> Forwarder<S> {
    pub(super) fn new(builder: &BackplaneBuilder, counters: Arc<Counters>) -> Self {
        Self {
            name: builder.name.clone(),
            on_slow: builder.on_slow.unwrap_or_default(),
            guard: builder.guard,
            counters,
            peers: Peers::new(),
            wanted: Subscriptions::with_limit(builder.budget.subscriptions),
            telling: (0, 0),
            budget: builder.budget.clone(),
            router: Router::new(),
            upstream: None,
            serving: Vec::new(),
            holding: 0,
            full_joints: 0,
            team: None,
            condemned: Vec::new(),
            pool: Pool::default(),
            unfinished: Arc::default(),
            complaint: RateLimit::new(),
            guard_complaint: RateLimit::new(),
        }
    }

    /// What the next connection will be called.
    pub(super) fn next_id(&self) -> u32 {
        self.peers.next_id()
    }

    /// Connections that there are.
    pub(super) fn connections(&self) -> usize {
        self.team.as_ref().map_or(self.peers.len(), Team::connections)
    }

    /// Whether one more connection may come, with so many over the limit; that one may not is counted and told.
    pub(super) fn has_place(&mut self, address: &str, over: usize, now: Instant) -> bool {
        let limit = self.budget.connections;
        if self.connections() < limit.saturating_add(over) {
            return true;
        }
        self.counters.refused.add(1);
        self.complaint.complain(now, |before| {
            tracing::warn!(backplane = self.name, address, limit, before, "refused: no place left");
        });
        false
    }

    /// Takes a connection in, under the name that [`next_id`](Self::next_id) told.
    pub(super) fn connect(&mut self, newcomer: Newcomer<S>, now: Instant) {
        let queue = match newcomer.side {
            Side::Subscriber => {
                SendQueue::new(self.budget.high_water_mark, self.budget.subscriber_queue_bytes)
            }
            // Only commands go there, and those have a limit of their own.
            Side::Publisher => SendQueue::new(usize::MAX, usize::MAX),
        };
        let deadline = after(now, self.budget.handshake_deadline);
        self.peers.insert(Connection::new(newcomer, queue, deadline));
    }

    /// A connection may do more than before.
    pub(super) fn ready(&mut self, id: u32, what: Readiness) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.ended |= what.ended;
        peer.readable |= what.readable || peer.ended;
        peer.writable |= what.writable;
        if peer.readable {
            self.peers.mark_hot(id);
        }
        if what.writable {
            self.peers.mark_dirty(id);
        }
    }

    /// Reads what has come, forwards it, and writes.
    pub(super) fn turn(&mut self, now: Instant) {
        self.hear_others();
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

    /// Whether something can go on without being told so.
    pub(super) fn has_work(&self) -> bool {
        self.peers.hot().iter().any(|&id| self.peers.get(id).is_some_and(|peer| !self.is_held(peer)))
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.peers.first_deadline()
    }

    /// Closes those who did not finish their handshake in time.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(id) = self.peers.take_expired(now) {
            self.disconnect(id, now, "the handshake took too long");
        }
    }

    /// Takes nothing more from publishers, whatever the subscribers do.
    pub(super) fn hold(&mut self) {
        self.full_joints += 1;
    }

    /// Ends all connections but those by which other workers may still send something.
    pub(super) fn disconnect_all(&mut self, now: Instant) {
        for id in self.peers.ids() {
            if !self.is_incoming_joint(id) {
                self.disconnect(id, now, "");
            }
        }
    }

    /// Forwards whole messages that came by no socket: those of a component that hosts this backplane. Says how many
    /// bytes were taken; while subscribers hold the publishers back these are few or none, and the rest waits for the
    /// next turn. They are written by [`turn`](Self::turn).
    pub(super) fn publish(&mut self, messages: &[u8], now: Instant) -> Result<usize, String> {
        let (taken, outcome) = self.forward(NO_CONNECTION, Source::lent(messages), &mut 0, now);
        outcome.map(|()| taken)
    }

    /// Whether it is a publisher from whom nothing is taken now; handshakes go on, for they have a deadline.
    fn is_held(&self, peer: &Connection<S>) -> bool {
        let has_to_say = !peer.input.is_empty() || !peer.readable;
        self.holds_back(peer.joint) && peer.side == Side::Publisher && peer.peer().is_some() && has_to_say
    }

    /// Whether nothing is taken from publishers, or from joints.
    fn holds_back(&self, joint: bool) -> bool {
        self.holding > 0 || self.full_joints > 0 && !joint
    }

    /// Reads and handles what a connection has; whether there is more.
    fn serve(&mut self, id: u32, now: Instant) -> bool {
        let more = self.read(id, now);
        let Some(peer) = self.peers.get_mut(id) else { return false };
        peer.input.rest(&mut self.pool);
        let before = std::mem::replace(&mut peer.kept, peer.input.keeps());
        let kept = peer.kept;
        if kept != before {
            self.keep(kept, before);
        }
        // Small ones are bounded by the number of connections.
        if kept > CHUNK && self.unfinished.load(Relaxed) > self.budget.unfinished_bytes {
            self.disconnect(
                id,
                now,
                "unfinished messages of all publishers together have reached their limit",
            );
            return false;
        }
        more
    }

    /// Somebody keeps so much memory for an unfinished message now.
    fn keep(&self, now: usize, before: usize) {
        // Wraps around where it is less.
        self.unfinished.fetch_add(now.wrapping_sub(before), Relaxed);
    }

    fn read(&mut self, id: u32, now: Instant) -> bool {
        let Some(peer) = self.peers.get(id) else { return false };
        if self.is_held(peer) {
            return true;
        }
        // The other workers have to hear what was wanted before.
        if peer.side == Side::Subscriber && self.team.as_ref().is_some_and(Team::is_full) {
            return true;
        }
        // What was left when the publishers were held back comes first.
        if !self.handle_input(id, now) {
            return false;
        }
        for _ in 0..READS {
            let Some(peer) = self.peers.get(id) else { return false };
            if self.is_held(peer) {
                return true;
            }
            let most = if self.holds_back(peer.joint) { HELD_READ } else { usize::MAX };
            let Some(peer) = self.peers.get_mut(id) else { return false };
            if !peer.readable {
                return false;
            }
            match peer.read(&mut self.pool, most) {
                ReadOutcome::Some(n) => {
                    self.hear_others();
                    if !self.handle_input(id, now) {
                        return false;
                    }
                    // While it is in the cache; what is little waits for more.
                    if n >= CHUNK / 2 {
                        self.write(now);
                    }
                }
                ReadOutcome::WouldBlock => return false,
                ReadOutcome::Closed => {
                    self.disconnect(id, now, "");
                    return false;
                }
                ReadOutcome::Denied(reason) => {
                    self.disconnect(id, now, &reason);
                    return false;
                }
            }
        }
        true
    }

    /// Handles all that is complete in the input of a connection; whether that goes on.
    fn handle_input(&mut self, id: u32, now: Instant) -> bool {
        let handled = self.try_handle_input(id, now);
        if let Err(reason) = &handled {
            self.disconnect(id, now, reason);
        }
        handled.is_ok()
    }

    fn try_handle_input(&mut self, id: u32, now: Instant) -> Result<(), String> {
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
        let mut input = std::mem::take(&mut peer.input);
        let mut scanned = std::mem::take(&mut peer.scanned);
        let handled = match peer.side {
            Side::Publisher => {
                let (taken, outcome) = self.forward(id, input.source(), &mut scanned, now);
                input.consume(taken);
                outcome
            }
            Side::Subscriber => self.hear(id, &mut input),
        };
        if let Some(peer) = self.peers.get_mut(id) {
            (peer.input, peer.scanned) = (input, scanned);
        }
        handled
    }

    /// Forwards all complete messages of a publisher, in runs with the same destination; how many bytes were taken.
    /// `scanned` is as in [`frame::find_from`].
    fn forward(
        &mut self,
        id: u32,
        source: Source<'_>,
        scanned: &mut usize,
        now: Instant,
    ) -> (usize, Result<(), String>) {
        let limit = self.budget.message_bytes;
        let joint = self.peers.get(id).is_some_and(|peer| peer.joint);
        let guard = self.guard && !joint;
        // A run that is longer than a whole queue would be hard to bound.
        let run_messages = RUN_MESSAGES.min(self.budget.high_water_mark);
        let run_bytes = RUN_BYTES.min(self.budget.subscriber_queue_bytes);
        // The run, and how many messages it has.
        let (mut start, mut end, mut messages) = (0, 0, 0);
        loop {
            if *scanned == 0 && !self.holds_back(joint) && !guard {
                let room = (run_messages - messages, run_bytes.saturating_sub(end - start));
                let (more, length) = self.router.pass(&source.bytes[end..], limit, room);
                (messages, end) = (messages + more, end + length);
            }
            let rest = &source.bytes[end..];
            let found = frame::find_from(rest, scanned, limit);
            if let Ok(Found::Message { topic, topic_length, total }) = found {
                if self.holds_back(joint) {
                    return (end, Ok(()));
                }
                if guard && let Err(reason) = guard::check(&rest[..total]) {
                    self.deliver(joint, source, start..end, messages, now);
                    (start, end, messages) = (end + total, end + total, 0);
                    self.stop(id, total, &reason, now);
                    continue;
                }
                let elsewhere = self.router.look_up(&mut self.wanted, &rest[..topic + topic_length], topic);
                if elsewhere || messages >= run_messages || end - start + total > run_bytes && messages > 0 {
                    self.deliver(joint, source, start..end, messages, now);
                    (start, messages) = (end, 0);
                    if elsewhere {
                        self.router.go_elsewhere();
                    }
                    if self.holds_back(joint) {
                        return (end, Ok(()));
                    }
                }
                (messages, end) = (messages + 1, end + total);
                continue;
            }
            self.deliver(joint, source, start..end, messages, now);
            (start, messages) = (end, 0);
            match found {
                Ok(Found::Command { body, total }) => {
                    let answered = match command::parse(&rest[body..total]) {
                        Some(command) => self.answer(id, &command),
                        None => Err("a command that is none".to_owned()),
                    };
                    (start, end) = (start + total, end + total);
                    if answered.is_err() {
                        return (end, answered);
                    }
                }
                Err(error) => return (end, Err(error.to_string())),
                Ok(_) => return (end, Ok(())),
            }
        }
    }

    /// The end of a connection; an empty `reason` is an ordinary one.
    pub(super) fn disconnect(&mut self, id: u32, now: Instant, reason: &str) {
        let Some(mut peer) = self.peers.remove(id) else { return };
        if !reason.is_empty() {
            self.counters.refused.add(1);
            // The peer may understand what was written for it, say an ERROR; nobody waits for that.
            let _ = peer.queue.write_to(&mut peer.stream);
            self.complaint.complain(now, |before| {
                tracing::warn!(backplane = self.name, address = %peer.address, side = ?peer.side, topics = peer.topics, reason, before, "disconnected");
            });
        }
        *(if peer.joint { &mut self.full_joints } else { &mut self.holding }) -= usize::from(peer.holds);
        self.keep(0, peer.kept);
        peer.queue.count_written();
        self.counters.forwarded.add(peer.take_forwarded());
        if peer.joint {
            self.counters.copies.add(peer.queue.messages() as u64);
        } else if let Some(team) = &mut self.team {
            team.has_left();
            team.gone(id);
        }
        self.counters.lost.add(peer.queue.messages() as u64);
        if peer.side == Side::Subscriber {
            self.router.leave_out(id);
            for topic in self.wanted.remove_all(id) {
                self.tell_publishers(false, &topic);
            }
        }
        self.show();
    }

    /// One wish more, or one less.
    pub(super) fn weigh(&mut self, subscribe: bool, topic: &[u8]) {
        let bytes = topic.len() + WISH_OVERHEAD;
        let (now, most) = &mut self.telling;
        *now = if subscribe { *now + bytes } else { now.saturating_sub(bytes) };
        *most = (*most).max(*now);
    }

    /// Bytes of commands that may wait for a peer that does not read. A publisher may have to hear that all wishes have
    /// ended at once.
    pub(super) fn control_limit(&self, side: Side) -> usize {
        match side {
            Side::Subscriber => ANSWERS,
            Side::Publisher => self.telling.1.saturating_add(self.budget.subscriber_queue_bytes.max(ANSWERS)),
        }
    }

    /// Shows the world what is connected.
    pub(super) fn show(&self) {
        let counters = &self.counters;
        counters.publishers.set(self.peers.established_on(Side::Publisher) as u64);
        counters.subscribers.set(self.peers.established_on(Side::Subscriber) as u64);
        counters.subscriptions.set(self.wanted.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Backplane;
    use multiplane_codec::zmtp::{Handshake, SocketType};
    use std::io;
    use std::sync::Mutex;

    /// One end of a connection in memory: what the backplane is to read, what it wrote, how much more it may write.
    #[derive(Clone)]
    struct Memory(Arc<Mutex<Pipes>>);

    type Pipes = (Vec<u8>, Vec<u8>, usize);

    impl Memory {
        fn locked<T>(&self, use_them: impl FnOnce(&mut Pipes) -> T) -> T {
            use_them(&mut self.0.lock().unwrap())
        }
    }

    impl Read for Memory {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let input = &mut self.0.lock().unwrap().0;
            let n = input.len().min(buffer.len());
            buffer[..n].copy_from_slice(&input[..n]);
            input.drain(..n);
            if n == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (_, output, room) = &mut *self.0.lock().unwrap();
            let n = bytes.len().min(*room);
            output.extend_from_slice(&bytes[..n]);
            *room -= n;
            if n == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn message(topic: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        frame::write(&mut message, frame::MORE, topic);
        frame::write(&mut message, 0, payload);
        message
    }

    #[test]
    fn messages_without_a_connection_are_held_and_forwarded_as_any() {
        let budget = Budget { high_water_mark: 2, ..Budget::default() };
        let builder = Backplane::builder("BP1").budget(budget).on_slow(OnSlow::Block);
        let counters = Arc::<Counters>::default();
        let mut forwarder = Forwarder::new(&builder, counters.clone());
        let now = crate::worker::now();

        let (mut handshake, mut hello) = Handshake::start(SocketType::Sub);
        let subscriber = Memory(Arc::new(Mutex::new((Vec::new(), Vec::new(), usize::MAX))));
        subscriber.locked(|(input, ..)| input.append(&mut hello));
        let id = forwarder.next_id();
        let (stream, side) = (subscriber.clone(), Side::Subscriber);
        let newcomer =
            Newcomer { stream, address: "a test".to_owned(), side, is_here: true, offer: None, place: None };
        forwarder.connect(newcomer, now);
        while handshake.peer().is_none() {
            subscriber.locked(|(input, output, _)| {
                let used = handshake.handle(output, input).unwrap();
                output.drain(..used);
            });
            forwarder.ready(id, Readiness { readable: true, writable: false, ended: false });
            forwarder.turn(now);
        }
        subscriber.locked(|(input, ..)| command::write_subscription(input, 1, true, b"n"));
        forwarder.ready(id, Readiness { readable: true, writable: false, ended: false });
        forwarder.turn(now);
        assert_eq!(subscriber.locked(|(_, output, _)| output.len()), 0);
        assert!(forwarder.wanted.matches(b"n"));
        let all: Vec<u8> = (0..10).flat_map(|n| message(b"n", &[n])).collect();
        let cut = all.len() - 1;
        assert_eq!(forwarder.publish(&all[..cut], now), Ok(cut - 5), "half a message stays");
        assert_eq!(forwarder.publish(&message(b"other", b""), now), Ok(9));
        forwarder.turn(now);
        // Nobody reads: it is taken until the queue is full.
        subscriber.locked(|(.., room)| *room = 0);
        while forwarder.publish(&all, now) == Ok(all.len()) {}
        assert_eq!(forwarder.publish(&all, now), Ok(0), "held");
        let before = counters.forwarded.get();
        subscriber.locked(|(.., room)| *room = usize::MAX);
        forwarder.ready(id, Readiness { readable: false, writable: true, ended: false });
        forwarder.turn(now);
        assert!(counters.forwarded.get() > before);
        assert_eq!(forwarder.publish(&all, now), Ok(all.len()), "and again");
        forwarder.turn(now);
        assert_eq!((counters.queued(), counters.unwanted.get()), (0, 1));
        assert_eq!(counters.copies.get() as usize * 6, subscriber.locked(|(_, output, _)| output.len()));
    }
}

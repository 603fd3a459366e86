//! A bounded ring that many threads publish into and from which every receiver gets everything, without a copy and
//! without a lock: what a message costs its publisher does not depend on how many receive.
//!
//! # How
//! Messages are numbered; message `n` lies in slot `n` modulo their count. Numbers below `limit` may be claimed: their
//! slots are empty. A publisher *claims* the next number by moving `tail`, *puts* the message into its slot, and
//! *publishes* it by storing the slot's turn. Each receiver has a *cursor*, the number that it reads next; it looks at the
//! turn of that slot only, reads the message in place, and moves its cursor.
//!
//! When `tail` has reached `limit`, a publisher *makes room*: under the lock of the `members` it takes the messages out
//! that all cursors have passed, and raises `limit` by as many. So the other publishers do not look at cursors at all, and
//! this one does once for many messages.
//!
//! What a slow receiver holds up there is a policy. Under [`OnLag::Block`] publishers wait for it. Under
//! [`OnLag::Skip`] whoever makes room changes a cursor that is in the way to *lapped*, with a compare-and-swap, and forgets
//! it; the receiver finds out when it wants to read, comes back at the oldest message, and knows from the numbers
//! what it missed. A receiver that reads says so in its cursor, also with a compare-and-swap, and is then waited for: so
//! it takes copies, few at a time, and only then shows them to its owner.
//!
//! # Why nobody touches a message that is not his
//! - A claim is one compare-and-swap of `tail`, so each number has one publisher.
//! - A slot below `limit` is empty, and that happens before the claim: messages are taken out before `limit` is stored with
//!   `Release`, and a publisher loads it with `Acquire` before it claims.
//! - A message is taken out only when it is published, and all cursors have passed it: receivers store their cursors with
//!   `Release` after they have read, and who makes room loads them with `Acquire`. One that attaches begins at `tail`, under
//!   the same lock, so it wants nothing that was taken out before.
//! - Under `Skip` the same holds for a receiver that reads; one that does not and is lapped reads nothing until it
//!   has come back under the lock.
//!
//! # Sleeping
//! Who sleeps says so before it looks once more, who publishes looks for sleepers after it has published, and
//! there are fences between. A receiver that has had many messages since it last waited lets more come together first,
//! for some microseconds, unless it is to spin. Publishers who wait for room sleep until the slowest cursor has passed a good part of the
//! ring, and look every now and then whether there is any room at all.

mod event;
mod members;
mod receiver;
mod slots;

pub use receiver::Receiver;

use crate::Wait;
use crate::atomic::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, yield_now};
use crossbeam_utils::CachePadded;
use event::Event;
use members::Members;
use slots::Slots;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What a ring can carry. Cloning should be cheap, say by reference; dropping must not use the ring.
pub trait Carried: Clone + Send + Sync + 'static {
    /// The memory that it keeps alive, besides itself: counts against the ring's bound in bytes. Always the same
    /// for one value.
    fn bytes(&self) -> usize {
        0
    }
}

/// What happens when a receiver is a whole ring behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLag {
    /// Publishers wait for it: nothing is lost. The default.
    #[default]
    Block,
    /// It misses the oldest, and is told how many; publishers wait for nobody.
    Skip,
}

/// How much a ring holds, and how its ends wait.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages; rounded up to a power of two.
    pub slots: usize,
    /// Bytes: of small messages together, and of large ones together, besides one of any size. Large is what has more
    /// than its share, which is this divided by the slots.
    pub bytes: usize,
    /// What happens when a receiver is a whole ring behind.
    pub on_lag: OnLag,
    /// How its ends wait for messages and for room.
    pub wait: Wait,
}

/// Why a message was not taken; it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// There is no room now.
    Full(T),
    /// The ring is closed.
    Closed(T),
}

/// Why there is nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Nothing is there yet.
    Yet,
    /// Nothing is there, and nothing will ever come.
    Ended,
}

/// In `tail`: no number will be claimed any more.
const CLOSED: u64 = 1 << 63;

/// After so long a publisher that waits for much room takes what there is.
const PATIENCE: Duration = Duration::from_millis(10);

/// What publishers write.
struct Claims {
    /// The next number, perhaps with [`CLOSED`].
    tail: AtomicU64,
    /// Numbers below it may be claimed.
    limit: AtomicU64,
}

struct Shared<T> {
    options: Options,
    /// A message of more bytes is large.
    large_from: usize,
    /// A receiver that has more to read tells how far it has got where these bits of the number are 0.
    tell_mask: u64,
    slots: Slots<T>,
    closed: AtomicBool,
    claims: CachePadded<Claims>,
    /// Bytes of the large messages that are in the ring or about to be.
    large_bytes: CachePadded<AtomicUsize>,
    members: CachePadded<Mutex<Members>>,
    /// Something was published, or the ring was closed.
    news: Event,
    /// A cursor has risen, a receiver is gone, or the ring was closed.
    room: Event,
}

/// What came of making room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Made,
    /// A receiver has to take something first.
    Lagging,
    /// Another thread is about to finish what it does.
    Busy,
    Closed,
}

impl<T: Carried> Shared<T> {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> u64 {
        self.claims.tail.load(Ordering::Acquire) & !CLOSED
    }

    fn is_large(&self, bytes: usize) -> bool {
        bytes > self.large_from
    }

    /// Claims the next number, if there is a place for it.
    #[inline]
    fn claim(&self) -> Result<u64, Room> {
        let claims = &*self.claims;
        let mut tail = claims.tail.load(Ordering::Relaxed);
        loop {
            // A closed tail is beyond every limit.
            if tail >= claims.limit.load(Ordering::Acquire) {
                if tail & CLOSED != 0 {
                    return Err(Room::Closed);
                }
                let has_room = || claims.tail.load(Ordering::Relaxed) < claims.limit.load(Ordering::Relaxed);
                match self.make_room(has_room) {
                    Room::Made => tail = claims.tail.load(Ordering::Relaxed),
                    none => return Err(none),
                }
                continue;
            }
            match claims.tail.compare_exchange_weak(tail, tail + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(number) => return Ok(number),
                Err(moved) => tail = moved,
            }
        }
    }

    /// Keeps `bytes` for a large message, if there is room for them.
    #[cold]
    fn reserve(&self, bytes: usize) -> Result<(), Room> {
        let fits = |held: usize| held == 0 || held.saturating_add(bytes) <= self.options.bytes;
        let mut held = self.large_bytes.load(Ordering::Relaxed);
        loop {
            if self.claims.tail.load(Ordering::Relaxed) & CLOSED != 0 {
                return Err(Room::Closed);
            }
            if !fits(held) {
                match self.make_room(|| fits(self.large_bytes.load(Ordering::Relaxed))) {
                    Room::Made => held = self.large_bytes.load(Ordering::Relaxed),
                    none => return Err(none),
                }
                continue;
            }
            let more = held.saturating_add(bytes);
            match self.large_bytes.compare_exchange(held, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => held = other,
            }
        }
    }

    /// Publishes `message` if there is room.
    #[inline]
    #[allow(unsafe_code)]
    fn offer(&self, message: T) -> Result<(), (Room, T)> {
        let bytes = message.bytes();
        if self.is_large(bytes)
            && let Err(room) = self.reserve(bytes)
        {
            return Err((room, message));
        }
        match self.claim() {
            Ok(number) => {
                // SAFETY: `claim` gives each number once, and only below `limit`: the place is empty, and was so before
                // `limit` was stored.
                unsafe { self.slots.put(number, message) };
                self.news.happened();
                Ok(())
            }
            Err(room) => {
                if self.is_large(bytes) {
                    self.large_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                Err((room, message))
            }
        }
    }

    /// Takes out what all receivers have passed, laps who lags if that is the policy, unless there is `enough` already.
    #[cold]
    #[allow(unsafe_code)]
    fn make_room(&self, enough: impl Fn() -> bool) -> Room {
        let mut members = self.members();
        if enough() {
            return Room::Made;
        }
        let (head, tail) = (members.head, self.tail());
        let end = match self.options.on_lag {
            OnLag::Block => members.slowest(tail),
            OnLag::Skip => members.lap(tail.min(head + (self.slots.count() / 8).max(1)), tail),
        };
        // All at once, and without a look where somebody has read: then the processor fetches the cache lines side by side.
        let read = members.read_until();
        let gone = (head..end).take_while(|number| *number < read || self.slots.is_published(*number));
        let new_head = gone.inspect(|number| self.slots.retire(*number)).last().map_or(head, |last| last + 1);
        members.head = new_head;
        for number in head..new_head {
            // SAFETY: it was published and, being before `end`, passed by all cursors, whose loads in `slowest` acquire what
            // the receivers did; whoever attaches or comes back does so under this lock, at or after `head`. `head`
            // has risen, also under this lock, so nobody takes it twice.
            let message = unsafe { self.slots.take(number) };
            let bytes = message.bytes();
            if self.is_large(bytes) {
                self.large_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        self.claims.limit.store(new_head + self.slots.count(), Ordering::Release);
        match (new_head > head, self.options.on_lag) {
            (true, _) => Room::Made,
            (false, OnLag::Block) if end == head && head < tail => Room::Lagging,
            (false, _) => Room::Busy,
        }
    }

    /// Sleeps until it is worth trying to make room, or until `deadline`.
    fn wait_for_room(&self, large: bool, deadline: Option<Instant>, now: impl Fn() -> Instant) {
        // To be woken for each place would cost more than all else. But whoever takes one message and then waits for the
        // publisher must not wait for ever either.
        let head = self.members().head;
        let wanted = if large { head + 1 } else { head + (self.slots.count() / 4).max(1) };
        let look_again = now() + PATIENCE;
        let until = deadline.map_or(look_again, |deadline| deadline.min(look_again));
        let is_ready = || self.closed.load(Ordering::Acquire) || self.members().slowest(u64::MAX) >= wanted;
        self.room.wait(wanted, is_ready, Some(until), now);
    }

    fn close(&self) {
        self.claims.tail.fetch_or(CLOSED, Ordering::AcqRel);
        self.closed.store(true, Ordering::Release);
        self.news.happened();
        self.room.wake();
    }
}

impl<T> Drop for Shared<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let members = self.members.get_mut().unwrap_or_else(PoisonError::into_inner);
        let tail = self.claims.tail.load(Ordering::Relaxed) & !CLOSED;
        for number in members.head..tail {
            if self.slots.is_published(number) {
                // SAFETY: published, not taken as it is not before `head`, and nobody else is left.
                drop(unsafe { self.slots.take(number) });
            }
        }
    }
}

/// The end that publishes.
pub struct Sender<T: Carried> {
    shared: Arc<Shared<T>>,
}

/// A ring that nobody receives from yet.
#[must_use]
pub fn broadcast<T: Carried>(options: Options) -> Sender<T> {
    crate::fence::prepare();
    let slots = Slots::new(options.slots.next_power_of_two());
    let count = slots.count();
    let claims = Claims { tail: AtomicU64::new(0), limit: AtomicU64::new(count) };
    let shared = Shared {
        options,
        large_from: options.bytes / count as usize,
        tell_mask: (count / 8).clamp(1, 64) - 1,
        slots,
        closed: AtomicBool::new(false),
        claims: CachePadded::new(claims),
        large_bytes: CachePadded::new(AtomicUsize::new(0)),
        members: CachePadded::new(Mutex::new(Members::default())),
        news: Event::new(),
        room: Event::new(),
    };
    Sender { shared: Arc::new(shared) }
}

impl<T: Carried> Sender<T> {
    /// Publishes `message` if there is room now.
    ///
    /// # Errors
    /// [`Refused`], with the message. Under [`OnLag::Skip`] it is never full, but for the moment in which another thread
    /// is at work in the last place.
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), Refused<T>> {
        self.shared.offer(message).map_err(|(room, message)| match room {
            Room::Closed => Refused::Closed(message),
            _ => Refused::Full(message),
        })
    }

    /// Publishes `message`, waiting for room, at most until `deadline`.
    ///
    /// # Errors
    /// [`Refused`], with the message; [`Refused::Full`] only at the deadline.
    #[inline]
    pub fn send(
        &self,
        message: T,
        deadline: Option<Instant>,
        now: impl Fn() -> Instant,
    ) -> Result<(), Refused<T>> {
        match self.shared.offer(message) {
            Ok(()) => Ok(()),
            Err((room, message)) => self.send_later(room, message, deadline, now),
        }
    }

    #[cold]
    fn send_later(
        &self,
        mut room: Room,
        mut message: T,
        deadline: Option<Instant>,
        now: impl Fn() -> Instant,
    ) -> Result<(), Refused<T>> {
        let mut pause = Pause::after(self.shared.slots.count(), self.shared.options.wait);
        loop {
            if room == Room::Closed {
                return Err(Refused::Closed(message));
            } else if deadline.is_some_and(|deadline| now() >= deadline) {
                return Err(Refused::Full(message));
            }
            if !pause.again(&now) {
                match room {
                    Room::Lagging => {
                        let large = self.shared.is_large(message.bytes());
                        self.shared.wait_for_room(large, deadline, &now);
                    }
                    _ => yield_now(),
                }
            }
            match self.shared.offer(message) {
                Ok(()) => return Ok(()),
                Err((still, back)) => (room, message) = (still, back),
            }
        }
    }

    /// A receiver of everything that is published from now on.
    #[must_use]
    pub fn attach(&self) -> Receiver<T> {
        Receiver::attach(self.shared.clone())
    }

    /// No more messages: publishers hear that it is closed, receivers get what is there and then hear the end.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Messages taken so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.tail()
    }

    /// Receivers attached now.
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.shared.members().count()
    }
}

impl<T: Carried> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Carried> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// Looking again, after letting others run, before one sleeps.
struct Pause {
    wait: Wait,
    left: u64,
    since: Option<Instant>,
}

impl Pause {
    /// For somebody who has handled so many messages since it waited last. To sleep and be woken takes as long as handling
    /// hundreds or thousands of messages, so who has just had much to do stays awake for longer.
    fn after(handled: u64, wait: Wait) -> Self {
        Self { wait, left: (handled / 4).clamp(4, 256), since: None }
    }

    /// Waits a moment; `false` if it is time to sleep.
    fn again(&mut self, now: impl Fn() -> Instant) -> bool {
        if self.left == 0 {
            let Wait::Spin { before_block } = self.wait else { return false };
            let now = now();
            if now.duration_since(*self.since.get_or_insert(now)) >= before_block {
                return false;
            }
        }
        if cfg!(loom) {
            // What is explored is sleeping.
            return false;
        }
        self.left = self.left.saturating_sub(1);
        yield_now();
        true
    }
}

//! A bounded ring that many threads publish into and from which every receiver gets everything.

use crate::Wait;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a ring can carry: its size counts against the ring's bound in bytes.
pub trait Carried: Send + Sync + 'static {
    /// The memory that it keeps alive, besides itself.
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
    /// Bytes of all messages together, besides one message of any size.
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

type Hook = Arc<dyn Fn() + Send + Sync>;

struct State<T> {
    queue: VecDeque<T>,
    bytes: usize,
    first: u64,
    cursors: BTreeMap<u64, u64>,
    armed: BTreeMap<u64, Hook>,
    next_id: u64,
    closed: bool,
}

struct Shared<T> {
    options: Options,
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, mut state: MutexGuard<'_, State<T>>) {
        let armed = std::mem::take(&mut state.armed);
        drop(state);
        self.changed.notify_all();
        armed.values().for_each(|hook| hook());
    }
}

impl<T: Carried> State<T> {
    fn last(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.queue.pop_front() {
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    fn release(&mut self) {
        let slowest = self.cursors.values().copied().min().unwrap_or(self.last());
        while self.first < slowest {
            self.pop();
        }
    }
}

/// The end that publishes.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// A ring that nobody receives from yet.
#[must_use]
pub fn broadcast<T: Carried>(options: Options) -> Sender<T> {
    let state = State {
        queue: VecDeque::new(),
        bytes: 0,
        first: 0,
        cursors: BTreeMap::new(),
        armed: BTreeMap::new(),
        next_id: 0,
        closed: false,
    };
    Sender { shared: Arc::new(Shared { options, state: Mutex::new(state), changed: Condvar::new() }) }
}

impl<T: Carried> Sender<T> {
    /// Publishes `message` if there is room now.
    ///
    /// # Errors
    /// [`Refused`], with the message.
    pub fn try_send(&self, message: T) -> Result<(), Refused<T>> {
        let options = &self.shared.options;
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Refused::Closed(message));
        }
        let bytes = message.bytes();
        while state.queue.len() >= options.slots
            || (!state.queue.is_empty() && state.bytes + bytes > options.bytes)
        {
            if options.on_lag == OnLag::Block && state.cursors.values().any(|at| *at == state.first) {
                return Err(Refused::Full(message));
            }
            state.pop();
        }
        state.bytes += bytes;
        state.queue.push_back(message);
        self.shared.notify(state);
        Ok(())
    }

    /// Publishes `message`, waiting for room, at most until `deadline`.
    ///
    /// # Errors
    /// [`Refused`], with the message; [`Refused::Full`] only at the deadline.
    pub fn send(
        &self,
        mut message: T,
        deadline: Option<Instant>,
        now: impl Fn() -> Instant,
    ) -> Result<(), Refused<T>> {
        loop {
            match self.try_send(message) {
                Err(Refused::Full(back)) => message = back,
                other => return other,
            }
            let left = deadline.map_or(Duration::from_millis(1), |deadline| {
                deadline.saturating_duration_since(now()).min(Duration::from_millis(1))
            });
            if left.is_zero() {
                return Err(Refused::Full(message));
            }
            drop(self.shared.changed.wait_timeout(self.shared.lock(), left));
        }
    }

    /// A receiver of everything that is published from now on.
    #[must_use]
    pub fn attach(&self) -> Receiver<T> {
        let mut state = self.shared.lock();
        let id = state.next_id;
        state.next_id += 1;
        let next = state.last();
        state.cursors.insert(id, next);
        drop(state);
        Receiver { shared: self.shared.clone(), id, next, missed: 0, received: 0, hook: None }
    }

    /// No more messages: publishers hear that it is closed, receivers get what is there and then hear the end.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.notify(state);
    }

    /// Messages taken so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.lock().last()
    }

    /// Receivers attached now.
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.shared.lock().cursors.len()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// The end that receives: gets everything that is published after it was attached, in order.
pub struct Receiver<T: Carried> {
    shared: Arc<Shared<T>>,
    id: u64,
    next: u64,
    received: u64,
    missed: u64,
    hook: Option<Hook>,
}

impl<T: Carried> Receiver<T> {
    /// Shows what is there, at most so many, to `see`, in place; how many there were.
    ///
    /// # Errors
    /// [`Nothing`].
    pub fn take(&mut self, most: usize, mut see: impl FnMut(&T)) -> Result<usize, Nothing> {
        let mut state = self.shared.lock();
        if self.next < state.first {
            self.missed += state.first - self.next;
            self.next = state.first;
        }
        let taken = state.queue.iter().skip((self.next - state.first) as usize).take(most);
        let mut count = 0;
        for message in taken {
            see(message);
            count += 1;
        }
        self.next += count;
        self.received += count;
        let (id, next) = (self.id, self.next);
        state.cursors.insert(id, next);
        state.release();
        if count == 0 {
            return Err(if state.closed { Nothing::Ended } else { Nothing::Yet });
        }
        self.shared.notify(state);
        Ok(count as usize)
    }

    /// Waits until there is something to take or the end is known; `false` when it was `deadline` first.
    pub fn wait(&mut self, deadline: Option<Instant>, now: impl Fn() -> Instant) -> bool {
        let mut state = self.shared.lock();
        while state.last() <= self.next && !state.closed {
            match deadline.map(|deadline| deadline.saturating_duration_since(now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    let waited = self.shared.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        true
    }

    /// What [`arm`](Self::arm) asks to be called.
    pub fn set_hook(&mut self, hook: impl Fn() + Send + Sync + 'static) {
        self.hook = Some(Arc::new(hook));
    }

    /// Asks for one call of the hook when there is something to take or the end is known. `false` if that is so
    /// already: then the hook will not be called for it.
    pub fn arm(&mut self) -> bool {
        let mut state = self.shared.lock();
        if state.last() > self.next || state.closed {
            return false;
        }
        if let Some(hook) = &self.hook {
            state.armed.insert(self.id, hook.clone());
        }
        true
    }

    /// Messages taken so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Messages that came after it was attached and that it will never get, as far as it has got.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Messages that wait for it, the missed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.shared.lock().last() - self.next) as usize
    }

    /// Whether nothing waits for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Carried> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.cursors.remove(&self.id);
        state.armed.remove(&self.id);
        state.release();
        self.shared.notify(state);
    }
}

impl<T: Carried> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("received", &self.received).finish_non_exhaustive()
    }
}

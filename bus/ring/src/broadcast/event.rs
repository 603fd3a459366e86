//! Waiting for something that happens rarely enough to sleep, without a cost for those who make it happen.

use crate::atomic::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering};
use crate::fence;
use crossbeam_utils::CachePadded;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// What somebody wants to have called who waits for many things at once.
pub(super) type Hook = Arc<dyn Fn() + Send + Sync>;

/// Nobody waits.
const NOBODY: u64 = u64::MAX;

/// Sleepers, and the number that they wait for.
///
/// A sleeper says what it wants, then looks once more, then sleeps; who makes something happen does that, then looks who
/// wants it. Between the two steps of both there is a fence, so one of them sees the other.
pub(super) struct Event {
    wanted: CachePadded<AtomicU64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sleepers: usize,
    armed: Vec<(usize, Hook)>,
}

impl Event {
    pub(super) fn new() -> Self {
        Self {
            wanted: CachePadded::new(AtomicU64::new(NOBODY)),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after something happened, any time: wakes all who sleep.
    #[inline]
    pub(super) fn happened(&self) {
        fence::light();
        if self.wanted.load(Ordering::Relaxed) != NOBODY {
            self.wake();
        }
    }

    /// To be called after a number has risen: wakes all who sleep if that took it over what somebody wants.
    #[inline]
    pub(super) fn has_risen(&self, from: u64, to: u64) {
        fence::light();
        let wanted = self.wanted.load(Ordering::Relaxed);
        if from < wanted && wanted <= to {
            self.wake();
        }
    }

    /// Wakes all who sleep, and calls all hooks that are armed.
    #[cold]
    pub(super) fn wake(&self) {
        let mut state = self.lock();
        self.wanted.store(NOBODY, Ordering::Relaxed);
        let armed = std::mem::take(&mut state.armed);
        let sleepers = state.sleepers;
        drop(state);
        if sleepers > 0 {
            self.changed.notify_all();
        }
        armed.into_iter().for_each(|(_, hook)| hook());
    }

    /// Says what is wanted. Others may want less.
    fn want(&self, state: &State, wanted: u64) {
        let others = state.sleepers > 0 || !state.armed.is_empty();
        let least = if others { self.wanted.load(Ordering::Relaxed).min(wanted) } else { wanted };
        self.wanted.store(least, Ordering::Relaxed);
        fence::heavy();
    }

    /// What is no longer wanted is forgotten, unless others wait.
    fn want_nothing(&self, state: &State) {
        if state.sleepers == 0 && state.armed.is_empty() {
            self.wanted.store(NOBODY, Ordering::Relaxed);
        }
    }

    /// Sleeps until `is_ready`, or until `deadline`; whether it is.
    pub(super) fn wait(
        &self,
        wanted: u64,
        is_ready: impl Fn() -> bool,
        deadline: Option<Instant>,
        now: impl Fn() -> Instant,
    ) -> bool {
        let mut state = self.lock();
        let ready = loop {
            self.want(&state, wanted);
            if is_ready() {
                break true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
            if left.is_some_and(|left| left.is_zero()) {
                break false;
            }
            state.sleepers += 1;
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleepers -= 1;
        };
        self.want_nothing(&state);
        ready
    }

    /// Has `hook` called once, unless `is_ready` already; `false` if it is. `who` may take it back.
    pub(super) fn arm(&self, who: usize, hook: &Hook, is_ready: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        self.want(&state, 0);
        state.armed.retain(|(other, _)| *other != who);
        let ready = is_ready();
        if !ready {
            state.armed.push((who, hook.clone()));
        }
        self.want_nothing(&state);
        !ready
    }

    /// The hook of `who` is not to be called any longer.
    pub(super) fn disarm(&self, who: usize) {
        let mut state = self.lock();
        state.armed.retain(|(other, _)| *other != who);
        self.want_nothing(&state);
    }
}

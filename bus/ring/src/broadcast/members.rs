//! Who receives from a ring, and how far each has got.

use crate::atomic::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::sync::Arc;

/// How far a receiver has got: twice the number of the next message, plus one while it reads under
/// [`Skip`](super::OnLag::Skip); or [`LAPPED`].
pub(super) struct Cursor {
    at: CachePadded<AtomicU64>,
    /// Where it began.
    since: u64,
}

/// The receiver was too slow and is out of the race: publishers take no notice of it until it comes back.
const LAPPED: u64 = u64::MAX;

const READS: u64 = 1;

impl Cursor {
    fn new(next: u64) -> Self {
        Self { at: CachePadded::new(AtomicU64::new(next << 1)), since: next }
    }

    /// Everything before `next` has been read.
    #[inline]
    pub(super) fn set(&self, next: u64) {
        self.at.store(next << 1, Ordering::Release);
    }

    /// Everything before this has been read. Not of one that is lapped.
    #[inline]
    fn next(&self) -> u64 {
        self.at.load(Ordering::Acquire) >> 1
    }

    /// The owner begins to read at `next`; `false` if it was lapped.
    pub(super) fn begin(&self, next: u64) -> bool {
        let reads = next << 1 | READS;
        self.at.compare_exchange(next << 1, reads, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Where it began.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    pub(super) fn is_lapped(&self) -> bool {
        self.at.load(Ordering::Relaxed) == LAPPED
    }

    /// Takes it out of the race if it is before `target` and does not read just now.
    fn lap(&self, target: u64) -> bool {
        let at = self.at.load(Ordering::Acquire);
        at >> 1 < target
            && at & READS == 0
            && self.at.compare_exchange(at, LAPPED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

/// All receivers of a ring, and where it begins.
#[derive(Default)]
pub(super) struct Members {
    /// The oldest message that is still in its place.
    pub(super) head: u64,
    racing: Vec<Arc<Cursor>>,
    lapped: usize,
}

impl Members {
    pub(super) fn attach(&mut self, next: u64) -> Arc<Cursor> {
        let cursor = Arc::new(Cursor::new(next));
        self.racing.push(cursor.clone());
        cursor
    }

    pub(super) fn detach(&mut self, cursor: &Arc<Cursor>) {
        if cursor.is_lapped() {
            self.lapped -= 1;
        } else {
            self.racing.retain(|other| !Arc::ptr_eq(other, cursor));
        }
    }

    /// Brings one that was lapped on its way to `next` back, at the oldest message that it does not know, reading; where
    /// that is. Older ones are still there if somebody else was slower, or is about to publish one of them.
    pub(super) fn rejoin(&mut self, cursor: &Arc<Cursor>, next: u64) -> u64 {
        let next = next.max(self.head);
        cursor.at.store(next << 1 | READS, Ordering::Relaxed);
        self.lapped -= 1;
        self.racing.push(cursor.clone());
        next
    }

    pub(super) fn count(&self) -> usize {
        self.racing.len() + self.lapped
    }

    /// How far the slowest has got, or else `tail`.
    pub(super) fn slowest(&self, tail: u64) -> u64 {
        self.racing.iter().map(|cursor| cursor.next()).min().unwrap_or(tail).min(tail)
    }

    /// From `head` to here, everything was read by somebody. One that has attached since has read nothing of what others
    /// may still be about to publish.
    pub(super) fn read_until(&self) -> u64 {
        let all_the_way = self.racing.iter().filter(|cursor| cursor.since <= self.head);
        all_the_way.map(|cursor| cursor.next()).max().unwrap_or(0)
    }

    /// Laps whoever is before `target`; how far the slowest has got of those that still race. Those that are lapped
    /// will want what is not older than `target`.
    pub(super) fn lap(&mut self, target: u64, tail: u64) -> u64 {
        let before = self.racing.len();
        self.racing.retain(|cursor| !cursor.lap(target));
        self.lapped += before - self.racing.len();
        self.slowest(if self.lapped > 0 { target } else { tail })
    }
}

//! Where a message goes.

use multiplane_core::{MatchCache, Subscriptions};

/// Topics whose subscribers are remembered: 30 KiB, for more would push the messages out of the cache.
const REMEMBERED: usize = 256;

/// Finds out for whom a topic is. The answer for the last one is at hand, for topics come in runs; those for others that
/// came of late are remembered.
pub(super) struct Router {
    /// The first frame of the last message, header and topic; empty when nothing is known.
    pub(super) head: Vec<u8>,
    /// Where the present run goes.
    pub(super) targets: Vec<u32>,
    /// Where the last topic that was looked up goes.
    pub(super) next: Vec<u32>,
    cache: MatchCache<u32>,
}

impl Router {
    pub(super) fn new() -> Self {
        let cache = MatchCache::with_slots(REMEMBERED);
        Self { head: Vec::new(), targets: Vec::new(), next: Vec::new(), cache }
    }

    /// Looks the topic in `head` up, which begins at `topic`; whether it goes elsewhere than the one before.
    #[inline]
    pub(super) fn look_up(&mut self, wanted: &mut Subscriptions<u32>, head: &[u8], topic: usize) -> bool {
        if self.head == head {
            return false;
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        let next = self.cache.lookup(wanted, &head[topic..]);
        if next == self.targets {
            return false;
        }
        self.next.clear();
        self.next.extend_from_slice(next);
        true
    }

    /// What is wanted has changed.
    pub(super) fn forget(&mut self) {
        self.head.clear();
    }

    /// Nothing goes to `id` any more.
    pub(super) fn leave_out(&mut self, id: u32) {
        self.forget();
        self.targets.retain(|&target| target != id);
        self.next.retain(|&target| target != id);
    }
}

//! Where a message goes.

use multiplane_core::Subscriptions;

/// Finds out for whom a topic is; the answer for the last one is kept, for topics come in runs.
#[derive(Default)]
pub(super) struct Router {
    /// The first frame of the last message, header and topic; empty when nothing is known.
    pub(super) head: Vec<u8>,
    /// Where the present run goes.
    pub(super) targets: Vec<u32>,
    /// Where the last topic that was looked up goes.
    pub(super) next: Vec<u32>,
}

impl Router {
    /// Looks the topic in `head` up, which begins at `topic`; whether it goes elsewhere than the one before.
    #[inline]
    pub(super) fn look_up(&mut self, wanted: &mut Subscriptions<u32>, head: &[u8], topic: usize) -> bool {
        if self.head == head {
            return false;
        }
        self.next.clear();
        wanted.for_each_match(&head[topic..], |who| self.next.push(who));
        self.head.clear();
        self.head.extend_from_slice(head);
        self.next != self.targets
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

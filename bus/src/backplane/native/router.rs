//! Where a message goes.

use multiplane_codec::zmtp::frame;
use multiplane_core::{RecentTopics, Subscriptions};

/// Topics that go where the present run goes. 256 KiB, of which no more comes into the processor's caches than there are
/// topics.
const COMPANIONS: usize = 4096;

/// Topics whose subscribers are remembered, where these are not too many: 32 KiB and the lists, for more would push the
/// messages out of the cache.
const REMEMBERED: usize = 256;
const TARGETS: usize = 128;

/// Finds out for whom a topic is. The answer for the last one is at hand, for topics come in runs; that others go where
/// the present run goes is known of many; the subscribers of those that came of late are remembered.
pub(super) struct Router {
    /// The first frame of the last message, header and topic; empty when nothing is known, or topics alternate.
    head: Vec<u8>,
    /// Where the present run goes.
    pub(super) targets: Vec<u32>,
    /// Where the last topic that was looked up goes.
    next: Vec<u32>,
    /// Their numbers.
    companions: RecentTopics<u32>,
    /// How many companions were met.
    met: u32,
    /// The companion that was passed over last.
    last: Option<u32>,
    remembered: RecentTopics<Vec<u32>>,
}

impl Router {
    pub(super) fn new() -> Self {
        Self {
            head: Vec::new(),
            targets: Vec::new(),
            next: Vec::new(),
            companions: RecentTopics::with_slots(COMPANIONS),
            met: 0,
            last: None,
            remembered: RecentTopics::with_slots(REMEMBERED),
        }
    }

    /// Passes over the messages of two frames at the beginning of `input` that are known to go where the present run
    /// goes: how many messages that are, and how many bytes. `limit` and `room` are as in [`frame::repeats`].
    #[inline]
    pub(super) fn pass(&mut self, input: &[u8], limit: usize, room: (usize, usize)) -> (usize, usize) {
        let (mut messages, mut at) = frame::repeats(input, &self.head, limit, room);
        let input = &input[..input.len().min(room.1)];
        while messages < room.0 {
            let Some((head, total)) = two_frames(&input[at..], limit) else { break };
            let Some(&companion) = self.companions.find(&head[2..]) else { break };
            (messages, at) = (messages + 1, at + total);
            if self.last.replace(companion) == Some(companion) {
                self.head.clear();
                self.head.extend_from_slice(head);
                let room = (room.0 - messages, room.1 - at);
                let (more, length) = frame::repeats(&input[at..], &self.head, limit, room);
                (messages, at) = (messages + more, at + length);
            }
        }
        (messages, at)
    }

    /// Looks the topic in `head` up, which begins at `topic`; whether it goes elsewhere than the one before.
    pub(super) fn look_up(&mut self, wanted: &mut Subscriptions<u32>, head: &[u8], topic: usize) -> bool {
        let topic = &head[topic..];
        if self.head == head || self.companions.find(topic).is_some() {
            return false;
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        let next = match self.remembered.find(topic) {
            Some(targets) => targets,
            None => {
                let targets = wanted.lookup(topic);
                if targets.len() <= TARGETS {
                    self.remembered.add(topic, |old| targets.clone_into(old));
                }
                targets
            }
        };
        let elsewhere = next != self.targets;
        if elsewhere {
            next.clone_into(&mut self.next);
            self.companions.forget();
        }
        self.met = self.met.wrapping_add(1);
        self.companions.add(topic, |number| *number = self.met);
        elsewhere
    }

    /// The next run begins, of the topic that was looked up last.
    pub(super) fn go_elsewhere(&mut self) {
        std::mem::swap(&mut self.targets, &mut self.next);
    }

    /// What is wanted has changed.
    pub(super) fn forget(&mut self) {
        self.head.clear();
        self.companions.forget();
        self.remembered.forget();
    }

    /// Nothing goes to `id` any more.
    pub(super) fn leave_out(&mut self, id: u32) {
        self.forget();
        self.targets.retain(|&target| target != id);
        self.next.retain(|&target| target != id);
    }
}

/// The first frame of the message of two frames that `input` begins with, and how long both are together.
#[inline]
fn two_frames(input: &[u8], limit: usize) -> Option<(&[u8], usize)> {
    let pair = frame::pair(input, limit)?;
    Some((input.get(..2 + pair.topic.len())?, pair.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes all messages, as the forwarder does; what would go to whom.
    fn route(router: &mut Router, wanted: &mut Subscriptions<u32>, input: &[u8]) -> Vec<(u8, Vec<u32>)> {
        let (mut at, mut routed) = (0, Vec::new());
        while at < input.len() {
            let (messages, length) = router.pass(&input[at..], usize::MAX, (5, 200));
            let mut rest = &input[at..at + length];
            at += length;
            for _ in 0..messages {
                let (_, total) = two_frames(rest, usize::MAX).unwrap();
                routed.push((rest[total - 1], router.targets.clone()));
                rest = &rest[total..];
            }
            assert!(rest.is_empty());
            if let Some((head, total)) = two_frames(&input[at..], usize::MAX) {
                if router.look_up(wanted, head, 2) {
                    router.go_elsewhere();
                }
                routed.push((input[at + total - 1], router.targets.clone()));
                at += total;
            }
        }
        routed
    }

    #[test]
    fn topics_in_turn_go_where_the_table_says_however_it_changes() {
        let (mut router, mut wanted) = (Router::new(), Subscriptions::with_limit(1000));
        let mut state = 1u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        // Lengths about those of words, and too long to be remembered.
        let lengths = [0, 1, 5, 6, 7, 8, 13, 14, 15, 30, 31, 37, 38, 39, 60];
        let topic =
            |n: usize| -> Vec<u8> { b"ab".repeat(31)[n % 2..][..lengths[n % lengths.len()]].to_vec() };
        let mut together = 0;
        for _ in 0..2000 {
            let prefix = topic(random(30) as usize);
            let who = random(3);
            match random(5) {
                0 => drop(wanted.add(&prefix, who)),
                1 => drop(wanted.remove(&prefix, who)),
                2 => drop(wanted.remove_all(who)),
                _ => drop(wanted.add(b"", who)),
            }
            if random(2) == 0 {
                router.forget()
            } else {
                router.leave_out(9)
            }
            let (mut input, mut expected) = (Vec::new(), Vec::new());
            let (spread, stays) = (1 + random(30), 1 + random(3));
            for n in 0..40 {
                let topic = topic((n / stays * 7 % spread) as usize);
                frame::write(&mut input, frame::MORE, &topic);
                frame::write(&mut input, 0, &[n as u8]);
                expected.push((n as u8, wanted.lookup(&topic).to_vec()));
            }
            assert_eq!(route(&mut router, &mut wanted, &input), expected);
            let (passed, _) = router.pass(&input, usize::MAX, (100, usize::MAX));
            together += passed;
        }
        assert!(together > 10_000, "{together} went by without being looked up");
    }

    #[test]
    fn a_stay_at_one_topic_is_noticed() {
        let (mut router, mut wanted) = (Router::new(), Subscriptions::with_limit(10));
        wanted.add(b"", 1).unwrap();
        let mut input = Vec::new();
        for topic in [b"bench/1", b"bench/2", b"bench/1"] {
            frame::write(&mut input, frame::MORE, topic);
            frame::write(&mut input, 0, b"x");
        }
        assert_eq!(route(&mut router, &mut wanted, &input).len(), 3);
        let (head, total) = two_frames(&input, usize::MAX).unwrap();
        let same = input[..total].repeat(3);
        assert_eq!(router.pass(&same, usize::MAX, (10, usize::MAX)), (3, same.len()));
        assert_eq!(router.head, head);
    }
}

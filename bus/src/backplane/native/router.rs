//! Where a message goes.

use multiplane_codec::zmtp::frame;
use multiplane_core::{MatchCache, Subscriptions};
use std::hash::{BuildHasher, RandomState};

/// Topics whose subscribers are remembered: 30 KiB, for more would push the messages out of the cache.
const REMEMBERED: usize = 256;

/// Finds out for whom a topic is. The answer for the last one is at hand, for topics come in runs; that others go where
/// the present run goes is known of many; the subscribers of those that came of late are remembered.
pub(super) struct Router {
    /// The first frame of the last message, header and topic; empty when nothing is known, or topics alternate.
    head: Vec<u8>,
    /// Where the present run goes.
    pub(super) targets: Vec<u32>,
    /// Where the last topic that was looked up goes.
    next: Vec<u32>,
    companions: Companions,
    /// The companion that was passed over last.
    last: Option<usize>,
    cache: MatchCache<u32>,
}

impl Router {
    pub(super) fn new() -> Self {
        let cache = MatchCache::with_slots(REMEMBERED);
        Self {
            head: Vec::new(),
            targets: Vec::new(),
            next: Vec::new(),
            companions: Companions::new(),
            last: None,
            cache,
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
            let Some(companion) = self.companions.find(head) else { break };
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
        if self.head == head || self.companions.find(head).is_some() {
            return false;
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        let next = self.cache.lookup(wanted, &head[topic..]);
        let elsewhere = next != self.targets;
        if elsewhere {
            self.next.clear();
            self.next.extend_from_slice(next);
            self.companions.forget();
        }
        self.companions.add(head);
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

/// First frames whose messages go where the present run goes.
struct Companions {
    /// A power of two. 256 KiB, of which no more comes into the processor's caches than there are topics.
    slots: Box<[Slot]>,
    /// Those with another number are empty.
    present: u64,
    /// Nobody outside can choose topics that share a slot.
    seeds: [u64; 2],
}

/// One line of the processor's cache.
#[repr(align(64))]
#[derive(Clone)]
struct Slot {
    present: u64,
    hash: u64,
    len: u8,
    head: [u8; HEAD],
}

/// Longer ones are looked up each time.
const HEAD: usize = 40;
const SLOTS: usize = 4096;
/// Slots that one may be in.
const PROBED: usize = 4;

impl Companions {
    fn new() -> Self {
        let random = RandomState::new();
        Self::with_seeds([random.hash_one(1), random.hash_one(2)])
    }

    fn with_seeds(seeds: [u64; 2]) -> Self {
        let empty = Slot { present: 0, hash: 0, len: 0, head: [0; HEAD] };
        Self { slots: vec![empty; SLOTS].into(), present: 1, seeds }
    }

    fn forget(&mut self) {
        self.present += 1;
    }

    /// The slot of a companion.
    #[inline]
    fn find(&self, head: &[u8]) -> Option<usize> {
        let hash = self.hash(head);
        let home = hash as usize % SLOTS;
        if self.is_at(home, hash, head) { Some(home) } else { self.find_beside(hash, head) }
    }

    #[inline(never)]
    fn find_beside(&self, hash: u64, head: &[u8]) -> Option<usize> {
        places(hash).skip(1).find(|&place| self.is_at(place, hash, head))
    }

    #[inline]
    fn is_at(&self, place: usize, hash: u64, head: &[u8]) -> bool {
        let slot = &self.slots[place];
        slot.hash == hash
            && slot.present == self.present
            && slot.head.get(..slot.len.into()).is_some_and(|own| frame::is_same_topic(own, head))
    }

    fn add(&mut self, head: &[u8]) {
        if head.len() > HEAD {
            return;
        }
        let hash = self.hash(head);
        let free = places(hash).find(|&place| self.slots[place].present != self.present);
        let slot = &mut self.slots[free.unwrap_or(hash as usize % SLOTS)];
        (slot.present, slot.hash, slot.len) = (self.present, hash, head.len() as u8);
        slot.head[..head.len()].copy_from_slice(head);
    }

    /// Folded multiplication, of two words at a time; the last ones overlap. Topics that differ in one word only are as
    /// multiples of one number, which a bad seed would crowd into few slots: so it is done once more with both halves.
    #[inline]
    fn hash(&self, head: &[u8]) -> u64 {
        let product = |a: u64, b: u64| {
            let product = u128::from(a ^ self.seeds[0]) * u128::from(b ^ self.seeds[1]);
            (product as u64, (product >> 64) as u64)
        };
        let fold = |a: u64, b: u64| {
            let (low, high) = product(a, b);
            low ^ high
        };
        let (mut state, mut rest) = (head.len() as u64, head);
        while let Some((words, more)) = rest.split_first_chunk::<16>()
            && !more.is_empty()
        {
            let words = u128::from_le_bytes(*words);
            state = fold(state ^ words as u64, (words >> 64) as u64);
            rest = more;
        }
        let (first, last) = match (rest.first_chunk(), rest.last_chunk()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (0, rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
        };
        let (low, high) = product(state ^ first, last);
        fold(low, high)
    }
}

/// The slots that one may be in.
fn places(hash: u64) -> impl Iterator<Item = usize> {
    (0..PROBED).map(move |nth| (hash as usize).wrapping_add(nth) % SLOTS)
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
    fn thousands_of_topics_are_known_whatever_the_seed_and_a_stay_at_one_is_noticed() {
        let (mut router, mut wanted) = (Router::new(), Subscriptions::with_limit(10));
        wanted.add(b"", 1).unwrap();
        let mut input = Vec::new();
        for n in 0..1000 {
            frame::write(&mut input, frame::MORE, format!("bench/{n:05}").as_bytes());
            frame::write(&mut input, 0, b"x");
        }
        for seed in 1..=300u64 {
            let seeds = [seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), seed.wrapping_mul(0xd1b5_4a32_d192_ed03)];
            router.companions = Companions::with_seeds(seeds);
            router.head.clear();
            assert_eq!(route(&mut router, &mut wanted, &input).len(), 1000);
            let (mut known, mut at) = (0, 0);
            while at < input.len() {
                let (messages, length) = router.pass(&input[at..], usize::MAX, (2000, usize::MAX));
                known += messages;
                at += length
                    + if at + length < input.len() {
                        two_frames(&input[at + length..], usize::MAX).unwrap().1
                    } else {
                        0
                    };
            }
            // A slot is for one: some are displaced, at most 11 by 20,000 seeds.
            assert!(known >= 970, "{known} with {seeds:?}");
        }
        let (head, total) = two_frames(&input, usize::MAX).unwrap();
        let same = input[..total].repeat(3);
        assert_eq!(router.pass(&same, usize::MAX, (10, usize::MAX)), (3, same.len()));
        assert_eq!(router.head, head);
    }
}

//! What a table answered of late. A hit takes a third to two thirds of the instructions of a look-up (120 against 180 to
//! 360), also where several prefixes match and their subscribers would have to be united.

use super::Subscriptions;
use std::hash::{BuildHasher, RandomState};

/// A longer topic, or one that more subscribers want, is looked up each time: so memory is bounded.
const TOPIC_BYTES: usize = 64;
const TARGETS: usize = 128;

/// More slots than this would miss the processor's caches more often than they save it work.
const MOST_SLOTS: usize = 1 << 16;

/// Remembers who wanted which topic, for topics that come again: a direct-mapped cache in front of one table.
///
/// An answer counts until the table's [`generation`](Subscriptions::generation) moves. In the steady state nothing is
/// allocated. Memory: 120 bytes per slot, and at most 128 subscribers.
///
/// ```
/// use multiplane_core::{MatchCache, Subscriptions};
///
/// let (mut table, mut cache) = (Subscriptions::with_limit(1000), MatchCache::with_slots(1024));
/// assert_eq!(table.add(b"temp", 1), Ok(true));
/// assert_eq!(cache.lookup(&mut table, b"temperature"), [1]);
/// assert_eq!(cache.lookup(&mut table, b"temperature"), [1], "from memory");
/// assert_eq!(table.add(b"", 2), Ok(true));
/// assert_eq!(cache.lookup(&mut table, b"temperature"), [1, 2]);
/// ```
#[derive(Debug)]
pub struct MatchCache<W> {
    /// A power of two.
    slots: Box<[Slot<W>]>,
    hash: TopicHash,
}

#[derive(Debug, Clone)]
struct Slot<W> {
    hash: u64,
    /// `None` if empty.
    generation: Option<u64>,
    len: u8,
    topic: [u8; TOPIC_BYTES],
    targets: Vec<W>,
}

impl<W: Copy + Ord> MatchCache<W> {
    /// An empty cache with at least so many slots, at most 65,536. Always use it with the same table.
    #[must_use]
    pub fn with_slots(slots: usize) -> Self {
        let slots = slots.clamp(1, MOST_SLOTS).next_power_of_two();
        let empty = Slot { hash: 0, generation: None, len: 0, topic: [0; TOPIC_BYTES], targets: Vec::new() };
        Self { slots: vec![empty; slots].into(), hash: TopicHash::new() }
    }

    /// What [`Subscriptions::lookup`] answers, from memory if it can be.
    #[inline]
    pub fn lookup<'a>(&'a mut self, table: &'a mut Subscriptions<W>, topic: &[u8]) -> &'a [W] {
        let hash = self.hash.of(topic);
        let at = hash as usize & (self.slots.len() - 1);
        let Some(slot) = self.slots.get_mut(at) else { return &[] };
        let known = slot.hash == hash
            && slot.generation == Some(table.generation())
            && slot.topic.get(..slot.len.into()) == Some(topic);
        if known { &slot.targets } else { slot.fill(table, hash, topic) }
    }
}

impl<W: Copy + Ord> Slot<W> {
    fn fill<'a>(&mut self, table: &'a mut Subscriptions<W>, hash: u64, topic: &[u8]) -> &'a [W] {
        let generation = Some(table.generation());
        let targets = table.lookup(topic);
        if let Some(own) = self.topic.get_mut(..topic.len())
            && targets.len() <= TARGETS
        {
            own.copy_from_slice(topic);
            (self.hash, self.generation, self.len) = (hash, generation, topic.len() as u8);
            self.targets.clear();
            self.targets.extend_from_slice(targets);
        }
        targets
    }
}

/// Hashes topics for tables of those that came of late; nobody outside can choose topics that share a slot. Folded
/// multiplication, eight bytes at a time: SipHash would cost as much as the look-up that is to be saved.
#[derive(Debug, Clone)]
pub struct TopicHash {
    seeds: [u64; 2],
}

impl TopicHash {
    /// With seeds of its own.
    #[must_use]
    pub fn new() -> Self {
        let random = RandomState::new();
        Self { seeds: [random.hash_one(1), random.hash_one(2)] }
    }

    /// The hash of a topic.
    #[inline]
    #[must_use]
    pub fn of(&self, topic: &[u8]) -> u64 {
        let [first, second] = self.seeds;
        let fold = |a: u64| {
            let product = u128::from(a) * u128::from(second | 1);
            product as u64 ^ (product >> 64) as u64
        };
        let (mut state, mut rest) = (first ^ topic.len() as u64, topic);
        while let Some((chunk, more)) = rest.split_first_chunk() {
            state = fold(state ^ u64::from_le_bytes(*chunk));
            rest = more;
        }
        match topic.last_chunk() {
            Some(last) => state ^= u64::from_le_bytes(*last),
            None => state ^= rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        }
        // Once more, for with one multiplication topics that are numbered lie in rows, and some seeds lay those on each other.
        fold(fold(state))
    }
}

impl Default for TopicHash {
    fn default() -> Self {
        Self::new()
    }
}

//! Who gets the topics that came of late: what arrives need not be checked and matched again.

use multiplane_codec::zmtp::frame::is_same_topic;
use multiplane_core::TopicHash;

/// At most so many are known, of at most so many bytes: half a megabyte for each link that gets as many.
const MOST: usize = 4096;
const LONGEST: usize = 64;

/// So many at first, for most links get few.
const FIRST: usize = 64;

/// Slots that a topic may be in.
const PROBED: usize = 4;

pub(super) struct KnownTopics {
    /// A power of two, or none at all.
    slots: Vec<Slot>,
    /// Slots with another number are empty.
    present: u64,
    hash: TopicHash,
}

#[derive(Clone, Default)]
struct Slot {
    present: u64,
    hash: u64,
    receivers: u64,
    topic: String,
}

impl KnownTopics {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), present: 1, hash: TopicHash::new() }
    }

    pub(super) fn forget(&mut self) {
        self.present += 1;
    }

    /// A topic as text, and who gets it.
    #[inline]
    pub(super) fn find(&self, topic: &[u8]) -> Option<(&str, u64)> {
        let hash = self.hash.of(topic);
        let is_it = |slot: &&Slot| {
            slot.hash == hash && slot.present == self.present && is_same_topic(slot.topic.as_bytes(), topic)
        };
        let slot = self.places(hash).find_map(|place| self.slots.get(place).filter(is_it))?;
        Some((&slot.topic, slot.receivers))
    }

    /// Remembers a topic that was not found, perhaps in the place of another.
    pub(super) fn add(&mut self, topic: &str, receivers: u64) {
        if topic.len() > LONGEST {
            return;
        }
        let hash = self.hash.of(topic.as_bytes());
        let is_free = |slot: &Slot| slot.present != self.present;
        let free = self.places(hash).find(|&place| self.slots.get(place).is_some_and(is_free));
        if free.is_none() && self.slots.len() < MOST {
            // Those that still come are found out again.
            let slots = (4 * self.slots.len()).clamp(FIRST, MOST);
            self.slots = vec![Slot::default(); slots];
        }
        let place = free.or_else(|| self.places(hash).next());
        let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) else { return };
        (slot.present, slot.hash, slot.receivers) = (self.present, hash, receivers);
        slot.topic.clear();
        slot.topic.push_str(topic);
    }

    /// The slots that one may be in.
    #[inline]
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().wrapping_sub(1);
        (0..PROBED).map(move |nth| (hash as usize).wrapping_add(nth) & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_known_until_what_is_wanted_changes() {
        let mut known = KnownTopics::new();
        assert_eq!(known.find(b"x"), None);
        for round in 1..4u64 {
            let topics: Vec<String> = (0..1000).map(|n| format!("bench/{n:05}")).collect();
            // The table grows while it is used, and forgets then.
            for _ in 0..4 {
                for topic in &topics {
                    if known.find(topic.as_bytes()).is_none() {
                        known.add(topic, round);
                    }
                }
            }
            let found = |topic: &&String| known.find(topic.as_bytes()) == Some((topic.as_str(), round));
            let count = topics.iter().filter(found).count();
            assert!(count > 950, "{count} of 1000 are known");
            assert!(
                topics.iter().all(|topic| known.find(topic.as_bytes()).is_none_or(|(_, to)| to == round))
            );
            known.forget();
            assert_eq!(known.find(topics[0].as_bytes()), None);
        }
    }

    #[test]
    fn there_is_a_bound() {
        let mut known = KnownTopics::new();
        for n in 0..100_000 {
            known.add(&format!("one of many {n}"), 1);
        }
        assert_eq!(known.slots.len(), MOST);
        known.add("one more", 1);
        assert_eq!(known.find(b"one more"), Some(("one more", 1)));
        let long = "x".repeat(LONGEST + 1);
        known.add(&long, 1);
        assert_eq!((known.find(long.as_bytes()), known.find(&long.as_bytes()[1..])), (None, None));
    }
}

//! What was found out of late about topics, for those that come again.

use std::hash::{BuildHasher, RandomState};

/// Longer topics are found out about each time. So a slot with a small value is one line of the processor's cache.
const TOPIC_BYTES: usize = 43;

/// Slots at first, for most get few topics.
const FIRST: usize = 64;

/// Slots that a topic may be in.
const PROBED: usize = 4;

/// Remembers what was found out about topics, until it is told that this no longer holds: an associative cache in front of
/// what is dearer to ask. Topics of up to 43 bytes are remembered.
///
/// It grows to its bound as it is used. Memory: 64 bytes for each slot with a value of up to 4 bytes.
///
/// ```
/// use multiplane_core::RecentTopics;
///
/// let mut recent = RecentTopics::with_slots(1024);
/// assert_eq!(recent.find(b"echo"), None);
/// recent.add(b"echo", |wanted| *wanted = true);
/// assert_eq!(recent.find(b"echo"), Some(&true));
/// recent.forget();
/// assert_eq!(recent.find(b"echo"), None);
/// ```
#[derive(Debug)]
pub struct RecentTopics<T> {
    /// A power of two.
    slots: Box<[Slot<T>]>,
    most: usize,
    /// Slots with another number are empty.
    present: u64,
    /// Nobody outside can choose topics that share a slot.
    seeds: [u64; 2],
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Slot<T> {
    present: u64,
    hash: u64,
    value: T,
    len: u8,
    topic: [u8; TOPIC_BYTES],
}

impl<T: Clone + Default> RecentTopics<T> {
    /// Knows nothing yet, and never more than so many topics; 64 at least.
    #[must_use]
    pub fn with_slots(most: usize) -> Self {
        let random = RandomState::new();
        Self::with_seeds(most, [random.hash_one(1), random.hash_one(2)])
    }

    fn with_seeds(most: usize, seeds: [u64; 2]) -> Self {
        Self { slots: empty(FIRST), most: most.max(FIRST), present: 1, seeds }
    }

    /// Nothing holds any longer.
    pub fn forget(&mut self) {
        self.present += 1;
    }

    /// What is remembered of this topic.
    #[inline]
    #[must_use]
    pub fn find(&self, topic: &[u8]) -> Option<&T> {
        let hash = self.hash(topic);
        let slot = self.slot(hash as usize)?;
        if slot.is(self.present, hash, topic) { Some(&slot.value) } else { self.find_beside(hash, topic) }
    }

    #[inline(never)]
    fn find_beside(&self, hash: u64, topic: &[u8]) -> Option<&T> {
        let places = (0..PROBED).map_while(|nth| self.slot((hash as usize).wrapping_add(nth)));
        let mut taken = places.take_while(|slot| slot.present == self.present);
        taken.find(|slot| slot.is(self.present, hash, topic)).map(|slot| &slot.value)
    }

    /// Remembers a topic that was not found, perhaps in the place of another. `set` gets an old value to write over.
    pub fn add(&mut self, topic: &[u8], set: impl FnOnce(&mut T)) {
        if topic.len() > TOPIC_BYTES {
            return;
        }
        let hash = self.hash(topic);
        let mask = self.slots.len() - 1;
        let places = (0..PROBED).map(|nth| (hash as usize).wrapping_add(nth) & mask);
        let free = places.clone().find(|&place| self.slots[place].present != self.present);
        if free.is_none() && 2 * self.slots.len() <= self.most {
            // Those that still come are found out about again.
            self.slots = empty(self.slots.len() * if 4 * self.slots.len() <= self.most { 4 } else { 2 });
            return self.add(topic, set);
        }
        let slot = &mut self.slots[free.unwrap_or(hash as usize & mask)];
        (slot.present, slot.hash, slot.len) = (self.present, hash, topic.len() as u8);
        slot.topic[..topic.len()].copy_from_slice(topic);
        set(&mut slot.value);
    }

    #[inline]
    fn slot(&self, place: usize) -> Option<&Slot<T>> {
        self.slots.get(place & self.slots.len().wrapping_sub(1))
    }

    /// Folded multiplication, of two words at a time; the last ones overlap. Topics that differ in one word only are as
    /// multiples of one number, which a bad seed would crowd into few slots: so it is done once more with both halves.
    /// SipHash would cost as much as what is to be saved.
    #[inline]
    fn hash(&self, topic: &[u8]) -> u64 {
        let product = |a: u64, b: u64| {
            let product = u128::from(a ^ self.seeds[0]) * u128::from(b ^ self.seeds[1]);
            (product as u64, (product >> 64) as u64)
        };
        let fold = |a: u64, b: u64| {
            let (low, high) = product(a, b);
            low ^ high
        };
        let (mut state, mut rest) = (topic.len() as u64, topic);
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

impl<T> Slot<T> {
    #[inline]
    fn is(&self, present: u64, hash: u64, topic: &[u8]) -> bool {
        self.hash == hash && self.present == present && usize::from(self.len) == topic.len() && {
            let own = &self.topic;
            // Which for most topics takes no call.
            match topic.len() {
                8..=16 => {
                    own.first_chunk::<8>() == topic.first_chunk()
                        && own[..topic.len()].last_chunk::<8>() == topic.last_chunk()
                }
                17..=32 => {
                    own.first_chunk::<16>() == topic.first_chunk()
                        && own[..topic.len()].last_chunk::<16>() == topic.last_chunk()
                }
                len => own.get(..len) == Some(topic),
            }
        }
    }
}

fn empty<T: Clone + Default>(slots: usize) -> Box<[Slot<T>]> {
    let slot = Slot { present: 0, hash: 0, value: T::default(), len: 0, topic: [0; TOPIC_BYTES] };
    vec![slot; slots.next_power_of_two()].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slot_with_a_small_value_is_one_line() {
        assert_eq!((size_of::<Slot<u32>>(), size_of::<Slot<bool>>()), (64, 64));
    }

    /// As whoever asks does.
    fn ask(recent: &mut RecentTopics<String>, topic: &[u8]) -> bool {
        let text = format!("{topic:?}");
        match recent.find(topic) {
            Some(found) => {
                assert_eq!(*found, text);
                true
            }
            None => {
                recent.add(topic, |value| *value = text);
                false
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_found_was_added_and_is_not_forgotten(
            steps in proptest::collection::vec((0usize..60, 0u8..3, 0usize..40), 0..300),
            seeds in any::<[u64; 2]>(),
        ) {
            let mut recent = RecentTopics::with_seeds(128, seeds);
            let mut since = std::collections::HashSet::new();
            for (length, byte, step) in steps {
                // They differ in the last byte, in the first, or in their length.
                let mut topic = vec![b'a'; length];
                match byte {
                    0 => topic.push(byte),
                    1 => topic.insert(0, byte),
                    _ => {}
                }
                if step == 0 {
                    recent.forget();
                    since.clear();
                }
                let found = ask(&mut recent, &topic);
                prop_assert!(!found || since.contains(&topic));
                since.insert(topic);
            }
        }
    }

    #[test]
    fn thousands_of_topics_are_known_whatever_the_seed() {
        let topics: Vec<String> = (0..1000).map(|n| format!("bench/{n:05}")).collect();
        for seed in 1..=300u64 {
            let seeds = [seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), seed.wrapping_mul(0xd1b5_4a32_d192_ed03)];
            let mut recent = RecentTopics::with_seeds(4096, seeds);
            // It grows while it is used, and forgets then.
            for _ in 0..4 {
                for topic in &topics {
                    ask(&mut recent, topic.as_bytes());
                }
            }
            let known = topics.iter().filter(|topic| recent.find(topic.as_bytes()).is_some()).count();
            // A slot is for one: some are displaced, at most 11 by 20,000 seeds.
            assert!(known >= 970, "{known} with {seeds:?}");
        }
    }

    #[test]
    fn there_is_a_bound() {
        let mut recent = RecentTopics::with_slots(1000);
        for n in 0..100_000 {
            ask(&mut recent, format!("one of many {n}").as_bytes());
        }
        assert_eq!(recent.slots.len(), 512);
        assert!(!ask(&mut recent, b"one more") && ask(&mut recent, b"one more"));
        let long = [b'x'; TOPIC_BYTES + 1];
        assert!(!ask(&mut recent, &long) && !ask(&mut recent, &long) && !ask(&mut recent, &long[1..]));
        assert!(ask(&mut recent, &long[1..]));
    }
}

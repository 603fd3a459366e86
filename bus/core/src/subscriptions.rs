//! Who wants which topics: a counted table of topic prefixes.
//!
//! A subscription is a byte prefix of the topic; the empty one matches everything. As in ZeroMQ a repeated subscription
//! counts, and needs as many removals. A message goes to each subscriber once, however many of its prefixes match.
//!
//! Matching looks up one prefix of the topic per *distinct prefix length* in the table that is not longer than the
//! topic. It does not depend on the number of prefixes: a million of them with twelve lengths cost twelve look-ups.

use crate::budget::SUBSCRIPTION_TOPIC_BYTES;
use std::collections::{BTreeMap, HashMap};

/// A subscription that was not taken; the table is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The table is full.
    #[error(
        "subscription table: all {limit} places are taken; remove some, use a shorter prefix, or raise the limit"
    )]
    Full {
        /// The bound that was reached.
        limit: usize,
    },
    /// The prefix is longer than any reasonable topic.
    #[error(
        "subscription table: a prefix of {length} bytes is over the limit of {limit}; subscribe to its beginning"
    )]
    TooLong {
        /// Bytes in the prefix.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Counted topic prefixes of many subscribers, each known by a small id `W` (say a `u16`).
///
/// ```
/// use multiplane_core::Subscriptions;
///
/// let mut table = Subscriptions::with_limit(1000);
/// assert_eq!(table.add(b"temp", 1), Ok(true), "a new prefix: tell the publishers");
/// assert_eq!(table.add(b"temp", 2), Ok(false), "known already");
/// assert_eq!(table.add(b"temperature", 2), Ok(true));
///
/// let mut wanted_by = vec![];
/// table.for_each_match(b"temperature/kitchen", |who| wanted_by.push(who));
/// assert_eq!(wanted_by, [1, 2], "each once");
///
/// assert!(!table.remove(b"temp", 1), "2 still wants it");
/// assert!(table.remove(b"temp", 2), "the last one: tell the publishers");
/// assert!(!table.matches(b"temp"));
/// ```
#[derive(Debug)]
pub struct Subscriptions<W> {
    /// Per prefix its subscribers, sorted, with the count of each.
    prefixes: HashMap<Box<[u8]>, Vec<(W, u32)>>,
    /// The distinct lengths in `prefixes`, sorted, with the number of prefixes of each.
    lengths: Vec<(usize, usize)>,
    /// Per subscriber the number of its distinct prefixes.
    members: BTreeMap<W, usize>,
    /// Room for one entry per member, so that matching need not allocate.
    union: Vec<W>,
    /// Distinct (prefix, subscriber) pairs: what costs memory and so what is bounded.
    pairs: usize,
    limit: usize,
}

impl<W: Copy + Ord> Subscriptions<W> {
    /// An empty table for at most `max_subscriptions` distinct (prefix, subscriber) pairs, and so at most as many
    /// prefixes. Repetitions take no room. Memory: about 160 bytes per short prefix, 16 per further subscriber of it.
    #[must_use]
    pub fn with_limit(max_subscriptions: usize) -> Self {
        Subscriptions {
            prefixes: HashMap::new(),
            lengths: Vec::new(),
            members: BTreeMap::new(),
            union: Vec::new(),
            pairs: 0,
            limit: max_subscriptions,
        }
    }

    /// Subscribes `who` to `prefix`. `true` when nobody had this prefix before, so that it must go upstream.
    ///
    /// # Errors
    /// The table is full, or the prefix is over 1024 bytes.
    pub fn add(&mut self, prefix: &[u8], who: W) -> Result<bool, SubscriptionError> {
        if prefix.len() > SUBSCRIPTION_TOPIC_BYTES {
            return Err(SubscriptionError::TooLong { length: prefix.len(), limit: SUBSCRIPTION_TOPIC_BYTES });
        }
        let room = self.pairs < self.limit;
        let full = Err(SubscriptionError::Full { limit: self.limit });
        let is_new = match self.prefixes.get_mut(prefix) {
            Some(subscribers) => match subscribers.binary_search_by_key(&who, |&(who, _)| who) {
                Ok(at) => {
                    subscribers[at].1 = subscribers[at].1.saturating_add(1);
                    return Ok(false);
                }
                Err(_) if !room => return full,
                Err(at) => {
                    subscribers.insert(at, (who, 1));
                    false
                }
            },
            None if !room => return full,
            None => {
                self.prefixes.insert(prefix.into(), vec![(who, 1)]);
                match self.lengths.binary_search_by_key(&prefix.len(), |&(length, _)| length) {
                    Ok(at) => self.lengths[at].1 += 1,
                    Err(at) => self.lengths.insert(at, (prefix.len(), 1)),
                }
                true
            }
        };
        self.pairs += 1;
        *self.members.entry(who).or_insert(0) += 1;
        self.union.clear();
        self.union.reserve(self.members.len());
        Ok(is_new)
    }

    /// Takes back one subscription. `true` when it was the last of this prefix in the table, so that it must be
    /// cancelled upstream. Removing what is not there changes nothing.
    pub fn remove(&mut self, prefix: &[u8], who: W) -> bool {
        let Some(subscribers) = self.prefixes.get_mut(prefix) else { return false };
        let Ok(at) = subscribers.binary_search_by_key(&who, |&(who, _)| who) else { return false };
        if subscribers[at].1 > 1 {
            subscribers[at].1 -= 1;
            return false;
        }
        subscribers.remove(at);
        let vanished = subscribers.is_empty();
        if vanished {
            self.prefixes.remove(prefix);
            self.drop_length(prefix.len());
        }
        self.pairs -= 1;
        if let Some(count) = self.members.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                self.members.remove(&who);
            }
        }
        vanished
    }

    /// Takes back every subscription of `who`, whatever its count, and returns the prefixes that nobody else has:
    /// cancel these upstream. Looks at the whole table: for a subscriber that leaves.
    pub fn remove_all(&mut self, who: W) -> Vec<Box<[u8]>> {
        let mut vanished = Vec::new();
        let Some(mut left) = self.members.remove(&who) else { return vanished };
        self.pairs -= left;
        self.prefixes.retain(|prefix, subscribers| {
            if left == 0 {
                return true;
            }
            if let Ok(at) = subscribers.binary_search_by_key(&who, |&(who, _)| who) {
                subscribers.remove(at);
                left -= 1;
                if subscribers.is_empty() {
                    vanished.push(prefix.clone());
                    return false;
                }
            }
            true
        });
        for prefix in &vanished {
            self.drop_length(prefix.len());
        }
        vanished
    }

    /// Whether anybody wants this topic. Does not allocate.
    #[must_use]
    pub fn matches(&self, topic: &[u8]) -> bool {
        matching(&self.prefixes, &self.lengths, topic).next().is_some()
    }

    /// Visits everybody who wants this topic: each once, in ascending order. Does not allocate.
    /// (`&mut self` for the table's own scratch space only.)
    pub fn for_each_match(&mut self, topic: &[u8], mut visit: impl FnMut(W)) {
        let mut found = matching(&self.prefixes, &self.lengths, topic);
        let Some(first) = found.next() else { return };
        let Some(second) = found.next() else {
            return first.iter().for_each(|&(who, _)| visit(who));
        };
        self.union.clear();
        self.union.extend(first.iter().map(|&(who, _)| who));
        for &(who, _) in std::iter::once(second).chain(found).flatten() {
            if let Err(at) = self.union.binary_search(&who) {
                self.union.insert(at, who);
            }
        }
        self.union.iter().copied().for_each(visit);
    }

    /// Whether `who` subscribes to exactly this prefix.
    #[must_use]
    pub fn contains(&self, prefix: &[u8], who: W) -> bool {
        let subscribers = self.prefixes.get(prefix);
        subscribers.is_some_and(|subscribers| subscribers.binary_search_by_key(&who, |&(who, _)| who).is_ok())
    }

    /// Everybody with at least one subscription, in rising order.
    pub fn subscribers(&self) -> impl Iterator<Item = W> {
        self.members.keys().copied()
    }

    /// The distinct prefixes, in no particular order: what to send again after a reconnection.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.prefixes.keys().map(|prefix| &**prefix)
    }

    /// Number of distinct prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether nobody wants anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Forgets everything but the limit.
    pub fn clear(&mut self) {
        *self = Self::with_limit(self.limit);
    }

    /// One prefix of this length is gone.
    fn drop_length(&mut self, length: usize) {
        if let Ok(at) = self.lengths.binary_search_by_key(&length, |&(length, _)| length) {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.remove(at);
            }
        }
    }
}

/// The subscribers of each prefix of `topic` that is in the table. A function of the two fields it reads, so that
/// the scratch space can be written meanwhile.
fn matching<'a, W>(
    prefixes: &'a HashMap<Box<[u8]>, Vec<(W, u32)>>,
    lengths: &'a [(usize, usize)],
    topic: &'a [u8],
) -> impl Iterator<Item = &'a [(W, u32)]> {
    let fitting = lengths.iter().map_while(|&(length, _)| topic.get(..length));
    fitting.filter_map(|prefix| prefixes.get(prefix)).map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the table should do, without a thought for speed: every subscription by itself, repeats and all.
    #[derive(Debug, Default)]
    struct Model(Vec<(Vec<u8>, u8)>);

    impl Model {
        fn has(&self, prefix: &[u8]) -> bool {
            self.0.iter().any(|(own, _)| own == prefix)
        }

        fn remove(&mut self, prefix: &[u8], who: u8) -> bool {
            match self.0.iter().position(|(own, other)| own == prefix && *other == who) {
                Some(at) => {
                    self.0.remove(at);
                    !self.has(prefix)
                }
                None => false,
            }
        }

        fn prefixes(&self) -> Vec<Vec<u8>> {
            let mut prefixes: Vec<_> = self.0.iter().map(|(prefix, _)| prefix.clone()).collect();
            prefixes.sort();
            prefixes.dedup();
            prefixes
        }

        fn wanted_by(&self, topic: &[u8]) -> Vec<u8> {
            let matching = self.0.iter().filter(|(prefix, _)| topic.starts_with(prefix));
            let mut who: Vec<u8> = matching.map(|(_, who)| *who).collect();
            who.sort();
            who.dedup();
            who
        }
    }

    fn wanted_by<W: Copy + Ord>(table: &mut Subscriptions<W>, topic: &[u8]) -> Vec<W> {
        let mut who = vec![];
        table.for_each_match(topic, |one| who.push(one));
        who
    }

    fn sorted(prefixes: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Vec<u8>> {
        let mut prefixes: Vec<_> = prefixes.into_iter().map(|prefix| prefix.as_ref().to_vec()).collect();
        prefixes.sort();
        prefixes
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(Vec<u8>, u8),
        Remove(Vec<u8>, u8),
        RemoveAll(u8),
        Clear,
        Match(Vec<u8>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let text = || proptest::collection::vec(0u8..2, 0..5);
        let step = prop_oneof![
            10 => (text(), 0u8..4).prop_map(|(prefix, who)| Step::Add(prefix, who)),
            8 => (text(), 0u8..4).prop_map(|(prefix, who)| Step::Remove(prefix, who)),
            1 => (0u8..4).prop_map(Step::RemoveAll),
            1 => Just(Step::Clear),
            10 => proptest::collection::vec(0u8..2, 0..7).prop_map(Step::Match),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn the_table_does_what_the_model_does(steps in steps()) {
            let (mut table, mut model) = (Subscriptions::with_limit(1000), Model::default());
            for step in steps {
                match step {
                    Step::Add(prefix, who) => {
                        prop_assert_eq!(table.add(&prefix, who), Ok(!model.has(&prefix)));
                        model.0.push((prefix, who));
                    }
                    Step::Remove(prefix, who) => {
                        prop_assert_eq!(table.remove(&prefix, who), model.remove(&prefix, who));
                    }
                    Step::RemoveAll(who) => {
                        let before = model.prefixes();
                        model.0.retain(|(_, other)| *other != who);
                        let vanished: Vec<_> = before.into_iter().filter(|prefix| !model.has(prefix)).collect();
                        prop_assert_eq!(sorted(table.remove_all(who)), vanished);
                    }
                    Step::Clear => {
                        table.clear();
                        model.0.clear();
                    }
                    Step::Match(topic) => {
                        let expected = model.wanted_by(&topic);
                        let room = table.union.capacity();
                        prop_assert_eq!(table.matches(&topic), !expected.is_empty());
                        prop_assert_eq!(wanted_by(&mut table, &topic), expected);
                        prop_assert_eq!(table.union.capacity(), room, "matching allocated");
                    }
                }
                let mut pairs = model.0.clone();
                pairs.sort();
                pairs.dedup();
                prop_assert_eq!(table.pairs, pairs.len());
                let mut members: Vec<u8> = pairs.iter().map(|(_, who)| *who).collect();
                members.sort();
                members.dedup();
                prop_assert_eq!(table.members.keys().copied().collect::<Vec<_>>(), members);
                prop_assert_eq!(table.len(), model.prefixes().len());
                prop_assert_eq!(table.is_empty(), model.0.is_empty());
                prop_assert_eq!(sorted(table.prefixes()), model.prefixes());
                // The cost of matching is the number of distinct lengths, so none may be left over.
                let mut lengths: Vec<_> = model.prefixes().iter().map(Vec::len).collect();
                lengths.sort();
                lengths.dedup();
                prop_assert_eq!(table.lengths.iter().map(|&(length, _)| length).collect::<Vec<_>>(), lengths);
            }
        }
    }

    #[test]
    fn the_limit_counts_pairs_and_repeats_are_free() {
        let mut table = Subscriptions::with_limit(3);
        assert_eq!(table.add(b"a", 1), Ok(true));
        assert_eq!(table.add(b"a", 2), Ok(false));
        assert_eq!(table.add(b"b", 1), Ok(true));
        let full = Err(SubscriptionError::Full { limit: 3 });
        assert_eq!(table.add(b"c", 1), full);
        assert_eq!(table.add(b"b", 2), full);
        assert_eq!(table.add(b"a", 2), Ok(false), "a repeat");
        assert_eq!((table.len(), wanted_by(&mut table, b"b")), (2, vec![1]), "a refusal changes nothing");
        assert!(!table.matches(b"c"));

        assert!(!table.remove(b"a", 2), "one of two");
        assert_eq!(table.add(b"c", 1), full);
        assert!(!table.remove(b"a", 2), "the last of 2, but 1 wants it too");
        assert_eq!(table.add(b"c", 1), Ok(true), "room again");
        assert_eq!(table.remove_all(1).len(), 3);
        for who in 1..=3 {
            assert_eq!(table.add(b"d", who), Ok(who == 1), "room for three again");
        }
        assert_eq!(table.add(b"d", 4), full);
        table.clear();
        assert_eq!(table.add(b"d", 4), Ok(true));
        assert!(
            table
                .add(b"e", 4)
                .and(table.add(b"f", 4))
                .and(table.add(b"g", 4))
                .unwrap_err()
                .to_string()
                .starts_with("subscription table: all 3 places are taken; ")
        );
    }

    #[test]
    fn a_prefix_of_1024_bytes_is_the_longest() {
        let mut table = Subscriptions::with_limit(9);
        assert_eq!(table.add(&[b't'; 1024], 1u8), Ok(true));
        let refused = table.add(&[b't'; 1025], 1);
        assert_eq!(refused, Err(SubscriptionError::TooLong { length: 1025, limit: 1024 }));
        assert!(refused.unwrap_err().to_string().contains("1025 bytes is over the limit of 1024"));
        assert!(table.matches(&[b't'; 5000]) && !table.matches(&[b't'; 1023]));
    }

    #[test]
    fn a_million_prefixes_fit_and_leave() {
        const MANY: u32 = 1_000_000;
        let mut table = Subscriptions::with_limit(MANY as usize);
        for i in 0..MANY {
            assert_eq!(table.add(&i.to_be_bytes(), 1u16), Ok(true));
        }
        assert_eq!(table.add(b"one more", 1), Err(SubscriptionError::Full { limit: MANY as usize }));
        assert_eq!((table.len(), table.lengths.len()), (MANY as usize, 1), "one look-up per message");
        assert_eq!(wanted_by(&mut table, &[0, 0, 1, 0, b'/']), [1]);
        assert!(!table.matches(&[0xff; 9]));
        assert_eq!(table.remove_all(1).len(), MANY as usize);
        assert!(table.is_empty() && table.lengths.is_empty());
    }
}

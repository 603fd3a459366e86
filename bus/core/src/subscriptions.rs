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
    /// prefixes. Repetitions take no room. Memory: about 150 bytes per prefix, 16 per further subscriber of it.
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

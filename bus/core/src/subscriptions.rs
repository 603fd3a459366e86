//! Who wants which topics: a counted table of topic prefixes.
//!
//! A subscription is a byte prefix of the topic; the empty one matches everything. As in ZeroMQ a repeated subscription
//! counts, and needs as many removals. A message goes to each subscriber once, however many of its prefixes match.
//!
//! The table is a radix tree: matching walks down along the topic, at most one node per byte of it, and shared beginnings
//! are kept once. The alternative, one hash look-up per distinct length of prefix, was measured beside it. With 100,000
//! topics like `sensor/123/temperature` (five lengths) the tree takes 360 instructions and a fifth of the time of 630 with
//! a fast hash (1440 with SipHash). The hash wins only where a million random topics have one and the same length; and
//! a peer that subscribes to 1024 lengths makes it hash each topic 1024 times, while the tree has nothing to attack.

mod edges;
mod trie;

#[cfg(test)]
mod tests;

use crate::budget::SUBSCRIPTION_TOPIC_BYTES;
use std::collections::BTreeMap;
use trie::{Held, Hold, Trie};

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
    prefixes: Trie<W>,
    /// The subscribers of prefixes that have more than one.
    lists: Vec<List<W>>,
    free_lists: Vec<u32>,
    /// Per subscriber the nodes of its prefixes, in no order.
    holders: BTreeMap<W, Vec<u32>>,
    /// Room for twice as many as there are subscribers, so that matching need not allocate.
    union: Vec<W>,
    /// Distinct prefixes.
    len: usize,
    /// Distinct (prefix, subscriber) pairs.
    pairs: usize,
    limit: usize,
}

/// The subscribers of one prefix in ascending order, side by side so that they can be handed out as they are.
#[derive(Debug, Default)]
struct List<W> {
    who: Vec<W>,
    holds: Vec<Hold>,
}

impl<W: Copy + Ord> Subscriptions<W> {
    /// An empty table for at most `max_subscriptions` distinct (prefix, subscriber) pairs, and so at most as many
    /// prefixes. Repetitions take no room, shared beginnings of prefixes are kept once.
    ///
    /// Memory: 60 to 70 bytes per short prefix, 12 (and once 100) per further subscriber of it. Text that a prefix shares
    /// with no other takes 44 bytes for each 15; where that comes to more than four such pieces for each subscription
    /// within the limit, the table is full before it: at most about 250 bytes per subscription, whatever anybody sends.
    #[must_use]
    pub fn with_limit(max_subscriptions: usize) -> Self {
        let limit = max_subscriptions.min(u32::MAX as usize);
        Subscriptions {
            prefixes: Trie::with_limit(limit.saturating_mul(4).saturating_add(SUBSCRIPTION_TOPIC_BYTES)),
            lists: Vec::new(),
            free_lists: Vec::new(),
            holders: BTreeMap::new(),
            union: Vec::new(),
            len: 0,
            pairs: 0,
            limit,
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
        if let Some(node) = self.prefixes.find(prefix)
            && let Some(hold) = self.hold(node, who)
        {
            hold.count = hold.count.saturating_add(1);
            return Ok(false);
        }
        let full = SubscriptionError::Full { limit: self.limit };
        if self.pairs == self.limit {
            return Err(full);
        }
        let node = self.prefixes.insert(prefix).ok_or(full)?;
        let held = self.holders.entry(who).or_default();
        let hold = Hold { count: 1, at: held.len() as u32 };
        held.push(node);
        let is_new = self.put(node, who, hold);
        self.len += usize::from(is_new);
        self.pairs += 1;
        self.union.clear();
        self.union.reserve(2 * self.holders.len());
        Ok(is_new)
    }

    /// Takes back one subscription. `true` when it was the last of this prefix in the table, so that it must be
    /// cancelled upstream. Removing what is not there changes nothing.
    pub fn remove(&mut self, prefix: &[u8], who: W) -> bool {
        let Some(node) = self.prefixes.find(prefix) else { return false };
        let Some(hold) = self.hold(node, who) else { return false };
        if hold.count > 1 {
            hold.count -= 1;
            return false;
        }
        let at = hold.at;
        if let Some(held) = self.holders.get_mut(&who) {
            held.swap_remove(at as usize);
            match held.get(at as usize) {
                Some(&moved) => {
                    if let Some(hold) = self.hold(moved, who) {
                        hold.at = at;
                    }
                }
                None if held.is_empty() => {
                    self.holders.remove(&who);
                }
                None => {}
            }
        }
        let vanished = self.drop_pair(node, who);
        self.prefixes.prune(node);
        vanished
    }

    /// Takes back every subscription of `who`, whatever its count, and returns the prefixes that nobody else has:
    /// cancel these upstream. The work is in proportion to what `who` has.
    pub fn remove_all(&mut self, who: W) -> Vec<Box<[u8]>> {
        let mut vanished = Vec::new();
        for node in self.holders.remove(&who).unwrap_or_default() {
            if self.drop_pair(node, who) {
                vanished.push(self.prefixes.prefix(node).into());
                self.prefixes.prune(node);
            }
        }
        vanished
    }

    /// Whether anybody wants this topic. Does not allocate.
    #[must_use]
    pub fn matches(&self, topic: &[u8]) -> bool {
        let mut found = false;
        self.prefixes.walk(topic, |_| {
            found = true;
            false
        });
        found
    }

    /// Everybody who wants this topic: each once, in ascending order. Does not allocate.
    /// (`&mut self` for the table's own scratch space only.)
    #[inline]
    pub fn lookup(&mut self, topic: &[u8]) -> &[W] {
        let (lists, union) = (&self.lists, &mut self.union);
        let mut first: &[W] = &[];
        union.clear();
        self.prefixes.walk(topic, |held| {
            let list = members(lists, held);
            if first.is_empty() {
                first = list;
            } else {
                if union.is_empty() {
                    union.extend_from_slice(first);
                }
                unite(union, list);
            }
            true
        });
        if union.is_empty() {
            return first;
        }
        union.sort_unstable();
        union.dedup();
        union
    }

    /// Visits everybody who wants this topic: each once, in ascending order. Does not allocate.
    /// (`&mut self` for the table's own scratch space only.)
    #[inline]
    pub fn for_each_match(&mut self, topic: &[u8], visit: impl FnMut(W)) {
        self.lookup(topic).iter().copied().for_each(visit);
    }

    /// Whether `who` subscribes to exactly this prefix.
    #[must_use]
    pub fn contains(&self, prefix: &[u8], who: W) -> bool {
        let node = self.prefixes.find(prefix);
        node.is_some_and(|node| members(&self.lists, self.prefixes.held(node)).binary_search(&who).is_ok())
    }

    /// Everybody with at least one subscription, in rising order.
    pub fn subscribers(&self) -> impl Iterator<Item = W> {
        self.holders.keys().copied()
    }

    /// How many distinct prefixes `who` has: ask before an `add` to bound them per subscriber.
    #[must_use]
    pub fn held_by(&self, who: W) -> usize {
        self.holders.get(&who).map_or(0, Vec::len)
    }

    /// The distinct prefixes, in no particular order: what to send again after a reconnection.
    pub fn prefixes(&self) -> impl Iterator<Item = Vec<u8>> {
        self.prefixes.ends().map(|node| self.prefixes.prefix(node))
    }

    /// Number of distinct prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody wants anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything but the limit.
    pub fn clear(&mut self) {
        *self = Self::with_limit(self.limit);
    }

    /// What is noted of the subscription of `who` that ends at this node.
    fn hold(&mut self, node: u32, who: W) -> Option<&mut Hold> {
        match *self.prefixes.held(node) {
            Held::Nobody => None,
            Held::One(only) => (only == who).then(|| self.prefixes.hold(node)),
            Held::Many(list) => {
                let list = &mut self.lists[list as usize];
                list.who.binary_search(&who).ok().map(|at| &mut list.holds[at])
            }
        }
    }

    /// Adds a subscriber to a node that does not have it; whether it is the only one.
    fn put(&mut self, node: u32, who: W, hold: Hold) -> bool {
        match *self.prefixes.held(node) {
            Held::Nobody => {
                self.prefixes.set_held(node, Held::One(who));
                *self.prefixes.hold(node) = hold;
                return true;
            }
            Held::One(first) => {
                let list = List { who: vec![first], holds: vec![*self.prefixes.hold(node)] };
                let n = self.free_lists.pop().unwrap_or(self.lists.len() as u32);
                match self.lists.get_mut(n as usize) {
                    Some(free) => *free = list,
                    None => self.lists.push(list),
                }
                self.prefixes.set_held(node, Held::Many(n));
                self.put(node, who, hold);
            }
            Held::Many(list) => {
                let list = &mut self.lists[list as usize];
                if let Err(at) = list.who.binary_search(&who) {
                    list.who.insert(at, who);
                    list.holds.insert(at, hold);
                }
            }
        }
        false
    }

    /// Takes a subscriber from a node, but the node stays; whether it has none left.
    fn drop_pair(&mut self, node: u32, who: W) -> bool {
        self.pairs -= 1;
        if let Held::Many(n) = *self.prefixes.held(node) {
            let list = &mut self.lists[n as usize];
            if let Ok(at) = list.who.binary_search(&who) {
                list.who.remove(at);
                list.holds.remove(at);
            }
            if let (&[only], &[hold]) = (&*list.who, &*list.holds) {
                *list = List { who: Vec::new(), holds: Vec::new() };
                self.free_lists.push(n);
                self.prefixes.set_held(node, Held::One(only));
                *self.prefixes.hold(node) = hold;
            }
            return false;
        }
        self.len -= 1;
        if self.len == 0 {
            (self.lists, self.free_lists) = (Vec::new(), Vec::new());
        }
        self.prefixes.set_held(node, Held::Nobody);
        true
    }
}

/// The subscribers of one prefix. A function of the field it reads, so that the scratch space can be written meanwhile.
#[inline]
fn members<'a, W>(lists: &'a [List<W>], held: &'a Held<W>) -> &'a [W] {
    match held {
        Held::Nobody => &[],
        Held::One(who) => std::slice::from_ref(who),
        Held::Many(list) => lists.get(*list as usize).map_or(&[], |list| &list.who),
    }
}

/// Adds a list. There is room for everybody twice, and order is made only when it is used up: so a list costs its own
/// length and not that of the union, however many there are.
fn unite<W: Copy + Ord>(union: &mut Vec<W>, list: &[W]) {
    if union.capacity() - union.len() < list.len() {
        union.sort_unstable();
        union.dedup();
    }
    union.extend_from_slice(list);
}

//! Which sessions want a topic.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What a session wants of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Which session.
    pub(crate) session: usize,
    /// On which backplane only.
    pub(crate) backplane: Option<usize>,
    /// How long to pause after a message of a topic, which newer ones may then replace. `None`: all messages.
    pub(crate) pace: Option<Duration>,
}

/// All wishes of all sessions: a look-up costs one step for each different length of prefixes.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// Banyan clients want a topic, not all that begin so.
    exact: HashMap<String, Vec<Wish>>,
    prefixes: HashMap<String, Vec<Wish>>,
    /// How many different prefixes have this length.
    lengths: BTreeMap<usize, usize>,
    /// The message for which a session was found last, so that it is found once.
    found: HashMap<usize, u64>,
    message: u64,
}

impl Interest {
    pub(crate) fn add_exact(&mut self, topic: &str, wish: Wish) {
        self.exact.entry(topic.to_owned()).or_default().push(wish);
    }

    pub(crate) fn remove_exact(&mut self, topic: &str, session: usize) {
        if let Some(wishes) = self.exact.get_mut(topic) {
            wishes.retain(|wish| wish.session != session);
            if wishes.is_empty() {
                self.exact.remove(topic);
            }
        }
    }

    /// Says whether it is new, and does not replace one of the same session and backplane.
    pub(crate) fn add(&mut self, prefix: &str, wish: Wish) -> bool {
        if !self.prefixes.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        let wishes = self.prefixes.entry(prefix.to_owned()).or_default();
        let same = |one: &&mut Wish| one.session == wish.session && one.backplane == wish.backplane;
        match wishes.iter_mut().find(same) {
            Some(one) => {
                *one = wish;
                false
            }
            None => {
                wishes.push(wish);
                true
            }
        }
    }

    /// Says whether there was one.
    pub(crate) fn remove(&mut self, prefix: &str, session: usize, backplane: Option<usize>) -> bool {
        let Some(wishes) = self.prefixes.get_mut(prefix) else { return false };
        let before = wishes.len();
        wishes.retain(|wish| wish.session != session || wish.backplane != backplane);
        let removed = wishes.len() < before;
        if wishes.is_empty() {
            self.prefixes.remove(prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        }
        removed
    }

    /// A session is over, and its number may come again.
    pub(crate) fn forget(&mut self, session: usize) {
        self.found.remove(&session);
    }

    /// Calls `send` once for each session that wants the message: of several wishes that of the longest prefix counts.
    pub(crate) fn each(&mut self, topic: &str, backplane: usize, mut send: impl FnMut(&Wish)) {
        self.message += 1;
        let (message, found) = (self.message, &mut self.found);
        let mut visit = |wishes: &Vec<Wish>| {
            for wish in wishes.iter().filter(|wish| wish.backplane.is_none_or(|one| one == backplane)) {
                if found.insert(wish.session, message) != Some(message) {
                    send(wish);
                }
            }
        };
        self.exact.get(topic).into_iter().for_each(&mut visit);
        for &length in self.lengths.range(..=topic.len()).rev().map(|(length, _)| length) {
            // A length inside of a character is no prefix.
            let prefix = topic.get(..length).and_then(|prefix| self.prefixes.get(prefix));
            prefix.into_iter().for_each(&mut visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(session: usize) -> Wish {
        Wish { session, backplane: None, pace: None }
    }

    fn found(interest: &mut Interest, topic: &str, backplane: usize) -> Vec<usize> {
        let mut found = Vec::new();
        interest.each(topic, backplane, |wish| found.push(wish.session));
        found.sort_unstable();
        found
    }

    #[test]
    fn each_session_is_found_once_however_it_wishes() {
        let mut interest = Interest::default();
        for prefix in ["", "a", "ab", "é"] {
            assert!(interest.add(prefix, wish(1)));
        }
        interest.add("ab", Wish { backplane: Some(7), ..wish(2) });
        interest.add_exact("abc", wish(3));
        for (topic, backplane, expected) in [
            ("abc", 7, &[1, 2, 3][..]),
            ("abc", 8, &[1, 3]),
            ("abcd", 7, &[1, 2]),
            ("ébc", 7, &[1]),
            ("x", 7, &[1]),
            ("", 7, &[1]),
        ] {
            assert_eq!(found(&mut interest, topic, backplane), expected, "{topic}");
        }
        for prefix in ["", "a", "ab"] {
            assert!(interest.remove(prefix, 1, None));
        }
        assert!(!interest.remove("ab", 1, None) && !interest.remove("ab", 2, None));
        assert_eq!(found(&mut interest, "abc", 7), [2, 3]);
        interest.remove_exact("abc", 3);
        assert!(interest.remove("ab", 2, Some(7)) && interest.remove("é", 1, None));
        assert!(interest.lengths.is_empty() && interest.prefixes.is_empty() && interest.exact.is_empty());
    }

    #[test]
    fn the_longest_prefix_sets_the_pace_and_the_last_word_counts() {
        let mut interest = Interest::default();
        let paced = |seconds| Wish { pace: Some(Duration::from_secs(seconds)), ..wish(1) };
        interest.add("a", wish(1));
        assert!(interest.add("ab", paced(1)));
        assert!(!interest.add("ab", paced(2)));
        let mut paces = Vec::new();
        interest.each("abc", 0, |wish| paces.push(wish.pace));
        assert_eq!(paces, [Some(Duration::from_secs(2))]);
    }
}

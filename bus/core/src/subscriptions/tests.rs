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

/// Short ones that nest, binary ones with many siblings, long ones whose text spans several nodes.
fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    use proptest::collection::vec;
    prop_oneof![
        6 => vec(0u8..2, 0..longest),
        2 => vec(any::<u8>(), 0..3),
        3 => (0usize..50, vec(0u8..2, 0..2)).prop_map(|(chain, end)| [vec![b'a'; chain], end].concat()),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (text(5), 0u8..4).prop_map(|(prefix, who)| Step::Add(prefix, who)),
        8 => (text(5), 0u8..4).prop_map(|(prefix, who)| Step::Remove(prefix, who)),
        1 => (0u8..4).prop_map(Step::RemoveAll),
        1 => Just(Step::Clear),
        10 => text(7).prop_map(Step::Match),
    ];
    proptest::collection::vec(step, 0..160)
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
            prop_assert_eq!(table.holders.keys().copied().collect::<Vec<_>>(), members);
            prop_assert_eq!(table.len(), model.prefixes().len());
            prop_assert_eq!(table.is_empty(), model.0.is_empty());
            prop_assert_eq!(sorted(table.prefixes()), model.prefixes());
            prop_assert_eq!(table.len, table.prefixes().count());
            // A node ends a prefix, or has two children, or is a piece of what was too long for one node; or is the root.
            let text: usize = model.prefixes().iter().map(Vec::len).sum();
            prop_assert!(table.prefixes.nodes() <= 1 + 3 * table.len() + text / 15, "{} nodes", table.prefixes.nodes());
            for who in 0..4 {
                prop_assert_eq!(table.held_by(who), pairs.iter().filter(|(_, other)| *other == who).count());
                for prefix in model.prefixes() {
                    prop_assert_eq!(table.contains(&prefix, who), pairs.contains(&(prefix, who)));
                }
            }
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
    assert_eq!((table.len(), table.held_by(1)), (MANY as usize, MANY as usize));
    assert_eq!(wanted_by(&mut table, &[0, 0, 1, 0, b'/']), [1]);
    assert!(!table.matches(&[0xff; 9]));
    assert_eq!(table.remove_all(1).len(), MANY as usize);
    assert!(table.is_empty() && table.prefixes.nodes() == 1);
}

#[test]
fn ten_million_adds_end_at_the_limit() {
    let mut table = Subscriptions::with_limit(10_000);
    for i in 0..10_000_000u32 {
        assert_eq!(table.add(&i.to_be_bytes(), 1u8).is_ok(), i < 10_000);
    }
    assert_eq!((table.len(), table.held_by(1), table.held_by(2)), (10_000, 10_000, 0));
}

/// A chain of all lengths: one node each, and a match is one walk; nor do many subscribers in many lists take the
/// product of both.
#[test]
fn deep_chains_stay_small() {
    let mut table = Subscriptions::with_limit(1_000_000);
    let deep = [b'a'; 1024];
    for length in 0..=1024u32 {
        assert_eq!(table.add(&deep[..length as usize], length % 500), Ok(true));
        assert_eq!(table.add(&deep[..length as usize], length % 500 + 1), Ok(false));
    }
    assert_eq!(table.prefixes.nodes(), 1025);
    let room = table.union.capacity();
    assert_eq!(wanted_by(&mut table, &[b'a'; 2000]), (0..=500).collect::<Vec<_>>());
    assert_eq!(wanted_by(&mut table, b"aab"), [0, 1, 2, 3]);
    assert_eq!(table.union.capacity(), room, "matching allocated");
    for who in 0..=500 {
        table.remove_all(who);
    }
    assert!(table.is_empty() && table.prefixes.nodes() == 1);
}

#[test]
fn long_text_of_their_own_fills_the_table_before_its_limit() {
    const LIMIT: usize = 10_000;
    let mut table = Subscriptions::with_limit(LIMIT);
    let topic = |i: usize| [&i.to_be_bytes()[6..], &[b't'; 1000]].concat();
    let taken = (0..LIMIT).take_while(|&i| table.add(&topic(i), 1u8).is_ok()).count();
    assert!(taken > LIMIT / 20 && table.prefixes.nodes() <= 4 * LIMIT + 1024, "{taken}");
    assert_eq!(table.len(), taken);
    assert_eq!(table.add(&topic(taken), 1), Err(SubscriptionError::Full { limit: LIMIT }));
    assert_eq!(table.add(&topic(0), 2), Ok(false), "no text of its own");
    assert_eq!((table.remove_all(1).len(), table.len()), (taken - 1, 1));

    // The same length, but shared: it is kept once.
    let shared = |i: usize| [&[b't'; 1000][..], &i.to_be_bytes()[6..]].concat();
    assert!((0..LIMIT - 1).all(|i| table.add(&shared(i), 1) == Ok(true)));
    assert!(table.prefixes.nodes() < 11_000);
}

#[test]
fn one_topic_has_many_subscribers() {
    let mut table = Subscriptions::with_limit(100_000);
    for who in (0..10_000u32).rev() {
        assert_eq!(table.add(b"all", who), Ok(who == 9999));
        assert_eq!(table.add(b"", who / 2 * 2), Ok(who == 9999));
    }
    assert_eq!(table.lookup(b"all of it"), (0..10_000).collect::<Vec<_>>());
    assert_eq!(table.lookup(b"else").len(), 5000);
    assert_eq!(table.lookup(b"all").len(), 10_000);
    let vanished: Vec<_> = (0..9_999).flat_map(|who| table.remove_all(who)).collect();
    assert_eq!(sorted(vanished), [b""], "with 9998");
    assert_eq!(table.lookup(b"all"), [9_999]);
    assert_eq!(table.held_by(9_999), 1);
}

/// Whoever comes and goes leaves no trace: cut labels grow together again.
#[test]
fn nodes_that_part_are_joined_again() {
    let mut table = Subscriptions::with_limit(9);
    assert_eq!(table.add(b"sensor/1/pose", 1), Ok(true));
    for at in 1..10 {
        assert_eq!(table.add(&b"sensor/1/pose"[..at], 2), Ok(true));
        assert_eq!(table.add(&[&b"sensor/1/pose"[..at], b"?"].concat(), 3), Ok(true));
        assert!(table.remove(&b"sensor/1/pose"[..at], 2));
        assert_eq!(table.remove_all(3).len(), 1);
        assert_eq!(table.prefixes.nodes(), 2, "the root, and the one");
    }
}

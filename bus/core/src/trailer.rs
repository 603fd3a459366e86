//! The optional third frame of a message, and the two ends that count with it.
//!
//! Python Banyan reads frames 0 (topic) and 1 (payload) and ignores the rest, so a third frame is invisible to it.
//! Multiplane may put a [`Trailer`] there: who sent, the how-manieth on this topic, and when. A [`Sequencer`] numbers
//! at the sender; a [`GapTracker`] at the receiver turns the numbers into "so many were lost".
//!
//! Numbers run per publisher *and exact topic*, so a subscriber of some topics sees no false gap for the others.

use std::collections::HashMap;

/// Magic, version and reserved bytes: unlikely as the beginning of anybody else's third frame.
const MAGIC: [u8; 8] = *b"MPt1\0\0\0\0";

/// Topics longer than this are not numbered, so that a table of pairs has a bound in bytes too.
const MAX_TOPIC: usize = crate::budget::SUBSCRIPTION_TOPIC_BYTES;

/// What the third frame says: 32 bytes on the wire, all numbers big-endian.
///
/// | bytes | meaning |
/// |---|---|
/// | 0..4 | `MPt1`: magic and version |
/// | 4..8 | zero, reserved |
/// | 8..16 | publisher |
/// | 16..24 | sequence |
/// | 24..32 | sent_at |
///
/// ```
/// use multiplane_core::Trailer;
///
/// let trailer = Trailer { publisher: 7, sequence: 1, sent_at: 1_700_000_000_000_000_000 };
/// assert_eq!(Trailer::decode(&trailer.encode()), Some(trailer));
/// assert_eq!(Trailer::decode(b"somebody else's third frame"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trailer {
    /// Identity of the publisher; it must be a new one (say, random) after each start, because numbers start again.
    pub publisher: u64,
    /// Number of the message among this publisher's on the same topic, starting at 1.
    pub sequence: u64,
    /// When it was sent: nanoseconds since the Unix epoch, UTC. Comparable only between synchronised clocks.
    pub sent_at: u64,
}

impl Trailer {
    /// Length of the frame in bytes.
    pub const LENGTH: usize = 32;

    /// The bytes of the frame.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut frame = [0; Self::LENGTH];
        frame[..8].copy_from_slice(&MAGIC);
        frame[8..16].copy_from_slice(&self.publisher.to_be_bytes());
        frame[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        frame[24..].copy_from_slice(&self.sent_at.to_be_bytes());
        frame
    }

    /// Reads a third frame; `None` when it is not a trailer of this version, and thus not ours to judge.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<Trailer> {
        let frame: &[u8; Self::LENGTH] = frame.try_into().ok()?;
        let (words, _) = frame.as_chunks::<8>();
        let &[magic, publisher, sequence, sent_at] = words else { return None };
        let trailer = Trailer {
            publisher: u64::from_be_bytes(publisher),
            sequence: u64::from_be_bytes(sequence),
            sent_at: u64::from_be_bytes(sent_at),
        };
        (magic == MAGIC).then_some(trailer)
    }
}

/// A bounded table of one number per (publisher, topic).
#[derive(Debug, Clone)]
struct Pairs {
    numbers: HashMap<u64, HashMap<Box<[u8]>, u64>>,
    len: usize,
    limit: usize,
}

impl Pairs {
    fn new(limit: usize) -> Self {
        Pairs { numbers: HashMap::new(), len: 0, limit }
    }

    /// Lets `change` see the number of the pair, 0 for a new one. `None`: the table has no room for a new pair.
    /// Allocates for new pairs only.
    fn update<R>(&mut self, publisher: u64, topic: &[u8], change: impl FnOnce(&mut u64) -> R) -> Option<R> {
        if let Some(number) = self.numbers.get_mut(&publisher).and_then(|topics| topics.get_mut(topic)) {
            return Some(change(number));
        }
        if self.len >= self.limit || topic.len() > MAX_TOPIC {
            return None;
        }
        let mut number = 0;
        let answer = change(&mut number);
        self.numbers.entry(publisher).or_default().insert(topic.into(), number);
        self.len += 1;
        Some(answer)
    }

    fn forget(&mut self, publisher: u64) {
        self.len -= self.numbers.remove(&publisher).map_or(0, |topics| topics.len());
    }
}

/// The sender's side: hands out the numbers.
///
/// ```
/// use multiplane_core::Sequencer;
///
/// let mut sequencer = Sequencer::with_limit(2);
/// assert_eq!(sequencer.next(7, b"echo"), Some(1));
/// assert_eq!(sequencer.next(7, b"echo"), Some(2));
/// assert_eq!(sequencer.next(7, b"reply"), Some(1));
/// assert_eq!(sequencer.next(7, b"one too many"), None);
/// ```
#[derive(Debug, Clone)]
pub struct Sequencer(Pairs);

impl Sequencer {
    /// A sequencer for at most `max_pairs` (publisher, topic) pairs.
    #[must_use]
    pub fn with_limit(max_pairs: usize) -> Self {
        Sequencer(Pairs::new(max_pairs))
    }

    /// The number of the publisher's next message on this topic: 1, 2, 3... `None` for a new pair beyond the bound,
    /// or a topic over 1024 bytes: then send without a trailer.
    pub fn next(&mut self, publisher: u64, topic: &[u8]) -> Option<u64> {
        self.0.update(publisher, topic, |number| {
            *number += 1;
            *number
        })
    }

    /// Takes the last number of a pair back, because the message was not sent after all: the next one gets it.
    ///
    /// ```
    /// let mut sequencer = multiplane_core::Sequencer::with_limit(2);
    /// assert_eq!(sequencer.next(7, b"echo"), Some(1));
    /// sequencer.give_back(7, b"echo");
    /// assert_eq!(sequencer.next(7, b"echo"), Some(1));
    /// ```
    pub fn give_back(&mut self, publisher: u64, topic: &[u8]) {
        self.0.update(publisher, topic, |number| *number = number.saturating_sub(1));
    }

    /// Pairs known.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.0.len
    }

    /// Makes room: forgets all topics of a publisher that is gone.
    pub fn forget(&mut self, publisher: u64) {
        self.0.forget(publisher);
    }
}

/// What one sequence number tells a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The first message seen of this publisher on this topic. Nothing can be said about what came before.
    First,
    /// The next number, as it should be.
    Next,
    /// Numbers were skipped.
    Gap {
        /// How many; at least 1.
        missed: u64,
    },
    /// Not above the highest seen: a duplicate, or out of order. What a gap reported is not taken back.
    Late,
    /// A new pair beyond the bound, or a topic over 1024 bytes: not counted.
    Untracked,
}

impl Observation {
    /// Messages that were missed right before this one; 0 for everything but a gap.
    #[must_use]
    pub fn missed(self) -> u64 {
        if let Observation::Gap { missed } = self { missed } else { 0 }
    }
}

/// The receiver's side: finds the gaps.
///
/// ```
/// use multiplane_core::{GapTracker, Observation};
///
/// let mut tracker = GapTracker::with_limit(1000);
/// assert_eq!(tracker.observe(7, b"echo", 5), Observation::First);
/// assert_eq!(tracker.observe(7, b"echo", 6), Observation::Next);
/// assert_eq!(tracker.observe(7, b"echo", 9), Observation::Gap { missed: 2 });
/// assert_eq!(tracker.observe(7, b"echo", 8), Observation::Late);
/// ```
#[derive(Debug, Clone)]
pub struct GapTracker(Pairs);

impl GapTracker {
    /// A tracker for at most `max_pairs` (publisher, topic) pairs.
    #[must_use]
    pub fn with_limit(max_pairs: usize) -> Self {
        GapTracker(Pairs::new(max_pairs))
    }

    /// Takes note of a message's number and says what it means.
    pub fn observe(&mut self, publisher: u64, topic: &[u8], sequence: u64) -> Observation {
        let observed = self.0.update(publisher, topic, |highest| {
            let before = std::mem::replace(highest, sequence.max(*highest));
            match sequence.checked_sub(before) {
                _ if before == 0 => Observation::First,
                None | Some(0) => Observation::Late,
                Some(1) => Observation::Next,
                Some(step) => Observation::Gap { missed: step - 1 },
            }
        });
        observed.unwrap_or(Observation::Untracked)
    }

    /// Pairs known.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.0.len
    }

    /// Makes room: forgets all topics of a publisher that is gone.
    pub fn forget(&mut self, publisher: u64) {
        self.0.forget(publisher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_on_the_wire() {
        let trailer =
            Trailer { publisher: 0x0102_0304_0506_0708, sequence: 0x1112, sent_at: 0x2122_2324_2526_2728 };
        let bytes = b"MPt1\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\x11\x12\x21\x22\x23\x24\x25\x26\x27\x28";
        assert_eq!(trailer.encode(), *bytes);
        assert_eq!(Trailer::decode(bytes), Some(trailer));
    }

    #[test]
    fn anything_else_is_not_ours() {
        let bytes = Trailer { publisher: 1, sequence: 2, sent_at: 3 }.encode();
        assert_eq!(Trailer::decode(&bytes[..31]), None);
        assert_eq!(Trailer::decode(&[&bytes[..], b"\0"].concat()), None);
        assert_eq!(Trailer::decode(b""), None);
        for at in 0..8 {
            let mut other = bytes;
            other[at] ^= 1;
            assert_eq!(Trailer::decode(&other), None, "byte {at} is magic, version or reserved");
        }
    }

    #[test]
    fn numbers_run_per_publisher_and_exact_topic() {
        let mut sequencer = Sequencer::with_limit(3);
        assert_eq!(sequencer.next(1, b"a"), Some(1));
        assert_eq!(sequencer.next(1, b"ab"), Some(1));
        assert_eq!(sequencer.next(2, b"a"), Some(1));
        assert_eq!(sequencer.next(1, b"a"), Some(2));
        assert_eq!(sequencer.pairs(), 3);
        assert_eq!(sequencer.next(2, b"b"), None, "full");
        assert_eq!(sequencer.next(3, b"a"), None, "full");
        assert_eq!(sequencer.pairs(), 3);
        assert_eq!(sequencer.next(2, b"a"), Some(2), "a known pair needs no room");

        sequencer.forget(1);
        assert_eq!(sequencer.pairs(), 1);
        assert_eq!(sequencer.next(1, b"a"), Some(1));
        assert_eq!(sequencer.next(2, b"a"), Some(3));
        sequencer.forget(99);
        assert_eq!(sequencer.pairs(), 2);
        assert_eq!(Sequencer::with_limit(0).next(1, b""), None);
    }

    #[test]
    fn what_a_number_tells() {
        let mut tracker = GapTracker::with_limit(2);
        assert_eq!(tracker.observe(1, b"a", 100), Observation::First, "no gap of 99");
        assert_eq!(tracker.observe(1, b"a", 101), Observation::Next);
        assert_eq!(tracker.observe(1, b"a", 101), Observation::Late);
        assert_eq!(tracker.observe(1, b"a", 103), Observation::Gap { missed: 1 });
        assert_eq!(tracker.observe(1, b"a", 102), Observation::Late);
        assert_eq!(tracker.observe(1, b"a", 104), Observation::Next, "a late one does not lower the mark");
        assert_eq!(tracker.observe(1, b"a", u64::MAX), Observation::Gap { missed: u64::MAX - 105 });
        assert_eq!(tracker.observe(1, b"a", 0), Observation::Late);
        assert_eq!(tracker.observe(2, b"a", 7), Observation::First);
        assert_eq!(tracker.observe(2, b"b", 7), Observation::Untracked);
        assert_eq!(tracker.observe(2, b"b", 9), Observation::Untracked);
        assert_eq!(tracker.observe(2, b"a", 9).missed(), 1);
        tracker.forget(1);
        assert_eq!((tracker.pairs(), tracker.observe(2, b"b", 9)), (1, Observation::First));
        assert_eq!(tracker.observe(2, b"b", 10).missed(), 0);
    }

    #[test]
    fn a_long_topic_is_sent_without_a_number() {
        let (fits, long) = ([b't'; 1024], [b't'; 1025]);
        let (mut sequencer, mut tracker) = (Sequencer::with_limit(9), GapTracker::with_limit(9));
        assert_eq!((sequencer.next(1, &fits), sequencer.next(1, &long)), (Some(1), None));
        assert_eq!(tracker.observe(1, &fits, 1), Observation::First);
        assert_eq!(tracker.observe(1, &long, 1), Observation::Untracked);
    }

    proptest! {
        #[test]
        fn every_trailer_survives_the_wire(publisher: u64, sequence: u64, sent_at: u64) {
            let trailer = Trailer { publisher, sequence, sent_at };
            prop_assert_eq!(Trailer::decode(&trailer.encode()), Some(trailer));
        }

        /// Two topics are sent interleaved and some messages are lost: what is missed adds up, for each by itself.
        #[test]
        fn what_is_missed_adds_up(fates in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..300)) {
            let (mut sequencer, mut tracker) = (Sequencer::with_limit(2), GapTracker::with_limit(2));
            let mut arrived = [vec![], vec![]];
            let mut missed = [0, 0];
            for (topic, arrives) in fates {
                let topic = usize::from(topic);
                let sequence = sequencer.next(7, &[topic as u8]).unwrap();
                if arrives {
                    let observation = tracker.observe(7, &[topic as u8], sequence);
                    prop_assert_eq!(observation == Observation::First, arrived[topic].is_empty());
                    missed[topic] += observation.missed();
                    arrived[topic].push(sequence);
                }
            }
            for (seen, missed) in arrived.iter().zip(missed) {
                if let (Some(first), Some(last)) = (seen.first(), seen.last()) {
                    prop_assert_eq!(missed, last - first - (seen.len() as u64 - 1));
                }
            }
        }

        /// In any order, with repeats: exactly the numbers above all earlier ones are not late.
        #[test]
        fn late_is_what_is_not_above_all_before(numbers in proptest::collection::vec(1u64..30, 1..60)) {
            let mut tracker = GapTracker::with_limit(1);
            let mut highest = 0;
            for number in numbers {
                let late = tracker.observe(1, b"t", number) == Observation::Late;
                prop_assert_eq!(late, number <= highest);
                highest = highest.max(number);
            }
        }
    }
}

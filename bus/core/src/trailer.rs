//! The optional third frame of a message, and the two ends that count with it.
//!
//! Python Banyan reads frames 0 (topic) and 1 (payload) and ignores the rest, so a third frame is invisible to it.
//! Multiplane may put a [`Trailer`] there: who sent, the how-manieth on this topic, and when. A [`Sequencer`] numbers
//! at the sender; a [`GapTracker`] at the receiver turns the numbers into "so many were lost".
//!
//! Numbers run per publisher *and exact topic*, so a subscriber of some topics sees no false gap for the others.

use std::collections::HashMap;

/// Magic and version. Not MessagePack of a map, and unlikely as anybody else's third frame.
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

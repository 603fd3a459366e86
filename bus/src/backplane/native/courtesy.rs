//! Giving way under load: whoever waits for this processor runs first, so that a publisher may write more before the
//! backplane looks again.

use std::time::{Duration, Instant};

/// Bytes that make a turn a large one, and so do two messages. After a single small message it would not pay: round
/// trips would be longer.
const LARGE_TURN: u64 = 16 * 1024;

/// Peers write or read until their buffers are full or empty, and are done sooner. Whoever takes longer has other work,
/// and was given all of a time slice.
const TAKEN: Duration = Duration::from_millis(2);

/// After that nobody is given way to for so long: next to busy programs of others, giving way each time cost half of
/// the throughput.
const REST: Duration = Duration::from_millis(100);

/// Messages and bytes that have come so far.
pub(super) type Moved = (u64, u64);

pub(super) struct Courtesy {
    before: Moved,
    not_before: Instant,
}

impl Courtesy {
    pub(super) fn new(now: Instant) -> Self {
        Self { before: (0, 0), not_before: now }
    }

    /// Gives way after a large turn, by `give_way`, which says what time it is then. When the turn is over.
    pub(super) fn after(
        &mut self,
        moved: Moved,
        now: Instant,
        give_way: impl FnOnce() -> Instant,
    ) -> Instant {
        let before = std::mem::replace(&mut self.before, moved);
        let is_large = moved.0 > before.0 + 1 || moved.1 >= before.1 + LARGE_TURN;
        if !is_large || now < self.not_before {
            return now;
        }
        let then = give_way();
        if then > now + TAKEN {
            self.not_before = then + REST;
        }
        then
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_turns_give_way_until_somebody_takes_too_much() {
        let start = crate::worker::now();
        let mut courtesy = Courtesy::new(start);
        let mut moved = (0, 0);
        // What came in the turn, when it ended, and how long others took: whether they were let.
        let mut turn = |(messages, bytes): Moved, ended: u64, took: u64| {
            let ended = start + Duration::from_micros(ended);
            moved = (moved.0 + messages, moved.1 + bytes);
            let mut asked = false;
            let then = courtesy.after(moved, ended, || {
                asked = true;
                ended + Duration::from_micros(took)
            });
            assert_eq!(then, if asked { ended + Duration::from_micros(took) } else { ended });
            asked
        };
        assert!(!turn((0, 0), 0, 0));
        assert!(!turn((1, 100), 10, 0));
        assert!(turn((2, 200), 20, 1500));
        assert!(turn((1, LARGE_TURN), 2000, 2001));
        assert!(!turn((1000, 100_000), 5000, 0));
        assert!(!turn((1000, 100_000), 104_000, 0));
        assert!(turn((1000, 100_000), 104_001, 0));
    }
}

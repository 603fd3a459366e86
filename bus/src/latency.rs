//! How long messages with a trailer were on their way: counted in place, at a fixed size, for any thread to read.

use crate::counters::Count;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Each power of two is parted into so many buckets: a percentile is at most a sixteenth too high.
const PARTS: u64 = 1 << PART_BITS;
const PART_BITS: u32 = 4;
/// From 2 to the power of so many nanoseconds on, 18 minutes, all share the last bucket.
const LONGEST_BITS: u32 = 40;
const BUCKETS: usize = ((LONGEST_BITS - PART_BITS + 1) as u64 * PARTS) as usize;

/// One-way latency of messages from publishers [with a trailer](crate::Publisher::with_trailer): from when a message was
/// handed to the publisher's link until it was taken from the subscriber's. Time in the publisher's queue and in an inbox
/// is not in it.
///
/// Between two hosts it is as good as their clocks agree. A message that seems to arrive before it was sent is counted in
/// [`clock_behind`](Self::clock_behind) and nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// Messages that the figures below are about; all of these are zero while there are none.
    pub count: u64,
    /// The shortest.
    pub min: Duration,
    /// The average.
    pub mean: Duration,
    /// Half of the messages took no longer; up to a sixteenth too high.
    pub p50: Duration,
    /// 99 of 100 took no longer; up to a sixteenth too high.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// Messages sent later than they arrived, by the clocks: this host's is behind the publisher's.
    pub clock_behind: u64,
}

/// Written by the worker that owns the link.
#[derive(Debug)]
pub(crate) struct LatencyCounts {
    buckets: [Count; BUCKETS],
    sum: Count,
    min: Count,
    max: Count,
    clock_behind: Count,
}

impl Default for LatencyCounts {
    fn default() -> Self {
        let least = Count::default();
        least.set(u64::MAX);
        Self {
            buckets: std::array::from_fn(|_| Count::default()),
            sum: Count::default(),
            min: least,
            max: Count::default(),
            clock_behind: Count::default(),
        }
    }
}

impl LatencyCounts {
    /// Counts a message that has come now.
    pub(crate) fn arrived(&self, sent_at: u64) {
        // Publishers that know no time write none.
        if sent_at > 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.note(sent_at, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Only the worker that owns the link may call this.
    fn note(&self, sent_at: u64, now: u64) {
        let Some(nanos) = now.checked_sub(sent_at) else { return self.clock_behind.add(1) };
        self.min.set(self.min.get().min(nanos));
        self.max.set(self.max.get().max(nanos));
        self.sum.set(self.sum.get().saturating_add(nanos));
        self.buckets[bucket(nanos)].add(1);
    }

    pub(crate) fn snapshot(&self) -> Latency {
        let counts: [u64; BUCKETS] = std::array::from_fn(|at| self.buckets[at].get());
        let count: u64 = counts.iter().sum();
        let clock_behind = self.clock_behind.get();
        if count == 0 {
            return Latency { clock_behind, ..Latency::default() };
        }
        // A reader may be a message ahead of its minimum.
        let max = self.max.get();
        let min = self.min.get().min(max);
        let percentile = |percent: u64| {
            let rank = (u128::from(count) * u128::from(percent)).div_ceil(100) as u64;
            let mut below = 0;
            let reached = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            reached.filter(|at| at + 1 < BUCKETS).map_or(max, |at| highest(at).clamp(min, max))
        };
        Latency {
            count,
            min: Duration::from_nanos(min),
            mean: Duration::from_nanos((self.sum.get() / count).clamp(min, max)),
            p50: Duration::from_nanos(percentile(50)),
            p99: Duration::from_nanos(percentile(99)),
            max: Duration::from_nanos(max),
            clock_behind,
        }
    }
}

/// Where a latency is counted: small ones each by themselves, others by their highest bits.
fn bucket(nanos: u64) -> usize {
    let Some(octave) = nanos.checked_ilog2().and_then(|bits| bits.checked_sub(PART_BITS)) else {
        return nanos as usize;
    };
    let at = (u64::from(octave) + 1) * PARTS + (nanos >> octave) - PARTS;
    (at as usize).min(BUCKETS - 1)
}

/// The longest latency that is counted there.
fn highest(bucket: usize) -> u64 {
    let (row, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match row.checked_sub(1) {
        None => part,
        Some(octave) => ((PARTS + part + 1) << octave) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noted(latencies: impl IntoIterator<Item = u64>) -> Latency {
        let counts = LatencyCounts::default();
        latencies.into_iter().for_each(|nanos| counts.note(1, 1 + nanos));
        counts.snapshot()
    }

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for at in 0..BUCKETS - 1 {
            assert_eq!((bucket(highest(at)), bucket(highest(at) + 1)), (at, at + 1));
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
        assert_eq!(highest(BUCKETS - 1), (1 << LONGEST_BITS) - 1);
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(noted([]), Latency::default());
    }

    /// One slow in a hundred is beyond the 99th percentile, two are not.
    #[test]
    fn percentiles_are_those_of_all() {
        let (fast, slow) = (1_000_000, 50_000_000);
        let one = noted((0..99).map(|_| fast).chain([slow]));
        assert_eq!((one.count, one.min, one.max), (100, Duration::from_millis(1), Duration::from_millis(50)));
        assert_eq!(one.mean, Duration::from_nanos((99 * fast + slow) / 100));
        let about =
            |found: Duration, nanos| (nanos..=nanos + nanos / 16).contains(&(found.as_nanos() as u64));
        assert!(about(one.p50, fast) && about(one.p99, fast), "{one:?}");
        let two = noted((0..98).map(|_| fast).chain([slow, slow]));
        assert!(about(two.p50, fast) && about(two.p99, slow), "{two:?}");
    }

    #[test]
    fn a_clock_behind_is_no_latency() {
        let counts = LatencyCounts::default();
        counts.note(1_000_000, 999_999);
        assert_eq!(counts.snapshot(), Latency { clock_behind: 1, ..Latency::default() });
        counts.note(1_000_000, 1_000_000);
        assert_eq!(counts.snapshot(), Latency { count: 1, clock_behind: 1, ..Latency::default() });
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let absurd = noted([u64::MAX - 1, u64::MAX - 1, 5]);
        assert_eq!((absurd.count, absurd.min), (3, Duration::from_nanos(5)));
        assert_eq!((absurd.max, absurd.p50), (Duration::from_nanos(u64::MAX - 1), absurd.max));
        let counts = LatencyCounts::default();
        counts.arrived(0);
        counts.arrived(u64::MAX);
        assert_eq!(counts.snapshot(), Latency { clock_behind: 1, ..Latency::default() });
    }

    proptest! {
        #[test]
        fn a_percentile_is_at_most_a_sixteenth_too_high(latencies in prop::collection::vec(0u64..1 << 39, 1..200)) {
            let latency = noted(latencies.iter().copied());
            let mut sorted = latencies;
            sorted.sort_unstable();
            for (percent, found) in [(50, latency.p50), (99, latency.p99)] {
                let exact = sorted[(sorted.len() * percent).div_ceil(100) - 1];
                let found = found.as_nanos() as u64;
                prop_assert!((exact..=exact + exact / 16).contains(&found), "{percent} %: {found}, not {exact}");
            }
        }
    }
}

//! Counting what arrives: how much, in what order, how late.

use crate::stamp::Stamp;
use crate::{BenchError, clock};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Throughput reads the clock for every so many messages, a power of two: one reading costs as much as counting several.
const CLOCK_EVERY: u64 = 64;

/// Gaps that may still be filled are remembered up to so many per publisher. Then the oldest is given up: what comes of
/// it later counts as a duplicate, its loss stays.
const OPEN_GAPS: usize = 65_536;

/// Latencies are kept with three digits, up to a minute.
const LONGEST: u64 = 60_000_000_000;

/// Latencies in nanoseconds.
pub type Latencies = Histogram<u64>;

/// An empty histogram of the precision used everywhere.
///
/// # Errors
/// Never with these bounds.
pub fn latencies() -> Result<Latencies, BenchError> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(BenchError::doing("a histogram"))
}

/// The counts of one subscriber.
#[derive(Clone, Debug)]
pub struct Tally {
    publishers: Vec<Order>,
    size: usize,
    arrived: u64,
    /// The clock is read when these bits of `arrived` are 0.
    clock_mask: u64,
    foreign: u64,
    first: u64,
    last: u64,
    /// How many had arrived at `last`.
    arrived_at_last: u64,
    latencies: Option<Latencies>,
}

/// The messages of one publisher: what is due next, and which numbers below that are missing.
#[derive(Clone, Debug, Default)]
struct Order {
    next: u64,
    /// Below `next`.
    missing: u64,
    reordered: u64,
    duplicates: u64,
    /// First missing number to first present one.
    gaps: BTreeMap<u64, u64>,
}

/// What one subscriber saw, as it tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// All arrivals but probes, duplicates included.
    pub received: u64,
    /// Different messages of each publisher.
    pub distinct: Vec<u64>,
    /// Messages that arrived after a later one of their publisher.
    pub reordered: u64,
    /// Messages that arrived again.
    pub duplicates: u64,
    /// Arrivals that nobody of this measurement sent, or of the wrong size.
    pub foreign: u64,
    /// When the first arrived.
    pub first: u64,
    /// When the last of those arrived that the rate counts.
    pub last: u64,
    /// Messages between those two.
    pub between: u64,
    /// Latencies, each value in nanoseconds with its count; empty when only throughput is measured.
    pub latencies: Vec<(u64, u64)>,
}

impl Tally {
    /// Counts messages of so many bytes from so many publishers, and their latencies if asked to.
    ///
    /// # Errors
    /// Never with the bounds used here.
    pub fn new(publishers: u32, size: usize, latency: bool) -> Result<Self, BenchError> {
        Ok(Self {
            publishers: vec![Order::default(); publishers as usize],
            size,
            arrived: 0,
            clock_mask: if latency { 0 } else { CLOCK_EVERY - 1 },
            foreign: 0,
            first: 0,
            last: 0,
            arrived_at_last: 0,
            latencies: latency.then(latencies).transpose()?,
        })
    }

    /// Counts one message; says what it is if it is one of ours and no probe.
    #[inline]
    pub fn note(&mut self, payload: &[u8]) -> Option<Stamp> {
        self.note_stamp(Stamp::read(payload), payload.len())
    }

    /// Counts a message of so many bytes whose stamp came beside them.
    #[inline]
    pub fn note_stamp(&mut self, stamp: Option<Stamp>, bytes: usize) -> Option<Stamp> {
        let known = stamp.and_then(|stamp| Some((stamp, self.publishers.get_mut(stamp.publisher as usize)?)));
        let Some((stamp, order)) = known.filter(|_| bytes == self.size) else {
            self.foreign += 1;
            return None;
        };
        // Nothing but this is done for a message that comes in order; a probe never does.
        if stamp.sequence == order.next {
            order.next += 1;
        } else if stamp.is_probe() {
            return None;
        } else {
            order.note_odd(stamp.sequence);
        }
        let reads_clock = self.arrived & self.clock_mask == 0;
        self.arrived += 1;
        if reads_clock {
            self.note_time(stamp.due);
        }
        Some(stamp)
    }

    /// Not inlined, so that counting needs no registers but its own.
    #[inline(never)]
    fn note_time(&mut self, due: u64) {
        let now = clock::now();
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record(now.saturating_sub(due).max(1));
        }
        if self.arrived == 1 {
            self.first = now;
        }
        self.last = now;
        self.arrived_at_last = self.arrived;
    }

    pub(crate) fn publishers(&self) -> usize {
        self.publishers.len()
    }

    /// How many have arrived.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The result.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let recorded = self.latencies.iter().flat_map(Histogram::iter_recorded);
        Seen {
            received: self.arrived,
            distinct: self.publishers.iter().map(|order| order.next - order.missing).collect(),
            reordered: self.publishers.iter().map(|order| order.reordered).sum(),
            duplicates: self.publishers.iter().map(|order| order.duplicates).sum(),
            foreign: self.foreign,
            first: self.first,
            last: self.last,
            between: self.arrived_at_last.saturating_sub(1),
            latencies: recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect(),
        }
    }
}

impl Seen {
    /// How many of these never arrived: `sent` counts what each publisher sent.
    #[must_use]
    pub fn lost(&self, sent: &[u64]) -> u64 {
        sent.iter().zip(&self.distinct).map(|(sent, distinct)| sent.saturating_sub(*distinct)).sum()
    }
}

impl Order {
    #[cold]
    fn note_odd(&mut self, sequence: u64) {
        if sequence > self.next {
            self.gaps.insert(self.next, sequence);
            if self.gaps.len() > OPEN_GAPS {
                self.gaps.pop_first();
            }
            self.missing += sequence - self.next;
            self.next = sequence + 1;
            return;
        }
        let gap = self.gaps.range(..=sequence).next_back().map(|(&from, &to)| (from, to));
        let Some((from, to)) = gap.filter(|&(_, to)| sequence < to) else {
            self.duplicates += 1;
            return;
        };
        self.gaps.remove(&from);
        for (from, to) in [(from, sequence), (sequence + 1, to)] {
            if from < to {
                self.gaps.insert(from, to);
            }
        }
        self.missing -= 1;
        self.reordered += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sequences: &[u64]) -> Seen {
        let mut tally = Tally::new(1, 16, false).unwrap();
        let mut payload = [0; 16];
        for &sequence in sequences {
            Stamp { publisher: 0, sequence, due: 0 }.write(&mut payload);
            tally.note(&payload);
        }
        tally.seen()
    }

    #[test]
    fn order_loss_and_duplicates_are_told_apart() {
        let counts = |sequences: &[u64], sent| {
            let seen = seen(sequences);
            (seen.lost(&[sent]), seen.reordered, seen.duplicates)
        };
        assert_eq!(counts(&[0, 1, 2, 3], 4), (0, 0, 0));
        assert_eq!(counts(&[0, 2, 3], 4), (1, 0, 0));
        assert_eq!(counts(&[0, 2, 1, 3], 4), (0, 1, 0));
        assert_eq!(counts(&[0, 1, 1, 0], 4), (2, 0, 2));
        assert_eq!(counts(&[9, 4, 4, 0, 8, 5], 10), (5, 4, 1));
        assert_eq!(counts(&[], 7), (7, 0, 0));
    }

    #[test]
    fn strangers_are_no_messages() {
        let mut tally = Tally::new(1, 16, false).unwrap();
        let mut payload = [0; 17];
        tally.note(&payload);
        tally.note(&payload[..3]);
        Stamp { publisher: 1, sequence: 0, due: 0 }.write(&mut payload);
        tally.note(&payload[..16]);
        assert_eq!((tally.seen().received, tally.seen().foreign), (0, 3));
    }
}

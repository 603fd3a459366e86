//! The instrument itself: a transport that loses, swaps, repeats or stalls must be caught, exactly.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bench::contender::{Sender, TOPIC};
use multiplane_bench::load::{Credit, Load, Offered, offer};
use multiplane_bench::tally::{Latencies, Seen, Tally, latencies};
use multiplane_bench::{BenchError, clock};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

const SIZE: usize = 16;
const STALL: Duration = Duration::from_millis(50);

/// What the transport does wrong, and with which message.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// Loses every message whose number is so much below a multiple of it.
    DropOneIn(u64),
    SwapAt(u64),
    RepeatAt(u64),
    /// Takes nothing for 50 ms.
    StallAt(u64),
}

/// A queue between two threads, with a fault.
struct Faulty {
    queue: SyncSender<Vec<u8>>,
    fault: Fault,
    sent: u64,
    kept: Option<Vec<u8>>,
}

impl Sender for Faulty {
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        let number = self.sent;
        self.sent += 1;
        match self.fault {
            Fault::DropOneIn(n) if (number + 1).is_multiple_of(n) => return Ok(()),
            Fault::SwapAt(n) if number == n => {
                self.kept = Some(payload.to_vec());
                return Ok(());
            }
            Fault::RepeatAt(n) if number == n => self.queue.send(payload.to_vec()).unwrap(),
            Fault::StallAt(n) if number == n => {
                let start = clock::now();
                while clock::now() - start < STALL.as_nanos() as u64 {
                    thread::park_timeout(STALL - Duration::from_nanos(clock::now() - start).min(STALL));
                }
            }
            _ => {}
        }
        self.queue.send(payload.to_vec()).unwrap();
        if let Some(kept) = self.kept.take() {
            self.queue.send(kept).unwrap();
        }
        Ok(())
    }
}

/// Runs the harness's own publisher and counter with this transport between them.
fn measure(fault: Fault, nanos: u64, rate: Option<f64>) -> (Offered, Seen) {
    let (queue, arrivals): (_, Receiver<Vec<u8>>) = sync_channel(1024);
    let mut tally = Tally::new(1, SIZE, rate.is_some()).unwrap();
    let counting = thread::spawn(move || {
        for payload in arrivals {
            tally.note(&payload);
        }
        tally.seen()
    });
    let mut faulty = Faulty { queue, fault, sent: 0, kept: None };
    let load = Load { publisher: 0, size: SIZE, nanos, most: None, rate };
    let offered = offer(&load, &[TOPIC], &Credit::unlimited(), &mut faulty).unwrap();
    drop(faulty);
    (offered, counting.join().unwrap())
}

fn histogram(seen: &Seen) -> Latencies {
    let mut histogram = latencies().unwrap();
    for &(value, count) in &seen.latencies {
        histogram.record_n(value, count).unwrap();
    }
    histogram
}

#[test]
fn an_honest_transport_passes() {
    let (offered, seen) = measure(Fault::None, 100_000_000, None);
    assert!(offered.sent > 1000);
    assert_eq!(seen.received, offered.sent);
    assert_eq!((seen.lost(&[offered.sent]), seen.reordered, seen.duplicates, seen.foreign), (0, 0, 0, 0));
    assert!(seen.last > seen.first && seen.between > 0);
}

/// Instruction counts are divided by it.
#[test]
fn an_exact_number_is_exact() {
    struct Direct(Tally);
    impl Sender for Direct {
        fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
            self.0.note(payload);
            Ok(())
        }
    }
    let mut direct = Direct(Tally::new(1, SIZE, false).unwrap());
    for rate in [None, Some(1e7)] {
        direct.0 = Tally::new(1, SIZE, false).unwrap();
        let load = Load { publisher: 0, size: SIZE, nanos: 10_000_000_000, most: Some(1001), rate };
        assert_eq!(offer(&load, &[TOPIC], &Credit::unlimited(), &mut direct).unwrap().sent, 1001);
        assert_eq!(direct.0.arrived(), 1001);
    }
}

#[test]
fn each_lost_message_is_counted() {
    for one_in in [2, 1000] {
        let (offered, seen) = measure(Fault::DropOneIn(one_in), 100_000_000, None);
        assert_eq!(seen.lost(&[offered.sent]), offered.sent / one_in);
        assert_eq!((seen.reordered, seen.duplicates), (0, 0));
    }
}

/// Without the queue, so that millions take no time.
#[test]
fn one_lost_in_a_million_is_counted() {
    struct Direct(Tally, u64);
    impl Sender for Direct {
        fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
            self.1 += 1;
            if !self.1.is_multiple_of(1_000_000) {
                self.0.note(payload);
            }
            Ok(())
        }
    }
    let mut direct = Direct(Tally::new(1, SIZE, false).unwrap(), 0);
    let load = Load { publisher: 0, size: SIZE, nanos: 1_000_000, most: None, rate: None };
    // One thread sends and counts, so this is as many runs as it takes, numbered on.
    let mut sent = 0;
    let mut lost = 0;
    while sent < 2_500_000 {
        direct.0 = Tally::new(1, SIZE, false).unwrap();
        let offered = offer(&load, &[TOPIC], &Credit::unlimited(), &mut direct).unwrap();
        lost += direct.0.seen().lost(&[offered.sent]);
        sent += offered.sent;
    }
    assert_eq!(lost, sent / 1_000_000);
}

#[test]
fn one_swapped_pair_is_seen() {
    let (offered, seen) = measure(Fault::SwapAt(500), 100_000_000, None);
    assert_eq!((seen.lost(&[offered.sent]), seen.reordered, seen.duplicates), (0, 1, 0));
}

#[test]
fn one_repeated_message_is_seen() {
    let (offered, seen) = measure(Fault::RepeatAt(500), 100_000_000, None);
    assert_eq!((seen.received, seen.duplicates), (offered.sent + 1, 1));
    assert_eq!((seen.lost(&[offered.sent]), seen.reordered), (0, 0));
}

/// A closed loop would see one slow message among thousands. The schedule goes on during the stall, so all that was due
/// in it is late, the first by all of it.
#[test]
fn a_stall_shows_with_its_full_length() {
    let (rate, seconds) = (10_000.0, 1.0);
    let (offered, seen) = measure(Fault::StallAt(5000), (seconds * 1e9) as u64, Some(rate));
    assert_eq!(offered.sent, (rate * seconds) as u64, "a stall thins out no schedule");
    assert_eq!(seen.lost(&[offered.sent]), 0);
    let latencies = histogram(&seen);
    let stall = STALL.as_nanos() as u64;
    assert!(latencies.max() >= stall, "max {}", latencies.max());
    // 500 of 10,000 messages were due in the stall: those above the 99.9th percentile waited nearly all of it.
    let p999 = latencies.value_at_quantile(0.999);
    assert!(p999 >= stall * 98 / 100, "p99.9 {p999}");
    let late = latencies.count_between(stall / 10, u64::MAX);
    assert!(late >= 440, "only {late} messages were late");
}

/// The publisher's window is what makes a dropping transport lossless: nothing is sent beyond it.
#[test]
fn nothing_is_sent_beyond_the_credit() {
    struct Counted<'a>(&'a Credit, u64);
    impl Sender for Counted<'_> {
        fn send(&mut self, _: &str, _: &[u8]) -> Result<(), BenchError> {
            self.1 += 1;
            // Makes room for ten more only when the room is used up, from another thread, as the harness does.
            if self.1.is_multiple_of(10) {
                let (credit, below, publisher) = (self.0, self.1 + 10, thread::current());
                thread::scope(|scope| {
                    scope.spawn(move || {
                        credit.raise(below);
                        publisher.unpark();
                    });
                });
            }
            Ok(())
        }
    }
    let credit = Credit::new(10);
    let mut counted = Counted(&credit, 0);
    let load = Load { publisher: 0, size: SIZE, nanos: 10_000_000, most: None, rate: None };
    let offered = offer(&load, &[TOPIC], &credit, &mut counted).unwrap();
    assert_eq!(offered.sent, counted.1);
}

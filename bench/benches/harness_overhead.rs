//! What measuring costs: numbering a message, handing it over and counting it, with nothing between. The fastest
//! contender must be ten times slower than this for its figures to be its own.
//!
//! `count`: throughput. `latency`: with the clock read and the histogram filled for each message, as at a fixed rate.
//! `tally`: only the counting of a message whose stamp comes beside it, which is what each subscriber of `local:N` does;
//! of one thread, and of four as in `local:4`, to be compared with the deliveries a second of that.
#![allow(missing_docs, clippy::disallowed_methods)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_bench::BenchError;
use multiplane_bench::contender::{Sender, TOPIC};
use multiplane_bench::load::{Credit, Load, offer};
use multiplane_bench::stamp::Stamp;
use multiplane_bench::tally::Tally;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// A transport that takes no time: what is sent has arrived.
struct Nothing(Tally);

impl Sender for Nothing {
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        self.0.note(payload);
        Ok(())
    }
}

fn harness_overhead(criterion: &mut Criterion) {
    for (name, latency) in [("count", false), ("latency", true)] {
        let mut group = criterion.benchmark_group(format!("harness_overhead/{name}"));
        group.throughput(Throughput::Elements(1)).sample_size(10);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
        for size in [16, 100, 1024] {
            group.bench_function(BenchmarkId::from_parameter(format!("{size}B")), |bencher| {
                // The load runs for a time, not for a number; so the time per message is scaled to the number asked.
                bencher.iter_custom(|messages| {
                    let load = Load { publisher: 0, size, nanos: 20_000_000, most: None, rate: None };
                    let mut nothing = Nothing(Tally::new(1, size, latency).expect("a tally"));
                    let start = multiplane_bench::clock::now();
                    let offered = offer(&load, &[TOPIC], &Credit::unlimited(), &mut nothing)
                        .expect("nothing that fails");
                    let each = (multiplane_bench::clock::now() - start) as f64 / offered.sent as f64;
                    Duration::from_nanos((each * messages as f64) as u64)
                });
            });
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("harness_overhead/tally");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for threads in [1, 4] {
        group.throughput(Throughput::Elements(threads));
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter_custom(|messages| side_by_side(threads, || tally(messages)));
        });
    }
    group.finish();
}

/// Counts so many messages.
fn tally(messages: u64) {
    let mut tally = Tally::new(1, 100, false).expect("a tally");
    for sequence in 0..messages {
        tally.note_stamp(Some(black_box(Stamp { publisher: 0, sequence, due: 0 })), 100);
    }
    assert_eq!(tally.arrived(), messages);
}

/// How long it takes so many threads to do the same, all at once.
fn side_by_side(threads: u64, run: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&run))));
    start.elapsed()
}

criterion_group!(benches, harness_overhead);
criterion_main!(benches);

//! What `publish` costs, from 1, 2 and 4 threads.
//!
//! `call`: the call alone, encoding included, with a queue that has room: nobody subscribes, so the worker takes and
//! drops. `delivered`: with a subscriber on the other side of a backplane and back-pressure from end to end.
#![allow(missing_docs, clippy::disallowed_methods)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_bench::Topology;
use std::thread;
use std::time::{Duration, Instant};

fn publish(criterion: &mut Criterion) {
    let topology = Topology::start(1);
    let mut group = criterion.benchmark_group("publish/call");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for threads in [1, 2, 4] {
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter_custom(|messages| {
                let start = Instant::now();
                thread::scope(|scope| {
                    for thread in 0..threads {
                        let publisher = &topology.publisher;
                        let share = messages / threads + u64::from(thread < messages % threads);
                        scope.spawn(move || {
                            for n in 0..share {
                                publisher.publish("nobody", &n).expect("an open bus");
                            }
                        });
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("publish/delivered");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for size in [16, 100, 1024] {
        let payload = vec![7; size];
        group.bench_function(BenchmarkId::from_parameter(format!("{size}B")), |bencher| {
            bencher.iter_custom(|messages| {
                let start = Instant::now();
                topology.pump(messages, &payload);
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);

//! What a message costs a component that is linked to 1, 4, 16 or 64 backplanes of which one is busy.
//!
//! `cpu`: processor time of the receiving worker alone, which is the receive loop. `wall`: from publisher to handler
//! through a backplane, all in this process.
#![allow(missing_docs, clippy::disallowed_methods)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_bench::Topology;
use std::time::{Duration, Instant};

fn receive_loop(criterion: &mut Criterion) {
    let payload = [7; 100];
    for (kind, cpu) in [("cpu", true), ("wall", false)] {
        let mut group = criterion.benchmark_group(format!("receive_loop/{kind}"));
        group.throughput(Throughput::Elements(1)).sample_size(20);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        for backplanes in [1, 4, 16, 64] {
            let topology = Topology::start(backplanes);
            group.bench_function(BenchmarkId::from_parameter(backplanes), |bencher| {
                bencher.iter_custom(|messages| {
                    let (start, busy) = (Instant::now(), topology.worker_cpu());
                    topology.pump(messages, &payload);
                    if cpu { topology.worker_cpu() - busy } else { start.elapsed() }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, receive_loop);
criterion_main!(benches);

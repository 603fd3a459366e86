//! A message on a local backplane. Its payload of 100 bytes is shared.
//!
//! `publish`: what it costs the publisher while 1, 4, 16 or 64 subscribers are attached and take nothing; under `skip`, so
//! that they do not hold it up. `alone`: publishing one or 64 messages and reading them in place, all in one
//! thread: what the steps cost. `threads`: to 1 and 4 threads that read; the last of them to have got all ends it.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_bus::local::{Backplane, OnLag, SubscribeTo};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

fn start(on_lag: OnLag) -> Backplane {
    Backplane::builder("bench").on_lag(on_lag).start().unwrap()
}

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("local/publish");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let payload = Bytes::from(vec![7; 100]);
    for idle in [1, 4, 16, 64] {
        let backplane = start(OnLag::Skip);
        let publisher = backplane.publisher();
        let subscribers: Vec<_> = (0..idle).map(|_| backplane.subscriber()).collect();
        group.bench_function(BenchmarkId::from_parameter(idle), |bencher| {
            bencher.iter(|| publisher.publish(payload.clone()));
        });
        assert!(subscribers.iter().all(|subscriber| !subscriber.is_empty()));
    }
    group.finish();
}

fn hand_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("local/hand_over");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let payload = Bytes::from(vec![7; 100]);
    let backplane = start(OnLag::Block);
    let publisher = backplane.publisher();
    for batch in [1, 64] {
        let mut subscriber = backplane.subscriber();
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::new("alone", batch), |bencher| {
            bencher.iter(|| {
                (0..batch).for_each(|_| publisher.publish(payload.clone()).unwrap());
                assert_eq!(
                    subscriber.try_for_each(|message| {
                        black_box(message.payload());
                    }),
                    Ok(batch as usize)
                );
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    for subscribers in [1, 4] {
        group.bench_function(BenchmarkId::new("threads", subscribers), |bencher| {
            bencher.iter_custom(|messages| {
                thread::scope(|scope| {
                    for _ in 0..subscribers {
                        let mut subscriber = backplane.subscriber();
                        scope.spawn(move || take(&mut subscriber, messages));
                    }
                    let start = Instant::now();
                    (0..messages).for_each(|_| publisher.publish(payload.clone()).unwrap());
                    start
                })
                .elapsed()
            });
        });
    }
    group.finish();
}

fn take(subscriber: &mut SubscribeTo, messages: u64) {
    while subscriber.received() < messages {
        subscriber
            .for_each(|message| {
                black_box(message.payload());
            })
            .unwrap();
    }
}

criterion_group!(benches, publish, hand_over);
criterion_main!(benches);

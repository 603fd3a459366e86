//! A message from publishing threads to a worker, without the worker's sockets: take a buffer from the pool, fill it
//! with 100 bytes, queue it, mark the link; on the other side take the marks, drain the queue, give the buffers back.
//!
//! `alone`: both sides in one thread, a batch at a time: what the steps cost. `threads`: 1, 2 and 4 publishing threads
//! and a worker that looks again and again; on few cores these get in each other's way, as in life.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_ring::queue::{Receiver, Sender, bounded};
use multiplane_ring::{BufferPool, ReadySet};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

const QUEUE: usize = 1024;
const BATCH: u64 = 64;
const PAYLOAD: [u8; 100] = [7; 100];

struct Link {
    pool: BufferPool,
    ready: ReadySet,
    sender: Sender<Vec<u8>>,
    receiver: Receiver<Vec<u8>>,
}

impl Link {
    fn new() -> Self {
        let (sender, receiver) = bounded(QUEUE);
        Link { pool: BufferPool::new(QUEUE, 4096), ready: ReadySet::new(1), sender, receiver }
    }

    fn put(&self) {
        let mut buffer = self.pool.take();
        buffer.extend_from_slice(black_box(&PAYLOAD));
        self.sender.send(buffer).unwrap();
        self.ready.mark(0);
    }

    /// How many there were.
    fn drain(&self) -> u64 {
        let mut count = 0;
        self.ready.take(|_| {
            for buffer in self.receiver.try_iter() {
                count += u64::from(black_box(buffer.len()) == PAYLOAD.len());
                self.pool.give(buffer);
            }
        });
        count
    }
}

fn alone(link: &Link, messages: u64) {
    let mut left = messages;
    while left > 0 {
        let batch = left.min(BATCH);
        (0..batch).for_each(|_| link.put());
        assert_eq!(link.drain(), batch);
        left -= batch;
    }
}

fn threads(link: &Link, publishers: u64, messages: u64) {
    thread::scope(|scope| {
        for publisher in 0..publishers {
            let share = messages / publishers + u64::from(publisher < messages % publishers);
            scope.spawn(move || (0..share).for_each(|_| link.put()));
        }
        let mut taken = 0;
        while taken < messages {
            match link.drain() {
                0 => thread::yield_now(),
                count => taken += count,
            }
        }
    });
}

fn hand_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hand_over");
    group.throughput(Throughput::Elements(1)).sample_size(15);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let link = Link::new();
    let measured = |messages, run: &dyn Fn(u64)| {
        let start = Instant::now();
        run(messages);
        start.elapsed()
    };
    group.bench_function("alone", |bencher| {
        bencher.iter_custom(|messages| measured(messages, &|messages| alone(&link, messages)));
    });
    for publishers in [1, 2, 4] {
        group.bench_function(BenchmarkId::new("threads", publishers), |bencher| {
            bencher
                .iter_custom(|messages| measured(messages, &|messages| threads(&link, publishers, messages)));
        });
    }
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);

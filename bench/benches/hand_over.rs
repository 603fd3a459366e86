//! A message from publishing threads to a worker, without the worker's sockets: put 100 bytes into the publish queue and
//! mark the link; on the other side take the marks and the bytes.
//!
//! `alone`: both sides in one thread, a batch at a time: what the steps cost. `threads`: 1, 2 and 4 publishing threads
//! and a worker that looks again and again; on few cores these get in each other's way, as in life.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_ring::ReadySet;
use multiplane_ring::stream::{Capacity, StreamReceiver, StreamSender, stream};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

const QUEUE: usize = 256 * 1024;
const BATCH: u64 = 64;
const PAYLOAD: [u8; 100] = [7; 100];

struct Link {
    ready: ReadySet,
    sender: StreamSender,
}

impl Link {
    fn new() -> (Self, StreamReceiver) {
        let (sender, receiver) = stream(Capacity::of_bytes(QUEUE));
        (Link { ready: ReadySet::new(1), sender }, receiver)
    }

    fn put(&self) {
        let payload = black_box(&PAYLOAD);
        while self.sender.try_send(payload.len(), |place| place.copy_from_slice(payload)).is_err() {
            assert!(self.sender.wait_for_room(payload.len(), None, Instant::now));
        }
        self.ready.mark_appended(0);
    }

    /// How many there were.
    fn drain(&self, receiver: &mut StreamReceiver) -> u64 {
        let mut bytes = 0;
        self.ready.take(|_| {
            while let Some(shown) = receiver.peek() {
                let length = black_box(shown).len();
                bytes += length;
                receiver.advance(length);
            }
        });
        (bytes / PAYLOAD.len()) as u64
    }
}

fn alone(link: &Link, receiver: &mut StreamReceiver, messages: u64) {
    let mut left = messages;
    while left > 0 {
        let batch = left.min(BATCH);
        (0..batch).for_each(|_| link.put());
        assert_eq!(link.drain(receiver), batch);
        left -= batch;
    }
}

fn threads(link: &Link, receiver: &mut StreamReceiver, publishers: u64, messages: u64) {
    thread::scope(|scope| {
        for publisher in 0..publishers {
            let share = messages / publishers + u64::from(publisher < messages % publishers);
            scope.spawn(move || (0..share).for_each(|_| link.put()));
        }
        let mut taken = 0;
        while taken < messages {
            match link.drain(receiver) {
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
    let (link, mut receiver) = Link::new();
    let receiver = &mut receiver;
    let measured = |messages, run: &mut dyn FnMut(u64)| {
        let start = Instant::now();
        run(messages);
        start.elapsed()
    };
    group.bench_function("alone", |bencher| {
        bencher.iter_custom(|messages| measured(messages, &mut |messages| alone(&link, receiver, messages)));
    });
    for publishers in [1, 2, 4] {
        group.bench_function(BenchmarkId::new("threads", publishers), |bencher| {
            bencher.iter_custom(|messages| {
                measured(messages, &mut |messages| threads(&link, receiver, publishers, messages))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);

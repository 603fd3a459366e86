//! Every interleaving of two publishers and a worker that goes to sleep: `RUSTFLAGS="--cfg loom" cargo test -p
//! multiplane-ring --test loom --release`.
#![cfg(loom)]

#[path = "loom/broadcast.rs"]
mod broadcast;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use multiplane_ring::stream::{Capacity, RoomHook, StreamReceiver, StreamSender, stream};
use multiplane_ring::{ReadySet, SleepFlag};

/// The worker never sleeps while a mark is unseen and nobody is about to wake it.
#[test]
fn no_wake_up_is_lost() {
    let mut model = loom::model::Builder::new();
    // Three preemptions find every known bug of this shape; without a bound two publishers take minutes.
    model.preemption_bound = Some(3);
    model.check(|| {
        let ready = Arc::new(ReadySet::new(2));
        let flag = Arc::new(SleepFlag::new());
        let signalled = Arc::new(AtomicBool::new(false));
        let publishers: Vec<_> = (0..2)
            .map(|number| {
                let (ready, flag, signalled) = (ready.clone(), flag.clone(), signalled.clone());
                thread::spawn(move || {
                    ready.mark(number);
                    if flag.should_wake() {
                        signalled.store(true, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let taken = AtomicUsize::new(0);
        let take = || ready.take(|_| drop(taken.fetch_add(1, Ordering::Relaxed)));
        take();
        flag.prepare();
        let asleep = ready.is_empty();
        if !asleep {
            flag.finish();
            take();
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
        // Whatever came after the last look must have left a signal.
        if asleep && !ready.is_empty() {
            assert!(signalled.load(Ordering::SeqCst), "asleep, marked, and nobody woke the worker");
        }
    });
}

/// What is written before a mark is visible to the worker that takes it.
#[test]
fn a_mark_publishes_what_was_written_before_it() {
    loom::model(|| {
        let ready = Arc::new(ReadySet::new(1));
        let value = Arc::new(AtomicUsize::new(0));
        let publisher = {
            let (ready, value) = (ready.clone(), value.clone());
            thread::spawn(move || {
                value.store(1, Ordering::Relaxed);
                ready.mark(0);
            })
        };
        ready.take(|_| assert_eq!(value.load(Ordering::Relaxed), 1));
        publisher.join().unwrap();
    });
}

/// Two producers and the consumer of a stream, inside of a block and over its border: nobody touches a byte of somebody
/// else's, and each record is seen once and whole.
#[test]
fn a_stream_has_one_owner_for_each_byte() {
    for before in [1, 3] {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
            let (sender, mut receiver) = stream(capacity);
            (0..before).for_each(|_| assert!(append(&sender, 9, 16)));
            let sender = Arc::new(sender);
            let producers: Vec<_> = (1..3u8)
                .map(|who| {
                    let sender = sender.clone();
                    thread::spawn(move || assert!(append(&sender, who, 10)))
                })
                .collect();
            let mut seen = [0; 10];
            take_all(&mut receiver, &mut seen);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            take_all(&mut receiver, &mut seen);
            assert_eq!((seen[9], seen[1], seen[2]), (16 * before, 10, 10));
        });
    }
}

fn append(sender: &StreamSender, byte: u8, length: usize) -> bool {
    sender.try_send(length, |place| place.fill(byte)).is_ok()
}

fn take_all(receiver: &mut StreamReceiver, seen: &mut [usize]) {
    while let Some(shown) = receiver.peek() {
        shown.iter().for_each(|byte| seen[usize::from(*byte)] += 1);
        let length = shown.len();
        receiver.advance(length);
    }
}

/// The second lap: a producer writes where the consumer has read.
#[test]
fn a_stream_is_given_back_before_it_is_written_again() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
        let (sender, mut receiver) = stream(capacity);
        (0..8).for_each(|_| assert!(append(&sender, 1, 16)));
        let producer = thread::spawn(move || append(&sender, 2, 16));
        let mut seen = [0; 3];
        take_all(&mut receiver, &mut seen);
        let sent = producer.join().unwrap();
        take_all(&mut receiver, &mut seen);
        assert_eq!(seen, [0, 128, if sent { 16 } else { 0 }]);
    });
}

/// A publisher appends twice and says so; the worker takes what it sees and goes to sleep. Whatever is left then, it has
/// been woken for, also where the first mark still stood at the second append.
#[test]
fn no_append_is_slept_through() {
    loom::model(|| {
        let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
        let (sender, mut receiver) = stream(capacity);
        let ready = Arc::new(ReadySet::new(1));
        let flag = Arc::new(SleepFlag::new());
        let publisher = {
            let (ready, flag) = (ready.clone(), flag.clone());
            thread::spawn(move || {
                [1, 2].map(|byte| {
                    assert!(append(&sender, byte, 1));
                    ready.mark_appended(0);
                    flag.should_wake_marked()
                })
            })
        };
        let mut seen = [0; 3];
        let mut take = |receiver: &mut StreamReceiver| ready.take(|_| take_all(receiver, &mut seen));
        take(&mut receiver);
        flag.prepare();
        let asleep = ready.is_empty();
        if !asleep {
            flag.finish();
            take(&mut receiver);
        }
        let woken = publisher.join().unwrap().contains(&true);
        if woken || !asleep {
            take(&mut receiver);
        }
        assert_eq!(seen, [0, 1, 1], "asleep: {asleep}, woken: {woken}");
    });
}

/// Counting while the consumer gives a block back and a producer fills it again.
#[test]
fn a_record_is_counted_once() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
        let (sender, mut receiver) = stream(capacity);
        (0..8).for_each(|_| assert!(append(&sender, 1, 16)));
        let sender = Arc::new(sender);
        let producer = {
            let sender = sender.clone();
            thread::spawn(move || append(&sender, 2, 16))
        };
        let consumer = thread::spawn(move || take_all(&mut receiver, &mut [0; 3]));
        // On the last thread: loom reverses a write with the last access before it alone, so a read that comes first is
        // hidden by the consumer's own.
        let counting = {
            let sender = sender.clone();
            thread::spawn(move || sender.appended())
        };
        consumer.join().unwrap();
        let appended = producer.join().unwrap();
        let counted = counting.join().unwrap();
        assert!(counted == 8 || counted == 9, "{counted}");
        assert_eq!(sender.appended(), 8 + u64::from(appended));
    });
}

/// A producer that finds no room leaves a hook and tries once more; the consumer makes room meanwhile. Either the second
/// try succeeds or the hook is called: nobody waits for a call that never comes.
#[test]
fn whoever_found_no_room_is_called() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
        let (sender, mut receiver) = stream(capacity);
        (0..8).for_each(|_| assert!(append(&sender, 1, 16)));
        let called = Arc::new(AtomicBool::new(false));
        let producer = {
            let called = called.clone();
            thread::spawn(move || {
                let hook: RoomHook = std::sync::Arc::new(move || called.store(true, Ordering::SeqCst));
                let sent = append(&sender, 2, 16) || {
                    sender.when_room(&hook);
                    append(&sender, 2, 16)
                };
                (sender, hook, sent)
            })
        };
        take_all(&mut receiver, &mut [0; 3]);
        let (_sender, _hook, sent) = producer.join().unwrap();
        assert!(sent || called.load(Ordering::SeqCst), "it waits for ever");
    });
}

/// A producer whose large record finds no room in the end has held some for a moment, and goes. The consumer may have
/// made room just then: whoever waits hears of it all the same.
#[test]
fn who_gives_up_leaves_nobody_asleep() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
        let (sender, mut receiver) = stream(capacity);
        (0..8).for_each(|_| assert!(append(&sender, 1, 16)));
        let sender = Arc::new(sender);
        let gives_up = {
            let sender = sender.clone();
            thread::spawn(move || sender.try_send_buffer(vec![2]).is_ok())
        };
        let waits = thread::spawn(move || assert!(sender.wait_for_room(1, None, std::time::Instant::now)));
        take_all(&mut receiver, &mut [0; 3]);
        if gives_up.join().unwrap() {
            take_all(&mut receiver, &mut [0; 3]);
        }
        waits.join().unwrap();
    });
}

/// What was taken is counted once the consumer is gone: nothing is committed after that.
#[test]
fn the_end_knows_of_all_that_was_taken() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let capacity = Capacity { block_bytes: 64, blocks: 2, large_records: 1, large_bytes: 1 };
        let (sender, receiver) = stream(capacity);
        assert!(append(&sender, 1, 10));
        let sender = Arc::new(sender);
        let producer = {
            let sender = sender.clone();
            thread::spawn(move || append(&sender, 1, 10))
        };
        drop(receiver);
        let counted = sender.appended();
        assert_eq!(counted, 1 + u64::from(producer.join().unwrap()));
    });
}

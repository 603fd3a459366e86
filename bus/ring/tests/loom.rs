//! Every interleaving of two publishers and a worker that goes to sleep: `RUSTFLAGS="--cfg loom" cargo test -p
//! multiplane-ring --test loom --release`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
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

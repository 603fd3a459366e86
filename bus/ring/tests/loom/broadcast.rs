//! Publishers and receivers of a broadcast ring that attach, lap, wait, leave and close. Loom follows every slot, so a read
//! of what somebody writes is found; that a waiting end is never woken shows as a deadlock.

use loom::alloc::Track;
use loom::thread::{self, JoinHandle};
use multiplane_ring::Wait;
use multiplane_ring::broadcast::{Carried, Nothing, OnLag, Options, Receiver, Refused, Sender, broadcast};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// A number, and how large it pretends to be. Loom finds whoever is not dropped.
#[derive(Debug)]
struct Note(Track<(u64, usize)>);

impl Note {
    fn number(&self) -> u64 {
        self.0.get_ref().0
    }
}

impl Clone for Note {
    fn clone(&self) -> Self {
        Note(Track::new(*self.0.get_ref()))
    }
}

impl Carried for Note {
    fn bytes(&self) -> usize {
        self.0.get_ref().1
    }
}

fn note(number: u64) -> Note {
    Note(Track::new((number, 0)))
}

/// Time stands still: what ends a wait is being woken.
fn now() -> Instant {
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    *NOW
}

fn ring(slots: usize, on_lag: OnLag) -> Sender<Note> {
    broadcast(Options { slots, bytes: 64, on_lag, wait: Wait::Block })
}

fn explore(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(test);
}

/// Publishes these numbers on a thread of its own.
fn publish(sender: &Sender<Note>, numbers: std::ops::Range<u64>) -> JoinHandle<usize> {
    let sender = sender.clone();
    thread::spawn(move || {
        numbers.into_iter().take_while(|number| sender.send(note(*number), None, now).is_ok()).count()
    })
}

/// Everything until the end, with how much was missed before each.
fn all(receiver: &mut Receiver<Note>) -> Vec<(u64, u64)> {
    let mut got = Vec::new();
    loop {
        let mut taken = None;
        match receiver.take(1, |note| taken = Some(note.number())) {
            Ok(_) => got.push((taken.unwrap(), receiver.missed())),
            Err(Nothing::Yet) => assert!(receiver.wait(None, now)),
            Err(Nothing::Ended) => return got,
        }
    }
}

fn numbers(got: &[(u64, u64)]) -> Vec<u64> {
    got.iter().map(|(number, _)| *number).collect()
}

/// One slot, so that each message waits for the former: both ends sleep and are woken, and the slot is used again.
#[test]
fn a_lap_waits_for_the_receiver() {
    for slots in [1, 2] {
        explore(3, move || {
            let sender = ring(slots, OnLag::Block);
            let mut receiver = sender.attach();
            let publisher = {
                let sender = sender.clone();
                thread::spawn(move || {
                    (0..3).for_each(|number| sender.send(note(number), None, now).unwrap());
                    sender.close();
                })
            };
            assert_eq!(numbers(&all(&mut receiver)), [0, 1, 2]);
            publisher.join().unwrap();
        });
    }
}

#[test]
fn two_publishers_share_a_ring() {
    explore(2, || {
        let sender = ring(2, OnLag::Block);
        let mut receiver = sender.attach();
        let publishers = [publish(&sender, 0..2), publish(&sender, 10..12)];
        let mut got = Vec::new();
        while got.len() < 4 {
            match receiver.take(4, |note| got.push(note.number())) {
                Err(Nothing::Yet) => assert!(receiver.wait(None, now)),
                other => assert!(other.is_ok()),
            }
        }
        publishers.into_iter().for_each(|publisher| assert_eq!(publisher.join().unwrap(), 2));
        let of = |low: u64| got.iter().copied().filter(|n| n / 10 == low / 10).collect::<Vec<_>>();
        assert_eq!((of(0), of(10)), (vec![0, 1], vec![10, 11]));
    });
}

#[test]
fn two_receivers_hold_one_slot() {
    explore(2, || {
        let sender = ring(1, OnLag::Block);
        let (mut one, mut other) = (sender.attach(), sender.attach());
        let reads = thread::spawn(move || assert_eq!(numbers(&all(&mut other)), [0, 1]));
        let publisher = {
            let sender = sender.clone();
            thread::spawn(move || {
                (0..2).for_each(|number| sender.send(note(number), None, now).unwrap());
                sender.close();
            })
        };
        assert_eq!(numbers(&all(&mut one)), [0, 1]);
        reads.join().unwrap();
        publisher.join().unwrap();
    });
}

/// Whoever attaches in between gets the rest without a gap, at least what was published afterwards.
#[test]
fn attaching_misses_nothing_that_comes_after() {
    for on_lag in [OnLag::Block, OnLag::Skip] {
        explore(2, move || {
            let sender = ring(2, on_lag);
            let publisher = publish(&sender, 0..2);
            let mut receiver = sender.attach();
            let last = sender.clone();
            let closes = thread::spawn(move || {
                last.send(note(2), None, now).unwrap();
                last.close();
            });
            let got = all(&mut receiver);
            let accepted = publisher.join().unwrap();
            closes.join().unwrap();
            assert!(got.iter().any(|(number, _)| *number == 2) || receiver.missed() > 0, "{got:?}");
            assert!(receiver.received() + receiver.missed() <= accepted as u64 + 1);
            let first: Vec<_> = numbers(&got).into_iter().filter(|number| *number < 2).collect();
            assert!(first.is_sorted(), "{got:?}");
        });
    }
}

#[test]
fn leaving_frees_who_waits_for_it() {
    explore(3, || {
        let sender = ring(1, OnLag::Block);
        let (gone, mut stays) = (sender.attach(), sender.attach());
        let publisher = publish(&sender, 0..2);
        let leaves = thread::spawn(move || drop(gone));
        let mut got = 0;
        while got < 2 {
            match stays.take(1, |note| assert_eq!(note.number(), got)) {
                Ok(_) => got += 1,
                Err(_) => assert!(stays.wait(None, now)),
            }
        }
        leaves.join().unwrap();
        assert_eq!(publisher.join().unwrap(), 2);
    });
}

/// Two publishers and no receiver: nobody writes where another still writes.
#[test]
fn a_lap_waits_for_another_publisher() {
    explore(3, || {
        let sender = ring(1, OnLag::Block);
        let publishers = [publish(&sender, 0..2), publish(&sender, 10..12)];
        publishers.into_iter().for_each(|publisher| assert_eq!(publisher.join().unwrap(), 2));
        assert_eq!(sender.accepted(), 4);
    });
}

/// What was taken before the end is delivered, and nothing else.
#[test]
fn closing_closes_the_books() {
    explore(2, || {
        let sender = ring(1, OnLag::Block);
        let mut receiver = sender.attach();
        let publisher = publish(&sender, 0..2);
        let closes = {
            let sender = sender.clone();
            thread::spawn(move || sender.close())
        };
        let got = all(&mut receiver);
        closes.join().unwrap();
        let accepted = publisher.join().unwrap();
        assert_eq!((got.len(), sender.accepted()), (accepted, accepted as u64));
        assert!(matches!(sender.try_send(note(9)), Err(Refused::Closed(_))));
    });
}

/// Who lags is told how much it missed, exactly there where it is missing.
#[test]
fn a_lapped_receiver_knows_what_it_missed() {
    for slots in [1, 2] {
        explore(3, move || {
            let sender = ring(slots, OnLag::Skip);
            let mut receiver = sender.attach();
            let publisher = {
                let sender = sender.clone();
                thread::spawn(move || {
                    (0..3).for_each(|number| sender.send(note(number), None, now).unwrap());
                    sender.close();
                })
            };
            let got = all(&mut receiver);
            publisher.join().unwrap();
            for (index, (number, missed)) in got.iter().enumerate() {
                assert_eq!(*number, index as u64 + missed, "{got:?}");
            }
            assert_eq!(receiver.received() + receiver.missed(), 3);
            assert_eq!(got.last().map(|(number, _)| *number), Some(2), "the last is never overtaken");
        });
    }
}

/// Two receivers of which each may be lapped while the other reads.
#[test]
fn lapping_one_spares_the_other() {
    explore(2, || {
        let sender = ring(1, OnLag::Skip);
        let (mut one, mut other) = (sender.attach(), sender.attach());
        let books = |receiver: &mut Receiver<Note>| {
            while receiver.take(1, |_| ()).is_ok() {}
            receiver.received() + receiver.missed() + receiver.len() as u64
        };
        let reads = thread::spawn(move || assert!(books(&mut other) <= 2));
        let publisher = publish(&sender, 0..2);
        books(&mut one);
        reads.join().unwrap();
        assert_eq!(publisher.join().unwrap(), 2);
        assert_eq!(books(&mut one), 2);
    });
}

#[test]
fn an_armed_hook_is_called_or_there_is_something() {
    explore(3, || {
        let sender = ring(2, OnLag::Block);
        let mut receiver = sender.attach();
        let calls = Arc::new(AtomicUsize::new(0));
        let counts = calls.clone();
        receiver.set_hook(move || {
            counts.fetch_add(1, Ordering::SeqCst);
        });
        let publisher = publish(&sender, 0..1);
        let armed = receiver.arm();
        publisher.join().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), usize::from(armed));
        assert_eq!(receiver.take(9, |_| ()), Ok(1));
    });
}

/// Large messages wait for bytes, not for slots.
#[test]
fn large_messages_wait_for_their_bytes() {
    explore(2, || {
        let sender = ring(4, OnLag::Block);
        let mut receiver = sender.attach();
        let publisher = {
            let sender = sender.clone();
            thread::spawn(move || {
                for number in 0..3 {
                    sender.send(Note(Track::new((number, 40))), None, now).unwrap();
                }
                sender.close();
            })
        };
        assert_eq!(numbers(&all(&mut receiver)), [0, 1, 2]);
        publisher.join().unwrap();
    });
}

//! A broadcast ring under load: receivers come and go in storms, and in the end the books are closed.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // Helpers of tests.
#![allow(clippy::disallowed_methods)] // A deadline for a test that hangs.

use multiplane_ring::Wait;
use multiplane_ring::broadcast::{Carried, Nothing, OnLag, Options, Receiver, Refused, Sender, broadcast};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Who published it, its number, and how large it pretends to be. The `Arc` counts how many there are.
#[derive(Clone)]
struct Note {
    from: usize,
    number: u64,
    bytes: usize,
    _alive: Arc<()>,
}

impl Carried for Note {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

fn options(slots: usize, on_lag: OnLag) -> Options {
    Options { slots, bytes: slots * 100, on_lag, wait: Wait::Block }
}

/// What a receiver got of each publisher.
#[derive(Default)]
struct Books {
    next: [Option<u64>; PUBLISHERS],
    gaps: u64,
}

const PUBLISHERS: usize = 3;
/// Miri, which sees each undefined step, takes a thousand times as long.
const EACH: u64 = if cfg!(miri) { 30 } else { 20_000 };
const SLOTS: [usize; 4] = if cfg!(miri) { [1, 2, 4, 16] } else { [1, 2, 64, 1024] };
/// More than a receiver takes before it tells so.
const MANY: u64 = if cfg!(miri) { 128 } else { 1024 };

impl Books {
    /// Of one that is there from the beginning.
    fn from_the_start() -> Self {
        Self { next: [Some(0); PUBLISHERS], gaps: 0 }
    }

    fn note(&mut self, note: &Note) {
        let next = &mut self.next[note.from];
        if let Some(next) = *next {
            assert!(note.number >= next, "publisher {}: {} after {next}", note.from, note.number);
            self.gaps += note.number - next;
        }
        *next = Some(note.number + 1);
    }
}

/// Takes until the end, or so many.
fn read(receiver: &mut Receiver<Note>, books: &mut Books, most: u64) {
    while receiver.received() < most {
        match receiver.take(17, |note| books.note(note)) {
            Ok(_) => {}
            Err(Nothing::Yet) => assert!(receiver.wait(None, Instant::now)),
            Err(Nothing::Ended) => return,
        }
    }
}

fn publish(sender: &Sender<Note>, from: usize, alive: &Arc<()>) {
    for number in 0..EACH {
        // Some are large, and one is larger than all that the ring may hold.
        let bytes = match number {
            _ if number == EACH / 4 => 1_000_000,
            _ if number.is_multiple_of(97) => 500,
            _ => 10,
        };
        let note = Note { from, number, bytes, _alive: alive.clone() };
        assert!(sender.send(note, None, Instant::now).is_ok());
    }
}

/// Publishers, receivers from the beginning to the end, and others that come, read a little, or nothing, and go.
fn storm(slots: usize, on_lag: OnLag) {
    let alive = Arc::new(());
    let sender = broadcast(options(slots, on_lag));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let stay = |_| {
            let mut receiver = sender.attach();
            scope.spawn(move || {
                let mut books = Books::from_the_start();
                read(&mut receiver, &mut books, u64::MAX);
                (receiver.received(), receiver.missed(), books.gaps)
            })
        };
        let staying: Vec<_> = (0..2).map(stay).collect();
        for patience in [0, 1, 50] {
            let (over, sender) = (&over, &sender);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    let (mut receiver, mut books) = (sender.attach(), Books::default());
                    read(&mut receiver, &mut books, patience);
                    assert!(books.gaps <= receiver.missed());
                    thread::yield_now();
                }
            });
        }
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|from| {
                let (sender, alive) = (&sender, &alive);
                scope.spawn(move || publish(sender, from, alive))
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        over.store(true, Relaxed);
        sender.close();
        for stays in staying {
            let (received, missed, gaps) = stays.join().unwrap();
            assert_eq!(received + missed, sender.accepted());
            // What is missing at the very end is no gap.
            assert!(gaps <= missed, "{gaps} {missed}");
            if on_lag == OnLag::Block {
                assert_eq!((received, missed), (PUBLISHERS as u64 * EACH, 0));
            }
        }
    });
    assert_eq!((sender.accepted(), sender.receivers()), (PUBLISHERS as u64 * EACH, 0));
    drop(sender);
    assert_eq!(Arc::strong_count(&alive), 1, "every message is dropped, and once");
}

#[test]
fn books_are_closed_after_a_storm_that_blocks() {
    SLOTS.into_iter().for_each(|slots| storm(slots, OnLag::Block));
}

#[test]
fn books_are_closed_after_a_storm_that_skips() {
    SLOTS.into_iter().for_each(|slots| storm(slots, OnLag::Skip));
}

fn small(number: u64) -> Note {
    Note { from: 0, number, bytes: 1, _alive: Arc::new(()) }
}

#[test]
fn a_panic_of_the_reader_loses_one_message() {
    for on_lag in [OnLag::Block, OnLag::Skip] {
        let sender = broadcast(options(4, on_lag));
        let mut receiver = sender.attach();
        (0..4).for_each(|number| assert!(sender.try_send(small(number)).is_ok()));
        let take = || receiver.take(9, |note| assert_ne!(note.number, 1, "what was to be shown"));
        assert!(catch_unwind(AssertUnwindSafe(take)).is_err());
        let mut got = Vec::new();
        assert_eq!(receiver.take(9, |note| got.push(note.number)), Ok(2));
        assert_eq!(got, [2, 3]);
        assert!(sender.try_send(small(4)).is_ok());
    }
}

/// A receiver that idles costs publishers nothing once it is lapped: they forget it.
#[test]
fn who_never_reads_misses_everything_but_the_last() {
    let sender = broadcast(options(8, OnLag::Skip));
    let mut idle: Vec<_> = (0..64).map(|_| sender.attach()).collect();
    (0..1000).for_each(|number| assert!(sender.try_send(small(number)).is_ok()));
    for receiver in &mut idle {
        assert_eq!(receiver.len(), 1000);
        assert_eq!(receiver.take(100, |_| ()), Ok(8));
        assert_eq!((receiver.received(), receiver.missed(), receiver.len()), (8, 992, 0));
    }
    idle.truncate(10);
    assert_eq!(sender.receivers(), 10);
}

#[test]
fn waiting_has_a_deadline() {
    let sender = broadcast(options(2, OnLag::Block));
    let mut receiver = sender.attach();
    let soon = || Some(Instant::now() + Duration::from_millis(1));
    assert!(!receiver.wait(soon(), Instant::now));
    (0..2).for_each(|number| assert!(sender.try_send(small(number)).is_ok()));
    assert!(
        matches!(sender.send(small(2), soon(), Instant::now), Err(Refused::Full(note)) if note.number == 2)
    );
    assert!(receiver.wait(None, Instant::now));
    assert_eq!(receiver.take(1, |_| ()), Ok(1));
    assert!(sender.send(small(2), soon(), Instant::now).is_ok());
}

/// One place is enough for who waits, though to be woken for many is better.
#[test]
fn who_takes_one_message_makes_room_for_one() {
    let sender = broadcast(options(MANY as usize, OnLag::Block));
    let mut receiver = sender.attach();
    (0..MANY).for_each(|number| assert!(sender.try_send(small(number)).is_ok()));
    let waiting = thread::spawn({
        let sender = sender.clone();
        move || sender.send(small(MANY), None, Instant::now).is_ok()
    });
    assert_eq!(receiver.take(1, |_| ()), Ok(1));
    assert!(waiting.join().unwrap());
    assert_eq!(receiver.len(), MANY as usize);
}

#[test]
fn who_reads_much_makes_room_meanwhile() {
    let sender = broadcast(options(MANY as usize, OnLag::Block));
    let mut receiver = sender.attach();
    (0..MANY).for_each(|number| assert!(sender.try_send(small(number)).is_ok()));
    let see = |note: &Note| {
        if note.number == 100 {
            assert!(sender.try_send(small(MANY)).is_ok());
        }
    };
    assert_eq!(receiver.take(MANY as usize, see), Ok(MANY as usize));
    assert_eq!(receiver.len(), 1);
}

/// When it is copied for the first time, it publishes until there is no room.
struct Flood {
    number: u64,
    into: Mutex<Option<Sender<Self>>>,
}

impl Flood {
    fn new(number: u64, into: Option<Sender<Self>>) -> Self {
        Self { number, into: Mutex::new(into) }
    }
}

impl Clone for Flood {
    fn clone(&self) -> Self {
        if let Some(sender) = self.into.lock().unwrap().take() {
            (self.number + 1..).find(|&number| sender.try_send(Self::new(number, None)).is_err());
        }
        Self::new(self.number, None)
    }
}

impl Carried for Flood {}

/// Who reads holds up also what others have had already: one that is lapped meanwhile does not get that again.
#[test]
fn who_is_lapped_while_another_reads_gets_nothing_twice() {
    let sender = broadcast(options(64, OnLag::Skip));
    let (mut lapped, mut slow) = (sender.attach(), sender.attach());
    (0..3).for_each(|number| assert!(sender.try_send(Flood::new(number, None)).is_ok()));
    assert_eq!(lapped.take(9, |_| ()), Ok(3));
    let mut late = sender.attach();
    assert!(sender.try_send(Flood::new(3, Some(sender.clone()))).is_ok());
    assert_eq!(slow.take(1, |flood| assert_eq!(flood.number, 0)), Ok(1));
    for receiver in [&mut lapped, &mut late] {
        let mut numbers = 3..;
        assert_eq!(receiver.take(99, |flood| assert_eq!(Some(flood.number), numbers.next())), Ok(61));
        assert_eq!(receiver.missed(), 0);
    }
}

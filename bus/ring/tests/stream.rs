//! The stream through its public face: whatever threads append comes out whole, in each one's order, and bounded.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use multiplane_ring::stream::{Capacity, Refused, RoomHook, StreamReceiver, StreamSender, stream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn small() -> Capacity {
    Capacity { block_bytes: 64, blocks: 4, large_records: 4, large_bytes: 1000 }
}

/// A record says how long it is, who wrote it and its number; the rest is filled with the number.
fn record(who: u8, number: u32, length: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(length);
    record.extend_from_slice(&(length as u32).to_le_bytes());
    record.push(who);
    record.extend_from_slice(&number.to_le_bytes());
    record.resize(length, number as u8);
    record
}

fn append(sender: &StreamSender, record: &[u8]) -> Result<(), Refused> {
    sender.try_send(record.len(), |place| place.copy_from_slice(record))
}

fn send(sender: &StreamSender, record: Vec<u8>) {
    let mut large = (record.len() > sender.inline_limit()).then_some(record.clone());
    loop {
        let sent = match large.take() {
            None => append(sender, &record),
            Some(buffer) => sender.try_send_buffer(buffer).map_err(|(back, refused)| {
                large = Some(back);
                refused
            }),
        };
        match sent {
            Ok(()) => return,
            Err(Refused::Full) => assert!(sender.wait_for_room(record.len(), None, Instant::now)),
            Err(Refused::Closed) => panic!("closed"),
        }
    }
}

/// Takes whole records of what is readable, `most` bytes at a time; calls `see` with each.
fn take(receiver: &mut StreamReceiver, most: usize, see: &mut impl FnMut(u8, u32, &[u8])) -> bool {
    let mut any = false;
    while let Some(bytes) = receiver.peek() {
        any = true;
        let mut at = 0;
        while at < bytes.len() && (at == 0 || at < most) {
            let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let record = &bytes[at..at + length];
            see(record[4], u32::from_le_bytes(record[5..9].try_into().unwrap()), record);
            at += length;
        }
        receiver.advance(at);
    }
    any
}

#[test]
fn what_goes_in_comes_out_whatever_the_sizes() {
    let (sender, mut receiver) = stream(small());
    let mut next = 0;
    for number in 0..5000u32 {
        // From 9 bytes, the least a record of this test has, to beyond what a block holds.
        let length = 9 + (number as usize * 7919) % if number % 10 == 0 { 300 } else { 8 };
        send(&sender, record(1, number, length));
        if number % 3 == 0 {
            take(&mut receiver, 20, &mut |_, got, bytes| {
                assert_eq!(bytes, record(1, next, bytes.len()), "{got}");
                next += 1;
            });
        }
    }
    take(&mut receiver, usize::MAX, &mut |_, got, _| {
        assert_eq!(got, next);
        next += 1;
    });
    assert_eq!((next, sender.appended()), (5000, 5000));
}

#[test]
fn each_threads_records_come_in_its_order_and_whole() {
    const THREADS: u8 = 4;
    const EACH: u32 = 20_000;
    for capacity in [small(), Capacity::of_bytes(256 * 1024)] {
        let (sender, mut receiver) = stream(capacity);
        let mut next = [0; THREADS as usize];
        thread::scope(|scope| {
            for who in 0..THREADS {
                let sender = &sender;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let length = 9 + (number as usize * 31 + usize::from(who)) % 7;
                        let length = if number % 512 == 0 { 500 } else { length };
                        send(sender, record(who, number, length));
                    }
                });
            }
            while next.iter().any(|next| *next < EACH) {
                let any = take(&mut receiver, usize::MAX, &mut |who, number, bytes| {
                    assert_eq!(number, next[usize::from(who)], "of {who}");
                    assert_eq!(bytes, record(who, number, bytes.len()));
                    next[usize::from(who)] += 1;
                });
                if !any {
                    thread::yield_now();
                }
            }
        });
        assert!(receiver.peek().is_none());
        assert_eq!(sender.appended(), u64::from(THREADS) * u64::from(EACH));
    }
}

/// Whoever counts sees each record once, also one in a block that is just given back: all of its own, and never fewer
/// than before.
#[test]
fn records_are_counted_while_they_come_and_go() {
    const RECORDS: u64 = 50_000;
    let (sender, mut receiver) = stream(small());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut before = 0;
            while !ended.load(Ordering::SeqCst) {
                let now = sender.appended();
                assert!((before..=RECORDS).contains(&now), "{now} after {before}");
                before = now;
            }
        });
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                take(&mut receiver, usize::MAX, &mut |_, _, _| ());
                thread::yield_now();
            }
        });
        let counted = (0..RECORDS).all(|number| {
            send(&sender, record(1, number as u32, 9 + number as usize % 7));
            sender.appended() == number + 1
        });
        ended.store(true, Ordering::SeqCst);
        assert!(counted);
        assert!(counting.join().is_ok());
    });
}

/// A record whose writing panics holds what was there before, and the next ones come.
#[test]
fn a_panic_leaves_no_hole() {
    let (sender, mut receiver) = stream(small());
    let panicked = catch_unwind(AssertUnwindSafe(|| sender.try_send(3, |_| panic!("while it is written"))));
    assert!(panicked.is_err());
    assert!(append(&sender, b"next").is_ok());
    assert_eq!(receiver.peek().map(|bytes| bytes.to_vec()), Some(b"\0\0\0next".to_vec()));
}

#[test]
fn it_is_bounded_and_what_does_not_fit_comes_back() {
    let (sender, mut receiver) = stream(small());
    let mut taken = 0;
    while append(&sender, &[7; 16]).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 16, "4 blocks of 64 bytes");
    assert_eq!(append(&sender, &[0; 17]), Err(Refused::Full), "over the inline limit");
    assert_eq!(sender.try_send_buffer(vec![9; 2000]).unwrap_err(), (vec![9; 2000], Refused::Full));
    while let Some(bytes) = receiver.peek() {
        let length = bytes.len();
        receiver.advance(length);
    }
    // One of any size, then as many as may wait, in bytes and in records.
    assert!(sender.try_send_buffer(vec![1; 5000]).is_ok());
    assert!(sender.try_send_buffer(vec![2; 10]).is_err());
    assert_eq!(receiver.peek().map(|bytes| bytes.len()), Some(5000));
    receiver.advance(4999);
    assert!(sender.try_send_buffer(vec![2; 10]).is_err());
    receiver.advance(1);
    for n in 0..4 {
        assert!(sender.try_send_buffer(vec![n; 10]).is_ok());
    }
    assert!(sender.try_send_buffer(vec![5; 10]).is_err(), "four records");
    for n in 0..4 {
        assert_eq!(receiver.peek().map(|bytes| bytes.to_vec()), Some(vec![n; 10]));
        receiver.advance(10);
    }
    assert!(receiver.peek().is_none());
}

#[test]
fn nobody_advances_beyond_what_was_shown() {
    let (sender, mut receiver) = stream(small());
    receiver.advance(1000);
    assert!(append(&sender, b"12345").is_ok());
    assert_eq!(receiver.peek().map(|bytes| bytes.to_vec()), Some(b"12345".to_vec()));
    receiver.advance(1000);
    assert!(receiver.peek().is_none());
    assert!(append(&sender, b"678").is_ok());
    assert_eq!(receiver.peek().map(|bytes| bytes.to_vec()), Some(b"678".to_vec()));
}

#[test]
fn those_who_wait_hear_of_room_of_time_and_of_the_end() {
    let (sender, mut receiver) = stream(small());
    while append(&sender, &[7; 16]).is_ok() {}
    assert!(!sender.wait_for_room(16, Some(Instant::now() + Duration::from_millis(1)), Instant::now));
    let heard = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let room = sender.wait_for_room(16, None, Instant::now);
            heard.store(true, Ordering::SeqCst);
            room
        });
        // One block is not worth a wake-up; the third makes half of the stream free.
        for _ in 0..2 {
            let length = receiver.peek().map_or(0, |bytes| bytes.len());
            receiver.advance(length);
        }
        while !heard.load(Ordering::SeqCst) {
            let _ = receiver.peek();
            thread::yield_now();
        }
        assert!(waiting.join().unwrap());
    });
    while append(&sender, &[7; 16]).is_ok() {}
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.wait_for_room(16, None, Instant::now));
        drop(receiver);
        assert!(waiting.join().unwrap());
    });
    assert_eq!(append(&sender, b"late"), Err(Refused::Closed));
    assert_eq!(sender.try_send_buffer(vec![1]).unwrap_err().1, Refused::Closed);
}

#[test]
fn what_is_shown_may_be_changed_in_place() {
    let (sender, mut receiver) = stream(small());
    assert!(append(&sender, b"abcd").is_ok());
    if let Some(bytes) = receiver.peek() {
        bytes[1] = b'x';
    }
    assert_eq!(receiver.peek().map(|bytes| bytes.to_vec()), Some(b"axcd".to_vec()));
}

fn drain(receiver: &mut StreamReceiver) {
    while let Some(length) = receiver.peek().map(|bytes| bytes.len()) {
        receiver.advance(length);
    }
}

/// Or it would try again and again without a pause.
#[test]
fn who_has_a_large_record_sleeps_until_it_fits() {
    let (sender, mut receiver) = stream(small());
    let soon = || Some(Instant::now() + Duration::from_millis(1));
    assert!(sender.try_send_buffer(vec![1; 400]).is_ok());
    assert!(sender.try_send_buffer(vec![2; 700]).is_err());
    assert!(sender.wait_for_room(600, soon(), Instant::now), "for less there is");
    assert!(!sender.wait_for_room(700, soon(), Instant::now));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.wait_for_room(700, None, Instant::now));
        drain(&mut receiver);
        assert!(waiting.join().unwrap());
    });
    assert!(sender.try_send_buffer(vec![2; 2000]).is_ok(), "one of any size");
}

/// Whoever is gone is not called, nor kept for as long as the stream is full.
#[test]
fn a_hook_goes_with_its_owner() {
    let (sender, mut receiver) = stream(small());
    while append(&sender, &[7; 16]).is_ok() {}
    let called = Arc::new(AtomicUsize::new(0));
    let hook = || -> RoomHook {
        let called = called.clone();
        Arc::new(move || {
            called.fetch_add(1, Ordering::SeqCst);
        })
    };
    let kept = hook();
    for _ in 0..1000 {
        sender.when_room(&hook());
        sender.when_room(&kept);
    }
    assert_eq!(Arc::strong_count(&called), 2, "what a hook holds goes with it");
    drain(&mut receiver);
    assert_eq!(called.load(Ordering::SeqCst), 1);
}

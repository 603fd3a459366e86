//! What a subscriber that is too slow loses or holds up, to the message. (libzmq cannot say it so exactly.)
#![allow(clippy::unwrap_used)]

use super::raw::*;
use multiplane_bus::{Backplane, Budget, OnSlow};
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

const LARGE: usize = 500_000;

fn tight() -> Budget {
    Budget { high_water_mark: 8, ..Budget::default() }
}

fn number(got: &[Vec<u8>]) -> u64 {
    u64::from_be_bytes(got[1][..8].try_into().unwrap())
}

fn numbered(topic: &[u8], n: u64, size: usize) -> Vec<u8> {
    message(&[topic, &n.to_be_bytes(), &vec![7; size]])
}

/// Sends numbered messages on `topic` until one is dropped; how many that were.
fn fill(backplane: &Backplane, publisher: &mut Raw, witness: &mut Raw, topic: &[u8]) -> u64 {
    let mut sent = 0;
    while backplane.stats().dropped == 0 {
        publisher.write(&numbered(topic, sent, LARGE));
        sent += 1;
        publisher.send(&[b"seen"]);
        assert_eq!(witness.recv(), [b"seen"]);
    }
    sent
}

/// Reads numbered messages until the one on `end`.
fn numbers(subscriber: &mut Raw) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let got = subscriber.recv();
        if got[0] == b"end" {
            return numbers;
        }
        numbers.push(number(&got));
    }
}

/// One stalls: it loses the newest or the oldest, exactly as many as are counted, and the other one loses nothing.
#[test]
fn what_a_stalled_one_loses_is_counted_to_the_message() {
    for policy in [OnSlow::DropNewest, OnSlow::DropOldest] {
        for small in [20, 20_000] {
            let backplane = native(tight()).on_slow(policy).start().unwrap();
            let mut stalled = Raw::subscriber(&backplane, &[b"n", b"end"]);
            let mut prompt = Raw::subscriber(&backplane, &[b"seen", b"m"]);
            let mut publisher = Raw::publisher(&backplane);
            publisher.await_wanted(b"\xff");
            let large = fill(&backplane, &mut publisher, &mut prompt, b"n");
            // Long runs of small ones, which meet a full queue.
            let all = large + 1000;
            let run: Vec<u8> = (large..all).flat_map(|n| numbered(b"n", n, small)).collect();
            publisher.write(&run);
            publisher.send(&[b"seen"]);
            assert_eq!(prompt.recv(), [b"seen"]);
            let stats = backplane.stats();
            assert!(stats.queued >= 7 && stats.queued <= 8 + 1, "{stats:?}");

            // The prompt one is not slow only because much comes at once: its queue is short, and its socket is not.
            let many: Vec<u8> = (0..2000).flat_map(|n| numbered(b"m", n, 20)).collect();
            publisher.write(&many);
            for n in 0..2000 {
                assert_eq!(number(&prompt.recv()), n, "{policy:?}");
            }

            let reading = thread::spawn(move || numbers(&mut stalled));
            until("it has caught up", || backplane.stats().queued == 0);
            publisher.send(&[b"end"]);
            let got = reading.join().unwrap();
            let stats = quiet(&backplane);
            assert_eq!(got.len() as u64 + stats.dropped, all, "{policy:?} {small}: {stats:?}");
            assert!(got.is_sorted_by(|a, b| a < b), "{policy:?}: {got:?}");
            match policy {
                // The queue is full of old ones, and nothing of the run had room.
                OnSlow::DropNewest => assert_eq!(got, (0..got.len() as u64).collect::<Vec<_>>()),
                // At most one large one was half written when the run came; the last of it are there.
                _ => assert_eq!(got[got.len() - 7..], (all - 7..all).collect::<Vec<_>>()[..], "{small}"),
            }
        }
    }
}

/// At the defaults: whoever reads loses nothing, however fast the tiny messages come.
#[test]
fn a_burst_of_tiny_messages_is_no_reason_to_drop() {
    const MESSAGES: u64 = 200_000;
    for policy in [OnSlow::DropOldest, OnSlow::DropNewest] {
        let budget = Budget { high_water_mark: 1000, subscriber_queue_bytes: 64 << 20, ..Budget::default() };
        let backplane = native(budget).on_slow(policy).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b"n"]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        // A fourth of a megabyte at a time: many times the queue, but less than the sockets hold.
        for first in (0..MESSAGES).step_by(10_000) {
            let burst: Vec<u8> = (first..first + 10_000).flat_map(|n| numbered(b"n", n, 0)).collect();
            publisher.write(&burst);
            for n in first..first + 10_000 {
                assert_eq!(number(&subscriber.recv()), n);
            }
        }
        assert_eq!(quiet(&backplane).dropped, 0);
    }
}

/// A subscriber that is not done with its handshake's answers when the first messages overrun it.
#[test]
fn dropping_never_tears_a_hole_into_the_handshake() {
    for policy in [OnSlow::DropOldest, OnSlow::DropNewest, OnSlow::Block] {
        let budget = Budget { high_water_mark: 2, ..Budget::default() };
        let backplane = native(budget).on_slow(policy).start().unwrap();
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        let publishing = thread::spawn(move || {
            let burst: Vec<u8> = (0..1000).flat_map(|n| numbered(b"n", n, 20)).collect();
            while publisher.try_write(&burst) {}
        });
        for _ in 0..100 {
            let mut subscriber = Raw::connect(backplane.subscriber_port());
            let wants = [subscription(true, true, b"n"), command(b"PING", b"\0\0x")].concat();
            subscriber.write(&[greeting(1), ready("SUB"), wants].concat());
            assert_eq!(subscriber.greeting()[..12], greeting(1)[..12]);
            assert!(subscriber.frame().unwrap().1.starts_with(b"\x05READY"), "{policy:?}");
            // The answer may come among the messages, but it comes.
            while subscriber.frame().unwrap() != (4, b"\x04PONGx".to_vec()) {}
        }
        drop(backplane);
        publishing.join().unwrap();
    }
}

/// Two hold the publishers back; one reads on, the other goes away; the third has lost nothing, and all goes on.
#[test]
fn holders_that_read_or_leave_let_the_publishers_go_on() {
    const MESSAGES: u64 = 100;
    let backplane = native(tight()).on_slow(OnSlow::Block).start().unwrap();
    let [mut reads, leaves, mut prompt] = [(); 3].map(|()| Raw::subscriber(&backplane, &[b"n", b"end"]));
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    // Small ones behind each large one are what is left over when the hold comes.
    let publishing = thread::spawn(move || {
        for n in 0..MESSAGES {
            publisher.write(&numbered(b"n", n, if n % 4 == 0 { 2 * LARGE } else { 10 }));
        }
        publisher.send(&[b"end"]);
        publisher
    });
    let prompt = thread::spawn(move || numbers(&mut prompt));
    // A holder that leaves, while another one still holds.
    until("somebody holds", || backplane.stats().queued >= 8);
    drop(leaves);
    until("it has left", || backplane.stats().subscribers == 2);
    let expected: Vec<u64> = (0..MESSAGES).collect();
    assert_eq!(numbers(&mut reads), expected);
    assert_eq!(prompt.join().unwrap(), expected);
    drop(publishing.join().unwrap());
    let stats = quiet(&backplane);
    assert_eq!((stats.received, stats.dropped), (MESSAGES + 1, 0));

    // And once more, with nobody left who holds.
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    publisher.write(&numbered(b"n", 7, 0));
    assert_eq!(number(&reads.recv()), 7);
}

/// Fills everything up to the publisher's own socket; how many whole messages were taken from it.
fn jam(publisher: &mut Raw, size: usize) -> u64 {
    publisher.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut written = 0;
    let length = numbered(b"n", 0, size).len() as u64;
    loop {
        let bytes = numbered(b"n", written / length, size);
        match publisher.stream.write(&bytes[(written % length) as usize..]) {
            Ok(n) => written += n as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return written / length;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// While one subscriber holds all publishers, others come and shake hands, and are told what is wanted.
#[test]
fn publishers_may_come_during_a_hold() {
    let budget = Budget { handshake_deadline: Duration::from_millis(500), ..tight() };
    let backplane = native(budget).on_slow(OnSlow::Block).start().unwrap();
    let mut stalled = Raw::subscriber(&backplane, &[b"n"]);
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    let sent = jam(&mut publisher, 20_000);
    let mut late = Raw::publisher(&backplane);
    late.await_wanted(b"n");
    late.await_wanted(b"\xff");
    late.write(&numbered(b"n", sent, 0));
    // Longer than a handshake may take.
    assert!(late.is_silent_for(Duration::from_millis(700)));
    let mut got: Vec<u64> = (0..=sent).map(|_| number(&stalled.recv())).collect();
    got.sort_unstable();
    assert_eq!(got, (0..=sent).collect::<Vec<_>>());
    assert_eq!(backplane.stats().refused, 0);
}

/// What has arrived is forwarded by `close`, though it is asked in the middle of a hold: not only what was queued. (What
/// still is in the publisher's own socket has not arrived.)
#[test]
fn closing_during_a_hold_flushes_what_has_arrived() {
    let backplane = native(tight()).on_slow(OnSlow::Block).start().unwrap();
    let mut stalled = Raw::subscriber(&backplane, &[b"n"]);
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    let sent = jam(&mut publisher, 20_000);
    let before = backplane.stats().received;
    let closing = thread::spawn(move || backplane.close(LONG));
    let mut got = Vec::new();
    while let Some(message) = stalled.try_recv() {
        got.push(number(&message));
    }
    let count = got.len() as u64;
    assert!(count > before + 20 && count <= sent, "{before} {count} {sent}");
    assert_eq!(got, (0..count).collect::<Vec<_>>());
    let stats = closing.join().unwrap();
    assert_eq!((stats.received, stats.forwarded, stats.lost, stats.queued), (count, count, 0, 0));
}

/// With a subscriber that never reads, `close` ends in time and says what was lost.
#[test]
fn closing_does_not_wait_for_ever() {
    for policy in [OnSlow::Block, OnSlow::DropNewest, OnSlow::DropOldest] {
        let backplane = native(tight()).on_slow(policy).start().unwrap();
        let stalled = Raw::subscriber(&backplane, &[b"n"]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        // One that goes on publishing does not keep it, either.
        let publishing = thread::spawn(move || {
            let bytes = numbered(b"n", 0, 20_000);
            while publisher.try_write(&bytes) {}
        });
        until("the queue is full", || backplane.stats().queued >= 8);
        let stats = backplane.close(Duration::from_millis(400));
        assert_eq!(stats.copies, stats.forwarded + stats.dropped + stats.lost, "{policy:?}: {stats:?}");
        assert_eq!((stats.queued, stats.subscribers, stats.publishers), (0, 0, 0));
        publishing.join().unwrap();
        drop(stalled);
    }
}

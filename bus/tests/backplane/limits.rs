//! What is stopped, sent away or told of: the guard, the `disconnect` policy, slow subscribers, limits per peer and for
//! all.
#![allow(clippy::unwrap_used)]

use super::raw::*;
use multiplane_bus::{BackplaneError, Budget, Engine, OnSlow};
use std::thread;

/// Messages whose topics differ or not, good ones among bad ones: exactly the bad ones are stopped.
#[test]
fn the_guard_stops_what_would_end_python_and_nothing_else() {
    let good: [&[&[u8]]; 6] = [
        &[b"t", b"\x81\xa1a\x01"],
        &[b"t", b"\xc0"],
        &["t\u{20ac}".as_bytes(), b"\x81\xc4\x01a\x01"],
        &[b"t", b"\x80", b"\xff a third frame is ignored"],
        &[b"t", b"\x91\xd4\x05\0"],
        &[b"t", &[&b"\xc6\0\x01\0\0"[..], &[7; 65536]].concat()],
    ];
    let bad: [&[&[u8]]; 8] = [
        &[b"t"],
        &[b"t", b""],
        &[b"t\xff", b"\x80"],
        &[b"t", b"\x81\x01\x01"],
        &[b"t", b"\x81\xa1"],
        &[b"t", b"\x80\x80"],
        &[b"t", b"\xa1\xff"],
        &[b"t", b"\xc1", b"\x80"],
    ];
    for guard in [true, false] {
        let backplane = builder().guard(guard).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b"t", b"end"]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        let (mut all, mut expected, mut stopped) = (Vec::new(), Vec::new(), 0);
        for n in 0..200 {
            let (is_good, frames) = match n % 3 {
                0 => (false, bad[n / 3 % bad.len()]),
                _ => (true, good[n % good.len()]),
            };
            all.extend(message(frames));
            if is_good || !guard {
                expected.push(frames);
            } else {
                stopped += 1;
            }
        }
        all.extend(message(&[b"end", b"\xc0"]));
        let writing = thread::spawn(move || publisher.write(&all));
        for frames in expected {
            assert_eq!(subscriber.recv(), frames);
        }
        assert_eq!(subscriber.recv()[0], b"end");
        writing.join().unwrap();
        let stats = quiet(&backplane);
        assert_eq!((stats.received, stats.guarded, stats.copies), (201, stopped, 201 - stopped), "{stats:?}");
        assert_eq!((stats.unwanted, stats.refused), (0, 0));
    }
}

#[test]
fn libzmq_does_neither() {
    for builder in [builder().guard(true), builder().on_slow(OnSlow::Disconnect)] {
        let error = builder.engine(Engine::Libzmq).start().unwrap_err();
        assert!(matches!(error, BackplaneError::NotOffered { .. }), "{error}");
        assert!(error.to_string().contains("use the native engine"), "{error}");
    }
}

/// Sends until the stalled one has had enough, while the other gets everything.
#[test]
fn who_is_too_slow_may_be_sent_away_and_come_again() {
    let budget = Budget { high_water_mark: 8, ..Budget::default() };
    let backplane = native(budget).on_slow(OnSlow::Disconnect).start().unwrap();
    let stalled = Raw::subscriber(&backplane, &[b"n", b"m"]);
    let mut prompt = Raw::subscriber(&backplane, &[b"n", b"other"]);
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    let payload = vec![7; 500_000];
    let mut sent = 0u64;
    while backplane.stats().refused == 0 {
        // The other topics change the targets in the very turn.
        let both = [message(&[b"n", &payload]), message(&[b"m", b""]), message(&[b"other", b""])].concat();
        publisher.write(&both);
        sent += 1;
        assert_eq!(prompt.recv(), [b"n", &payload[..]]);
        assert_eq!(prompt.recv()[0], b"other");
    }
    let stats = quiet(&backplane);
    assert_eq!((stats.subscribers, stats.refused, stats.dropped), (1, 1, 1), "{stats:?}");
    assert!(stats.lost >= 8, "{stats:?}");
    assert_eq!(stats.copies + stats.unwanted, 4 * sent);
    // It gets what was on its way, and the end.
    let rest = stalled.rest();
    assert!(rest.len() < payload.len() * sent as usize);
    let mut again = Raw::subscriber(&backplane, &[b"n"]);
    publisher.send(&[b"n", b"again"]);
    assert_eq!(again.recv(), [&b"n"[..], b"again"]);
    assert_eq!(prompt.recv(), [&b"n"[..], b"again"]);
}

#[test]
fn who_is_slow_is_told() {
    let budget = Budget { high_water_mark: 8, ..Budget::default() };
    for policy in [OnSlow::DropOldest, OnSlow::Block] {
        let backplane = native(budget.clone()).on_slow(policy).start().unwrap();
        assert_eq!(backplane.slow_subscribers(), []);
        let long = [b'x'; 300];
        let many: Vec<Vec<u8>> = (0..50).map(|n| format!("topic {n}").into_bytes()).collect();
        let mut topics: Vec<&[u8]> = vec![b"n", b"\xff\0", &long];
        topics.extend(many.iter().map(|topic| &topic[..]));
        let stalled = Raw::subscriber(&backplane, &topics);
        let _prompt = Raw::subscriber(&backplane, &[b"m"]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        let writing = thread::spawn(move || {
            let bytes = message(&[b"n", &[7; 500_000]]);
            while publisher.try_write(&bytes) {}
        });
        until("it is too slow", || {
            backplane.slow_subscribers().iter().any(|slow| slow.dropped > 0 || slow.holds)
        });
        let slow = backplane.slow_subscribers();
        assert_eq!(slow.len(), 1, "{slow:?}");
        let slow = &slow[0];
        assert_eq!(slow.address, stalled.stream.local_addr().unwrap().to_string());
        assert!(slow.topics.starts_with("\"n\", ") && slow.topics.contains("\"xxx"), "{}", slow.topics);
        assert!(slow.topics.ends_with("...") && slow.topics.len() < 300, "{}", slow.topics);
        assert!(slow.queued >= 7 && slow.queued_bytes >= slow.queued * 500_000 - 500_000, "{slow:?}");
        assert_eq!(slow.holds, policy == OnSlow::Block);
        drop(backplane);
        writing.join().unwrap();
    }
}

#[test]
fn nobody_takes_all_places_of_the_table() {
    let budget = Budget { subscriptions_per_peer: 100, ..Budget::default() };
    let backplane = native(budget).start().unwrap();
    let topics: Vec<Vec<u8>> = (0..101).map(|n| format!("topic {n}").into_bytes()).collect();
    let few: Vec<&[u8]> = topics[..100].iter().map(|topic| &topic[..]).collect();
    let mut full = Raw::subscriber(&backplane, &few);
    // One less, one more; and what it has it may repeat.
    full.write(&[subscription(true, false, few[0]), subscription(true, true, few[1])].concat());
    full.write(&subscription(false, true, &topics[100]));
    full.ping();
    assert_eq!(backplane.stats().subscriptions, 100);
    let mut other = Raw::subscriber(&backplane, &few);
    full.write(&subscription(true, true, b"one too many"));
    full.rest();
    until("it is refused", || backplane.stats().refused == 1);
    other.ping();
    assert_eq!(backplane.stats().subscriptions, 100);
}

/// Many publishers that each promise a large message and send most of it.
#[test]
fn unfinished_messages_of_all_publishers_are_bounded() {
    [1, 3].into_iter().for_each(unfinished_messages_are_bounded_at);
}

fn unfinished_messages_are_bounded_at(workers: usize) {
    let budget = Budget { message_bytes: 8 << 20, unfinished_bytes: 40 << 20, ..Budget::default() };
    let backplane = native(budget).workers(workers).start().unwrap();
    let mut subscriber = Raw::subscriber(&backplane, &[b"t"]);
    let large = message(&[b"t", &vec![7; 7 << 20]]);
    // A small one that is unfinished is never the one to go.
    let mut small = Raw::publisher(&backplane);
    small.await_wanted(b"\xff");
    small.write(&message(&[b"t", b"small"])[..6]);
    let mut hoarders: Vec<Raw> = Vec::new();
    while backplane.stats().refused == 0 {
        assert!(hoarders.len() < 10, "the limit is not kept");
        let mut hoarder = Raw::publisher(&backplane);
        hoarder.await_wanted(b"\xff");
        if hoarder.try_write(&large[..6 << 20]) {
            // It has been read when this is answered or the connection is gone.
            hoarder.stream.set_read_timeout(Some(LONG)).unwrap();
            until("all of it has come", || backplane.stats().refused > 0 || is_drained(&hoarder));
        }
        hoarders.push(hoarder);
    }
    assert!(hoarders.len() >= 4, "{}", hoarders.len());
    small.write(&message(&[b"t", b"small"])[6..]);
    assert_eq!(subscriber.recv(), [&b"t"[..], b"small"]);
    // And the first one may finish what it began.
    hoarders[0].write(&large[6 << 20..]);
    assert_eq!(subscriber.recv()[1].len(), 7 << 20);
}

/// Whether nothing of what was written waits in a socket; the system knows.
fn is_drained(peer: &Raw) -> bool {
    let ports = [peer.stream.local_addr(), peer.stream.peer_addr()]
        .map(|address| format!(":{:04X}", address.unwrap().port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of_us = |line: &&str| ports.iter().all(|port| line.contains(port));
    table.lines().filter(of_us).all(|line| line.contains("00000000:00000000"))
}

//! Several workers are one backplane: wherever publishers and subscribers are dealt to, it is as with one.
#![allow(clippy::unwrap_used)]

use super::raw::*;
use multiplane_bus::{Backplane, BackplaneError, Budget, Bus, Engine, OnSlow, RoutingSpec};
use std::thread;
use std::time::Duration;

const WORKERS: usize = 3;

fn team(budget: Budget) -> multiplane_bus::BackplaneBuilder {
    native(budget).workers(WORKERS)
}

fn numbered(topic: &[u8], publisher: u8, n: u32, size: usize) -> Vec<u8> {
    message(&[topic, &[&[publisher][..], &n.to_be_bytes(), &vec![7; size]].concat()])
}

/// Who sent it, and which one it is.
fn number(got: &[Vec<u8>]) -> (u8, u32) {
    (got[1][0], u32::from_be_bytes(got[1][1..5].try_into().unwrap()))
}

/// One for each worker.
fn publishers(backplane: &Backplane) -> Vec<Raw> {
    let mut publishers: Vec<_> = (0..WORKERS).map(|_| Raw::publisher(backplane)).collect();
    publishers.iter_mut().for_each(|publisher| publisher.await_wanted(b"\xff"));
    publishers
}

fn subscribers(backplane: &Backplane, topics: &[&[u8]]) -> Vec<Raw> {
    (0..WORKERS).map(|_| Raw::subscriber(backplane, topics)).collect()
}

/// Nothing is lost: everybody gets everything, in the order of each publisher, whatever the sizes; also where all are
/// slower than what comes, in all directions at once.
#[test]
fn everybody_gets_everything_in_order_and_the_books_close() {
    for (size, messages, high_water_mark) in [(10, 30_000, 8), (10, 100_000, 100_000), (200_000, 60, 8)] {
        // Little room, so that the joints are full as well.
        let budget = Budget { high_water_mark, subscriber_queue_bytes: 300_000, ..Budget::default() };
        let backplane = team(budget).on_slow(OnSlow::Block).start().unwrap();
        let subscribers = subscribers(&backplane, &[b"a", b"end"]);
        let publishers = publishers(&backplane);
        let reading: Vec<_> = subscribers
            .into_iter()
            .map(|mut subscriber| {
                thread::spawn(move || {
                    let (mut next, mut ends) = ([0; WORKERS], 0);
                    while ends < WORKERS {
                        let got = subscriber.recv();
                        let (publisher, n) = number(&got);
                        let next = &mut next[usize::from(publisher)];
                        assert_eq!(n, *next, "of publisher {publisher}");
                        *next += 1;
                        ends += usize::from(got[0] == b"end");
                    }
                    next
                })
            })
            .collect();
        let writing: Vec<_> = (0u8..)
            .zip(publishers)
            .map(|(me, mut publisher)| {
                thread::spawn(move || {
                    for first in (0..messages).step_by(10) {
                        let some = (first..first + 10).flat_map(|n| numbered(b"abc", me, n, size));
                        publisher.write(&some.collect::<Vec<_>>());
                    }
                    publisher.write(&numbered(b"end", me, messages, 0));
                    publisher
                })
            })
            .collect();
        let _stay: Vec<_> = writing.into_iter().map(|publisher| publisher.join().unwrap()).collect();
        for next in reading {
            assert_eq!(next.join().unwrap(), [messages + 1; WORKERS]);
        }
        let stats = quiet(&backplane);
        let sent = (WORKERS as u32 * (messages + 1)).into();
        assert_eq!((stats.received, stats.copies, stats.forwarded), (sent, 3 * sent, 3 * sent), "{stats:?}");
        assert_eq!((stats.unwanted, stats.dropped, stats.lost, stats.refused), (0, 0, 0, 0), "{stats:?}");
    }
}

/// The first and the last wish for a prefix reach the publishers of all workers, and only these do.
#[test]
fn wishes_reach_the_publishers_of_all_workers_once() {
    let backplane = team(Budget::default()).start().unwrap();
    let mut publishers = publishers(&backplane);
    let mut subscribers = subscribers(&backplane, &[]);
    for (nth, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.write(&subscription(true, true, b"a"));
        subscriber.write(&subscription(true, true, &[b'0' + nth as u8]));
        subscriber.ping();
    }
    assert_eq!(backplane.stats().subscribers, WORKERS as u64);
    for publisher in &mut publishers {
        let mut wishes: Vec<_> = (0..=WORKERS).map(|_| publisher.wish()).collect();
        wishes.sort_unstable();
        let expected = [b"0", b"1", b"2", b"a"].map(|topic| (true, topic.to_vec()));
        assert_eq!(wishes, expected);
    }
    until("all are known", || backplane.stats().subscriptions == 4);
    for subscriber in &mut subscribers {
        subscriber.write(&subscription(true, false, b"a"));
        subscriber.ping();
    }
    publishers.iter_mut().for_each(|publisher| assert_eq!(publisher.wish(), (false, b"a".to_vec())));
    // Whoever goes takes the rest with him.
    for (nth, subscriber) in subscribers.into_iter().enumerate() {
        drop(subscriber);
        for publisher in &mut publishers {
            assert_eq!(publisher.wish(), (false, vec![b'0' + nth as u8]));
        }
    }
    until("none is left", || backplane.stats().subscriptions == 0);
    for (nth, publisher) in publishers.iter_mut().enumerate() {
        publisher.send(&[b"a"]);
        until("it was not wanted", || backplane.stats().unwanted == nth as u64 + 1);
    }
    assert_eq!(backplane.stats().copies, 0);
}

/// Once a wish was heard, every publisher that comes hears it before the marker, and whatever anybody publishes arrives.
#[test]
fn what_one_worker_has_heard_all_know() {
    let backplane = team(Budget::default()).start().unwrap();
    let mut early = publishers(&backplane);
    for round in 0..200u32 {
        let topic = format!("t{round}").into_bytes();
        let mut subscriber = Raw::subscriber(&backplane, &[&topic]);
        // To one after the other, which may not have heard of it yet.
        early[round as usize % WORKERS].send(&[&topic]);
        assert_eq!(subscriber.recv(), [&topic[..]]);
        let mut late = Raw::publisher(&backplane);
        let mut heard = Vec::new();
        while heard.last() != Some(&(true, b"\xff".to_vec())) {
            heard.push(late.wish());
        }
        assert!(heard.contains(&(true, topic)), "{round}: {heard:?}");
    }
    assert_eq!(backplane.stats().unwanted, 0);
}

/// What a stalled subscriber of another worker loses is counted, and the others lose nothing.
#[test]
fn who_is_slow_loses_by_the_policy_and_nobody_else_does() {
    const LARGE: usize = 500_000;
    for policy in [OnSlow::DropOldest, OnSlow::DropNewest, OnSlow::Disconnect] {
        let budget = Budget { high_water_mark: 8, ..Budget::default() };
        let backplane = team(budget).on_slow(policy).start().unwrap();
        let mut stalled = Raw::subscriber(&backplane, &[b"n", b"end"]);
        let mut prompt = subscribers(&backplane, &[b"n"]);
        let mut publishers = publishers(&backplane);
        let mut sent = 0;
        while backplane.stats().dropped == 0 {
            // One at a time, so that only the stalled one is slow.
            let which = sent as usize % WORKERS;
            publishers[which].write(&numbered(b"n", which as u8, sent, LARGE));
            prompt.iter_mut().for_each(|one| assert_eq!(number(&one.recv()).1, sent, "{policy:?}"));
            sent += 1;
            assert!(sent < 1000, "{policy:?}: {:?}", backplane.stats());
        }
        assert!(policy == OnSlow::Disconnect || backplane.slow_subscribers()[0].dropped > 0);
        let mut got = 0;
        if policy == OnSlow::Disconnect {
            let rest = stalled.rest();
            assert!(rest.len() < sent as usize * LARGE);
            until("it has gone", || backplane.stats().subscribers == WORKERS as u64);
        } else {
            let reading = thread::spawn(move || {
                let mut numbers = Vec::new();
                loop {
                    let got = stalled.recv();
                    if got[0] == b"end" {
                        return numbers;
                    }
                    numbers.push(number(&got).1);
                }
            });
            until("it has caught up", || backplane.stats().queued == 0);
            publishers[0].send(&[b"end"]);
            let numbers = reading.join().unwrap();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{policy:?}: {numbers:?}");
            got = numbers.len() as u64 + 1;
        }
        let stats = quiet(&backplane);
        assert_eq!(stats.forwarded, stats.copies - stats.dropped - stats.lost, "{stats:?}");
        let all = u64::from(sent);
        match policy {
            OnSlow::Disconnect => assert_eq!((stats.refused, stats.copies), (1, 4 * all), "{stats:?}"),
            _ => assert_eq!((got + stats.dropped, stats.lost), (all + 1, 0), "{policy:?}: {stats:?}"),
        }
    }
}

/// A subscriber that does not read holds back the publisher of another worker, and lets it go on.
#[test]
fn a_stall_goes_through_the_joint_and_so_does_its_end() {
    let budget = Budget { high_water_mark: 8, subscriber_queue_bytes: 1 << 20, ..Budget::default() };
    let backplane = team(budget).on_slow(OnSlow::Block).start().unwrap();
    let mut stalled = Raw::subscriber(&backplane, &[b"n"]);
    let mut publishers = publishers(&backplane);
    let mut elsewhere = publishers.pop().unwrap();
    let wrote = elsewhere.stream.try_clone().unwrap();
    wrote.set_nonblocking(true).unwrap();
    let one = numbered(b"n", 2, 0, 100_000);
    let mut bytes = one.iter().copied().cycle();
    let (mut written, mut full) = (0, 0);
    // Until nothing was taken for a long time by everybody on the way.
    let mut chunk: Vec<u8> = Vec::new();
    while full < 20_000 {
        if chunk.is_empty() {
            chunk = bytes.by_ref().take(10_000).collect();
        }
        match std::io::Write::write(&mut &wrote, &chunk) {
            Ok(n) => {
                chunk.drain(..n);
                (written, full) = (written + n, 0);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                full += 1;
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(written < 200 << 20, "nobody holds it back");
    }
    wrote.set_nonblocking(false).unwrap();
    let reading = thread::spawn(move || {
        let mut count = 0;
        while stalled.recv()[1][0] == 2 {
            count += 1;
        }
        count
    });
    let more = (one.len() - written % one.len()) % one.len();
    let rest: Vec<u8> = one[one.len() - more..].to_vec();
    elsewhere.write(&rest);
    elsewhere.write(&numbered(b"n", 3, 0, 0));
    assert_eq!(reading.join().unwrap(), (written + more) / one.len());
    let stats = quiet(&backplane);
    assert_eq!((stats.dropped, stats.lost), (0, 0), "{stats:?}");
}

/// What was written before the end is asked for arrives, also at subscribers of other workers.
#[test]
fn closing_brings_all_over_the_joints() {
    for _ in 0..5 {
        let backplane = team(Budget::default()).on_slow(OnSlow::Block).start().unwrap();
        let subscribers = subscribers(&backplane, &[b"n"]);
        let mut publishers = publishers(&backplane);
        let messages = 2000u32;
        for (me, publisher) in (0u8..).zip(&mut publishers) {
            let all: Vec<u8> = (0..messages).flat_map(|n| numbered(b"n", me, n, 100)).collect();
            publisher.write(&all);
        }
        let reading: Vec<_> = subscribers
            .into_iter()
            .map(|mut subscriber| {
                thread::spawn(move || std::iter::from_fn(|| subscriber.try_recv()).count() as u64)
            })
            .collect();
        let stats = backplane.close(LONG);
        let got: u64 = reading.into_iter().map(|one| one.join().unwrap()).sum();
        let all = u64::from(messages) * WORKERS as u64;
        assert_eq!((stats.received, got, stats.forwarded), (all, 3 * all, 3 * all), "{stats:?}");
        assert_eq!((stats.lost, stats.queued), (0, 0), "{stats:?}");
    }
}

/// Where the time does not suffice, what was on its way is counted as lost.
#[test]
fn the_books_close_at_a_hurried_end() {
    let backplane = team(Budget::default()).on_slow(OnSlow::Block).start().unwrap();
    let stalled = subscribers(&backplane, &[b"n"]);
    let publishers = publishers(&backplane);
    let writing: Vec<_> = (0u8..)
        .zip(publishers)
        .map(|(me, mut publisher)| {
            thread::spawn(move || while publisher.try_write(&numbered(b"n", me, 0, 100_000)) {})
        })
        .collect();
    until("all are held back", || {
        backplane.slow_subscribers().iter().filter(|one| one.holds).count() == WORKERS
    });
    let stats = backplane.close(Duration::from_millis(200));
    writing.into_iter().for_each(|publisher| publisher.join().unwrap());
    assert!(stats.lost > 0 && stats.queued == 0, "{stats:?}");
    assert_eq!(stats.copies, stats.forwarded + stats.dropped + stats.lost, "{stats:?}");
    assert!(stats.copies >= stats.received && stats.copies <= 3 * stats.received, "{stats:?}");
    drop(stalled);
}

#[test]
fn components_meet_at_several_workers_and_again_after_a_restart() {
    let mut backplane = team(Budget::default()).start().unwrap();
    let route = backplane.route().topics(["n"]);
    let routing = || RoutingSpec::builder().backplane(route.clone()).build().unwrap();
    let buses: Vec<_> =
        (0..4).map(|n| Bus::builder(format!("b{n}")).routing(routing()).start().unwrap()).collect();
    let ends: Vec<_> =
        buses.iter().map(|bus| (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap())).collect();
    for restart in [false, true] {
        if restart {
            let ports = (backplane.subscriber_port(), backplane.publisher_port());
            backplane.close(LONG);
            let again = builder().workers(2).subscriber_port(ports.0).publisher_port(ports.1);
            backplane = again.start().unwrap();
        }
        until("all are there", || {
            let stats = backplane.stats();
            stats.subscribers == 4 && stats.publishers == 4
        });
        for (publisher, _) in &ends {
            publisher.wait_for_subscriber("n", LONG).unwrap();
        }
        for (n, (publisher, _)) in ends.iter().enumerate() {
            publisher.publish("n", &n).unwrap();
            for (_, subscriber) in &ends {
                assert_eq!(subscriber.recv().unwrap().decode::<usize>().unwrap(), n);
            }
        }
    }
}

#[test]
fn the_limit_of_connections_is_that_of_all_workers() {
    let backplane = team(Budget { connections: 5, ..Budget::default() }).start().unwrap();
    let mut all: Vec<_> = (0..5).map(|_| Raw::subscriber(&backplane, &[b"n"])).collect();
    assert!(Raw::connect(backplane.subscriber_port()).finish().is_empty(), "no place");
    all.pop();
    until("there is a place again", || backplane.stats().subscribers == 4);
    all.push(Raw::subscriber(&backplane, &[b"n"]));
    assert_eq!(backplane.stats().refused, 1);
}

#[test]
fn the_limit_of_subscriptions_is_that_of_all_workers() {
    let budget = Budget { subscriptions: 7, subscriptions_per_peer: 7, ..Budget::default() };
    let backplane = team(budget).start().unwrap();
    // Everybody wants the same two: pairs count. What was taken back does not, what is repeated does once.
    let mut all: Vec<_> = (0..3).map(|_| Raw::subscriber(&backplane, &[b"a", b"b", b"a"])).collect();
    for subscriber in &mut all {
        subscriber.write(&subscription(true, true, b"c"));
        subscriber.write(&subscription(true, false, b"c"));
        subscriber.write(&subscription(true, false, b"never wanted"));
        subscriber.ping();
    }
    all[0].write(&subscription(true, true, b"c"));
    all[0].ping();
    all[1].write(&subscription(true, true, b"d"));
    all.remove(1).rest();
    until("it has gone", || backplane.stats().subscriptions == 3);
    assert_eq!(backplane.stats().refused, 1);
    // It left two places.
    all.push(Raw::subscriber(&backplane, &[b"d", b"e"]));
    all[1].write(&subscription(true, true, b"f"));
    all.remove(1).rest();
    assert_eq!(backplane.stats().refused, 2);
}

#[test]
fn where_there_can_be_only_one_worker_more_are_refused() {
    let libzmq = builder().engine(Engine::Libzmq).workers(2).start().unwrap_err();
    assert!(matches!(libzmq, BackplaneError::NotOffered { .. }), "{libzmq}");
    let hosted = Bus::builder("b").host(builder().workers(2)).start().unwrap_err();
    assert!(hosted.to_string().contains("workers"), "{hosted}");
}

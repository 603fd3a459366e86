//! What goes in comes out, and who wants what is known upstream.
#![allow(clippy::unwrap_used)]

use super::raw::*;
use multiplane_bus::{Engine, OnSlow};
use std::thread;

#[test]
fn every_form_of_a_subscription_is_heard_from_every_version() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).start().unwrap();
        for (round, minor) in [0, 1, 2].into_iter().enumerate() {
            for as_command in [false, true] {
                let mut publishers = [0, 1].map(|minor| Raw::peer(backplane.publisher_port(), "XPUB", minor));
                publishers.iter_mut().for_each(|publisher| publisher.await_wanted(b"\xff"));
                let mut subscriber = Raw::peer(backplane.subscriber_port(), "XSUB", minor);
                let topic = format!("topic {round}");
                subscriber.write(&subscription(as_command, true, topic.as_bytes()));
                for publisher in &mut publishers {
                    assert_eq!(publisher.wish(), (true, topic.as_bytes().to_vec()), "{engine:?} {minor}");
                    // To each in the form of its version, however it came.
                    let form = publisher.last_wish_was_command;
                    assert!(engine == Engine::Libzmq || form == publisher.is_new());
                    publisher.send(&[topic.as_bytes(), b"payload"]);
                    assert_eq!(subscriber.recv(), [topic.as_bytes(), b"payload"]);
                }
                subscriber.write(&subscription(as_command, false, topic.as_bytes()));
                for publisher in &mut publishers {
                    assert_eq!(publisher.wish(), (false, topic.as_bytes().to_vec()), "{engine:?} {minor}");
                }
                subscriber.write(&subscription(as_command, true, b"end"));
                for publisher in &mut publishers {
                    publisher.await_wanted(b"end");
                    publisher.send(&[topic.as_bytes(), b"too late"]);
                    publisher.send(&[b"end"]);
                    assert_eq!(subscriber.recv(), [b"end"], "{engine:?} {minor}");
                }
                // A publisher of 3.1 may have to hear the end before the next round.
                drop(subscriber);
                publishers
                    .iter_mut()
                    .for_each(|publisher| assert_eq!(publisher.wish(), (false, b"end".to_vec())));
            }
        }
    }
}

#[test]
fn prefixes_that_overlap_deliver_once() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b"", b"a", b"ab", b"abc", b"b"]);
        let mut other = Raw::subscriber(&backplane, &[b"ab"]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        for topic in [&b"abcd"[..], b"ab", b"a", b"", b"ab\0\xff", b"xab", b"AB", b"ab"] {
            publisher.send(&[topic, b"x"]);
            assert_eq!(subscriber.recv(), [topic, b"x"], "{engine:?}");
        }
        for topic in [&b"abcd"[..], b"ab", b"ab\0\xff", b"ab"] {
            assert_eq!(other.recv(), [topic, b"x"], "{engine:?}");
        }
    }
}

/// As in libzmq's XPUB: a peer wants a prefix or does not, however often it says so. Other peers count.
#[test]
fn a_repeated_subscription_ends_with_one_cancel() {
    // libzmq answers a PING before it has looked at the subscription in front of it.
    let engine = Engine::Native;
    let backplane = builder().engine(engine).start().unwrap();
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"\xff");
    let mut subscriber = Raw::subscriber(&backplane, &[b"a", b"a", b"a"]);
    let mut other = Raw::subscriber(&backplane, &[b"a"]);
    assert_eq!(publisher.wish(), (true, b"a".to_vec()));
    let mut round = |wanted, publisher: &mut Raw| {
        publisher.send(&[b"a", b"x"]);
        assert_eq!(other.recv(), [b"a", b"x"], "{engine:?}");
        if wanted {
            assert_eq!(subscriber.recv(), [b"a", b"x"], "{engine:?}");
        }
        // One cancellation too many changes nothing.
        subscriber.write(&subscription(true, false, b"a"));
        subscriber.ping();
    };
    round(true, &mut publisher);
    round(false, &mut publisher);
    round(false, &mut publisher);
    subscriber.write(&subscription(true, true, b"a"));
    subscriber.ping();
    publisher.send(&[b"a", b"again"]);
    assert_eq!(subscriber.recv(), [&b"a"[..], b"again"], "{engine:?}");
    drop((subscriber, other));
    assert_eq!(publisher.wish(), (false, b"a".to_vec()), "{engine:?}: once, and after the last");
}

#[test]
fn publishers_hear_the_first_and_the_last_of_a_prefix() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).start().unwrap();
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        let first = Raw::subscriber(&backplane, &[b"a", b"b"]);
        assert_eq!([publisher.wish(), publisher.wish()], [(true, b"a".to_vec()), (true, b"b".to_vec())]);
        let second = Raw::subscriber(&backplane, &[b"b", b"c"]);
        assert_eq!(publisher.wish(), (true, b"c".to_vec()), "b is known");
        // One that connects late hears all of it, and then the marker.
        for minor in [0, 1] {
            let mut late = Raw::peer(backplane.publisher_port(), "PUB", minor);
            let mut heard = Vec::new();
            loop {
                let (true, topic) = late.wish() else { panic!("a cancellation") };
                if topic == b"\xff" {
                    break;
                }
                heard.push(topic);
            }
            heard.sort();
            assert_eq!(heard, [b"a", b"b", b"c"], "{engine:?}");
        }
        drop(first);
        assert_eq!(publisher.wish(), (false, b"a".to_vec()));
        drop(second);
        let mut gone = [publisher.wish(), publisher.wish()];
        gone.sort();
        assert_eq!(gone, [(false, b"b".to_vec()), (false, b"c".to_vec())]);
        if engine == Engine::Native {
            until("nobody is there", || backplane.stats().subscribers == 0);
            assert_eq!(backplane.stats().subscriptions, 0);
        }
    }
}

#[test]
fn frames_pass_as_they_are() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).on_slow(OnSlow::Block).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b""]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        let large = vec![b'x'; 10_000_000];
        let bodies: Vec<Vec<u8>> = [0, 1, 254, 255, 256, 257, 65_535, 65_536].map(|n| vec![7; n]).into();
        let many: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).cycle().take(10).collect();
        let mut messages: Vec<Vec<&[u8]>> = vec![
            vec![b"alone"],
            vec![b""],
            vec![b"", b""],
            vec![b"topic", b""],
            vec![b"topic", b"payload", b"third"],
            vec![b"\xff\xfe\0", b"not text"],
            vec![b"large", &large],
            many,
        ];
        for body in &bodies {
            messages.push(vec![body]);
            messages.push(vec![body, body]);
        }
        let mut sent = 0;
        for message in &messages {
            publisher.send(message);
            let got = subscriber.recv();
            assert!(got == *message, "{engine:?}: {} frames came as {}", message.len(), got.len());
            sent += 1;
        }
        // All at once, and then byte by byte.
        let small: Vec<&Vec<&[u8]>> = messages.iter().filter(|frames| frames.concat().len() < 2000).collect();
        let stream: Vec<u8> = small.iter().flat_map(|frames| message(frames)).collect();
        publisher.write(&stream);
        stream.chunks(1).for_each(|byte| publisher.write(byte));
        for frames in small.iter().chain(&small) {
            assert!(subscriber.recv() == **frames, "{engine:?}");
            sent += 1;
        }
        let stats = quiet(&backplane);
        assert_eq!((stats.received, stats.forwarded, stats.unwanted), (sent, sent, 0), "{engine:?}");
    }
}

#[test]
fn a_ping_is_answered_with_its_context() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b"a"]);
        let mut publisher = Raw::publisher(&backplane);
        // libzmq may tell of the subscriber after the marker, and that must not come between.
        let mut awaited = vec![b"a".to_vec(), b"\xff".to_vec()];
        while !awaited.is_empty() {
            let (_, topic) = publisher.wish();
            awaited.retain(|other| *other != topic);
        }
        for peer in [&mut subscriber, &mut publisher] {
            for context in [&b""[..], b"ctx!", b"0123456789abcdef"] {
                peer.write(&command(b"PING", &[b"\0\x0a", context].concat()));
                assert_eq!(peer.command(), [b"\x04PONG", context].concat(), "{engine:?}");
            }
        }
        // Between messages that one write brings.
        let stream = [message(&[b"a", b"1"]), command(b"PING", b"\0\0x"), message(&[b"a", b"2"])].concat();
        publisher.write(&stream);
        assert_eq!(publisher.command(), b"\x04PONGx");
        assert_eq!(subscriber.recv(), [b"a", b"1"]);
        assert_eq!(subscriber.recv(), [b"a", b"2"]);
    }
}

/// Several publishers at once, one of which hears itself.
#[test]
fn each_publisher_keeps_its_order() {
    const MESSAGES: u32 = 5_000;
    for engine in ENGINES {
        let backplane = builder().engine(engine).on_slow(OnSlow::Block).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b"n"]);
        let publish = |name: u8| {
            let mut publisher = Raw::publisher(&backplane);
            publisher.await_wanted(b"\xff");
            thread::spawn(move || {
                for n in 0..MESSAGES {
                    // Topics change, and so do sizes; now and then the bytes leave in two writes.
                    let topic = format!("n{}", n % 3);
                    let length = if n % 500 == 0 { 70_000 } else { n as usize % 300 };
                    let bytes = message(&[topic.as_bytes(), &[name], &n.to_be_bytes(), &vec![name; length]]);
                    let (first, second) = bytes.split_at(n as usize % bytes.len());
                    publisher.write(first);
                    publisher.write(second);
                }
                publisher
            })
        };
        let publishing: Vec<_> = (0..4).map(publish).collect();
        let mut next = [0u32; 4];
        for _ in 0..4 * MESSAGES {
            let got = subscriber.recv();
            let name = got[1][0];
            let n = next[usize::from(name)];
            let length = if n % 500 == 0 { 70_000 } else { n as usize % 300 };
            assert_eq!(got[0], format!("n{}", n % 3).as_bytes(), "{engine:?}");
            assert!(got[2] == n.to_be_bytes() && got[3] == vec![name; length], "{engine:?}: {name} {n}");
            next[usize::from(name)] += 1;
        }
        publishing.into_iter().for_each(|publisher| drop(publisher.join().unwrap()));
        let stats = quiet(&backplane);
        let all = u64::from(4 * MESSAGES);
        assert_eq!((stats.received, stats.forwarded, stats.dropped), (all, all, 0), "{engine:?}");
    }
}

/// What a publisher wrote before it went is delivered, unless it is half of something.
#[test]
fn half_of_a_message_is_nobodys() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).start().unwrap();
        let mut subscriber = Raw::subscriber(&backplane, &[b""]);
        let whole = message(&[b"last words", b"of many frames", &[7; 300], b"end"]);
        for cut in (0..whole.len()).step_by(7) {
            let mut publisher = Raw::publisher(&backplane);
            publisher.await_wanted(b"\xff");
            publisher.write(&[message(&[b"whole"]), whole[..cut].to_vec()].concat());
            publisher.finish();
            assert_eq!(subscriber.recv(), [b"whole"], "{engine:?} after {cut}");
        }
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        publisher.send(&[b"the end"]);
        assert_eq!(subscriber.recv(), [b"the end"], "{engine:?}");
    }
}

/// Subscribers come, change their minds and go while messages flow; one stays and misses nothing.
#[test]
fn the_books_close_however_subscribers_come_and_go() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).on_slow(OnSlow::Block).start().unwrap();
        let mut stays = Raw::subscriber(&backplane, &[b"a"]);
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"\xff");
        let reading = thread::spawn(move || {
            let mut count = 0u32;
            loop {
                let got = stays.recv();
                if got[0] == b"a end" {
                    return count;
                }
                assert_eq!(got[1], count.to_be_bytes());
                count += 1;
            }
        });
        let ports = (backplane.subscriber_port(), backplane.publisher_port());
        let coming_and_going = thread::spawn(move || {
            for n in 0..150 {
                let mut guest = Raw::peer(ports.0, "SUB", n % 2);
                guest.write(&subscription(true, true, b"a"));
                guest.write(&subscription(false, true, b"b"));
                if n % 3 > 0 {
                    guest.recv();
                    guest.write(&subscription(false, false, b"a"));
                }
            }
        });
        let mut sent = 0u32;
        while !coming_and_going.is_finished() {
            for topic in [b"a", b"b"] {
                publisher.send(&[topic, &sent.to_be_bytes(), &[7; 200]]);
            }
            sent += 1;
        }
        coming_and_going.join().unwrap();
        publisher.send(&[b"a end"]);
        assert_eq!(reading.join().unwrap(), sent, "{engine:?}");
        let stats = quiet(&backplane);
        if engine == Engine::Native {
            until("all are gone", || backplane.stats().subscribers == 0);
            assert_eq!((stats.received, stats.dropped), (u64::from(2 * sent + 1), 0));
            assert!(quiet(&backplane).forwarded > u64::from(sent), "{stats:?}");
        }
    }
}

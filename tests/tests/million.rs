//! A million messages through a backplane that waits for its subscribers.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::{Backplane, OnSlow};
use multiplane_tests::clock::{DEADLINE, now};
use multiplane_tests::component;
use std::thread;

const THREADS: u32 = 4;
const EACH: u32 = 250_000;
const ALL: u64 = (THREADS * EACH) as u64;
const TOPIC: &str = "load";

/// 100 bytes of MessagePack: a `bin` of 98, the first eight of which say who and the how-manieth.
fn payload(thread: u32, number: u32) -> [u8; 100] {
    let mut payload = [0x5a; 100];
    payload[..2].copy_from_slice(&[0xc4, 98]);
    payload[2..6].copy_from_slice(&thread.to_be_bytes());
    payload[6..10].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Every message arrives, whole and once, in the order of its publisher, and every book closes.
#[test]
fn a_million_messages_from_four_threads() {
    let backplane = Backplane::builder("BP1")
        .publisher_port(0)
        .subscriber_port(0)
        .on_slow(OnSlow::Block)
        .start()
        .unwrap();
    let receiving = component("receives", [backplane.route().topics([TOPIC])]);
    let sending = component("sends", [backplane.route()]);
    let subscriber = receiving.subscriber().unwrap();
    let publisher = sending.publisher("BP1").unwrap();
    publisher.wait_for_subscriber(TOPIC, DEADLINE).unwrap();

    let start = now();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let publisher = publisher.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    publisher.publish_raw(TOPIC, &payload(thread, number)).unwrap();
                }
            });
        }
        let mut next = [0; THREADS as usize];
        for _ in 0..ALL {
            let message = subscriber.recv_timeout(DEADLINE).unwrap();
            let bytes = message.payload_bytes();
            let thread = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
            let expected = &mut next[thread as usize];
            assert_eq!(bytes[..], payload(thread, *expected), "of thread {thread}");
            *expected += 1;
        }
        assert_eq!(next, [EACH; THREADS as usize]);
    });
    println!("{ALL} messages in {:?}", start.elapsed());

    assert!(subscriber.try_recv().is_err(), "nothing comes twice");
    let forwarded = backplane.close(DEADLINE);
    assert_eq!((forwarded.received, forwarded.forwarded, forwarded.dropped), (ALL, ALL, 0), "{forwarded:?}");
    // With the headers of both frames, as on the wire.
    assert_eq!(forwarded.received_bytes, ALL * (2 + TOPIC.len() as u64 + 2 + 100));

    let report = sending.close(DEADLINE);
    assert_eq!(report.unsent, []);
    let sent = &report.stats[0];
    assert_eq!((sent.accepted, sent.refused, sent.sent), (ALL, 0, ALL), "{sent:?}");
    assert_eq!((sent.dropped.total(), sent.queued), (0, 0), "{sent:?}");

    let received = &receiving.close(DEADLINE).stats[0];
    assert_eq!((received.received, received.delivered), (ALL, ALL), "{received:?}");
    assert_eq!(received.received_bytes, ALL * (TOPIC.len() as u64 + 100));
    let lost = received.inbox_full + received.inbox_closed + received.undelivered + received.malformed;
    assert_eq!(lost, 0, "{received:?}");
}

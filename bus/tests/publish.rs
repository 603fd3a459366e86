//! What becomes of what is published: verbs, back-pressure, books, trailers, broadcast.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod common;
use common::*;
use multiplane_bus::{Budget, BusError, Latency, LinkState, OnSlow, PublishError, Wait};
use std::time::{Duration, Instant};

/// A backplane that blocks, with a subscriber that takes nothing, and a sender whose queue holds nine of
/// the tests' large messages.
fn jammed() -> (multiplane_bus::Backplane, multiplane_bus::Bus, multiplane_bus::Bus) {
    let backplane = multiplane_bus::Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let backplane = backplane.on_slow(OnSlow::Block).budget(small()).start().unwrap();
    let stalled = builder("stalled", [backplane.route().topics(["x"])]).budget(small()).start().unwrap();
    let queue = Budget { publish_queue_bytes: 1_000_000, ..small() };
    let sender = builder("sender", [backplane.route()]).budget(queue).start().unwrap();
    sender.publisher("BP1").unwrap().wait_for_subscriber("x", LONG).unwrap();
    (backplane, stalled, sender)
}

#[test]
fn each_verb_has_its_patience_and_the_books_close() {
    let (_backplane, stalled, sender) = jammed();
    let publisher = sender.publisher("BP1").unwrap();
    let payload = vec![0; 100_000];
    let mut accepted = 0;
    // Socket buffers take some megabytes before the pressure reaches us.
    while publisher.publish_raw_timeout("x", &payload, Duration::from_millis(300)).is_ok() {
        accepted += 1;
    }
    let full = |result: Result<(), PublishError>| assert!(matches!(result, Err(PublishError::Full { .. })));
    full(publisher.try_publish_raw("x", &payload));
    full(publisher.try_publish("x", &payload));
    full(publisher.publish_timeout("x", &payload, Duration::from_millis(1)));
    let counted = stats(&sender);
    assert_eq!((counted.accepted, counted.refused, counted.queued), (accepted, 4, 9));
    assert_published_books_close(&counted);

    // The waiting verb waits, and gets through when somebody takes.
    let waiting = std::thread::spawn(move || publisher.publish("x", &"the last").is_ok());
    let subscriber = stalled.subscriber().unwrap();
    for _ in 0..accepted {
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload_bytes().len(), 100_000);
    }
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<String>().unwrap(), "the last");
    assert!(waiting.join().unwrap());
    let counted = stats(&sender);
    assert_eq!((counted.sent, counted.queued), (accepted + 1, 0));
    assert_published_books_close(&counted);
}

/// Messages small and large, of which the queue holds a few: each refusal is followed by a call, so nobody waits in vain.
#[test]
fn whoever_was_refused_is_called_when_there_is_room() {
    let backplane = blocking_backplane("BP1");
    let receiver = bus("receiver", &backplane, &["x"]);
    let subscriber = receiver.subscriber().unwrap();
    let sender = builder("sender", [backplane.route()]).budget(small()).start().unwrap();
    let (call, calls) = std::sync::mpsc::channel();
    let publisher = sender.publisher("BP1").unwrap().on_room(move || {
        let _ = call.send(());
    });
    publisher.wait_for_subscriber("x", LONG).unwrap();
    let mut refused = 0;
    for n in 0..20_000u32 {
        let message = (n, "x".repeat(n as usize * 7 % 700));
        while let Err(error) = publisher.try_publish("x", &message) {
            assert!(matches!(error, PublishError::Full { .. }));
            refused += 1;
            calls.recv_timeout(LONG).expect("nobody called");
        }
        if n % 100 == 99 {
            for _ in 0..100 {
                subscriber.recv_timeout(LONG).unwrap();
            }
        }
    }
    assert!(refused > 100, "the queue was full {refused} times only");
}

/// A queue that stays full until the bus closes.
#[test]
fn whoever_was_refused_is_called_when_the_bus_closes() {
    let (_backplane, _stalled, sender) = jammed();
    let (call, calls) = std::sync::mpsc::channel();
    let publisher = sender.publisher("BP1").unwrap().on_room(move || {
        let _ = call.send(());
    });
    let payload = vec![0; 100_000];
    while publisher.publish_raw_timeout("x", &payload, Duration::from_millis(300)).is_ok() {}
    assert!(matches!(publisher.try_publish_raw("x", &payload), Err(PublishError::Full { .. })));
    assert!(calls.try_recv().is_err(), "called, although there is no room");
    let _ = sender.close(Duration::ZERO);
    calls.recv_timeout(LONG).expect("nobody called");
    assert!(matches!(publisher.try_publish_raw("x", &payload), Err(PublishError::Closed)));
}

#[test]
fn closing_in_time_reports_what_could_not_be_sent() {
    let (_backplane, _stalled, sender) = jammed();
    let publisher = sender.publisher("BP1").unwrap();
    let payload = vec![0; 100_000];
    while publisher.publish_raw_timeout("x", &payload, Duration::from_millis(300)).is_ok() {}
    let report = sender.close(Duration::from_millis(200));
    assert_eq!(report.unsent.len(), 1);
    assert_eq!(report.unsent[0].backplane, "BP1");
    assert_eq!(report.unsent[0].messages, 9, "what the queue holds");
    assert_published_books_close(&report.stats[0]);
    assert!(matches!(publisher.publish("x", &1), Err(PublishError::Closed)));
    assert_eq!(publisher.wait_for_subscriber("x", LONG), Err(BusError::Closed));
}

#[test]
fn closing_flushes_what_was_accepted() {
    let backplane = blocking_backplane("BP1");
    let receiver = bus("receiver", &backplane, &["x"]);
    let subscriber = receiver.subscriber().unwrap();
    let sender = builder("sender", [backplane.route()]).start().unwrap();
    let publisher = sender.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    for n in 0..50_000u32 {
        publisher.publish("x", &n).unwrap();
    }
    let closing = std::thread::spawn(move || sender.close(LONG));
    for n in 0..50_000u32 {
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n);
    }
    let report = closing.join().unwrap();
    assert_eq!(report.unsent, []);
    assert_eq!(report.stats[0].publisher_link, Some(LinkState::Closed));
}

#[test]
fn a_subscriber_drains_and_then_hears_that_the_bus_is_closed() {
    let backplane = backplane("BP1");
    let bus = bus("both", &backplane, &["x"]);
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("x", LONG).unwrap();
    for n in 0..3 {
        publisher.publish("x", &n).unwrap();
    }
    until("all three are in the inbox", || subscriber.len() == 3);
    drop(bus);
    assert_eq!(subscriber.into_iter().count(), 3);
    assert!(subscriber.recv().is_err());
}

#[test]
fn what_nobody_wants_is_dropped_and_counted() {
    let backplane = backplane("BP1");
    let bus = bus("alone", &backplane, &["x"]);
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    let error = publisher.wait_for_subscriber("y", Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "nobody subscribed to \"y\" on BP1 within 50ms");
    for _ in 0..10 {
        publisher.publish("y", &1).unwrap();
    }
    publisher.publish("x", &1).unwrap();
    until("all are done with", || stats(&bus).queued == 0 && stats(&bus).sent == 1);
    let stats = stats(&bus);
    assert_eq!((stats.sent, stats.dropped.no_subscriber), (1, 10));
    assert_published_books_close(&stats);
}

#[test]
fn what_is_too_large_is_refused_and_stays_the_callers() {
    let budget = Budget { message_bytes: 100_000, ..Budget::default() };
    let backplane = multiplane_bus::Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let backplane = backplane.budget(budget.clone()).start().unwrap();
    let bus = builder("large", [backplane.route().topics(["x"])]).budget(budget).start().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    // With all headers, as everybody on the way counts.
    let largest = vec![0; 100_000 - (2 + 1 + 9)];
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish_raw("x", &largest).unwrap();
    assert_eq!(bus.subscriber().unwrap().recv_timeout(LONG).unwrap().payload_bytes()[..], largest);
    let error = publisher.publish_raw("x", &[&largest[..], &[0]].concat()).unwrap_err().to_string();
    assert_eq!(error, "the message of 100001 bytes is over the limit of 100000");
    let error = publisher.publish_raw(&"t".repeat(65_537), &[]).unwrap_err().to_string();
    assert_eq!(error, "the topic of 65537 bytes is over the limit of 65536");
    let unwritable = std::collections::HashMap::from([(1, 1)]);
    assert!(matches!(publisher.publish("x", &unwritable), Err(PublishError::Encode(_))));
    assert_eq!((stats(&bus).accepted, stats(&bus).refused), (1, 3));
}

#[test]
fn a_broadcast_goes_to_every_backplane_that_can_be_published_on() {
    let (first, second, third) = (backplane("BP1"), backplane("BP2"), backplane("BP3"));
    let mut deaf = third.route().topics(["x"]);
    deaf.publisher_port = None;
    let routes = [first.route().topics(["x"]), second.route().topics(["x"]), deaf];
    let bus = builder("all", routes).workers(2).start().unwrap();
    let subscriber = bus.subscriber().unwrap();
    for name in ["BP1", "BP2"] {
        bus.publisher(name).unwrap().wait_for_subscriber("x", LONG).unwrap();
    }
    let error = bus.publisher("BP3").unwrap_err();
    assert_eq!(error, BusError::NotPublishing { backplane: "BP3".into() });
    let error = bus.publisher("BP4").unwrap_err().to_string();
    assert_eq!(error, "no backplane is named \"BP4\"; this bus has BP1, BP2, BP3");

    let broadcast = bus.broadcast("x", &"all").unwrap();
    assert_eq!((broadcast.accepted, broadcast.refused.len()), (2, 0));
    let mut from: Vec<_> =
        (0..2).map(|_| subscriber.recv_timeout(LONG).unwrap().backplane().name()).collect();
    from.sort_unstable();
    assert_eq!(from, ["BP1", "BP2"]);
}

#[test]
fn a_trailer_rides_behind_the_payload_and_numbers_each_topic() {
    let backplane = backplane("BP1");
    let bus = bus("numbered", &backplane, &["a", "b"]);
    let (plain, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    let numbered = plain.clone().with_trailer();
    plain.wait_for_subscriber("a", LONG).unwrap();
    plain.wait_for_subscriber("b", LONG).unwrap();
    for topic in ["a", "b", "a"] {
        numbered.publish(topic, &1).unwrap();
    }
    plain.publish("a", &1).unwrap();
    let trailers: Vec<_> = (0..4).map(|_| subscriber.recv_timeout(LONG).unwrap().trailer()).collect();
    let sequences: Vec<_> = trailers.iter().map(|trailer| trailer.map(|trailer| trailer.sequence)).collect();
    assert_eq!(sequences, [Some(1), Some(1), Some(2), None]);
    let ids: std::collections::HashSet<_> =
        trailers.iter().flatten().map(|trailer| trailer.publisher).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!((stats(&bus).missed, stats(&bus).late), (0, 0));
}

#[test]
fn latency_is_measured_where_trailers_are_and_nowhere_else() {
    let backplane = backplane("BP1");
    let bus = bus("timed", &backplane, &["x"]);
    let (plain, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    plain.wait_for_subscriber("x", LONG).unwrap();
    for _ in 0..3 {
        plain.publish("x", &1).unwrap();
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().trailer(), None);
    }
    assert_eq!(stats(&bus).latency, Latency::default());
    let timed = plain.clone().with_trailer();
    let began = Instant::now();
    for _ in 0..100 {
        timed.publish("x", &1).unwrap();
        plain.publish("x", &1).unwrap();
    }
    (0..200).for_each(|_| drop(subscriber.recv_timeout(LONG).unwrap()));
    let (took, latency) = (began.elapsed(), stats(&bus).latency);
    assert_eq!((latency.count, latency.clock_behind), (100, 0), "{latency:?}");
    assert!(Duration::ZERO < latency.min && latency.max <= took, "{latency:?} of {took:?}");
    let rising = [latency.min, latency.p50, latency.p99, latency.max];
    assert!(rising.is_sorted() && (latency.min..=latency.max).contains(&latency.mean), "{latency:?}");
}

#[test]
fn waiting_for_ever_is_no_overflow() {
    let backplane = backplane("BP1");
    let bus = builder("patient", [backplane.route().topics(["x"])])
        .wait(Wait::Spin { before_block: Duration::MAX })
        .start_deadline(Duration::MAX)
        .start()
        .unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", Duration::MAX).unwrap();
    publisher.publish_timeout("x", &1, Duration::MAX).unwrap();
    assert_eq!(bus.subscriber().unwrap().recv_timeout(Duration::MAX).unwrap().topic(), "x");
    assert_eq!(bus.close(Duration::MAX).unsent, []);
    backplane.close(Duration::MAX);
}

/// A number that finds no room is not used up.
#[test]
fn back_pressure_makes_no_gaps_in_the_numbers() {
    let (_backplane, stalled, sender) = jammed();
    let publisher = sender.publisher("BP1").unwrap().with_trailer();
    let payload = vec![0; 100_000];
    let mut accepted = 0;
    while publisher.publish_raw_timeout("x", &payload, Duration::from_millis(300)).is_ok() {
        accepted += 1;
    }
    let subscriber = stalled.subscriber().unwrap();
    for expected in 1..=accepted {
        let trailer = subscriber.recv_timeout(LONG).unwrap().trailer();
        assert_eq!(trailer.map(|trailer| trailer.sequence), Some(expected));
    }
    assert_eq!((stats(&stalled).missed, stats(&stalled).late), (0, 0));
}

#[test]
fn a_slow_subscriber_loses_alone_and_the_backplane_counts() {
    let backplane = multiplane_bus::Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let backplane = backplane.budget(small()).start().unwrap();
    let stalled = builder("stalled", [backplane.route().topics(["x"])]).budget(small()).start().unwrap();
    let receiver = bus("receiver", &backplane, &["x"]);
    let subscriber = receiver.subscriber().unwrap();
    let sender = builder("sender", [backplane.route()]).start().unwrap();
    let publisher = sender.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    // One at a time: the good one never has more than one message waiting.
    let mut payload = vec![0; 100_000];
    let mut sent = 0;
    while backplane.stats().dropped < 100 {
        payload[0] = sent as u8;
        publisher.publish_raw("x", &payload).unwrap();
        sent += 1;
        subscriber.recv_timeout(LONG).expect("the others' share");
    }
    let stats = backplane.stats();
    assert_eq!((stats.received, stats.copies), (sent, 2 * sent));
    assert_eq!(stats.copies, stats.forwarded + stats.dropped + stats.lost + stats.queued, "{stats:?}");
    // What the slow one did not lose it gets, the newest last.
    let slow = stalled.subscriber().unwrap();
    let mut newest = 0;
    for _ in 0..sent - stats.dropped {
        newest = slow.recv_timeout(LONG).unwrap().payload_bytes()[0];
    }
    assert_eq!(newest, (sent - 1) as u8);
    assert!(slow.is_empty());
}

/// Whoever looks while messages come and go finds each of them once.
#[test]
fn the_books_close_at_any_moment() {
    let backplane = blocking_backplane("BP1");
    let bus = bus("busy", &backplane, &["x"]);
    let subscriber = bus.subscriber().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..50_000).for_each(|n| publisher.publish("x", &n).unwrap()));
        scope.spawn(move || (0..50_000).for_each(|_| drop(subscriber.recv_timeout(LONG).unwrap())));
        until("all is sent", || {
            let stats = stats(&bus);
            assert_published_books_close(&stats);
            stats.sent == 50_000
        });
    });
}

/// Whoever wants no bound says so with the largest number.
#[test]
fn a_budget_without_bounds_overflows_nowhere() {
    let all = usize::MAX;
    let budget = Budget { drain_batch: all, high_water_mark: all, ..Budget::default() };
    let backplane = blocking_backplane("BP1");
    let bus = builder("boundless", [backplane.route().topics(["x"])]).budget(budget).start().unwrap();
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("x", LONG).unwrap();
    // One at a time: each short turn doubles what the next one may take.
    for n in 0..200_u32 {
        publisher.publish("x", &n).unwrap();
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n);
    }
    assert_eq!(bus.close(LONG).unsent, []);
}

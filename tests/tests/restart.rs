//! A backplane that is killed and comes back: the components stay, their subscriptions return, and what got lost is
//! counted.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests; measured times are shown with --nocapture.

use multiplane_bus::{Bus, Direction, LinkEvent, Publisher, RecvTimeoutError, StopHandle};
use multiplane_tests::clock::{DEADLINE, compute_for, now};
use multiplane_tests::component;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::random::Random;
use std::sync::mpsc::{RecvTimeoutError as NotYet, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The promise is a second. Each restart has a minute, so that a machine that stalls fails no test; the median keeps
/// the promise, so that a component that is slow every time does.
fn judge(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("{what}: {times:.1?} after the ports were back");
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{what} takes too long: {times:?}");
}

fn await_event(bus: &Bus, wanted: impl Fn(&LinkEvent) -> bool) {
    loop {
        let event = bus.events().recv_timeout(DEADLINE).expect("a link event");
        if wanted(&event) {
            return;
        }
    }
}

fn await_down(bus: &Bus, wanted: Direction) {
    await_event(bus, |event| matches!(event, LinkEvent::LinkDown { direction, .. } if *direction == wanted));
}

/// A component that receives `tick`, one that publishes it, and that one's publisher, once it has its subscriber.
fn linked(hub: &Hub) -> (Bus, Bus, Publisher) {
    let receiving = component("receives", [hub.route(["tick"])]);
    let sending = component("sends", [hub.publishing_route()]);
    let publisher = sending.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("tick", DEADLINE).unwrap();
    (receiving, sending, publisher)
}

/// Kills the backplane, starts it again, and waits for the subscription; when the ports were back.
fn restart(hub: &mut Hub, sending: &Bus, publisher: &Publisher) -> Instant {
    hub.kill();
    await_down(sending, Direction::Publish);
    hub.restart();
    let back = now();
    publisher.wait_for_subscriber("tick", DEADLINE).unwrap();
    back
}

/// Publishes its numbers, a hundred a millisecond, until it is told to stop; how many it published.
fn traffic(publisher: Publisher) -> (Sender<()>, JoinHandle<u64>) {
    let (stop, stopped) = channel();
    let thread = thread::spawn(move || {
        let mut number = 0_u64;
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(NotYet::Timeout) {
            for _ in 0..100 {
                publisher.publish("tick", &number).unwrap();
                number += 1;
            }
        }
        number
    });
    (stop, thread)
}

/// Ten times, in the middle of traffic, at moments nobody chose.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn killed_ten_times_during_traffic() {
    let mut random = Random::new();
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let (receiving, sending, publisher) = linked(&hub);
    let (subscriber, publisher) = (receiving.subscriber().unwrap(), publisher.with_trailer());

    let mut delivered = 0_u64;
    let mut last = None;
    let mut receive = || -> (u64, Instant) {
        let message = subscriber.recv_timeout(DEADLINE).expect("a message");
        let number = message.decode::<u64>().unwrap();
        assert!(last < Some(number), "{number} after {last:?}: twice or out of order");
        last = Some(number);
        delivered += 1;
        (number, now())
    };
    // The receiver counts what it missed from the first message on, so the first must arrive.
    let (stop, publishing) = traffic(publisher.clone());
    assert_eq!(receive().0, 0);

    let mut times = Vec::new();
    for _ in 0..10 {
        for _ in 0..random.below(30_000) {
            receive();
        }
        hub.kill();
        // What the component has of the old backplane's comes before what it gets from the new one.
        await_down(&receiving, Direction::Subscribe);
        hub.restart();
        let back = now();
        let up =
            |event: &LinkEvent| matches!(event, LinkEvent::LinkUp { direction: Direction::Subscribe, .. });
        await_event(&receiving, up);
        let accepted = sending.stats()[0].accepted;
        while receive().0 < accepted {}
        times.push(now() - back);
    }
    stop.send(()).unwrap();
    let published = publishing.join().unwrap();
    // The last message closes the tail: whatever was lost before it is known when it arrives.
    publisher.wait_for_subscriber("tick", DEADLINE).unwrap();
    publisher.publish("tick", &published).unwrap();
    while receive().0 < published {}

    let sent = &sending.close(DEADLINE).stats[0];
    let received = &receiving.close(DEADLINE).stats[0];
    println!("{sent:#?}\n{received:#?}");
    assert_eq!(sent.accepted, published + 1, "every publish was taken");
    assert_eq!(sent.accepted, sent.sent + sent.dropped.total(), "the publisher's book");
    assert_eq!(received.delivered, delivered);
    assert_eq!(received.received, received.delivered, "the receiver's book: nothing between link and user");
    assert_eq!(received.late, 0);
    assert_eq!(
        sent.accepted,
        received.delivered + sent.dropped.total() + received.missed,
        "every message is delivered, dropped for a reason, or known to be missed"
    );
    judge("first message", times);
}

/// A receiver that does not read, so that queues fill up to the backplane, which then dies with all that it holds.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn what_dies_with_the_backplane_is_counted() {
    const MESSAGES: u64 = 60_000;
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let (receiving, sending, publisher) = linked(&hub);
    let (subscriber, publisher) = (receiving.subscriber().unwrap(), publisher.with_trailer());
    let text = "x".repeat(2000);
    for number in 0..MESSAGES {
        publisher.publish("tick", &(number, &text)).unwrap();
    }
    hub.kill();
    await_down(&sending, Direction::Publish);
    hub.restart();
    let delivered = thread::scope(|scope| {
        // While its queues are full the receiver does not even notice that the connection is gone: it must read first.
        scope.spawn(|| {
            publisher.wait_for_subscriber("tick", DEADLINE).unwrap();
            publisher.publish("tick", &(MESSAGES, "the last")).unwrap();
        });
        let numbers = (&subscriber).into_iter().map(|message| message.decode::<(u64, String)>().unwrap().0);
        numbers.take_while(|&number| number < MESSAGES).count() as u64 + 1
    });
    let (sent, received) = (&sending.close(DEADLINE).stats[0], &receiving.close(DEADLINE).stats[0]);
    println!("delivered {delivered}, missed {}, dropped {:?}", received.missed, sent.dropped);
    assert!(received.missed > 0, "that much does not fit between backplane and receiver: {received:?}");
    assert_eq!(received.delivered, delivered);
    assert_eq!(sent.accepted, MESSAGES + 1);
    assert_eq!(sent.accepted, delivered + sent.dropped.total() + received.missed, "{sent:?} {received:?}");
}

/// libzmq by itself keeps at most a thousand subscriptions over a restart.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn twenty_thousand_topics_return() {
    let topics: Vec<String> = (0..20_000).map(|n| format!("topic/{n:05}")).collect();
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let receiving = component("receives", [hub.route(topics.iter().map(String::as_str))]);
    let sending = component("sends", [hub.publishing_route()]);
    let subscriber = receiving.subscriber().unwrap();
    let publisher = sending.publisher("BP1").unwrap();

    let mut times = Vec::new();
    for round in 0..4_u32 {
        if round > 0 {
            hub.kill();
            await_down(&receiving, Direction::Subscribe);
            await_down(&sending, Direction::Publish);
            hub.restart();
        }
        let back = now();
        // They come back in their order; all are proved by a message below, so a few are enough here.
        for topic in topics.iter().rev().step_by(1000) {
            publisher.wait_for_subscriber(topic, DEADLINE).unwrap();
        }
        for topic in &topics {
            publisher.publish(topic, &round).unwrap();
        }
        for topic in &topics {
            let message = subscriber.recv_timeout(DEADLINE).unwrap();
            assert_eq!((message.topic(), message.decode::<u32>().unwrap()), (topic.as_str(), round));
        }
        if round > 0 {
            times.push(now() - back);
        }
    }
    assert_eq!(sending.stats()[0].dropped.total(), 0);
    judge("20,000 topics", times);
}

/// Nobody touches the component while the backplane is away: its own worker brings the subscription back.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn an_idle_component_hears_again() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let (receiving, sending, publisher) = linked(&hub);
    let subscriber = receiving.subscriber().unwrap();
    let mut times = Vec::new();
    for round in 0..5_u32 {
        let back = restart(&mut hub, &sending, &publisher);
        publisher.publish("tick", &round).unwrap();
        assert_eq!(subscriber.recv_timeout(DEADLINE).unwrap().decode::<u32>().unwrap(), round);
        times.push(now() - back);
    }
    judge("an idle component", times);
}

/// Ends [`Bus::run`], also when a test fails.
struct StopWhenDropped(StopHandle);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The handler is at work when the backplane dies and when it returns: it computes for 20 ms on each message, on the
/// worker's own thread, and there is always a next one.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_busy_component_hears_again() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let (receiving, sending, publisher) = linked(&hub);
    let (tell, handled) = channel();
    let times = thread::scope(|scope| {
        // However this ends, for the scope waits for the handler.
        let _stop = StopWhenDropped(receiving.stop_handle());
        scope.spawn(|| {
            receiving
                .run(move |message, _| {
                    compute_for(Duration::from_millis(20));
                    tell.send(message.decode::<u64>()?)?;
                    Ok(())
                })
                .unwrap();
        });
        let receive_at_least = |number| while handled.recv_timeout(DEADLINE).unwrap() < number {};
        let mut number = 0;
        let mut times = Vec::new();
        for _ in 0..5 {
            // A backlog of some seconds of work, and in the middle of it the end.
            for _ in 0..300 {
                publisher.publish("tick", &number).unwrap();
                number += 1;
            }
            receive_at_least(number - 290);
            times.push(now() - restart(&mut hub, &sending, &publisher));
            publisher.publish("tick", &number).unwrap();
            receive_at_least(number);
            number += 1;
        }
        times
    });
    assert!(matches!(handled.recv_timeout(Duration::ZERO), Err(NotYet::Disconnected)));
    judge("a busy component", times);
}

/// A full inbox that nobody reads holds its link back, and the link returns all the same.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_component_with_a_full_inbox_hears_again() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let budget = multiplane_bus::Budget { inbox: 256, ..Default::default() };
    let receiving = Bus::builder("full")
        .engine(multiplane_tests::engine::engine())
        .routing(multiplane_tests::spec([hub.route(["tick"])]))
        .budget(budget)
        .start()
        .unwrap();
    let sending = component("sends", [hub.publishing_route()]);
    let publisher = sending.publisher("BP1").unwrap();
    let subscriber = receiving.subscriber().unwrap();
    publisher.wait_for_subscriber("tick", DEADLINE).unwrap();
    for number in 0..1000_u64 {
        publisher.publish("tick", &number).unwrap();
    }
    multiplane_tests::clock::eventually("the inbox is full", || subscriber.len() == 256);
    judge("a component with a full inbox", vec![now() - restart(&mut hub, &sending, &publisher)]);
    publisher.publish("tick", &1000_u64).unwrap();
    let mut got = Vec::new();
    while got.last() != Some(&1000) {
        match subscriber.recv_timeout(DEADLINE) {
            Ok(message) => got.push(message.decode::<u64>().unwrap()),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("deaf after {got:?}"),
        }
    }
    assert!(got.is_sorted_by(|a, b| a < b), "twice or out of order");
}

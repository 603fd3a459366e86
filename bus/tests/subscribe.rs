//! Who gets what: topics, prefixes, several receivers, changes at run time, full inboxes.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
use common::*;
use multiplane_bus::{Budget, BusError, OnFull, Subscriber, TryRecvError};

/// Publishes `topics` in order, each with its number as payload, and waits until the last has arrived somewhere.
fn publish(publisher: &multiplane_bus::Publisher, topics: &[&str]) {
    for (n, topic) in topics.iter().enumerate() {
        publisher.publish(topic, &n).unwrap();
    }
}

fn topics(subscriber: &Subscriber, until: &str) -> Vec<String> {
    let mut topics = Vec::new();
    loop {
        let message = subscriber.recv_timeout(LONG).expect("the last topic");
        if message.topic() == until {
            return topics;
        }
        topics.push(message.topic().to_owned());
    }
}

#[test]
fn a_subscription_is_a_prefix_and_overlapping_ones_deliver_once() {
    let backplane = backplane("BP1");
    let bus = bus("prefixes", &backplane, &["ab", "abc", "ab", "end"]);
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("end", LONG).unwrap();
    publish(&publisher, &["a", "ab", "abc", "abcd", "xab", "AB", "", "end"]);
    assert_eq!(topics(&subscriber, "end"), ["ab", "abc", "abcd"]);
}

#[test]
fn an_empty_topic_subscribes_to_everything() {
    let backplane = backplane("BP1");
    let bus = bus("all", &backplane, &[""]);
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("whatever", LONG).unwrap();
    publish(&publisher, &["", "x", "ü", "end"]);
    assert_eq!(topics(&subscriber, "end"), ["", "x", "ü"]);
}

#[test]
fn topics_come_and_go_at_run_time_and_repeats_count() {
    let backplane = backplane("BP1");
    let bus = bus("changes", &backplane, &["end"]);
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    bus.subscribe("BP1", "x").unwrap();
    bus.subscribe("BP1", "x").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publish(&publisher, &["x", "end"]);
    assert_eq!(topics(&subscriber, "end"), ["x"]);

    bus.unsubscribe("BP1", "x").unwrap();
    bus.unsubscribe("BP1", "never was").unwrap();
    publish(&publisher, &["x", "end"]);
    assert_eq!(topics(&subscriber, "end"), ["x"], "subscribed twice, unsubscribed once");

    bus.unsubscribe("BP1", "x").unwrap();
    publish(&publisher, &["x", "end"]);
    assert_eq!(topics(&subscriber, "end"), [""; 0]);
}

#[test]
fn receivers_of_one_backplane_get_each_what_they_want() {
    let backplane = backplane("BP1");
    let bus = bus("several", &backplane, &["a", "end"]);
    let publisher = bus.publisher("BP1").unwrap();
    let all = bus.subscriber().unwrap();
    let some = bus.subscriber_of("BP1", ["ab", "end"]).unwrap();
    let gone = bus.subscriber_of("BP1", ["c"]).unwrap();
    assert_eq!(bus.subscriber().unwrap_err(), BusError::AlreadyReceiving);
    for topic in ["end", "ab", "c"] {
        publisher.wait_for_subscriber(topic, LONG).unwrap();
    }
    drop(gone);
    publish(&publisher, &["a", "ab", "c", "end"]);
    assert_eq!(topics(&all, "end"), ["a", "ab"]);
    assert_eq!(topics(&some, "end"), ["ab"]);
    let stats = stats(&bus);
    assert_eq!((stats.received, stats.delivered), (3, 5), "{stats:?}");
}

#[test]
fn a_bus_has_room_for_63_further_subscribers_and_takes_new_ones_for_those_that_went() {
    let backplane = backplane("BP1");
    let bus = bus("many", &backplane, &["x"]);
    let mut subscribers: Vec<_> = (0..63).map(|_| bus.subscriber_of("BP1", ["x"]).unwrap()).collect();
    assert_eq!(bus.subscriber_of("BP1", ["x"]).unwrap_err(), BusError::TooManySubscribers { limit: 63 });
    subscribers.pop();
    let again = bus.subscriber_of("BP1", ["again"]).unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("again", LONG).unwrap();
    publisher.publish("again", &1).unwrap();
    assert_eq!(again.recv_timeout(LONG).unwrap().topic(), "again");
}

/// libzmq 4.3.4 writes subscriptions of 246 to 255 bytes wrongly, and the peer then misreads all that follow.
#[test]
fn subscriptions_of_every_length_work() {
    let backplane = backplane("BP1");
    let bus = bus("lengths", &backplane, &["end"]);
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    let lengths = [1, 244, 245, 246, 250, 255, 256, 1024];
    let topic = |length: usize| "t".repeat(length - 1) + "!";
    for length in lengths {
        bus.subscribe("BP1", &topic(length)).unwrap();
    }
    bus.subscribe("BP1", "after").unwrap();
    publisher.wait_for_subscriber("after", LONG).unwrap();
    for length in lengths {
        publisher.wait_for_subscriber(&topic(length), LONG).unwrap();
    }
    // A sibling with the same first 245 bytes is let through by the wire and must be stopped here.
    publish(&publisher, &[&("t".repeat(249) + "?"), "after", "end"]);
    assert_eq!(topics(&subscriber, "end"), ["after"]);
    let sent: Vec<_> = lengths.map(topic).into();
    publish(&publisher, &sent.iter().map(String::as_str).chain(["end"]).collect::<Vec<_>>());
    assert_eq!(topics(&subscriber, "end"), sent);
    let error = bus.subscribe("BP1", &topic(1025)).unwrap_err().to_string();
    assert!(error.contains("1025 bytes is over the limit of 1024"), "{error}");
}

#[test]
fn what_arrives_before_anybody_receives_waits() {
    let backplane = backplane("BP1");
    let bus = bus("late", &backplane, &["x"]);
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publish(&publisher, &["x1", "x2"]);
    until("the messages are forwarded", || backplane.stats().forwarded == 2);
    let subscriber = bus.subscriber().unwrap();
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().topic(), "x1");
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().topic(), "x2");
}

/// Sends `count` numbered messages to an inbox of 8 and returns the numbers that came out of it.
fn overfill(on_full: OnFull, count: u32) -> (Vec<u32>, multiplane_bus::BackplaneStats) {
    let backplane = blocking_backplane("BP1");
    let budget = Budget { inbox: 8, ..Budget::default() };
    let receiver = builder("slow", [backplane.route().topics(["x"])]).budget(budget).on_full(on_full);
    let receiver = receiver.start().unwrap();
    let subscriber = receiver.subscriber().unwrap();
    let sender = builder("sender", [backplane.route()]).start().unwrap();
    let publisher = sender.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    for n in 0..count {
        publisher.publish("x", &n).unwrap();
    }
    if on_full != OnFull::Block {
        until("everything has arrived", || stats(&receiver).received == u64::from(count));
    }
    let mut numbers = Vec::new();
    let goal = if on_full == OnFull::Block { count as usize } else { 8 };
    while numbers.len() < goal {
        numbers.push(subscriber.recv_timeout(LONG).unwrap().decode().unwrap());
    }
    assert!(subscriber.is_empty());
    (numbers, stats(&receiver))
}

#[test]
fn a_full_inbox_that_blocks_loses_nothing() {
    let (numbers, stats) = overfill(OnFull::Block, 1000);
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    assert_eq!((stats.received, stats.delivered, stats.inbox_full), (1000, 1000, 0));
}

#[test]
fn a_full_inbox_that_drops_the_newest_keeps_the_first_and_counts() {
    let (numbers, stats) = overfill(OnFull::DropNewest, 1000);
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    assert_eq!((stats.received, stats.delivered, stats.inbox_full), (1000, 8, 992));
}

#[test]
fn a_full_inbox_that_drops_the_oldest_keeps_the_last_and_counts() {
    let (numbers, stats) = overfill(OnFull::DropOldest, 1000);
    assert_eq!(numbers, (992..1000).collect::<Vec<_>>());
    assert_eq!((stats.received, stats.delivered, stats.inbox_full), (1000, 8, 992));
}

/// What waits for the room of one inbox goes on when its subscriber is gone.
#[test]
fn a_full_inbox_that_is_given_up_holds_nobody_back() {
    let backplane = blocking_backplane("BP1");
    let receiver = builder("receiver", [backplane.route()]).budget(small()).start().unwrap();
    let full = receiver.subscriber_of("BP1", ["x"]).unwrap();
    let other = receiver.subscriber_of("BP1", ["x"]).unwrap();
    let sender = builder("sender", [backplane.route()]).start().unwrap();
    let publisher = sender.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    for n in 0..100_u32 {
        publisher.publish("x", &n).unwrap();
    }
    for n in 0..9_u32 {
        assert_eq!(other.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n);
    }
    drop(full);
    for n in 9..100_u32 {
        assert_eq!(other.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n);
    }
    let stats = stats(&receiver);
    let per_message = stats.delivered + stats.inbox_closed;
    assert!(
        stats.received == 100 && stats.inbox_closed > 0 && (109..=200).contains(&per_message),
        "{stats:?}"
    );
}

/// The only wake-up of the receiving thread is the hook: a lost one would hang the test.
#[test]
fn a_subscriber_that_waits_elsewhere_is_woken() {
    let backplane = blocking_backplane("BP1");
    let receiver = builder("receiver", [backplane.route().topics(["x"])]).start().unwrap();
    let sender = builder("sender", [backplane.route()]).start().unwrap();
    let publisher = sender.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    let subscriber = receiver.subscriber().unwrap();
    let thread = std::thread::spawn(move || {
        let (woken, wake) = std::sync::mpsc::channel();
        subscriber.on_ready(move || woken.send(()).unwrap_or_default());
        let mut taken = 0;
        loop {
            match subscriber.try_recv() {
                Ok(message) => {
                    assert_eq!(message.decode::<u64>().unwrap(), taken);
                    taken += 1;
                }
                Err(TryRecvError::Empty) => wake.recv_timeout(LONG).expect("a wake-up"),
                Err(TryRecvError::Disconnected) => return taken,
            }
        }
    });
    for n in 0..50_000_u64 {
        publisher.publish("x", &n).unwrap();
        if n % 64 == 0 {
            std::thread::yield_now();
        }
    }
    until("all is delivered", || receiver.stats()[0].delivered == 50_000);
    drop(receiver);
    assert_eq!(thread.join().unwrap(), 50_000, "the end of the bus wakes, too");
}

#[test]
fn a_busy_backplane_does_not_starve_a_quiet_one() {
    let (busy, quiet) = (blocking_backplane("busy"), blocking_backplane("quiet"));
    let receiver =
        builder("fair", [busy.route().topics(["x"]), quiet.route().topics(["y"])]).start().unwrap();
    let sender = builder("sender", [busy.route(), quiet.route()]).start().unwrap();
    let (noise, voice) = (sender.publisher("busy").unwrap(), sender.publisher("quiet").unwrap());
    noise.wait_for_subscriber("x", LONG).unwrap();
    voice.wait_for_subscriber("y", LONG).unwrap();
    // Before anybody takes anything, the busy backplane has far more than one batch waiting.
    for n in 0..5000 {
        noise.publish("x", &n).unwrap();
    }
    voice.publish("y", &()).unwrap();
    until("all is forwarded", || busy.stats().forwarded == 5000 && quiet.stats().forwarded == 1);
    let subscriber = receiver.subscriber().unwrap();
    let before = subscriber.into_iter().take_while(|message| message.topic() != "y").count();
    assert!(before <= 3 * Budget::default().drain_batch, "{before} messages of the busy one came first");
}

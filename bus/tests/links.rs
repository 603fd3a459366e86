//! Links that are not there, go and come back.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
use common::*;
use multiplane_bus::{
    Backplane, BackplaneError, Budget, Bus, Direction, LinkEvent, LinkState, Route, StartError,
};
use std::net::TcpListener;
use std::time::Duration;

/// Ports where nobody listens.
fn nowhere() -> (u16, u16) {
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    (first.local_addr().unwrap().port(), second.local_addr().unwrap().port())
}

fn at(ports: (u16, u16)) -> Backplane {
    Backplane::builder("BP1").subscriber_port(ports.0).publisher_port(ports.1).start().unwrap()
}

fn next(bus: &Bus) -> LinkEvent {
    bus.events().recv_timeout(LONG).expect("an event")
}

fn is_up(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::LinkUp { .. })
}

#[test]
fn a_start_without_a_backplane_names_the_links_and_the_cure() {
    let ports = nowhere();
    let route = Route::new("BP1", "127.0.0.1").subscriber_port(ports.0).topics(["x"]).publisher_port(ports.1);
    let alive = backplane("alive");
    let starting = builder("early", [alive.route(), route]).start_deadline(Duration::from_millis(300));
    let error = starting.start().unwrap_err();
    let StartError::NotLive { links, .. } = &error else { panic!("{error}") };
    let dead: Vec<_> = links.iter().map(|link| (link.backplane.as_str(), link.direction)).collect();
    assert_eq!(dead, [("BP1", Direction::Publish), ("BP1", Direction::Subscribe)]);
    assert!(links[0].attempts > 1, "{links:?}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("127.0.0.1:{}", ports.1)) && text.contains("multiplane backplane"),
        "{text}"
    );
}

#[test]
fn a_component_that_does_not_wait_links_up_when_its_backplane_comes() {
    let ports = nowhere();
    let route = Route::new("BP1", "127.0.0.1").subscriber_port(ports.0).topics(["x"]).publisher_port(ports.1);
    let bus = builder("patient", [route]).start_deadline(Duration::ZERO).start().unwrap();
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.publish("x", &"into the void").unwrap();
    until("the message is dropped", || stats(&bus).dropped.link_down == 1);
    assert_eq!(stats(&bus).publisher_link, Some(LinkState::Connecting));
    let _backplane = at(ports);
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish("x", &"hello").unwrap();
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<String>().unwrap(), "hello");
    assert_published_books_close(&stats(&bus));
}

#[test]
fn a_backplane_that_comes_back_finds_every_subscription_again() {
    let backplane = backplane("BP1");
    let ports = (backplane.subscriber_port(), backplane.publisher_port());
    let topics: Vec<String> = (0..20_000).map(|n| format!("topic/{n}/")).collect();
    let receiver =
        builder("many topics", [backplane.route().topics(topics.iter().cloned())]).start().unwrap();
    let sender = builder("sender", [backplane.route()]).start().unwrap();
    let (publisher, subscriber) = (sender.publisher("BP1").unwrap(), receiver.subscriber().unwrap());
    let mut running = Some(backplane);
    for round in 0..3 {
        for topic in &topics {
            publisher.wait_for_subscriber(topic, LONG).unwrap();
            publisher.publish(topic, &round).unwrap();
        }
        for topic in &topics {
            let message = subscriber.recv_timeout(LONG).unwrap();
            assert_eq!((message.topic(), message.decode::<i32>().unwrap()), (topic.as_str(), round));
        }
        if round == 2 {
            break;
        }
        for bus in [&receiver, &sender] {
            while bus.events().try_recv().is_some() {}
        }
        drop(running.take());
        // Both links of each: one that has not noticed yet still believes what it was told before.
        for bus in [&receiver, &sender] {
            let mut down = 0;
            while down < 2 {
                down += u32::from(!is_up(&next(bus)));
            }
        }
        running = Some(at(ports));
    }
    assert_eq!((stats(&receiver).delivered, stats(&sender).sent), (60_000, 60_000));
}

/// What a publisher knows of subscribers dies with the connection that told it.
#[test]
fn a_subscriber_that_did_not_come_back_is_not_published_to() {
    let backplane = backplane("BP1");
    let ports = (backplane.subscriber_port(), backplane.publisher_port());
    let receiver = bus("leaves", &backplane, &["x"]);
    let mut route = backplane.route();
    route.subscriber_port = None;
    let sender = builder("stays", [route]).start().unwrap();
    let publisher = sender.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    // The backplane goes first, so that it cannot tell that the receiver went.
    drop(backplane);
    while is_up(&next(&sender)) {}
    drop(receiver);
    let _backplane = at(ports);
    while !is_up(&next(&sender)) {}
    publisher.publish("x", &1).unwrap();
    until("the message is done with", || stats(&sender).dropped.total() + stats(&sender).sent == 1);
    assert_eq!(stats(&sender).dropped.no_subscriber, 1, "{:?}", stats(&sender));
}

#[test]
fn links_tell_when_they_go_and_come() {
    let backplane = backplane("BP1");
    let ports = (backplane.subscriber_port(), backplane.publisher_port());
    let bus = bus("watching", &backplane, &["x"]);
    let (first, second) = (next(&bus), next(&bus));
    assert!(is_up(&first) && is_up(&second), "{first:?} {second:?}");
    assert_eq!(stats(&bus).subscriber_link, Some(LinkState::Live));
    drop(backplane);
    let (first, second) = (next(&bus), next(&bus));
    assert!(!is_up(&first) && !is_up(&second), "{first:?} {second:?}");
    assert_eq!(stats(&bus).publisher_link, Some(LinkState::Lost));
    let _backplane = at(ports);
    let (first, second) = (next(&bus), next(&bus));
    assert!(is_up(&first) && is_up(&second), "{first:?} {second:?}");
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let backplane = backplane("BP1");
    let ports = (backplane.subscriber_port(), backplane.publisher_port());
    let start = |subscriber, publisher| {
        Backplane::builder("BP2").subscriber_port(subscriber).publisher_port(publisher).start().unwrap_err()
    };
    for (error, port, flag) in [(start(ports.0, 0), ports.0, "-s"), (start(0, ports.1), ports.1, "-p")] {
        let text = error.to_string();
        assert!(matches!(error, BackplaneError::PortInUse { .. }), "{text}");
        assert!(
            text.contains(&format!("port {port} of 127.0.0.1 is in use")) && text.contains(flag),
            "{text}"
        );
    }
    let error = Backplane::builder("BP3").bind("192.0.2.1").start().unwrap_err();
    assert!(matches!(error, BackplaneError::NoSuchAddress { .. }), "{error}");
}

#[test]
fn a_foolish_budget_or_core_is_refused_before_anything_starts() {
    let backplane = backplane("BP1");
    let deaf = Budget { inbox: 0, ..Budget::default() };
    let error = builder("deaf", [backplane.route()]).budget(deaf).start().unwrap_err();
    assert!(matches!(error, StartError::Budget(_)), "{error}");
    let error = builder("pinned", [backplane.route()]).pin([100_000]).start().unwrap_err();
    assert!(matches!(error, StartError::Pin { worker: 0, core: 100_000, .. }), "{error}");
    assert!(matches!(Bus::builder("nowhere").start(), Err(StartError::NoRouting)));
    let cores = core_affinity::get_core_ids().unwrap();
    builder("pinned", [backplane.route()]).pin([cores[0].id]).start().unwrap();
}

#[test]
fn ipv6_works() {
    let backplane =
        Backplane::builder("six").bind("::1").subscriber_port(0).publisher_port(0).start().unwrap();
    let bus = bus("six", &backplane, &["x"]);
    let (publisher, subscriber) = (bus.publisher("six").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish("x", &6).unwrap();
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), 6);
}

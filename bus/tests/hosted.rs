//! A component that hosts a backplane: one hop, no process in the middle, and the books of both close.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
use common::*;
use multiplane_bus::{Backplane, BackplaneBuilder, Budget, Bus, OnSlow, PublishError, StartError};
use std::time::Duration;

fn camera() -> BackplaneBuilder {
    Backplane::builder("cam").publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block)
}

fn host(builder: BackplaneBuilder) -> Bus {
    Bus::builder("camera").engine(engine()).host(builder).start().unwrap()
}

fn watch(camera: &Bus, topics: &[&str]) -> Bus {
    let route = camera.hosted("cam").unwrap().route().topics(topics.iter().copied());
    builder("viewer", [route]).start().unwrap()
}

#[test]
fn what_it_publishes_reaches_all_and_the_books_of_bus_and_backplane_close() {
    const COUNT: u32 = 50_000;
    let camera = host(camera());
    let viewers = [watch(&camera, &["frame"]), watch(&camera, &["frame"]), watch(&camera, &["sound"])];
    let inboxes: Vec<_> = viewers.iter().map(|viewer| viewer.subscriber().unwrap()).collect();
    let publisher = camera.publisher("cam").unwrap();
    until("all subscribe, the camera among them", || camera.hosted("cam").unwrap().stats().subscribers == 4);
    publisher.wait_for_subscriber("frame", LONG).unwrap();
    publisher.wait_for_subscriber("sound", LONG).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                // Large ones among the small, which travel another way.
                let padding = if n % 1000 == 0 { 100_000 } else { (n % 50) as usize };
                publisher.publish("frame", &(n, vec![0u8; padding])).unwrap();
                if n % 100 == 0 {
                    publisher.publish("sound", &(n, [0u8; 0])).unwrap();
                    publisher.publish("smell", &n).unwrap();
                }
            }
        });
        for (inbox, step) in inboxes.iter().zip([1, 1, 100]) {
            scope.spawn(move || {
                for n in (0..COUNT).step_by(step) {
                    let message = inbox.recv_timeout(LONG).unwrap();
                    assert_eq!(message.decode::<(u32, Vec<u8>)>().unwrap().0, n);
                }
            });
        }
    });
    let backplane = camera.hosted("cam").unwrap().stats();
    let counted = stats(&camera);
    assert_eq!(counted.dropped.no_subscriber, u64::from(COUNT / 100), "nobody smells");
    assert_eq!(counted.sent, u64::from(COUNT + COUNT / 100));
    assert_published_books_close(&counted);
    assert_eq!(backplane.received, counted.sent);
    assert_eq!(backplane.copies, backplane.forwarded + backplane.dropped + backplane.lost + backplane.queued);
    assert_eq!(backplane.forwarded, u64::from(2 * COUNT + COUNT / 100));
}

#[test]
fn others_publish_into_it_and_its_handlers_answer() {
    let camera = host(camera());
    let route = camera.hosted("cam").unwrap().route();
    let asks = builder("asks", [route.topics(["reply"])]).start().unwrap();
    let receives = camera.subscriber().unwrap();
    receives.subscribe("cam", "question").unwrap();
    let (replies, publisher) = (asks.subscriber().unwrap(), asks.publisher("cam").unwrap());
    publisher.wait_for_subscriber("question", LONG).unwrap();
    let answers = camera.publisher("cam").unwrap();
    for n in 0..1000u32 {
        publisher.publish("question", &n).unwrap();
        let question = receives.recv_timeout(LONG).unwrap().decode::<u32>().unwrap();
        answers.publish("reply", &(question + 1)).unwrap();
        assert_eq!(replies.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n + 1);
    }
}

#[test]
fn a_stalled_subscriber_holds_the_component_and_nothing_is_lost() {
    let camera = host(camera().budget(small()));
    let viewer = builder("viewer", [camera.hosted("cam").unwrap().route().topics(["frame"])]);
    let viewer = viewer.budget(small()).start().unwrap();
    let publisher = camera.publisher("cam").unwrap();
    publisher.wait_for_subscriber("frame", LONG).unwrap();
    let payload = vec![7; 100_000];
    let mut accepted = 0;
    while publisher.publish_raw_timeout("frame", &payload, Duration::from_millis(300)).is_ok() {
        accepted += 1;
    }
    assert!(matches!(publisher.try_publish_raw("frame", &payload), Err(PublishError::Full { .. })));
    let inbox = viewer.subscriber().unwrap();
    for _ in 0..accepted {
        assert_eq!(inbox.recv_timeout(LONG).unwrap().payload_bytes().len(), payload.len());
    }
    until("all is sent", || stats(&camera).queued == 0);
    assert_published_books_close(&stats(&camera));
    let report = camera.close(LONG);
    assert_eq!(report.unsent, []);
}

#[test]
fn closing_sends_what_was_accepted() {
    let camera = host(camera());
    let viewer = watch(&camera, &["frame"]);
    let inbox = viewer.subscriber().unwrap();
    let publisher = camera.publisher("cam").unwrap();
    publisher.wait_for_subscriber("frame", LONG).unwrap();
    for n in 0..20_000u32 {
        publisher.publish("frame", &n).unwrap();
    }
    let closing = std::thread::spawn(move || camera.close(LONG));
    for n in 0..20_000u32 {
        assert_eq!(inbox.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n);
    }
    assert_eq!(closing.join().unwrap().unsent, []);
}

#[test]
fn what_cannot_be_hosted_is_said() {
    let first = host(camera());
    let port = first.hosted("cam").unwrap().subscriber_port();
    let error = Bus::builder("second").host(camera().subscriber_port(port)).start().unwrap_err();
    assert!(matches!(error, StartError::Host(_)), "{error}");
    let error = Bus::builder("twice").host(camera()).host(camera()).start().unwrap_err();
    assert!(matches!(error, StartError::Routing(_)), "{error}");
    let error = Bus::builder("nothing").start().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no backplane to link to: give the builder a routing specification with `.routing(..)`, or `.host(..)` one"
    );
}

/// The backplane has bounds of its own, and what is over them ends nothing.
#[test]
fn what_is_too_large_for_the_hosted_backplane_is_refused_and_the_next_one_passes() {
    let budget = Budget { message_bytes: 4096, topic_bytes: 1024, ..Budget::default() };
    let hosted = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).budget(budget);
    let host = host(hosted);
    let subscriber = host.subscriber_of("BP1", ["x"]).unwrap();
    let publisher = host.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish("x", &1).unwrap();
    let refused = publisher.publish_raw("x", &[0; 5000]);
    assert!(matches!(refused, Err(PublishError::TooLarge { limit: 4096, .. })), "{refused:?}");
    publisher.publish("x", &2).unwrap();
    for n in 1..=2 {
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), n);
    }
}

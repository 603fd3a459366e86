//! Handlers and their outbox.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
use common::*;
use multiplane_bus::{BackplaneStats, Budget, BusError, Message, Outbox, PublishError, Wait};
use std::sync::mpsc;

#[test]
fn a_handler_answers_on_the_backplane_that_asked_and_on_another() {
    let (first, second) = (backplane("BP1"), backplane("BP2"));
    let server =
        builder("server", [first.route().topics(["ask"]), second.route().topics(["ask"])]).start().unwrap();
    let client = builder("client", [first.route().topics(["reply"]), second.route().topics(["notice"])])
        .start()
        .unwrap();
    let notices = server.publisher("BP2").unwrap();
    let stop = server.stop_handle();
    let running = std::thread::spawn(move || {
        server.run(move |message, outbox| {
            outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
            outbox.publish(&notices, "notice", message.backplane().name())?;
            Ok(())
        })
    });
    let subscriber = client.subscriber().unwrap();
    let asking = client.publisher("BP1").unwrap();
    asking.wait_for_subscriber("ask", LONG).unwrap();
    for n in 0..10 {
        asking.publish("ask", &n).unwrap();
        let (mut reply, mut notice) = (None, None);
        for _ in 0..2 {
            let message = subscriber.recv_timeout(LONG).unwrap();
            match message.topic() {
                "reply" => reply = Some((message.backplane().name(), message.decode::<u32>().unwrap())),
                _ => notice = Some((message.backplane().name(), message.decode::<String>().unwrap())),
            }
        }
        assert_eq!(reply, Some(("BP1", n)));
        assert_eq!(notice, Some(("BP2", "BP1".to_owned())));
    }
    stop.stop();
    running.join().unwrap().unwrap();
}

#[test]
fn a_spinning_worker_does_the_same_work() {
    let backplane = backplane("BP1");
    let spin = Wait::Spin { before_block: std::time::Duration::from_millis(1) };
    let bus = builder("spins", [backplane.route().topics(["ask", "reply"])]).wait(spin).start().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("reply", LONG).unwrap();
    publisher.publish("ask", &0).unwrap();
    bus.run(move |message, outbox| {
        match message.decode::<u32>()? {
            1000 => outbox.stop(),
            n => outbox.publish(message.backplane(), "reply", &(n + 1))?,
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(stats(&bus).delivered, 1001);
}

#[test]
fn a_handler_that_fails_is_counted_and_goes_on() {
    let backplane = backplane("BP1");
    let bus = bus("fails", &backplane, &["x"]);
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish_raw("x", b"\xc1 is no MessagePack").unwrap();
    publisher.publish("x", &7).unwrap();
    let (seen, sees) = mpsc::channel();
    bus.run(move |message, outbox| {
        let n: u32 = message.decode()?;
        seen.send(n)?;
        outbox.stop();
        Ok(())
    })
    .unwrap();
    assert_eq!(sees.recv().unwrap(), 7);
    assert_eq!((stats(&bus).handler_errors, stats(&bus).delivered), (1, 2));
}

#[test]
fn a_handler_that_panics_ends_with_a_report_and_leaves_the_links_alone() {
    let backplane = backplane("BP1");
    let bus = bus("panics", &backplane, &["x"]);
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish("x", &1).unwrap();
    publisher.publish("x", &2).unwrap();
    let error = bus.run(|_, _| panic!("the user's fault")).unwrap_err();
    assert_eq!(error, BusError::HandlerPanicked { message: "the user's fault".into() });
    // The next one takes over where the first stopped.
    let subscriber = bus.subscriber().unwrap();
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), 2);
}

#[test]
fn a_handler_ends_anywhere_among_messages_of_one_topic_and_the_next_one_goes_on_there() {
    let backplane = blocking_backplane("BP1");
    let bus = bus("amid", &backplane, &["topic"]);
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("topic", LONG).unwrap();
    // They wait in the link, so that many are handed out at once.
    for n in 0..2000u32 {
        publisher.publish_raw("topic", &n.to_be_bytes()).unwrap();
    }
    until("all is sent", || stats(&bus).sent == 2000);
    let (seen, sees) = mpsc::channel();
    let handler = |last: u32, panics: bool| {
        let seen = seen.clone();
        move |message: &Message<'_>, outbox: &mut Outbox<'_>| {
            let n = u32::from_be_bytes(message.payload_bytes().try_into()?);
            seen.send((message.topic().to_owned(), n))?;
            if n == last {
                assert!(!panics, "the user's fault");
                outbox.stop();
            }
            if n % 7 == 6 { Err("the user's fault".into()) } else { Ok(()) }
        }
    };
    let counts = |stats: &BackplaneStats| {
        (stats.received, stats.received_bytes, stats.delivered, stats.handler_errors)
    };
    bus.run(handler(699, false)).unwrap();
    assert_eq!(counts(&stats(&bus)), (700, 700 * 9, 700, 100));
    bus.run(handler(1000, true)).unwrap_err();
    assert_eq!(counts(&stats(&bus)), (1001, 1001 * 9, 1001, 143));
    bus.run(handler(1999, false)).unwrap();
    assert_eq!(counts(&stats(&bus)), (2000, 2000 * 9, 2000, 285));
    for n in 0..2000 {
        assert_eq!(sees.recv().unwrap(), ("topic".to_owned(), n));
    }
    assert!(sees.try_recv().is_err());
}

#[test]
fn waiting_calls_on_the_worker_are_refused_instead_of_never_ending() {
    let backplane = blocking_backplane("BP1");
    let budget = Budget { publish_queue_bytes: 256, ..Budget::default() };
    let bus = builder("inside", [backplane.route().topics(["go"])]).budget(budget).start().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("go", LONG).unwrap();
    publisher.publish("go", &()).unwrap();
    let (tell, told) = mpsc::channel();
    bus.run(move |_, outbox| {
        // The queue is emptied by this very thread.
        let mut refused = None;
        for n in 0..100 {
            if let Err(error) = publisher.publish("x", &n) {
                refused = Some(error);
            }
        }
        let waited = publisher.wait_for_subscriber("x", LONG);
        outbox.stop();
        tell.send((refused, waited))?;
        Ok(())
    })
    .unwrap();
    let (refused, waited) = told.recv().unwrap();
    assert!(matches!(refused, Some(PublishError::WouldDeadlock { .. })), "{refused:?}");
    assert_eq!(waited, Err(BusError::OnWorker { call: "wait_for_subscriber" }));
}

/// Each of two workers waits for the other to empty its queue.
#[test]
fn handlers_that_wait_for_each_other_are_told() {
    let planes = ["BP1", "BP2"].map(blocking_backplane);
    let budget = Budget { publish_queue_bytes: 256, ..Budget::default() };
    let bus = builder("crosswise", planes.iter().map(|plane| plane.route().topics(["go"])));
    let bus = bus.workers(2).budget(budget).start().unwrap();
    let publishers = planes.each_ref().map(|plane| bus.publisher(plane.name()).unwrap());
    for publisher in &publishers {
        publisher.wait_for_subscriber("go", LONG).unwrap();
        publisher.publish("go", &()).unwrap();
    }
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let (tell, told) = mpsc::channel();
    bus.run_each(|worker| {
        let (other, both, tell) = (publishers[1 - worker].clone(), both.clone(), tell.clone());
        move |_, outbox| {
            both.wait();
            tell.send((0..1000).try_for_each(|n| other.publish("x", &n)))?;
            outbox.stop();
            Ok(())
        }
    })
    .unwrap();
    let ended: Vec<_> = told.try_iter().collect();
    assert_eq!(ended.len(), 2);
    let is_told = |end: &Result<(), _>| matches!(end, Err(PublishError::WouldDeadlock { .. }));
    assert_eq!(ended.iter().filter(|end| is_told(end)).count(), 1, "{ended:?}");
    assert_eq!(ended.iter().filter(|end| end.is_ok()).count(), 1, "{ended:?}");
}

#[test]
fn a_handler_subscribes_and_unsubscribes() {
    let backplane = backplane("BP1");
    let bus = bus("learns", &backplane, &["first"]);
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("first", LONG).unwrap();
    publisher.publish("first", &()).unwrap();
    let (tell, told) = mpsc::channel();
    let stop = bus.stop_handle();
    let running = std::thread::spawn(move || {
        bus.run(move |message, outbox| {
            outbox.subscribe("BP1", "second")?;
            outbox.unsubscribe("BP1", "first")?;
            tell.send(message.topic().to_owned())?;
            Ok(())
        })
    });
    assert_eq!(told.recv().unwrap(), "first");
    publisher.wait_for_subscriber("second", LONG).unwrap();
    publisher.publish("second", &()).unwrap();
    assert_eq!(told.recv().unwrap(), "second");
    until("nobody wants the first any more", || {
        publisher.wait_for_subscriber("first", std::time::Duration::ZERO).is_err()
    });
    stop.stop();
    running.join().unwrap().unwrap();
}

#[test]
fn each_of_several_workers_has_its_handler_and_reaches_all_backplanes() {
    let planes: Vec<_> = (0..4).map(|n| backplane(&format!("BP{n}"))).collect();
    let server = builder("server", planes.iter().map(|plane| plane.route().topics(["ask"])));
    let server = server.workers(3).start().unwrap();
    assert_eq!(server.run(|_, _| Ok(())).unwrap_err(), BusError::SeveralWorkers { workers: 3 });
    let client =
        builder("client", planes.iter().map(|plane| plane.route().topics(["reply"]))).start().unwrap();
    let subscriber = client.subscriber().unwrap();
    let to_first = server.publisher("BP0").unwrap();
    let stop = server.stop_handle();
    let running = std::thread::spawn(move || {
        server.run_each(|worker| {
            let to_first = to_first.clone();
            move |message, outbox| {
                // BP0 belongs to worker 0; the others reach it through its queue.
                outbox.publish(&to_first, "reply", &(worker, message.backplane().name()))?;
                Ok(())
            }
        })
    });
    for (n, plane) in planes.iter().enumerate() {
        let publisher = client.publisher(plane.name()).unwrap();
        publisher.wait_for_subscriber("ask", LONG).unwrap();
        publisher.publish("ask", &()).unwrap();
        let reply = subscriber.recv_timeout(LONG).unwrap();
        assert_eq!(reply.backplane(), "BP0");
        assert_eq!(reply.decode::<(usize, String)>().unwrap(), (n % 3, plane.name().to_owned()));
    }
    stop.stop();
    running.join().unwrap().unwrap();
}

/// A handler that answers more than the link takes is held back, and nothing gets lost or out of order.
#[test]
fn an_outbox_under_pressure_holds_its_handler_back() {
    let (asks, answers) = (blocking_backplane("asks"), blocking_backplane("answers"));
    let mut to_asks = asks.route().topics(["x"]);
    to_asks.publisher_port = None;
    let server = builder("server", [to_asks, answers.route()]).budget(small()).start().unwrap();
    let out = server.publisher("answers").unwrap();
    let receiver = builder("receiver", [answers.route().topics(["y"])]).start().unwrap();
    out.wait_for_subscriber("y", LONG).unwrap();
    let sender = builder("sender", [asks.route()]).start().unwrap();
    let publisher = sender.publisher("asks").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    let stop = server.stop_handle();
    let running = std::thread::spawn(move || {
        let padding = "p".repeat(50_000);
        let ended = server.run(move |message, outbox| {
            outbox.publish(&out, "y", &(message.decode::<u32>()?, &padding))?;
            Ok(())
        });
        (ended, server.stats())
    });
    let sending = std::thread::spawn(move || (0..2000u32).all(|n| publisher.publish("x", &n).is_ok()));
    // Nobody takes the answers until the sender feels it: its queue is full and stays full.
    until("the pressure reaches the sender", || stats(&sender).queued >= 1000 || sending.is_finished());
    let subscriber = receiver.subscriber().unwrap();
    for n in 0..2000u32 {
        let (number, _) = subscriber.recv_timeout(LONG).unwrap().decode::<(u32, String)>().unwrap();
        assert_eq!(number, n);
    }
    assert!(sending.join().unwrap());
    stop.stop();
    let (ended, stats) = running.join().unwrap();
    ended.unwrap();
    assert_eq!((stats[0].delivered, stats[0].handler_errors, stats[1].refused), (2000, 0, 0));
}

//! Native links, seen from the other end of their connection by peers that speak ZMTP by hand, or something else.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "backplane/raw.rs"]
mod raw;

use common::{assert_published_books_close, backplane, stats};
use multiplane_bus::{
    Budget, Builder, Bus, Engine, LinkEvent, LinkState, Publisher, Route, StartError, Subscriber, Trailer,
};
use raw::*;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the link of a component goes.
fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn builder(route: Route) -> Builder {
    common::builder("linked", [route]).engine(Engine::Native).start_deadline(Duration::ZERO)
}

fn route() -> Route {
    Route::new("BP1", "127.0.0.1")
}

/// A component that subscribes to `x`, and its peer, past the handshake.
fn receiving(listener: &TcpListener, budget: Budget, minor: u8) -> (Bus, Subscriber, Raw) {
    let port = listener.local_addr().unwrap().port();
    let routed = route().subscriber_port(port).topics(["x"]);
    let bus = builder(routed).budget(Budget { start_deadline: Duration::ZERO, ..budget }).start().unwrap();
    let subscriber = bus.subscriber().unwrap();
    (bus, subscriber, hub(listener, minor))
}

/// The next connection of a component that subscribes to `x`.
fn hub(listener: &TcpListener, minor: u8) -> Raw {
    let mut hub = Raw::host(listener, "XPUB", minor);
    assert_eq!(hub.wish(), (true, b"x".to_vec()));
    hub
}

/// A component that publishes, and its peer, which wants `x`.
fn sending(listener: &TcpListener) -> (Bus, Publisher, Raw) {
    let port = listener.local_addr().unwrap().port();
    let bus = builder(route().publisher_port(port)).start().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    let hub = wanting(listener);
    publisher.wait_for_subscriber("x", LONG).unwrap();
    (bus, publisher, hub)
}

fn wanting(listener: &TcpListener) -> Raw {
    let mut hub = Raw::host(listener, "XSUB", 1);
    hub.write(&[subscription(true, true, b"x"), subscription(true, true, b"\xff")].concat());
    hub
}

fn is_live(state: Option<LinkState>) -> bool {
    state == Some(LinkState::Live)
}

fn await_down(bus: &Bus) {
    while !matches!(bus.events().recv_timeout(LONG).expect("an event"), LinkEvent::LinkDown { .. }) {}
}

/// What was logged in this process.
fn log() -> String {
    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static STARTED: OnceLock<()> = OnceLock::new();
    struct ToLog;
    impl Write for ToLog {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    STARTED.get_or_init(|| {
        tracing_subscriber::fmt().with_ansi(false).with_writer(|| ToLog).init();
    });
    String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// Waits for a line of the log that has all of this.
fn await_line(parts: &[&str]) {
    until(&format!("{parts:?} is logged"), || {
        log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    });
}

#[test]
fn a_peer_that_falls_silent_is_asked_and_given_up() {
    let (listener, _) = listen();
    let (bus, subscriber, mut hub) = receiving(&listener, Budget::default(), 1);
    hub.send(&[b"x", b"1"]);
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload_bytes()[..], *b"1");
    // Answered, it lives on.
    for _ in 0..2 {
        assert!(hub.command().starts_with(b"\x04PING"));
        hub.write(&command(b"PONG", b""));
    }
    assert!(is_live(stats(&bus).subscriber_link));
    assert!(hub.command().starts_with(b"\x04PING"));
    assert_eq!(hub.rest(), b"", "one question is enough");
    await_down(&bus);
    let mut hub = self::hub(&listener, 1);
    hub.send(&[b"x", b"2"]);
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload_bytes()[..], *b"2");
}

/// The context of a question, which the answer repeats.
fn question(hub: &mut Raw) -> Vec<u8> {
    let asked = hub.command();
    asked.strip_prefix(b"\x04PING\0\0").expect("a question").to_vec()
}

#[test]
fn who_only_publishes_notices_a_backplane_that_falls_silent() {
    let (listener, _) = listen();
    let (bus, publisher, mut hub) = sending(&listener);
    publisher.publish_raw("x", b"1").unwrap();
    assert_eq!(hub.frame().unwrap(), (1, b"x".to_vec()));
    assert_eq!(hub.frame().unwrap(), (0, b"1".to_vec()));
    // Answered, it lives on.
    let context = question(&mut hub);
    hub.write(&command(b"PONG", &context));
    assert!(is_live(stats(&bus).publisher_link));
    question(&mut hub);
    assert_eq!(hub.rest(), b"", "one question is enough");
    await_down(&bus);
    let mut hub = wanting(&listener);
    publisher.publish_raw("x", b"2").unwrap();
    assert_eq!((hub.frame().unwrap().1, hub.frame().unwrap().1), (b"x".to_vec(), b"2".to_vec()));
}

/// It reads neither what was sent nor the question behind that, for as long as its subscribers are slow.
#[test]
fn a_backplane_that_holds_its_publishers_back_may_be_silent() {
    let (listener, _) = listen();
    let (bus, publisher, mut hub) = sending(&listener);
    publisher.publish_raw("x", b"1").unwrap();
    assert_eq!((hub.frame().unwrap().1, hub.frame().unwrap().1), (b"x".to_vec(), b"1".to_vec()));
    let context = question(&mut hub);
    // A sign of life that is no answer.
    hub.write(&subscription(true, true, b"y"));
    assert_eq!(question(&mut hub), context);
    assert!(hub.is_silent_for(Duration::from_secs(7)));
    assert!(is_live(stats(&bus).publisher_link));
}

/// The answer lies unread behind messages that a slow handler has still to take.
#[test]
fn whoever_is_slow_itself_does_not_take_its_peer_for_dead() {
    let (listener, port) = listen();
    let bus = builder(route().subscriber_port(port).topics(["x"])).start().unwrap();
    let mut hub = hub(&listener, 1);
    const MESSAGES: u32 = 90;
    (0..MESSAGES).for_each(|n| hub.send(&[b"x", &n.to_be_bytes()]));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Some((flags, body)) = hub.frame() {
                assert!(flags == 4 && body.starts_with(b"\x04PING"));
                hub.write(&command(b"PONG", b""));
            }
        });
        let (_busy, never) = std::sync::mpsc::channel::<()>();
        let mut handled = 0;
        bus.run(move |_, outbox| {
            // Nine seconds in all.
            let _ = never.recv_timeout(Duration::from_millis(100));
            handled += 1;
            if handled == MESSAGES {
                outbox.stop();
            }
            Ok(())
        })
        .unwrap();
        let events: Vec<_> = std::iter::from_fn(|| bus.events().try_recv()).collect();
        assert!(matches!(events[..], [LinkEvent::LinkUp { .. }]), "{events:?}");
        drop(bus);
    });
}

#[test]
fn a_peer_of_3_0_is_not_asked_and_may_be_silent() {
    let (listener, _) = listen();
    let (bus, subscriber, mut hub) = receiving(&listener, Budget::default(), 0);
    assert!(hub.is_silent_for(Duration::from_secs(7)));
    assert!(is_live(stats(&bus).subscriber_link));
    hub.send(&[b"x", b"1"]);
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload_bytes()[..], *b"1");
}

#[test]
fn both_links_answer_questions_but_never_inside_of_a_message() {
    let (listener, _) = listen();
    let (_bus, _subscriber, mut hub) = receiving(&listener, Budget::default(), 1);
    hub.ping();
    let (bus, publisher, mut hub) = sending(&listener);
    hub.ping();
    // More than a socket takes: the rest waits in the middle of a frame.
    let large = vec![7; 30_000_000];
    publisher.publish_raw("x", &large).unwrap();
    publisher.publish_raw("x", b"next").unwrap();
    until("it is being written", || hub.stream.peek(&mut [0]).is_ok_and(|n| n > 0));
    hub.write(&command(b"PING", b"\0\0ctx!"));
    let mut got = Vec::new();
    let mut answers = 0;
    while got.len() < 4 || answers == 0 {
        let (flags, body) = hub.frame().unwrap();
        if flags & 4 != 0 {
            assert!(got.len() % 2 == 0 && body == b"\x04PONGctx!", "inside of a message");
            answers += 1;
        } else {
            got.push(body);
        }
    }
    assert!(got == [&b"x"[..], &large, b"x", b"next"]);
    until("all is sent", || stats(&bus).sent == 2);
}

#[test]
fn what_a_lost_connection_brought_comes_before_the_next() {
    let (listener, _) = listen();
    let budget = Budget { inbox: 8, drain_batch: 8, ..Budget::default() };
    let (bus, subscriber, mut hub) = receiving(&listener, budget, 1);
    let mut sent = 0u32;
    for round in 0..4 {
        for _ in 0..2000 {
            hub.send(&[b"x", &sent.to_be_bytes()]);
            sent += 1;
        }
        // A part of one, which never arrives.
        hub.write(&message(&[b"x", b"never whole"])[..8]);
        drop(hub);
        hub = self::hub(&listener, 1);
        assert_eq!(stats(&bus).delivered, 8 + u64::from(round == u32::MAX), "nobody takes anything");
    }
    hub.send(&[b"x", &sent.to_be_bytes()]);
    for n in 0..=sent {
        let message = subscriber.recv_timeout(LONG).unwrap();
        assert_eq!(message.payload_bytes()[..], n.to_be_bytes());
    }
    assert_eq!(stats(&bus).received, u64::from(sent) + 1);
}

/// The half-written message is counted where it was lost and gives its number back, so that nobody counts it again.
#[test]
fn a_message_that_is_half_written_is_counted_and_never_seen() {
    let (listener, _) = listen();
    let (bus, publisher, mut hub) = sending(&listener);
    let publisher = publisher.with_trailer();
    let number = |frames: &[Vec<u8>]| number_of(&frames[2]);
    publisher.publish_raw("x", b"first").unwrap();
    let first = hub.recv();
    assert_eq!((&first[1][..], number(&first)), (&b"first"[..], 1));
    publisher.publish_raw("x", &vec![7; 30_000_000]).unwrap();
    until("it is being written", || hub.stream.peek(&mut [0]).is_ok_and(|n| n > 0));
    drop(hub);
    until("it is given up", || stats(&bus).dropped.link_down == 1);
    let mut hub = wanting(&listener);
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish_raw("x", b"second").unwrap();
    let second = hub.recv();
    assert_eq!((&second[1][..], number(&second)), (&b"second"[..], 2));
    until("all is counted", || stats(&bus).queued == 0);
    assert_eq!((stats(&bus).sent, stats(&bus).accepted), (2, 3));
    assert_published_books_close(&stats(&bus));
}

/// Sequence number of a trailer.
fn number_of(trailer: &[u8]) -> u64 {
    Trailer::decode(trailer).expect("a trailer").sequence
}

#[test]
fn what_is_missed_is_counted_once_over_a_lost_connection() {
    let (listener, _) = listen();
    let (bus, subscriber, mut hub) = receiving(&listener, Budget::default(), 1);
    let send = |hub: &mut Raw, sequence| {
        let trailer = Trailer { publisher: 7, sequence, sent_at: 0 };
        hub.send(&[b"x", b"payload", &trailer.encode()]);
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().trailer(), Some(trailer));
        (stats(&bus).missed, stats(&bus).late)
    };
    assert_eq!(send(&mut hub, 1), (0, 0));
    assert_eq!(send(&mut hub, 2), (0, 0));
    drop(hub);
    let mut hub = self::hub(&listener, 1);
    assert_eq!(send(&mut hub, 5), (2, 0), "3 and 4 died with the connection");
    assert_eq!(send(&mut hub, 6), (2, 0));
    drop(hub);
    let mut hub = self::hub(&listener, 1);
    assert_eq!(send(&mut hub, 7), (2, 0));
    assert_eq!(send(&mut hub, 5), (2, 1));
}

/// By the clocks of both sides, whatever they show.
#[test]
fn latency_is_the_difference_of_two_clocks() {
    let (listener, _) = listen();
    let (bus, subscriber, mut hub) = receiving(&listener, Budget::default(), 1);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut send = |sent_at: Duration| {
        let trailer = Trailer { publisher: 7, sequence: 0, sent_at: sent_at.as_nanos() as u64 };
        hub.send(&[b"x", b"payload", &trailer.encode()]);
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().trailer(), Some(trailer));
        stats(&bus).latency
    };
    let (long, began) = (Duration::from_secs(100), now());
    let latency = send(began - long);
    let longest = long + (now() - began);
    assert_eq!((latency.count, latency.clock_behind), (1, 0));
    assert!((long..=longest).contains(&latency.min) && latency.max == latency.p99, "{latency:?}");
    let latency = send(now() + long);
    assert_eq!((latency.count, latency.clock_behind), (1, 1), "sent in the future: {latency:?}");
    assert_eq!(send(Duration::ZERO), latency, "sent at no known time");
}

#[test]
fn strangers_are_named() {
    let _ = log();
    let strangers: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "perhaps HTTP"),
        (b"\x15\x03\x01\0\x02\x02\x46", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "perhaps SSH"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\x01", "too old"),
        (b"+OK ready\r\n", "something unknown"),
    ];
    for (words, named) in strangers {
        let (listener, port) = listen();
        let bus = builder(route().publisher_port(port)).start().unwrap();
        Raw::accept(&listener).write(words);
        await_line(&[&format!("127.0.0.1:{port}"), named]);
        assert!(!is_live(stats(&bus).publisher_link));
    }
    // A port where somebody waits for the other to begin.
    let budget = Budget {
        handshake_deadline: Duration::from_millis(100),
        start_deadline: Duration::ZERO,
        ..Budget::default()
    };
    let (listener, port) = listen();
    let _bus = builder(route().publisher_port(port)).budget(budget).start().unwrap();
    let _silent = Raw::accept(&listener);
    await_line(&[&format!("127.0.0.1:{port}"), "not said hello"]);
    // Each port of a backplane for the other.
    let backplane = backplane("BP1");
    let (subscriber, publisher) = (backplane.subscriber_port(), backplane.publisher_port());
    let swapped = route().publisher_port(subscriber).subscriber_port(publisher).topics(["x"]);
    let _bus = builder(swapped).start().unwrap();
    for port in [subscriber, publisher] {
        await_line(&[&format!("127.0.0.1:{port}"), "probably swapped"]);
    }
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Whatever the backplane sends, the link ends, another comes, and the next message is there.
#[test]
fn a_hostile_backplane_ends_its_connection_and_nothing_else() {
    let limit = 1 << 20;
    let budget = Budget {
        message_bytes: limit,
        subscription_topic_bytes: 1024,
        topic_bytes: 2048,
        ..Budget::default()
    };
    let (listener, _) = listen();
    let (bus, subscriber, mut hub) = receiving(&listener, budget, 1);
    let long = |flags: u8, length: u64| [&[flags | 2][..], &length.to_be_bytes()].concat();
    let attacks = [
        long(0, 1 << 63),
        long(1, u64::MAX),
        long(4, 1 << 40),
        long(0, limit as u64 + 1),
        [frame(1, b"x"), long(0, 1 << 63)].concat(),
        [frame(1, b"x"), command(b"PING", b"\0\0")].concat(),
        [frame(1, b"x"), frame(1, b"y"), command(b"PING", b"\0\0")].concat(),
        frame(5, b"\x04PING\0\0"),
        frame(8, b"x"),
        frame(4, b"\xffshort"),
        frame(4, b""),
        command(b"ERROR", b"\x05go on"),
    ];
    for (n, attack) in attacks.iter().enumerate() {
        hub.send(&[b"x", &n.to_be_bytes()]);
        hub.write(attack);
        hub.rest();
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload_bytes()[..], n.to_be_bytes());
        hub = self::hub(&listener, 1);
    }
    // Messages that never end: of many frames, and of one.
    let before = resident();
    for (begin, more) in [(frame(1, b"x"), frame(1, &[7; 1000])), (frame(1, b"x"), b"\x01\0".repeat(500))] {
        hub.write(&begin);
        while hub.try_write(&more) {}
        hub = self::hub(&listener, 1);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    assert_eq!(stats(&bus).received, attacks.len() as u64);
    hub.send(&[b"x", b"at last"]);
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload_bytes()[..], *b"at last");
}

/// Ten million subscriptions to a link with room for ten thousand.
#[test]
fn a_publisher_link_knows_no_more_subscriptions_than_it_may() {
    let _ = log();
    let (listener, port) = listen();
    let budget = Budget {
        subscriptions: 10_000,
        subscriptions_per_peer: 10_000,
        start_deadline: Duration::ZERO,
        ..Budget::default()
    };
    let bus = builder(route().publisher_port(port)).budget(budget).start().unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    let mut hub = Raw::host(&listener, "XSUB", 1);
    hub.write(&subscription(true, true, b"x"));

    let before = (resident(), log().len());
    let mut batch = Vec::new();
    for n in 0..10_000_000u32 {
        batch.extend(subscription(true, true, &n.to_be_bytes()));
        if n % 10_000 == 9_999 {
            hub.write(&batch);
            batch.clear();
        }
    }
    hub.write(&subscription(true, true, b"\xff"));
    hub.ping();
    let grown = resident().saturating_sub(before.0);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    assert!(log().len() - before.1 < 1 << 20, "a line for each would be a flood");
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish_raw("x", b"through").unwrap();
    assert_eq!(hub.recv(), [&b"x"[..], b"through"]);

    // Wishes have a length, too.
    hub.write(&subscription(true, true, &[b'y'; 5000]));
    hub.rest();
    await_down(&bus);
}

#[test]
fn names_are_looked_up_and_those_that_do_not_exist_are_said() {
    let backplane = backplane("BP1");
    let mut named = backplane.route().topics(["x"]);
    named.host = "localhost".to_owned();
    let bus = builder(named).start_deadline(LONG).start().unwrap();
    let (publisher, subscriber) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish("x", &1).unwrap();
    assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<u32>().unwrap(), 1);

    let nobody = Route::new("BP1", "nobody.invalid").publisher_port(1);
    let error = builder(nobody).start_deadline(Duration::from_millis(300)).start().unwrap_err();
    assert!(matches!(error, StartError::NotLive { .. }), "{error}");
    assert!(error.to_string().contains("nobody.invalid:1"), "{error}");
}

//! A port and its clients, by real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Nc, PATIENCE, until};
use multiplane_bus::local::{Backplane, PublishTo};
use multiplane_bus::raise_open_files_limit;
use multiplane_stream::{Framing, OnSlow, Protocol, ServerStats, StreamError, StreamServer};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

#[track_caller]
fn books_close(stats: &ServerStats) {
    assert_eq!(stats.copies, stats.sent + stats.dropped + stats.lost + stats.queued, "{stats:?}");
}

fn subscribing(name: &str) -> (Backplane, PublishTo, StreamServer) {
    let backplane = Backplane::new(name).unwrap();
    let publisher = backplane.publisher();
    let server = StreamServer::builder(Protocol::subscribe(name)).start().unwrap();
    (backplane, publisher, server)
}

#[test]
fn every_client_sees_the_stream_from_its_connection_on() {
    let (_backplane, publisher, server) = subscribing("FROM-NOW-ON");
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(Nc::connect(server.address()));
        publisher.publish(format!("message {n}\n")).unwrap();
        // Who was there before sees it now, and who comes later must not.
        for client in &mut clients {
            assert_eq!(client.line(), Some(format!("message {n}")));
        }
    }
    let stats = server.close(PATIENCE);
    assert_eq!((stats.accepted, stats.sent, stats.dropped + stats.lost), (20, 210, 0));
    books_close(&stats);
    for client in &mut clients {
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn what_was_published_is_sent_before_the_end() {
    let (backplane, publisher, server) = subscribing("DRAIN");
    let mut clients: Vec<Nc> = (0..3).map(|_| Nc::connect(server.address())).collect();
    until("they are connected", || server.stats().clients == 3);
    for n in 0..1000 {
        publisher.publish(format!("{n}\n")).unwrap();
    }
    // The end of a backplane is the end of its clients' streams; the server stays.
    drop(backplane);
    let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
    for client in &mut clients {
        assert_eq!(client.rest(), expected.as_bytes());
    }
    // Its name can be used again.
    let _again = Backplane::new("DRAIN").unwrap();
    let mut client = Nc::connect(server.address());
    until("it is served", || server.stats().accepted == 4);
    PublishTo::new("DRAIN").unwrap().publish("again\n").unwrap();
    let stats = server.close(PATIENCE);
    assert_eq!(client.rest(), b"again\n");
    assert_eq!((stats.sent, stats.lost), (3001, 0));
    books_close(&stats);
}

#[test]
fn what_is_published_is_what_is_sent() {
    let (_backplane, publisher, server) = subscribing("SIZES");
    let mut client = Nc::connect(server.address());
    until("it is connected", || server.stats().clients == 1);
    let sizes = [0, 1, 4095, 4096, 4097, 16_384, 100_000, 3, 0, 1_000_000, 5];
    let mut expected = Vec::new();
    for (n, size) in sizes.into_iter().cycle().take(55).enumerate() {
        let message = vec![n as u8; size];
        expected.extend_from_slice(&message);
        publisher.publish(message).unwrap();
        // Alone, and together with the others.
        if n % 3 == 0 {
            let sent = expected.len() as u64;
            until("it is sent", || server.stats().sent_bytes == sent || server.stats().queued > 0);
        }
    }
    assert_eq!(client.exactly(expected.len()), expected);
    let stats = server.close(PATIENCE);
    assert_eq!((stats.sent, stats.sent_bytes), (55, expected.len() as u64));
    books_close(&stats);
}

#[test]
fn a_line_that_is_too_long_is_told_and_cut_off() {
    let backplane = Backplane::new("LIMIT").unwrap();
    let mut lines = backplane.subscriber();
    let limited = Protocol::publish("LIMIT", Framing::Lines { limit: 10 });
    let server = StreamServer::builder(limited).start().unwrap();
    let mut good = Nc::connect(server.address());
    let mut bad = Nc::connect(server.address());
    bad.send("fits\n12345678901\nnever seen\n");
    let told = String::from_utf8(bad.rest()).unwrap();
    assert!(told.starts_with("error: ") && told.contains("limit of 10 bytes"), "{told}");
    // Without an end, too, and while it goes on sending.
    let mut endless = Nc::connect(server.address());
    endless.send(&"x".repeat(100_000));
    assert!(String::from_utf8(endless.rest()).unwrap().starts_with("error: "));
    good.send("1234567890\r\n");
    assert_eq!(lines.recv().unwrap().into_payload(), "fits\n");
    assert_eq!(lines.recv().unwrap().into_payload(), "1234567890\n");
    assert_eq!(server.close(PATIENCE).cut_off, 2);
    assert!(lines.is_empty());
}

#[test]
fn the_last_line_needs_no_end() {
    let backplane = Backplane::new("LAST").unwrap();
    let mut lines = backplane.subscriber();
    let server = StreamServer::builder(Protocol::publish("LAST", Framing::lines())).start().unwrap();
    // An orderly end.
    let mut client = Nc::connect(server.address());
    client.send("one\ntwo");
    client.finish();
    assert_eq!(client.rest(), b"");
    assert_eq!(lines.recv().unwrap().into_payload(), "one\n");
    assert_eq!(lines.recv().unwrap().into_payload(), "two\n");
    // A reset, once the server has read all.
    let mut client = Nc::connect(server.address());
    client.send("three\nfo\nur");
    assert_eq!(lines.recv().unwrap().into_payload(), "three\n");
    assert_eq!(lines.recv().unwrap().into_payload(), "fo\n");
    rustix::net::sockopt::set_socket_linger(client.stream(), Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(lines.recv().unwrap().into_payload(), "ur\n");
    // The end of the server.
    let mut client = Nc::connect(server.address());
    client.send("five");
    until("it has come", || server.stats().received_bytes == (7 + 11 + 4));
    let stats = server.close(PATIENCE);
    assert_eq!(lines.recv().unwrap().into_payload(), "five\n");
    assert_eq!((stats.published, stats.clients), (6, 0));
}

#[test]
fn chunks_are_not_changed() {
    let backplane = Backplane::new("CHUNKS").unwrap();
    let mut chunks = backplane.subscriber();
    let server = StreamServer::builder(Protocol::publish("CHUNKS", Framing::Chunks)).start().unwrap();
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let sent = bytes.clone();
    let address = server.address();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        TcpStream::connect(address).unwrap().write_all(&sent).unwrap();
    });
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend_from_slice(chunks.recv().unwrap().payload());
    }
    writer.join().unwrap();
    assert!(received == bytes);
}

#[test]
fn a_chat() {
    let _backplane = Backplane::new("CHAT").unwrap();
    let chat = Protocol::publish("CHAT", Framing::lines()).and_subscribe("CHAT");
    let server = StreamServer::builder(chat).start().unwrap();
    let mut people: Vec<Nc> = (0..10).map(|_| Nc::connect(server.address())).collect();
    until("all are there", || server.stats().clients == 10);
    for n in 0..10 {
        people[n].send(&format!("{n} says hello\n"));
        for person in &mut people {
            assert_eq!(person.line(), Some(format!("{n} says hello")));
        }
    }
    // Who has said his last word listens still.
    people[0].send("bye");
    people[0].finish();
    for person in &mut people {
        assert_eq!(person.line(), Some("bye".to_owned()));
    }
    let stats = server.close(PATIENCE);
    assert_eq!((stats.published, stats.sent), (11, 110));
    books_close(&stats);
}

#[test]
fn a_chat_louder_than_its_ring_goes_on() {
    let _backplane = Backplane::builder("LOUD").capacity(4).start().unwrap();
    let chat = Protocol::publish("LOUD", Framing::lines()).and_subscribe("LOUD");
    let server = StreamServer::builder(chat).start().unwrap();
    let (mut talker, mut listener) = (Nc::connect(server.address()), Nc::connect(server.address()));
    until("both are there", || server.stats().clients == 2);
    let text: String = (0..5000).map(|n| format!("{n}\n")).collect();
    talker.send(&text);
    for client in [&mut talker, &mut listener] {
        assert!(client.exactly(text.len()) == text.as_bytes());
    }
}

#[test]
fn a_factory_decides_for_each_client() {
    let _odd = Backplane::new("FACTORY-ODD").unwrap();
    let even = Backplane::new("FACTORY-EVEN").unwrap();
    let server = StreamServer::factory(|client| {
        Protocol::subscribe(if client.port() % 2 == 0 { "FACTORY-EVEN" } else { "FACTORY-ODD" })
    });
    let server = server.start().unwrap();
    let mut clients: Vec<Nc> = (0..10).map(|_| Nc::connect(server.address())).collect();
    until("all are there", || server.stats().clients == 10);
    even.publisher().publish("even\n").unwrap();
    PublishTo::new("FACTORY-ODD").unwrap().publish("odd\n").unwrap();
    for client in &mut clients {
        let expected = if client.address().port() % 2 == 0 { "even" } else { "odd" };
        assert_eq!(client.line().as_deref(), Some(expected));
    }
    // One late client of a backplane that is gone does not end the server.
    drop(even);
    until("its clients are gone", || server.stats().clients < 10);
    let late: Vec<Nc> = (0..10).map(|_| Nc::connect(server.address())).collect();
    until("they were looked at", || server.stats().accepted + server.stats().turned_away == 20);
    drop(late);
    PublishTo::new("FACTORY-ODD").unwrap().publish("still\n").unwrap();
    for client in clients.iter_mut().filter(|client| client.address().port() % 2 == 1) {
        assert_eq!(client.line().as_deref(), Some("still"));
    }
}

#[test]
fn what_cannot_start_says_why() {
    let missing = StreamServer::builder(Protocol::subscribe("NO-SUCH")).start().unwrap_err();
    assert!(matches!(missing, StreamError::Backplane(_)), "{missing}");
    assert!(missing.to_string().contains("no local backplane is named \"NO-SUCH\""), "{missing}");
    let _backplane = Backplane::new("TWICE").unwrap();
    let first = StreamServer::builder(Protocol::subscribe("TWICE")).start().unwrap();
    let port = first.address().port().to_string();
    let second = StreamServer::builder(Protocol::subscribe("TWICE")).listen(&port).start().unwrap_err();
    assert!(second.to_string().contains(&format!("127.0.0.1:{port} is in use")), "{second}");
}

#[test]
fn those_beyond_the_limit_are_turned_away() {
    let backplane = Backplane::new("FEW").unwrap();
    let server = StreamServer::builder(Protocol::subscribe("FEW")).clients(2).start().unwrap();
    let mut two: Vec<Nc> = (0..2).map(|_| Nc::connect(server.address())).collect();
    until("two are there", || server.stats().clients == 2);
    let mut third = Nc::connect(server.address());
    assert_eq!(third.stream().read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(server.stats().turned_away, 1);
    backplane.publisher().publish("hello\n").unwrap();
    assert!(two.iter_mut().all(|client| client.line().as_deref() == Some("hello")));
    drop(two);
    third = Nc::connect(server.address());
    until("there is a place again", || {
        backplane.publisher().publish("x").unwrap();
        server.stats().clients < 2
    });
    drop(third);
}

/// Publishes until the queue of the client that takes nothing has overflown; the other one gets everything.
fn one_stops_reading(name: &str, on_slow: OnSlow) -> (ServerStats, u64) {
    let (backplane, publisher) = (Backplane::new(name).unwrap(), PublishTo::new(name).unwrap());
    let server = StreamServer::builder(Protocol::subscribe(name)).on_slow(on_slow).queue_bytes(256 * 1024);
    let server = server.start().unwrap();
    let stuck = Nc::connect(server.address());
    let mut good = Nc::connect(server.address());
    until("both are there", || server.stats().clients == 2);
    let mut published = 0;
    // What the system itself holds for the stuck one may be megabytes.
    while server.stats().dropped + server.stats().slow == 0 || published % 1000 != 0 {
        let message = format!("{published:01023}\n");
        publisher.publish(message.clone()).unwrap();
        assert!(good.exactly(1024) == message.as_bytes(), "message {published}");
        published += 1;
        assert!(published < 100_000, "the queue never overflows");
    }
    drop(backplane);
    assert_eq!(good.rest(), b"");
    drop(stuck);
    let stats = server.close(PATIENCE);
    books_close(&stats);
    (stats, published)
}

#[test]
fn a_client_that_stops_reading_costs_the_others_nothing() {
    for (name, on_slow) in [("STUCK-OLD", OnSlow::DropOldest), ("STUCK-NEW", OnSlow::DropNewest)] {
        let (stats, published) = one_stops_reading(name, on_slow);
        assert!(stats.dropped > 0 && stats.slow == 0, "{stats:?}");
        assert_eq!(stats.copies, 2 * published);
        assert!(stats.sent >= published, "{stats:?}");
    }
}

#[test]
fn or_is_disconnected() {
    let (stats, published) = one_stops_reading("STUCK-OUT", OnSlow::Disconnect);
    assert_eq!((stats.slow, stats.dropped), (1, 0));
    assert!(stats.lost > 0 && stats.sent >= published, "{stats:?}");
}

#[test]
fn or_holds_all_if_nothing_may_be_lost() {
    const MESSAGES: usize = 20_000;
    let backplane = Backplane::builder("HOLD").capacity(64).start().unwrap();
    let server = StreamServer::builder(Protocol::subscribe("HOLD")).on_slow(OnSlow::Block);
    let server = server.queue_bytes(64 * 1024).start().unwrap();
    let (mut first, mut slow) = (Nc::connect(server.address()), Nc::connect(server.address()));
    until("both are there", || server.stats().clients == 2);
    let publisher = backplane.publisher();
    let publishing = std::thread::spawn(move || {
        (0..MESSAGES).for_each(|n| publisher.publish(format!("{n:01023}\n")).unwrap());
    });
    let expected: String = (0..MESSAGES).map(|n| format!("{n:01023}\n")).collect();
    let reading = std::thread::spawn(move || first.exactly(MESSAGES * 1024));
    // It begins when the other one can get no further.
    until("all are held", || server.stats().queued > 0);
    assert!(slow.exactly(MESSAGES * 1024) == expected.as_bytes());
    assert!(reading.join().unwrap() == expected.as_bytes());
    publishing.join().unwrap();
    let stats = server.close(PATIENCE);
    assert_eq!((stats.sent, stats.dropped, stats.lost), (2 * MESSAGES as u64, 0, 0));
}

#[test]
fn who_is_idle_for_too_long_is_disconnected() {
    let backplane = Backplane::new("IDLE").unwrap();
    let mut lines = backplane.subscriber();
    let publishing = StreamServer::builder(Protocol::publish("IDLE", Framing::lines()));
    let publishing = publishing.idle_timeout(Duration::from_millis(50)).start().unwrap();
    let mut silent = Nc::connect(publishing.address());
    silent.send("half a line");
    assert_eq!(silent.rest(), b"");
    assert_eq!(lines.recv().unwrap().into_payload(), "half a line\n");
    assert_eq!(publishing.stats().idle, 1);
    // Who only listens, and takes what there is, may be silent for ever.
    let serving = StreamServer::builder(Protocol::subscribe("IDLE"));
    let serving = serving.idle_timeout(Duration::from_millis(50)).start().unwrap();
    let (mut good, _stuck) = (Nc::connect(serving.address()), Nc::connect(serving.address()));
    until("both are there", || serving.stats().clients == 2);
    let mut published = 0;
    while serving.stats().idle == 0 {
        backplane.publisher().publish(vec![0; 100_000]).unwrap();
        let _ = lines.recv();
        good.exactly(100_000);
        published += 1;
    }
    let stats = serving.close(PATIENCE);
    assert_eq!((good.rest().len(), stats.idle), (0, 1));
    assert!(stats.sent >= published && stats.lost > 0, "{stats:?}");
    books_close(&stats);
}

#[test]
fn five_thousand_clients_get_everything() {
    const CLIENTS: usize = 5000;
    const MESSAGES: usize = 20;
    let files = raise_open_files_limit().unwrap();
    assert!(
        files >= 2 * CLIENTS as u64 + 100,
        "this test needs {CLIENTS} clients: see `ulimit -Hn`, {files}"
    );
    let (_backplane, publisher, server) = subscribing("THOUSANDS");
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let message = |n: usize| format!("{n:01023}\n");
    (0..MESSAGES).for_each(|n| publisher.publish(message(n)).unwrap());
    let expected: String = (0..MESSAGES).map(message).collect();
    let mut received = vec![0; expected.len()];
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.read_exact(&mut received).unwrap();
        assert!(received == expected.as_bytes(), "client {n}");
    }
    let stats = server.close(PATIENCE);
    assert_eq!((stats.sent, stats.dropped + stats.lost), ((CLIENTS * MESSAGES) as u64, 0));
    books_close(&stats);
}

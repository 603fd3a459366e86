//! CURVE between native ends: who may come in, what may pass, and how those fare who may not.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "backplane/raw.rs"]
mod raw;

use common::{assert_published_books_close, stats, until};
use multiplane_bus::codec::zmtp::command::write_property;
use multiplane_bus::codec::zmtp::curve::{Traffic, client, server};
use multiplane_bus::codec::zmtp::frame::{self, Header};
use multiplane_bus::codec::zmtp::greeting;
use multiplane_bus::curve::{
    AllowList, CurveError, KeyPair, generate, read_keys, read_public_key, write_keys,
};
use multiplane_bus::{
    Backplane, BackplaneBuilder, Budget, Builder, Bus, Engine, LinkEvent, LinkState, OnSlow, Route,
    StartError, Subscriber, Transport,
};
use raw::LONG;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A backplane that lets `client` have all rights under `a`, and its keys.
fn backplane(client: &KeyPair) -> (BackplaneBuilder, KeyPair) {
    let keys = generate().unwrap();
    let allow = AllowList::new().allow("friend", *client.public(), ["a"], ["a"]);
    let builder = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    (builder.curve(keys.clone(), allow), keys)
}

fn component(backplane: &Backplane, topics: &[&str]) -> Builder {
    let route = backplane.route().topics(topics.iter().copied());
    common::builder("secure", [route]).engine(Engine::Native)
}

fn await_up(bus: &Bus, mut links: usize) {
    while links > 0 {
        if let LinkEvent::LinkUp { transport, .. } = bus.events().recv_timeout(LONG).unwrap() {
            assert_eq!(transport, Transport::Curve);
            links -= 1;
        }
    }
}

/// Everything comes through in order, small and large.
fn talk(bus: &Bus, subscriber: &Subscriber, count: u32) {
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("a", LONG).unwrap();
    let send = || {
        for n in 0..count {
            let filling = vec![n as u8; if n % 100 == 0 { 300_000 } else { n as usize % 300 }];
            publisher.publish("a/b", &(n, filling)).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(send);
        for n in 0..count {
            let message = subscriber.recv_timeout(LONG).unwrap();
            assert_eq!(message.decode::<(u32, Vec<u8>)>().unwrap().0, n);
        }
    });
}

#[test]
fn friends_talk_and_come_back() {
    for workers in [1, 2] {
        let ours = generate().unwrap();
        let (builder, keys) = backplane(&ours);
        let mut running = builder.clone().on_slow(OnSlow::Block).workers(workers).start().unwrap();
        let ports = (running.subscriber_port(), running.publisher_port());
        let bus = component(&running, &["a"]).curve(ours.clone(), *keys.public()).start().unwrap();
        let subscriber = bus.subscriber().unwrap();
        for _ in 0..2 {
            await_up(&bus, 2);
            talk(&bus, &subscriber, 5000);
            assert_eq!((running.stats().refused, running.stats().denied), (0, 0));
            drop(running);
            let again = builder.clone().subscriber_port(ports.0).publisher_port(ports.1);
            running = again.on_slow(OnSlow::Block).workers(workers).start().unwrap();
        }
        assert_published_books_close(&stats(&bus));
    }
}

#[test]
fn who_hosts_a_backplane_asks_who_comes() {
    let [ours, stranger] = [generate().unwrap(), generate().unwrap()];
    let (builder, keys) = backplane(&ours);
    // Its own subscriptions come there like those of others, so it proves itself, too.
    let host = Bus::builder("host").host(builder).curve(ours.clone(), *keys.public()).start().unwrap();
    let here = host.hosted("BP1").unwrap();
    let bus = component(here, &["a"]).curve(ours, *keys.public()).start().unwrap();
    talk(&host, &bus.subscriber().unwrap(), 200);
    for outside in [component(here, &["a"]).curve(stranger, *keys.public()), component(here, &["a"])] {
        let before = here.stats().refused;
        let _outside = outside.start_deadline(Duration::ZERO).start().unwrap();
        until("it is refused", || here.stats().refused >= before + 2);
        assert_eq!((here.stats().publishers, here.stats().subscribers), (1, 2));
    }
}

#[test]
fn rights_are_prefixes_of_topics() {
    let [ours, other] = [generate().unwrap(), generate().unwrap()];
    let keys = generate().unwrap();
    let allow = AllowList::new().allow("talker", *ours.public(), ["a/"], ["a/b"]).allow(
        "listener",
        *other.public(),
        [],
        [""],
    );
    let builder = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let running = builder.curve(keys.clone(), allow).start().unwrap();
    let secure = |keys_of: &KeyPair, topics: &[&str], publishes: bool| {
        let mut route = running.route().topics(topics.iter().copied());
        route.publisher_port = route.publisher_port.filter(|_| publishes);
        let builder = common::builder("secure", [route]).engine(Engine::Native);
        builder.curve(keys_of.clone(), *keys.public())
    };
    let listener = secure(&other, &[""], false).start().unwrap();
    // To "" and "a/" the talker has no right, and "a/b" is what it gets.
    let talker = secure(&ours, &["", "a/", "a/bc"], true).start().unwrap();
    until("two subscriptions are denied", || running.stats().denied == 2);
    until("the others are made", || running.stats().subscriptions == 2);

    let publisher = talker.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("a/", LONG).unwrap();
    for topic in ["b", "a", "a/bc", "", "a/c"] {
        publisher.publish(topic, topic).unwrap();
    }
    let heard = |subscriber: &Subscriber| subscriber.recv_timeout(LONG).unwrap().decode::<String>().unwrap();
    let (all, some) = (listener.subscriber().unwrap(), talker.subscriber().unwrap());
    assert_eq!([heard(&all), heard(&all), heard(&some)], ["a/bc", "a/c", "a/bc"]);
    let books = || {
        let stats = running.stats();
        (stats.denied, stats.received, stats.copies)
    };
    until("the books are written", || books() == (2 + 3, 2, 3));
    // Who ends to want what it was denied is not denied that again.
    drop(some);
    until("the talker wants nothing more", || running.stats().subscriptions == 1);
    drop(talker);
    until("it is gone, with all that it said", || running.stats().subscribers == 1);
    assert_eq!(books(), (2 + 3, 2, 3));
}

#[test]
fn without_any_right_to_publish_nobody_comes_in_by_that_port() {
    let [reader, keys] = [generate().unwrap(), generate().unwrap()];
    let allow = AllowList::new().allow("reader", *reader.public(), [], [""]);
    let builder = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let running = builder.curve(keys.clone(), allow).start().unwrap();
    let bus = component(&running, &["a"]).curve(reader, *keys.public());
    let bus = bus.start_deadline(Duration::ZERO).start().unwrap();
    until("it is refused", || running.stats().refused > 0);
    until("it listens", || stats(&bus).subscriber_link == Some(LinkState::Live));
    assert_ne!(stats(&bus).publisher_link, Some(LinkState::Live));
    assert_eq!(running.stats().publishers, 0);
}

#[test]
fn nobody_else_comes_in() {
    let [ours, stranger, wrong] = [(); 3].map(|()| generate().unwrap());
    let (builder, keys) = backplane(&ours);
    let running = builder.start().unwrap();
    let refused = |what: &str, bus: Builder, backplane: &Backplane| {
        let before = backplane.stats().refused;
        let bus = bus.start_deadline(Duration::ZERO).start().unwrap();
        until(what, || backplane.stats().refused >= before + 2);
        let stats = stats(&bus);
        assert!(![stats.publisher_link, stats.subscriber_link].contains(&Some(LinkState::Live)), "{what}");
        assert_eq!((backplane.stats().publishers, backplane.stats().subscribers), (0, 0), "{what}");
    };
    let component_here = || component(&running, &["a"]);
    refused("an unknown key", component_here().curve(stranger, *keys.public()), &running);
    refused("another server key", component_here().curve(ours.clone(), *wrong.public()), &running);
    refused("NULL", component_here(), &running);
    // And the other way: a friend does not talk to a backplane that cannot prove itself.
    let open = common::backplane("BP1");
    refused("CURVE, where it is NULL", component(&open, &["a"]).curve(ours.clone(), *keys.public()), &open);

    let stranger = component_here().start_deadline(Duration::from_millis(300)).start();
    assert!(matches!(stranger, Err(StartError::NotLive { .. })));
    component_here().curve(ours, *keys.public()).start().unwrap();
}

/// What a client says until WELCOME has come, and then.
fn half_a_handshake(port: u16, keys: &KeyPair, server: &KeyPair, seed: u8) -> (TcpStream, Vec<u8>, Vec<u8>) {
    let (stream, first, _, second) = begin(port, keys, server, seed, b"PUB");
    (stream, first, second)
}

fn begin(
    port: u16,
    keys: &KeyPair,
    server: &KeyPair,
    seed: u8,
    kind: &[u8],
) -> (TcpStream, Vec<u8>, client::Initiated, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let (greeted, hello) = client::start(keys, server.public(), &[seed; 48]).unwrap();
    let mut first = greeting("CURVE", 1, false).to_vec();
    frame::write(&mut first, frame::COMMAND, &hello);
    stream.write_all(&first).unwrap();
    let mut answer = [0; 64 + 2 + 168];
    stream.read_exact(&mut answer).unwrap();
    let mut metadata = Vec::new();
    write_property(&mut metadata, "Socket-Type", kind);
    let (initiated, initiate) = greeted.welcome(&answer[66..], &metadata).unwrap();
    let mut second = Vec::new();
    frame::write(&mut second, frame::COMMAND, &initiate);
    (stream, first, initiated, second)
}

/// Reads the bodies of whole frames as they come.
struct Frames {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Frames {
    /// The next; `None` when there is no more.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(header) = Header::parse(&self.bytes, usize::MAX).unwrap()
                && self.bytes.len() >= header.total()
            {
                let rest = self.bytes.split_off(header.total());
                return Some(std::mem::replace(&mut self.bytes, rest).split_off(header.header));
            }
            let mut piece = vec![0; 1 << 16];
            let count = self.stream.read(&mut piece).unwrap();
            self.bytes.extend_from_slice(&piece[..count]);
            if count == 0 {
                return None;
            }
        }
    }

    /// How many messages come until the connection ends, the last perhaps in part.
    fn count_messages(mut self, mut traffic: Traffic) -> u64 {
        let mut count = 0;
        while let Some(mut body) = self.next() {
            count += u64::from(traffic.open(&mut body).unwrap().flags == 0);
        }
        count
    }
}

/// A backplane that shakes hands at its publisher port, wants everything, and takes nothing.
fn stalled_backplane(listener: &TcpListener, keys: &KeyPair) -> (Frames, Traffic) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(&greeting("CURVE", 1, true)).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    let mut frames = Frames { stream, bytes: Vec::new() };
    let (welcomed, welcome) =
        server::hello(keys, &frames.next().unwrap(), &std::array::from_fn(|n| n as u8)).unwrap();
    let mut said = Vec::new();
    frame::write(&mut said, frame::COMMAND, &welcome);
    frames.stream.write_all(&said).unwrap();
    let vouched = welcomed.initiate(keys, &frames.next().unwrap()).unwrap();
    let mut metadata = Vec::new();
    write_property(&mut metadata, "Socket-Type", b"XSUB");
    let (mut traffic, ready) = vouched.ready(&metadata);
    let mut said = Vec::new();
    frame::write(&mut said, frame::COMMAND, &ready);
    traffic.seal(frame::COMMAND, b"\x09SUBSCRIBE", &mut said);
    frames.stream.write_all(&said).unwrap();
    (frames, traffic)
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_was_sealed_and_has_not_left_does_not_count_as_sent() {
    let [ours, keys] = [generate().unwrap(), generate().unwrap()];
    for end in ["closed", "dropped", "reset"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let route = Route::new("BP1", "127.0.0.1").publisher_port(port);
        let builder = common::builder("secure", [route]).engine(Engine::Native);
        let builder = builder.curve(ours.clone(), *keys.public()).start_deadline(Duration::ZERO);
        let bus = builder.start().unwrap();
        let (frames, traffic) = stalled_backplane(&listener, &keys);
        let publisher = bus.publisher("BP1").unwrap();
        publisher.wait_for_subscriber("a", LONG).unwrap();
        // Far more than the system takes by itself.
        let (mut accepted, mut sent) = (0, 0);
        loop {
            match publisher.publish_raw_timeout("a", &[7; 100], Duration::from_secs(1)) {
                Ok(()) => accepted += 1,
                // Twice, for a busy machine may have had other things to do.
                Err(_) if stats(&bus).sent == sent => break,
                Err(_) => sent = stats(&bus).sent,
            }
        }
        if end == "dropped" {
            let log = Log::default();
            let subscriber = {
                let log = log.clone();
                tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish()
            };
            tracing::subscriber::with_default(subscriber, || drop(bus));
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let unsent = log.split_once("messages=").unwrap().1.trim();
            let unsent: u64 = unsent.parse().unwrap();
            assert!(log.contains("the bus was dropped before all was sent"), "{log}");
            assert_eq!(frames.count_messages(traffic) + unsent, accepted);
            continue;
        }
        if end == "reset" {
            // With much that it has not read, so that the connection is reset.
            drop(frames);
            until("it is noticed", || stats(&bus).publisher_link != Some(LinkState::Live));
            drop(listener);
            let report = bus.close(Duration::ZERO);
            let stats = &report.stats[0];
            assert!(
                stats.dropped.link_down > 1000,
                "the sealed ones, not only a half written one: {stats:?}"
            );
            assert_published_books_close(stats);
            continue;
        }
        let report = bus.close(Duration::from_millis(10));
        let stats = &report.stats[0];
        assert_eq!((stats.accepted, stats.sent + stats.dropped.unsent), (accepted, accepted));
        assert_eq!(report.unsent[0].messages, stats.dropped.unsent);
        assert_eq!(frames.count_messages(traffic), stats.sent, "all that counts as sent, and no more");
    }
}

#[test]
fn what_was_sealed_for_a_subscriber_and_has_not_left_is_lost() {
    let ours = generate().unwrap();
    let (builder, keys) = backplane(&ours);
    let running = builder.on_slow(OnSlow::Disconnect).start().unwrap();
    let bus = component(&running, &["a/other"]).curve(ours.clone(), *keys.public()).start().unwrap();
    let (stream, _, initiated, initiate) = begin(running.subscriber_port(), &ours, &keys, 3, b"SUB");
    let mut frames = Frames { stream, bytes: Vec::new() };
    frames.stream.write_all(&initiate).unwrap();
    let (mut traffic, _) = initiated.ready(&frames.next().unwrap()).unwrap();
    let mut said = Vec::new();
    traffic.seal(frame::COMMAND, b"\x09SUBSCRIBEa/x", &mut said);
    frames.stream.write_all(&said).unwrap();
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("a/x", LONG).unwrap();
    until("it is too slow", || {
        for _ in 0..1000 {
            let _ = publisher.publish_raw("a/x", &[7; 100]);
        }
        running.stats().subscribers == 1
    });
    until("the books are written", || running.stats().queued == 0);
    let stats = running.stats();
    assert_eq!(stats.copies, stats.forwarded + stats.dropped + stats.lost);
    assert_eq!(frames.count_messages(traffic), stats.forwarded, "all that counts as forwarded, and no more");
}

fn is_hung_up_on(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset will do as well.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() <= 64 + 170 + 7, "{rest:?}");
}

#[test]
fn replayed_and_truncated_handshakes_are_refused_and_counted() {
    let ours = generate().unwrap();
    let (builder, keys) = backplane(&ours);
    let budget = Budget { handshake_deadline: Duration::from_secs(3), ..Budget::default() };
    let running = builder.budget(budget).start().unwrap();
    let port = running.publisher_port();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    };

    // One that is complete comes in, and then its handshake is said again, from the first byte.
    let (mut stream, first, second) = half_a_handshake(port, &ours, &keys, 1);
    stream.write_all(&second).unwrap();
    until("it is in", || running.stats().publishers == 1);
    let mut again = connect();
    again.write_all(&first).unwrap();
    again.read_exact(&mut [0; 64 + 170]).unwrap();
    again.write_all(&second).unwrap();
    is_hung_up_on(again);
    until("a replay is refused", || running.stats().refused == 1);

    // Cut anywhere, it waits for more and is given up.
    let (cut_late, _, second) = half_a_handshake(port, &ours, &keys, 2);
    (&cut_late).write_all(&second[..second.len() - 1]).unwrap();
    let streams: Vec<_> = [0, 1, 63, 64, 65, 100, first.len() - 1]
        .into_iter()
        .map(|length| {
            let mut stream = connect();
            stream.write_all(&first[..length]).unwrap();
            stream
        })
        .chain([cut_late])
        .collect();
    let count = streams.len() as u64;
    streams.into_iter().for_each(is_hung_up_on);
    until("they are counted", || running.stats().refused == 1 + count);

    // A bit that is not as it was.
    for at in [70, 150, 200] {
        let mut damaged = first.clone();
        damaged[at] ^= 4;
        let mut stream = connect();
        stream.write_all(&damaged).unwrap();
        is_hung_up_on(stream);
    }
    until("they are counted", || running.stats().refused == 4 + count);
    assert_eq!(running.stats().publishers, 1, "the first is still there");
}

#[test]
fn libzmq_says_that_it_cannot() {
    let ours = generate().unwrap();
    let (builder, keys) = backplane(&ours);
    let refused = builder.clone().engine(Engine::Libzmq).start().unwrap_err().to_string();
    assert!(refused.contains("the libzmq engine cannot speak CURVE: use the native engine"), "{refused}");
    let running = builder.start().unwrap();
    let bus = component(&running, &["a"]).engine(Engine::Libzmq).curve(ours, *keys.public()).start();
    assert!(bus.unwrap_err().to_string().contains("use the native one"));
}

#[test]
fn key_files_are_private_and_nothing_is_overwritten() {
    let folder = std::env::temp_dir().join(format!("multiplane-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, keys) = (folder.join("a.key"), generate().unwrap());
    write_keys(&path, &keys).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read_keys(&path).unwrap().public(), keys.public());
    assert_eq!(read_public_key(&path).unwrap(), *keys.public());
    assert!(matches!(write_keys(&path, &keys), Err(CurveError::File { .. })), "it is there already");

    for exposed in [0o640, 0o604, 0o660, 0o622] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(exposed)).unwrap();
        let refused = read_keys(&path).unwrap_err();
        assert!(matches!(refused, CurveError::Exposed { mode, .. } if mode == exposed), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains(keys.secret().reveal().as_str()));
    }

    let text = std::fs::read_to_string(&path).unwrap();
    let private = |text: &str| {
        let path = folder.join("b.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        read_keys(&path)
    };
    let other = generate().unwrap().public().to_string();
    let mixed = text.replace(&keys.public().to_string(), &other);
    assert!(matches!(private(&mixed), Err(CurveError::Mixed { .. })));
    let damaged = private(&text.replace(keys.secret().reveal().as_str(), "short")).unwrap_err();
    assert!(matches!(damaged, CurveError::Key { .. }), "{damaged}");
    assert!(matches!(private(""), Err(CurveError::Missing { .. })));

    let list = folder.join("allow.toml");
    std::fs::write(&list, "").unwrap();
    std::fs::set_permissions(&list, PermissionsExt::from_mode(0o666)).unwrap();
    assert!(AllowList::from_path(&list).unwrap_err().to_string().contains("others may write this list"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_list_says_what_is_wrong_with_it() {
    let wrong = |text: &str| AllowList::parse(text, "allow.toml").unwrap_err().to_string();
    let key = generate().unwrap();
    let entry = format!("[[key]]\nname = \"x\"\npublic = \"{}\"\n", key.public());
    assert!(AllowList::parse(&entry, "allow.toml").unwrap().get(key.public()).is_some());
    assert!(wrong(&entry.repeat(2)).contains("\"x\" has the key that \"x\" has already"));
    assert!(wrong(&(entry.clone() + "publishes = []")).contains("publishes"));
    assert!(wrong(&entry.replace("public = \"", "public = \"a")).contains("public of \"x\": a key has 40"));
    assert!(wrong("[[key]]").contains("name"));
}

//! Native ends on the same host move from TCP to a Unix socket where the backplane offers one, unless they do not want
//! that or it leads nowhere.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![cfg(target_os = "linux")]

mod common;
#[path = "backplane/raw.rs"]
mod raw;

use common::{assert_published_books_close, stats, until};
use multiplane_bus::{
    Backplane, BackplaneBuilder, Budget, Builder, Bus, Direction, Engine, LinkEvent, LinkState, Route,
    Subscriber, Transport,
};
use raw::{LONG, Raw, command, greeting, message};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

fn on_tcp() -> BackplaneBuilder {
    Backplane::builder("BP1").publisher_port(0).subscriber_port(0)
}

fn backplane() -> BackplaneBuilder {
    on_tcp().unix_shortcut(true)
}

fn component(backplane: &Backplane) -> Builder {
    common::builder("moves", [backplane.route().topics(["x"])]).engine(Engine::Native)
}

/// What the next link that comes up runs on.
fn next_up(bus: &Bus) -> (Direction, Transport) {
    loop {
        let event = bus.events().recv_timeout(LONG).expect("an event");
        if let LinkEvent::LinkUp { direction, transport, .. } = event {
            return (direction, transport);
        }
    }
}

fn await_down(bus: &Bus) {
    while !matches!(bus.events().recv_timeout(LONG).expect("an event"), LinkEvent::LinkDown { .. }) {}
}

/// What both links of a component run on.
fn both(bus: &Bus) -> [Transport; 2] {
    let mut up = [next_up(bus), next_up(bus)];
    up.sort_by_key(|(direction, _)| *direction == Direction::Subscribe);
    assert_ne!(up[0].0, up[1].0);
    up.map(|(_, transport)| transport)
}

/// What is published on a bus comes back to it.
fn talk(bus: &Bus, subscriber: &Subscriber, count: u32) {
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber("x", LONG).unwrap();
    for n in 0..count {
        // Large ones among the small.
        publisher.publish("x", &(n, vec![0u8; if n % 100 == 0 { 300_000 } else { 10 }])).unwrap();
        if n % 100 == 99 {
            for n in n - 99..=n {
                let message = subscriber.recv_timeout(LONG).unwrap();
                assert_eq!(message.decode::<(u32, Vec<u8>)>().unwrap().0, n);
            }
        }
    }
}

#[test]
fn both_links_move_and_move_again_when_the_backplane_comes_back() {
    let mut running = backplane().workers(2).start().unwrap();
    let ports = (running.subscriber_port(), running.publisher_port());
    let bus = component(&running).start().unwrap();
    let subscriber = bus.subscriber().unwrap();
    for round in 0..3 {
        assert_eq!(both(&bus), [Transport::Unix; 2], "round {round}");
        talk(&bus, &subscriber, 2000);
        until("the TCP connections are gone", || {
            let stats = running.stats();
            (stats.publishers, stats.subscribers) == (1, 1)
        });
        assert_eq!(running.stats().refused, 0);
        drop(running);
        await_down(&bus);
        await_down(&bus);
        running = backplane().subscriber_port(ports.0).publisher_port(ports.1).start().unwrap();
    }
    assert_published_books_close(&stats(&bus));
}

#[test]
fn either_end_can_keep_it_on_tcp() {
    let plain = [on_tcp(), backplane().engine(Engine::Libzmq)];
    for builder in plain {
        let running = builder.start().unwrap();
        let bus = component(&running).start().unwrap();
        assert_eq!(both(&bus), [Transport::Tcp; 2]);
        talk(&bus, &bus.subscriber().unwrap(), 100);
    }
    let running = backplane().start().unwrap();
    let unwilling = component(&running).unix_shortcut(false).start().unwrap();
    assert_eq!(both(&unwilling), [Transport::Tcp; 2]);
    let foreign = component(&running).engine(Engine::Libzmq).start().unwrap();
    assert_eq!(both(&foreign), [Transport::Tcp; 2]);
    let moved = component(&running).start().unwrap();
    assert_eq!(both(&moved), [Transport::Unix; 2]);
    // All of them meet.
    let publisher = foreign.publisher("BP1").unwrap();
    let subscribers = [&unwilling, &foreign, &moved].map(|bus| bus.subscriber().unwrap());
    until("all are there", || running.stats().subscribers == 3);
    publisher.wait_for_subscriber("x", LONG).unwrap();
    publisher.publish("x", &7).unwrap();
    for subscriber in &subscribers {
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().decode::<i32>().unwrap(), 7);
    }
}

#[test]
fn a_hosted_backplane_offers_it_as_well() {
    let host = Bus::builder("camera").host(backplane()).start().unwrap();
    assert_eq!(next_up(&host), (Direction::Publish, Transport::Hosted));
    assert_eq!(next_up(&host), (Direction::Subscribe, Transport::Unix));
    let viewer = component(host.hosted("BP1").unwrap()).start().unwrap();
    assert_eq!(both(&viewer), [Transport::Unix; 2]);
    talk(&viewer, &viewer.subscriber().unwrap(), 1000);
}

/// Who moves needs a second place for a moment.
#[test]
fn a_backplane_that_is_full_lets_its_own_move() {
    let budget = Budget { connections: 2, ..Budget::default() };
    let running = backplane().budget(budget).start().unwrap();
    let bus = component(&running).start().unwrap();
    assert_eq!(both(&bus), [Transport::Unix; 2]);
    until("the TCP connections are gone", || {
        let stats = running.stats();
        (stats.publishers, stats.subscribers) == (1, 1)
    });
    assert_eq!(running.stats().refused, 0);
    let late = component(&running).start_deadline(Duration::ZERO).start().unwrap();
    until("there is no place for others", || running.stats().refused > 0);
    assert_eq!(stats(&late).subscriber_link, Some(LinkState::Connecting));
}

/// A subscriber port by hand that offers `name`.
fn hub(listener: &TcpListener, name: &[u8]) -> Raw {
    let mut hub = Raw::accept(listener);
    let length = (name.len() as u32).to_be_bytes();
    let metadata = [b"\x11X-Multiplane-Unix", &length[..], name, b"\x0bSocket-Type\0\0\0\x04XPUB"].concat();
    hub.write(&[greeting(1), command(b"READY", &metadata)].concat());
    assert_eq!(hub.greeting()[10], 3);
    assert!(hub.frame().expect("READY").1.starts_with(b"\x05READY"));
    hub
}

fn linked(listener: &TcpListener) -> Bus {
    let port = listener.local_addr().unwrap().port();
    let route = Route::new("BP1", "127.0.0.1").subscriber_port(port).topics(["x"]);
    common::builder("moves", [route]).engine(Engine::Native).start_deadline(Duration::ZERO).start().unwrap()
}

fn stays(bus: &Bus, subscriber: &Subscriber, mut hub: Raw) {
    assert_eq!(hub.wish(), (true, b"x".to_vec()));
    assert_eq!(next_up(bus), (Direction::Subscribe, Transport::Tcp));
    hub.write(&message(&[b"x", b"\x07"]));
    let message = subscriber.recv_timeout(LONG).unwrap();
    assert_eq!(message.decode::<u8>().unwrap(), 7);
}

/// Somebody at an abstract name, who would hear it if a component came.
fn somebody(name: &[u8]) -> UnixListener {
    let somebody = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    somebody.set_nonblocking(true).unwrap();
    somebody
}

fn name(last: u8) -> String {
    format!("multiplane-{:031x}{last:x}", std::process::id())
}

#[test]
fn an_offer_that_is_not_ours_or_leads_nowhere_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = name(0);
    let short = name(1)[..42].to_owned();
    let upper = name(2).to_uppercase();
    let long = format!("{}0", name(3));
    for offer in [&*nowhere, &short, &upper, &long, "", "\0"] {
        let other = (!offer.is_empty() && offer != nowhere).then(|| somebody(offer.as_bytes()));
        let bus = linked(&listener);
        stays(&bus, &bus.subscriber().unwrap(), hub(&listener, offer.as_bytes()));
        assert!(other.is_none_or(|other| other.accept().is_err()), "{offer:?}");
    }
}

#[test]
fn whoever_is_not_greeted_there_goes_back_to_tcp_and_tries_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = name(4);
    let beside = somebody(name.as_bytes());
    let come = || {
        let mut came = None;
        until("it comes by the Unix socket", || {
            came = beside.accept().ok();
            came.is_some()
        });
        came.unwrap().0
    };
    let bus = linked(&listener);
    let subscriber = bus.subscriber().unwrap();
    for _ in 0..2 {
        let first = hub(&listener, name.as_bytes());
        drop(come());
        // It has said nothing on the first but hello, and closed it.
        assert_eq!(first.rest(), b"");
        let second = hub(&listener, name.as_bytes());
        stays(&bus, &subscriber, second);
        await_down(&bus);
        assert!(beside.accept().is_err());
    }
}

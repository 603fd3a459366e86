//! A local backplane joined to a networked one.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
use common::*;
use multiplane_bus::local::{self, LocalError, Message};
use multiplane_bus::{Bus, BusError};

/// A component of the network beside ours.
fn other(backplane: &multiplane_bus::Backplane) -> Bus {
    bus("other", backplane, &["out", "in"])
}

#[test]
fn messages_pass_both_ways_and_come_once() {
    let backplane = backplane("BP1");
    let (ours, other) = (bus("ours", &backplane, &[]), other(&backplane));
    let local = local::Backplane::new("join-both").unwrap();
    // "out" as well: what we send comes back by the network, and is left out.
    let join = local.join(&ours, "BP1", ["in", "out"]).unwrap();
    let (mut first, mut second) = (local.subscriber(), local.subscriber());
    let (theirs, inbox) = (other.publisher("BP1").unwrap(), other.subscriber().unwrap());
    theirs.wait_for_subscriber("in", LONG).unwrap();
    ours.publisher("BP1").unwrap().wait_for_subscriber("out", LONG).unwrap();

    local.publisher().publish("stays here").unwrap();
    local.publisher().publish(Message::on("out", "goes out")).unwrap();
    let out = inbox.recv_timeout(LONG).unwrap();
    assert_eq!((out.topic(), &out.payload_bytes()[..]), ("out", &b"goes out"[..]));
    theirs.publish_raw("in", b"comes in").unwrap();
    assert_eq!(inbox.recv_timeout(LONG).unwrap().topic(), "in");

    for subscriber in [&mut first, &mut second] {
        assert_eq!(subscriber.recv_timeout(LONG).unwrap().payload(), "stays here");
        let own = subscriber.recv_timeout(LONG).unwrap();
        assert!(!own.is_from_network());
        let came = subscriber.recv_timeout(LONG).unwrap();
        assert_eq!((came.topic(), &came.payload()[..]), (Some("in"), &b"comes in"[..]));
        assert!(came.is_from_network());
        assert!(subscriber.is_empty());
    }
    until("both are counted", || (join.came_in(), join.went_out()) == (1, 1));
    // What came in did not go out again.
    assert!(inbox.is_empty());
}

#[test]
fn a_join_needs_a_backplane() {
    let backplane = backplane("BP1");
    let ours = bus("ours", &backplane, &[]);
    let local = local::Backplane::new("join-unknown").unwrap();
    let error = local.join(&ours, "BP9", ["in"]).unwrap_err();
    assert!(matches!(error, LocalError::Join(BusError::UnknownBackplane { .. })), "{error}");
}

//! libzmq's own sockets on both sides of both engines.
#![allow(clippy::unwrap_used)]

use super::raw::*;
use multiplane_bus::{Backplane, OnSlow};

fn socket(context: &zmq::Context, kind: zmq::SocketType, port: u16) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(30_000).unwrap();
    socket.set_sndtimeo(30_000).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.set_rcvhwm(0).unwrap();
    socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
    socket
}

fn receiver(
    context: &zmq::Context,
    backplane: &Backplane,
    kind: zmq::SocketType,
    topics: &[&[u8]],
) -> zmq::Socket {
    let socket = socket(context, kind, backplane.subscriber_port());
    for topic in topics {
        match kind {
            zmq::SUB => socket.set_subscribe(topic).unwrap(),
            _ => socket.send([&[1], *topic].concat(), 0).unwrap(),
        }
    }
    socket
}

#[test]
fn every_kind_of_socket_talks_through_every_engine() {
    for engine in ENGINES {
        for sender in [zmq::PUB, zmq::XPUB] {
            for kind in [zmq::SUB, zmq::XSUB] {
                let backplane = builder().engine(engine).on_slow(OnSlow::Block).start().unwrap();
                let context = zmq::Context::new();
                let receiver = receiver(&context, &backplane, kind, &[b"a", b"ab", b"end"]);
                // Somebody who hears when these wishes are known.
                let mut witness = Raw::publisher(&backplane);
                let mut wanted = vec![b"a".to_vec(), b"ab".to_vec(), b"end".to_vec()];
                while !wanted.is_empty() {
                    let (_, topic) = witness.wish();
                    wanted.retain(|other| *other != topic);
                }
                let mut raw = Raw::subscriber(&backplane, &[b"end"]);
                let sender = socket(&context, sender, backplane.publisher_port());
                // A PUB sends nothing before it has heard of somebody.
                let mut heard = false;
                until("the first message", || {
                    sender.send_multipart([&b"end"[..], b"?"], 0).unwrap();
                    let mut item = [receiver.as_poll_item(zmq::POLLIN)];
                    zmq::poll(&mut item, 10).unwrap();
                    heard |= item[0].is_readable();
                    heard
                });
                let large = vec![7; 10_000_000];
                let messages: [&[&[u8]]; 6] = [
                    &[b"a"],
                    &[b"ab", b""],
                    &[b"abc", b"x", b"y"],
                    &[b"a", &large],
                    &[b"a\0\xff", &[1; 255]],
                    &[b"ab", &[1; 256]],
                ];
                for message in messages {
                    sender.send_multipart(message, 0).unwrap();
                    sender.send_multipart([&b"unwanted"[..], b"x"], 0).unwrap();
                }
                let mut got = receiver.recv_multipart(0).unwrap();
                while got[0] == b"end" {
                    got = receiver.recv_multipart(0).unwrap();
                }
                for (n, message) in messages.into_iter().enumerate() {
                    assert!(got == message, "{engine:?}: message {n}");
                    if n + 1 < messages.len() {
                        got = receiver.recv_multipart(0).unwrap();
                    }
                }
                assert_eq!(raw.recv()[0], b"end");
                // The end of a wish goes upstream, too.
                if kind == zmq::SUB {
                    receiver.set_unsubscribe(b"ab").unwrap();
                } else {
                    receiver.send(&b"\0ab"[..], 0).unwrap();
                }
                while witness.wish() != (false, b"ab".to_vec()) {}
                sender.send_multipart([&b"abc"[..], b"by a"], 0).unwrap();
                assert_eq!(receiver.recv_multipart(0).unwrap(), [&b"abc"[..], b"by a"]);
                quiet(&backplane);
            }
        }
    }
}

/// libzmq beats its heart every 50 ms, and gives up a backplane that does not answer.
#[test]
fn heartbeats_of_libzmq_are_answered() {
    for engine in ENGINES {
        let backplane = builder().engine(engine).start().unwrap();
        let context = zmq::Context::new();
        let beating = context.socket(zmq::SUB).unwrap();
        let monitor = "inproc://monitor";
        beating.monitor(monitor, zmq::SocketEvent::DISCONNECTED as i32).unwrap();
        let events = context.socket(zmq::PAIR).unwrap();
        events.connect(monitor).unwrap();
        beating.set_heartbeat_ivl(50).unwrap();
        beating.set_heartbeat_timeout(1000).unwrap();
        beating.set_subscribe(b"").unwrap();
        beating.connect(&format!("tcp://127.0.0.1:{}", backplane.subscriber_port())).unwrap();
        let mut publisher = Raw::publisher(&backplane);
        publisher.await_wanted(b"");
        assert_eq!(events.poll(zmq::POLLIN, 1500).unwrap(), 0, "{engine:?}: disconnected");
        publisher.send(&[b"alive"]);
        assert_eq!(beating.recv_bytes(0).unwrap(), b"alive");
    }
}

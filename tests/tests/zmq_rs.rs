//! ZMTP as others have written it: PUB and SUB of the crate `zeromq` (zmq.rs), which is neither libzmq nor ours, at each of
//! our ends. Many more cells, with libzmq and a peer of our own, are in `conformance.rs`.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use bytes::Bytes;
use multiplane_bus::{Backplane, Engine, OnSlow, Route, Subscriber};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::component;
use multiplane_tests::place::free_port;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use zeromq::{PubSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

type Frames = Vec<Vec<u8>>;

/// A socket and the threads that do its work.
struct Theirs<S> {
    socket: S,
    runtime: Runtime,
}

impl<S: Socket> Theirs<S> {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let socket = runtime.block_on(async { S::new() });
        Self { socket, runtime }
    }

    fn connect(port: u16) -> Self {
        let mut it = Self::new();
        it.runtime.block_on(it.socket.connect(&format!("tcp://127.0.0.1:{port}"))).unwrap();
        it
    }

    fn bind(port: u16) -> Self {
        let mut it = Self::new();
        it.runtime.block_on(it.socket.bind(&format!("tcp://127.0.0.1:{port}"))).unwrap();
        it
    }
}

impl Theirs<PubSocket> {
    fn send(&mut self, frames: &[Vec<u8>]) {
        let frames: Vec<_> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        self.runtime.block_on(self.socket.send(ZmqMessage::try_from(frames).unwrap())).unwrap();
    }
}

impl Theirs<SubSocket> {
    fn tell(&mut self, subscribe: bool, topic: &str) {
        let told = match subscribe {
            true => self.runtime.block_on(self.socket.subscribe(topic)),
            false => self.runtime.block_on(self.socket.unsubscribe(topic)),
        };
        told.unwrap();
    }

    fn next_within(&mut self, patience: Duration) -> Option<Frames> {
        let got = self.runtime.block_on(async { timeout(patience, self.socket.recv()).await });
        Some(got.ok()?.unwrap().iter().map(|frame| frame.to_vec()).collect())
    }

    fn saw(&mut self, topic: &[u8]) -> bool {
        self.next_within(Duration::from_millis(10)).is_some_and(|frames| frames[0] == topic)
    }

    /// The next message that is no probe.
    #[track_caller]
    fn expect(&mut self, wanted: &[Vec<u8>]) {
        let got = loop {
            let got = self.next_within(DEADLINE).expect("a message");
            if !got[0].starts_with(b"probe") {
                break got;
            }
        };
        let lengths: Vec<_> = got.iter().map(Vec::len).collect();
        assert!(got == wanted, "frames of {lengths:?} bytes, not what was sent");
    }
}

/// One to three frames, empty ones, and the borders of their lengths; all topics begin with `m`.
fn messages() -> Vec<Frames> {
    let topics = [1, 254, 255, 256, 1000].map(|length| vec![vec![b'm'; length], vec![1]]);
    let payloads = [0, 1, 253, 254, 255, 256, 257, 8192, 65_535, 65_536, 65_537, 1 << 20];
    let payloads = payloads.map(|length| vec![b"m".to_vec(), vec![2; length]]);
    let thirds = [0, 1, 32, 255, 256].map(|length| vec![b"m".to_vec(), b"payload".to_vec(), vec![3; length]]);
    let alone = [1, 255, 256].map(|length| vec![vec![b'm'; length]]);
    topics.into_iter().chain(payloads).chain(thirds).chain(alone).collect()
}

/// Messages that a component sends and takes.
fn is_ours(frames: &Frames) -> bool {
    frames.len() == 2
}

fn topic(frames: &Frames) -> &str {
    str::from_utf8(&frames[0]).unwrap()
}

/// Our component gets topic and payload; a single frame is no message.
#[track_caller]
fn expect(inbox: &Subscriber, wanted: &[Vec<u8>]) {
    let [topic, payload, ..] = wanted else { return };
    let mut got = inbox.recv_timeout(DEADLINE).unwrap();
    while got.topic() == "probe" {
        got = inbox.recv_timeout(DEADLINE).unwrap();
    }
    assert!(got.topic().as_bytes() == topic && got.payload_bytes() == payload, "not what was sent");
}

#[test]
fn zmq_rs_talks_through_our_backplane() {
    for (engine, workers) in [(Engine::Native, 1), (Engine::Native, 2), (Engine::Libzmq, 1)] {
        let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
        let backplane = backplane.engine(engine).workers(workers).on_slow(OnSlow::Block).start().unwrap();
        let bus = component("ours", [backplane.route().topics(["m", "probe"])]);
        let (inbox, publisher) = (bus.subscriber().unwrap(), bus.publisher("BP1").unwrap());
        let mut theirs = Theirs::<PubSocket>::connect(backplane.publisher_port());
        let mut subscribers = [(); 2].map(|()| Theirs::<SubSocket>::connect(backplane.subscriber_port()));
        for subscriber in &mut subscribers {
            subscriber.tell(true, "m");
            subscriber.tell(true, "probe");
            eventually("it has joined", || {
                theirs.send(&[b"probe".to_vec(), Vec::new()]);
                subscriber.saw(b"probe")
            });
        }

        for message in messages() {
            theirs.send(&[b"unwanted".to_vec(), Vec::new()]);
            theirs.send(&message);
            subscribers.iter_mut().for_each(|subscriber| subscriber.expect(&message));
            expect(&inbox, &message);
        }
        for message in messages().iter().filter(|message| is_ours(message)) {
            publisher.publish_raw(topic(message), &message[1]).unwrap();
            subscribers.iter_mut().for_each(|subscriber| subscriber.expect(message));
        }

        // Everything, late, the empty topic too; and the end of that.
        let [subscriber, other] = &mut subscribers;
        subscriber.tell(true, "");
        publisher.wait_for_subscriber("anything", DEADLINE).unwrap();
        let nothing: Frames = vec![Vec::new(), Vec::new()];
        publisher.publish_raw("", b"").unwrap();
        subscriber.expect(&nothing);
        subscriber.tell(false, "");
        let dropped = || bus.stats()[0].dropped.no_subscriber;
        let before = dropped();
        eventually("nobody wants everything any more", || {
            publisher.publish_raw("probe", b"").unwrap();
            publisher.publish_raw("probably", b"").unwrap();
            subscriber.next_within(Duration::from_millis(1));
            dropped() > before
        });
        publisher.publish_raw("m", b"still").unwrap();
        let still: Frames = vec![b"m".to_vec(), b"still".to_vec()];
        other.expect(&still);
        eventually("it still gets what it wants", || subscriber.next_within(DEADLINE) == Some(still.clone()));
    }
}

#[test]
fn our_publisher_link_serves_a_bound_sub_of_zmq_rs() {
    let port = free_port();
    let mut theirs = Theirs::<SubSocket>::bind(port);
    let bus = component("ours", [Route::new("BP1", "127.0.0.1").publisher_port(port)]);
    let publisher = bus.publisher("BP1").unwrap();
    theirs.tell(true, "m");
    publisher.wait_for_subscriber("m", DEADLINE).unwrap();
    for message in messages().iter().filter(|message| is_ours(message)) {
        publisher.publish_raw("unwanted", b"").unwrap();
        publisher.publish_raw(topic(message), &message[1]).unwrap();
        theirs.expect(message);
    }
    publisher.clone().with_trailer().publish_raw("m", b"numbered").unwrap();
    let numbered = theirs.next_within(DEADLINE).unwrap();
    assert_eq!((numbered.len(), &numbered[1][..]), (3, &b"numbered"[..]));
    assert!(bus.stats()[0].dropped.no_subscriber > 0);
}

#[test]
fn our_subscriber_link_hears_a_bound_pub_of_zmq_rs() {
    let port = free_port();
    let mut theirs = Theirs::<PubSocket>::bind(port);
    let bus =
        component("ours", [Route::new("BP1", "127.0.0.1").subscriber_port(port).topics(["m", "probe"])]);
    let inbox = bus.subscriber().unwrap();
    eventually("it has joined", || {
        theirs.send(&[b"probe".to_vec(), Vec::new()]);
        inbox.try_recv().is_ok()
    });
    for message in messages() {
        theirs.send(&[b"unwanted".to_vec(), Vec::new()]);
        theirs.send(&message);
        expect(&inbox, &message);
    }
    eventually("single frames are known to be no messages", || bus.stats()[0].malformed == 3);
}

//! Honest peers, on any system: they number what they send, and notice what becomes of it.

use crate::trial::{System, Tally, Trial};
use multiplane_bus::{Bus, LinkEvent, Publisher, Route, Subscriber};
use multiplane_tests::clock::{DEADLINE, now};
use multiplane_tests::foreign::plain::Plain;
use multiplane_tests::hub::Hub;
use multiplane_tests::spec;
use std::thread;
use std::time::{Duration, Instant};

pub const TOPIC: &str = "honest";

/// Unanswered messages of an honest publisher: less than any queue of any system holds (libzmq's of a thousand hold half
/// of that at times), so that whoever loses one of them has no excuse.
const WINDOW: u64 = 200;

/// So long may an honest message take before it counts as lost. A gate never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Through ours none is lost, however busy the machine is, so nobody waits for that either.
fn patience(system: System) -> Duration {
    if system.is_ours() { DEADLINE } else { PATIENCE }
}

pub enum Sender {
    Ours(Bus, Publisher),
    Plain(Plain),
}

pub enum Receiver {
    Ours(Bus, Subscriber),
    Plain(Plain),
}

pub struct Honest {
    pub sender: Sender,
    pub receiver: Receiver,
    /// Bytes of payload besides the number.
    size: usize,
}

/// A component of the system that is linked to this one backplane.
pub fn component(system: System, name: &str, route: Route) -> Bus {
    // The network is under test, not the ways around it.
    let builder = Bus::builder(name).engine(system.engine()).routing(spec([route])).unix_shortcut(false);
    builder.start_deadline(DEADLINE).start().unwrap()
}

impl Sender {
    pub fn at(system: System, port: u16) -> Self {
        if system == System::Plain {
            return Self::Plain(Plain::publisher(port));
        }
        let bus = component(system, "sends", Route::new("BP1", "127.0.0.1").publisher_port(port));
        let publisher = bus.publisher("BP1").unwrap().with_trailer();
        Self::Ours(bus, publisher)
    }

    #[track_caller]
    pub fn await_receiver(&self) {
        match self {
            Self::Ours(_, publisher) => publisher.wait_for_subscriber(TOPIC, DEADLINE).unwrap(),
            Self::Plain(socket) => {
                assert!(socket.await_wanted(TOPIC.as_bytes(), DEADLINE), "nobody subscribes")
            }
        }
    }

    pub fn send(&self, number: u64, size: usize) {
        let payload = payload(number, size);
        match self {
            Self::Ours(_, publisher) => publisher.publish_raw(TOPIC, &payload).unwrap(),
            Self::Plain(socket) => socket.send(&[TOPIC.as_bytes(), &payload]),
        }
    }

    /// Messages that it has dropped and says so.
    pub fn dropped(&self) -> u64 {
        match self {
            Self::Ours(bus, _) => bus.stats()[0].dropped.total(),
            Self::Plain(_) => 0,
        }
    }

    /// Link events until now; libzmq alone tells of none.
    pub fn went_down(&self) -> bool {
        match self {
            Self::Ours(bus, _) => went_down(bus),
            Self::Plain(_) => false,
        }
    }
}

impl Receiver {
    pub fn at(system: System, port: u16) -> Self {
        if system == System::Plain {
            return Self::Plain(Plain::subscriber(port, &[TOPIC.as_bytes()]));
        }
        let route = Route::new("BP1", "127.0.0.1").subscriber_port(port).topics([TOPIC]);
        let bus = component(system, "receives", route);
        let subscriber = bus.subscriber().unwrap();
        Self::Ours(bus, subscriber)
    }

    /// The number of the next message, if one comes in time.
    pub fn recv(&self, timeout: Duration) -> Option<u64> {
        match self {
            Self::Ours(_, subscriber) => Some(number(subscriber.recv_timeout(timeout).ok()?.payload_bytes())),
            Self::Plain(socket) => Some(number(&socket.recv(timeout)?[1])),
        }
    }

    /// Messages that it knows it has missed.
    pub fn missed(&self) -> u64 {
        match self {
            Self::Ours(bus, _) => bus.stats()[0].missed,
            Self::Plain(_) => 0,
        }
    }

    pub fn went_down(&self) -> bool {
        match self {
            Self::Ours(bus, _) => went_down(bus),
            Self::Plain(_) => false,
        }
    }
}

fn went_down(bus: &Bus) -> bool {
    while let Some(event) = bus.events().try_recv() {
        if matches!(event, LinkEvent::LinkDown { .. }) {
            return true;
        }
    }
    false
}

/// MessagePack: a `bin` that begins with the number.
pub fn payload(number: u64, size: usize) -> Vec<u8> {
    let mut payload = vec![0xc6];
    payload.extend((8 + size as u32).to_be_bytes());
    payload.extend(number.to_be_bytes());
    payload.resize(payload.len() + size, 0x5a);
    payload
}

fn number(payload: &[u8]) -> u64 {
    payload.get(5..13).map_or(u64::MAX, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

impl Honest {
    pub fn new(system: System, hub: &Hub) -> Self {
        Self::of_size(system, hub, 100)
    }

    pub fn of_size(system: System, hub: &Hub, size: usize) -> Self {
        let receiver = Receiver::at(system, hub.subscriber_port());
        let sender = Sender::at(system, hub.publisher_port());
        sender.await_receiver();
        Self { sender, receiver, size }
    }

    /// Those that are linked already.
    pub fn of(sender: Sender, receiver: Receiver) -> Self {
        Self { sender, receiver, size: 100 }
    }

    pub fn send(&self, tally: &mut Tally) {
        self.sender.send(tally.send(), self.size);
    }

    /// Takes what has come, and what comes in `timeout` if nothing has.
    pub fn take(&self, tally: &mut Tally, timeout: Duration) -> bool {
        let first = self.receiver.recv(timeout);
        first
            .into_iter()
            .chain(std::iter::from_fn(|| self.receiver.recv(Duration::ZERO)))
            .map(|n| tally.receive(n))
            .count()
            > 0
    }

    /// So many messages, with `WINDOW` of them on their way at a time; `look` is called now and then. Ends early when
    /// nothing comes any more.
    pub fn exchange(&self, trial: &mut Trial, count: u64, mut look: impl FnMut(&mut Trial)) {
        let lost_before = trial.tally.lost();
        for n in 0..count {
            self.send(&mut trial.tally);
            while trial.tally.lost() - lost_before >= WINDOW {
                if !self.take(&mut trial.tally, patience(trial.system)) {
                    return;
                }
            }
            if n % 100 == 0 {
                look(trial);
            }
        }
        self.settle(trial, lost_before);
    }

    /// So many as fast as it goes, beside which `work` is done. What is lost on the way is known when the books close.
    pub fn pour(&self, tally: &mut Tally, count: u64, work: impl FnOnce() + Send) {
        let (first, size) = (tally.sent, self.size);
        tally.sent += count;
        thread::scope(|scope| {
            scope.spawn(work);
            if let Sender::Ours(_, publisher) = &self.sender {
                scope.spawn(move || {
                    for n in first..first + count {
                        publisher.publish_raw(TOPIC, &payload(n, size)).unwrap();
                    }
                });
            } else {
                // The sockets of libzmq belong to one thread.
                (first..first + count).for_each(|n| self.sender.send(n, size));
            }
            while let Some(number) = self.receiver.recv(Duration::from_secs(1)) {
                tally.receive(number);
                if number + 1 == first + count {
                    break;
                }
            }
        });
    }

    /// Waits until no more than `lost` are missing, or nothing more comes.
    pub fn settle(&self, trial: &mut Trial, lost: u64) {
        while trial.tally.lost() > lost && self.take(&mut trial.tally, patience(trial.system)) {}
    }

    /// One after the other; how long they took, in order of size.
    pub fn round_trips(&self, trial: &mut Trial, count: u64) -> Vec<Duration> {
        let mut times: Vec<_> = (0..count)
            .map(|_| {
                let start: Instant = now();
                self.send(&mut trial.tally);
                self.take(&mut trial.tally, PATIENCE);
                start.elapsed()
            })
            .collect();
        times.sort();
        times
    }

    /// Sends until one arrives, so that all that was lost before is known; then the report is complete.
    pub fn close_books(&self, trial: &mut Trial) {
        while self.take(&mut trial.tally, Duration::from_millis(300)) {}
        self.sender.await_again();
        let last = trial.tally.sent;
        let deadline = now() + DEADLINE;
        let mut arrived = false;
        while !arrived && now() < deadline {
            self.send(&mut trial.tally);
            while let Some(number) = self.receiver.recv(Duration::from_millis(300)) {
                trial.tally.receive(number);
                arrived |= number >= last;
            }
        }
        trial.must("hears again", arrived);
        trial.tally.reported = self.sender.dropped() + self.receiver.missed();
    }
}

impl Sender {
    /// After a restart: whoever can tell waits until its receiver is back.
    fn await_again(&self) {
        if let Self::Ours(..) = self {
            self.await_receiver();
        }
    }
}

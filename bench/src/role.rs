//! One process of a measurement: the middle, a publisher or a subscriber.
//!
//! The measuring process starts it with a [`RoleSpec`] as its only argument, tells it what to do in lines of JSON on its
//! standard input ([`Order`]), and reads what came of it from its standard output ([`Answer`]). It ends when its
//! standard input does, so nothing is left behind by a measuring process that died.

mod listeners;
mod local;

use crate::contender::{Middle, Parts, Place, Receiver, Sender, StartMiddle, Until, server};
use crate::load::{Credit, Load, Offered, offer};
use crate::stamp::Stamp;
use crate::tally::{Seen, Tally};
use crate::{BenchError, clock};
use listeners::{Counting, Echoing, Pinging};
pub(crate) use local::{Local, LocalCounter};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Between two probes while the way is being opened.
const PROBE_AFTER: Duration = Duration::from_millis(5);
const PROBE_AT_LATEST: Duration = Duration::from_millis(320);

/// Between two looks whether everything has arrived.
const WATCH_EVERY: Duration = Duration::from_millis(2);

/// After so long without an arrival, what is missing is lost.
const QUIET: Duration = Duration::from_millis(500);

const STARTING: &str = "starting a process of the measurement";

/// What a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoleSpec {
    /// Its part.
    pub part: Part,
    /// Where it connects.
    pub place: Place,
    /// The core that it stays on.
    pub core: Option<usize>,
}

/// The parts of a measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Part {
    /// Stands in the middle.
    Middle,
    /// Publishes; `window`: how many messages may be on the way.
    Publisher {
        /// What to offer.
        load: Load,
        /// How many messages may be on the way, where the transport sets no limit.
        window: Option<u64>,
    },
    /// Counts.
    Subscriber {
        /// Bytes of each payload.
        size: usize,
        /// Whether messages have a due time.
        latency: bool,
        /// After how many messages to say so, for those who wait for credit.
        credit_every: Option<u64>,
    },
    /// Sends one message at a time and measures how long the answer takes.
    Pinger(Load),
    /// Answers.
    Echo,
    /// All of them, as threads.
    Local(Load),
}

/// From the measuring process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// To publishers, and to whoever begins a ping-pong: begin.
    Go,
    /// To publishers: messages numbered below this may be sent.
    Credit(u64),
    /// To subscribers: so many messages were sent to you in all.
    Expect(u64),
    /// Tell how much processor time you have used.
    Cpu,
    /// End.
    Stop,
}

impl Order {
    fn is_go(&self) -> bool {
        matches!(self, Order::Go)
    }

    fn is_stop(&self) -> bool {
        matches!(self, Order::Stop)
    }
}

/// To the measuring process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Listening at these ports, or connected.
    Ready(Vec<u16>),
    /// Heard from every publisher on every topic.
    Heard,
    /// Has got the messages of a publisher below a number.
    Credit {
        /// Which publisher.
        publisher: u16,
        /// The number.
        below: u64,
    },
    /// Everything has been offered.
    Offered(Offered),
    /// Everything has arrived, or is lost.
    Seen(Seen),
    /// Processor time that it has used so far, in nanoseconds.
    Cpu(u64),
    /// Its links are closed.
    Ended,
    /// It did not work.
    Failed(String),
}

impl Answer {
    /// What was offered, if this tells it.
    #[must_use]
    pub fn offered(self) -> Option<Offered> {
        if let Answer::Offered(offered) = self { Some(offered) } else { None }
    }

    /// What was seen, if this tells it.
    #[must_use]
    pub fn seen(self) -> Option<Seen> {
        if let Answer::Seen(seen) = self { Some(seen) } else { None }
    }

    /// The processor time, if this tells it.
    #[must_use]
    pub fn cpu(self) -> Option<u64> {
        if let Answer::Cpu(cpu) = self { Some(cpu) } else { None }
    }
}

/// Tells the measuring process. One that is gone will end us anyway.
pub(crate) fn tell(answer: &Answer) {
    let mut line = serde_json::to_string(answer).unwrap_or_default();
    line.push('\n');
    let _ = io::stdout().lock().write_all(line.as_bytes());
}

/// Plays the role that `spec` describes, as written by the measuring process.
///
/// # Errors
/// What went wrong; the measuring process has been told.
pub fn play(spec: &str) -> Result<(), BenchError> {
    let outcome = serde_json::from_str(spec)
        .map_err(|error| BenchError::Misuse(format!("no role of a measurement: {error}")))
        .and_then(play_spec);
    if let Err(error) = &outcome {
        tell(&Answer::Failed(error.to_string()));
    }
    outcome
}

fn play_spec(spec: RoleSpec) -> Result<(), BenchError> {
    if let Some(id) = spec.core {
        // Asked first, because a core that no set of cores has room for would be a panic.
        let known = core_affinity::get_core_ids().is_some_and(|cores| cores.iter().any(|core| core.id == id));
        // Before there are other threads: they inherit it.
        if !known || !core_affinity::set_for_current(core_affinity::CoreId { id }) {
            return Err(BenchError::Misuse(format!("cannot pin to core {id}: see `nproc`")));
        }
    }
    let place = spec.place;
    let unlimited = || listen(Arc::new(Credit::unlimited()), || 0);
    let (middle, publish, subscribe) = match place.contender.parts() {
        Parts::Processes { middle, publish, subscribe } => (middle, publish, subscribe),
        Parts::Programs { middle, .. } if matches!(spec.part, Part::Middle) => {
            return stand_between(&place, *middle);
        }
        Parts::Programs { end, .. } => {
            let spec = serde_json::to_string(&RoleSpec { place, ..spec });
            // In the place of this process: so its pipes and its processor time are what they were.
            let failed = end()?.arg(spec.map_err(BenchError::doing(STARTING))?).exec();
            return Err(BenchError::doing(STARTING)(failed));
        }
        Parts::Threads(run) => {
            let Part::Local(load) = spec.part else {
                return Err(BenchError::failed("starting", "its ends are threads of one process"));
            };
            let subscribers = place.scenario.subscribers();
            return run(&place, Local { load, subscribers, orders: unlimited()? });
        }
    };
    match spec.part {
        Part::Middle => {
            let middle = middle.ok_or_else(|| BenchError::failed("starting", "it has no middle"))?;
            stand_between(&place, middle)
        }
        Part::Publisher { load, window } => {
            let credit = Arc::new(window.map_or_else(Credit::unlimited, Credit::new));
            let orders = listen(credit.clone(), || 0)?;
            publish(&place, Publishing { load, topics: place.topics(), credit, orders })
        }
        Part::Subscriber { size, latency, credit_every } => {
            let tally = Tally::new(place.scenario.publishers(), size, latency)?;
            let topics = place.topics().len();
            subscribe(
                &place,
                Subscribing::Counter(Counter { tally, topics, credit_every, orders: unlimited()? }),
            )
        }
        Part::Pinger(load) => subscribe(&place, Subscribing::Pinger(Pinger { load, orders: unlimited()? })),
        Part::Echo => subscribe(&place, Subscribing::Echo(Echo { orders: unlimited()? })),
        Part::Local(_) => Err(BenchError::failed("starting", "its ends are processes")),
    }
}

/// One middle or several: all backplanes of a scenario share a process.
fn stand_between(place: &Place, middle: StartMiddle) -> Result<(), BenchError> {
    let middles = (0..place.scenario.backplanes()).map(|_| middle(place)).collect::<Result<Vec<_>, _>>()?;
    let ports = middles.iter().flat_map(|middle| middle.ports.clone()).collect();
    let servers: Vec<u32> = middles.iter().flat_map(Middle::servers).collect();
    let outside = move || servers.iter().map(|&server| server::cpu(server)).sum();
    let orders = listen(Arc::new(Credit::unlimited()), outside)?;
    tell(&Answer::Ready(ports));
    await_order(&orders, Order::is_stop);
    drop(middles);
    tell(&Answer::Ended);
    Ok(())
}

/// Reads orders on a thread of its own. Credit goes straight to who waits for it, which is the calling thread.
/// `outside`: processor time that others have used for this process.
fn listen(
    credit: Arc<Credit>,
    outside: impl Fn() -> u64 + Send + 'static,
) -> Result<mpsc::Receiver<Order>, BenchError> {
    let (send, orders) = mpsc::channel();
    let publisher = thread::current();
    let read = move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Order::Credit(below)) => {
                    credit.raise(below);
                    publisher.unpark();
                }
                Ok(Order::Cpu) => tell(&Answer::Cpu(clock::cpu() + outside())),
                Ok(order) => drop(send.send(order)),
                Err(error) => tell(&Answer::Failed(format!("no order: {error}"))),
            }
        }
        std::process::exit(0);
    };
    let started = thread::Builder::new().name("orders".to_owned()).spawn(read);
    started.map_err(BenchError::doing("listening to orders"))?;
    Ok(orders)
}

fn await_order(orders: &mpsc::Receiver<Order>, is_it: impl Fn(&Order) -> bool) {
    while orders.recv().is_ok_and(|order| !is_it(&order)) {}
}

/// What a publishing process does with its end.
pub(crate) struct Publishing {
    load: Load,
    topics: Vec<String>,
    credit: Arc<Credit>,
    orders: mpsc::Receiver<Order>,
}

impl Publishing {
    /// Runs it. `ports`: where the end listens, if it does.
    pub(crate) fn run(self, ports: Vec<u16>, mut sender: impl Sender) -> Result<(), BenchError> {
        tell(&Answer::Ready(ports));
        let (mut probe, mut pause) = (vec![0; self.load.size], PROBE_AFTER);
        loop {
            for (nth, topic) in self.topics.iter().enumerate() {
                Stamp::probe(self.load.publisher, nth).write(&mut probe);
                sender.send(topic, &probe)?;
            }
            sender.flush()?;
            match self.orders.recv_timeout(pause) {
                Ok(Order::Go) => break,
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                // Seldom at last, so that what is slow has not a queue of them when it is to begin.
                Ok(_) | Err(RecvTimeoutError::Timeout) => pause = PROBE_AT_LATEST.min(2 * pause),
            }
        }
        let offered = offer(&self.load, &self.topics, &self.credit, &mut sender)?;
        tell(&Answer::Offered(offered));
        await_order(&self.orders, Order::is_stop);
        drop(sender);
        tell(&Answer::Ended);
        Ok(())
    }
}

/// What a receiving process does with its end.
pub(crate) enum Subscribing {
    Counter(Counter),
    Pinger(Pinger),
    Echo(Echo),
}

impl Subscribing {
    /// Whether it begins a ping-pong, and stands where the publisher stands.
    pub(crate) fn first(&self) -> bool {
        matches!(self, Subscribing::Pinger(_))
    }

    /// Runs it. `ports`: where the end listens, if it does.
    pub(crate) fn run(self, ports: Vec<u16>, receiver: impl Receiver) -> Result<(), BenchError> {
        match self {
            Subscribing::Counter(counter) => counter.run(ports, receiver),
            Subscribing::Pinger(pinger) => pinger.run(ports, receiver),
            Subscribing::Echo(echo) => echo.run(ports, receiver),
        }
    }
}

pub(crate) struct Counter {
    tally: Tally,
    topics: usize,
    credit_every: Option<u64>,
    orders: mpsc::Receiver<Order>,
}

impl Counter {
    fn run(self, ports: Vec<u16>, receiver: impl Receiver) -> Result<(), BenchError> {
        tell(&Answer::Ready(ports));
        let until = Arc::new(Until::default());
        let listener = Counting::new(self.tally, self.topics, self.credit_every, until.clone());
        let watched = until.clone();
        let watching = thread::spawn(move || {
            watch(&self.orders, &watched);
            self.orders
        });
        let counted = receiver.receive(listener, None, &until)?;
        tell(&Answer::Seen(counted.tally.seen()));
        if let Ok(orders) = watching.join() {
            await_order(&orders, Order::is_stop);
            tell(&Answer::Ended);
        }
        Ok(())
    }
}

/// Ends it when all has arrived that was sent, or nothing has arrived for long.
fn watch(orders: &mpsc::Receiver<Order>, until: &Until) {
    let mut expected = None;
    let (mut arrived, mut since) = (0, clock::now());
    while !until.over() {
        let order = match expected {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => orders.recv_timeout(WATCH_EVERY),
        };
        match order {
            Ok(Order::Expect(all)) => (expected, since) = (Some(all), clock::now()),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => until.end(),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
        if until.arrived() != arrived {
            (arrived, since) = (until.arrived(), clock::now());
        }
        let quiet = Duration::from_nanos(clock::now() - since) > QUIET;
        if expected.is_some_and(|all| arrived >= all || quiet) {
            until.end();
        }
    }
}

pub(crate) struct Pinger {
    load: Load,
    orders: mpsc::Receiver<Order>,
}

impl Pinger {
    fn run(self, ports: Vec<u16>, receiver: impl Receiver) -> Result<(), BenchError> {
        tell(&Answer::Ready(ports));
        await_order(&self.orders, Order::is_go);
        let until = Arc::new(Until::default());
        let mut opening = vec![0; self.load.size];
        Stamp::probe(0, 0).write(&mut opening);
        let listener = Pinging::new(&self.load, until.clone())?;
        let watched = until.clone();
        // A lost message would end the conversation for ever.
        let watching = thread::spawn(move || {
            let mut arrived = u64::MAX;
            while !watched.over() {
                thread::park_timeout(QUIET);
                if watched.heard() && watched.arrived() == arrived {
                    watched.end();
                }
                arrived = watched.arrived();
            }
        });
        let pinged = receiver.receive(listener, Some(&opening), &until)?;
        tell(&Answer::Offered(Offered { sent: pinged.sent, late_p99: 0 }));
        tell(&Answer::Seen(pinged.tally.seen()));
        watching.thread().unpark();
        await_order(&self.orders, Order::is_stop);
        tell(&Answer::Ended);
        Ok(())
    }
}

pub(crate) struct Echo {
    orders: mpsc::Receiver<Order>,
}

impl Echo {
    fn run(self, ports: Vec<u16>, receiver: impl Receiver) -> Result<(), BenchError> {
        tell(&Answer::Ready(ports));
        let until = Arc::new(Until::default());
        let over = until.clone();
        thread::spawn(move || {
            await_order(&self.orders, Order::is_stop);
            over.end();
        });
        receiver.receive(Echoing::new(until.clone()), None, &until)?;
        tell(&Answer::Ended);
        Ok(())
    }
}

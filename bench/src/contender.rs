//! Who is measured.
//!
//! Each file below is one system, with the same three functions: `middle` starts the process in the middle, `publisher`
//! and `subscriber` the ends. A new contender is a new file and a line in each table of this one.

pub mod base_tcp;
pub mod libzmq;
pub mod multiplane;

use crate::BenchError;
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The topic that is measured: 11 bytes, as in the tables of others.
pub const TOPIC: &str = "bench/topic";

/// The topic of the way back in ping-pong.
pub const BACK: &str = "bench/reply";

/// How long anything blocks before it looks whether all is over.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// A system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Contender {
    /// Our components through our own backplane.
    MultiplaneNative,
    /// Our components through our backplane on libzmq.
    MultiplaneLibzmq,
    /// libzmq's PUB and SUB through its XSUB/XPUB proxy.
    LibzmqProxy,
    /// libzmq's PUB and SUB connected to each other.
    LibzmqDirect,
    /// Bare TCP streams: the limit of the machine.
    BaseTcp,
}

impl Contender {
    /// All of them.
    pub const ALL: [Contender; 5] = [
        Contender::MultiplaneNative,
        Contender::MultiplaneLibzmq,
        Contender::LibzmqProxy,
        Contender::LibzmqDirect,
        Contender::BaseTcp,
    ];

    /// As on the command line and in every result.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Contender::MultiplaneNative => "multiplane-native",
            Contender::MultiplaneLibzmq => "multiplane-libzmq",
            Contender::LibzmqProxy => "libzmq-proxy",
            Contender::LibzmqDirect => "libzmq-direct",
            Contender::BaseTcp => "base-tcp",
        }
    }

    /// Whether a process stands between publisher and subscriber.
    #[must_use]
    pub fn has_middle(self, scenario: Scenario) -> bool {
        scenario != Scenario::Direct && self != Contender::LibzmqDirect
    }

    /// Why nothing is lost: the transport's own back-pressure, or, where that would drop silently, a window that the
    /// subscribers open to the publisher message by message, outside of the transport.
    #[must_use]
    pub fn lossless_by(self) -> &'static str {
        if self.needs_credit() { "credit" } else { "back-pressure" }
    }

    pub(crate) fn needs_credit(self) -> bool {
        matches!(self, Contender::LibzmqProxy | Contender::LibzmqDirect)
    }

    /// Whether it can run this.
    ///
    /// # Errors
    /// [`BenchError::NotOffered`], with the reason.
    pub fn check(self, scenario: Scenario) -> Result<(), BenchError> {
        let why = match (self, scenario) {
            (Contender::MultiplaneNative | Contender::MultiplaneLibzmq, Scenario::Direct) => {
                "its components meet at a backplane"
            }
            (Contender::LibzmqProxy, Scenario::Direct) => "the proxy is a process between; use libzmq-direct",
            (Contender::BaseTcp, Scenario::FanIn(2..)) => "a bare stream has one writer",
            _ => return Ok(()),
        };
        Err(BenchError::NotOffered { contender: self.to_string(), scenario: scenario.to_string(), why })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Contender {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        Self::ALL.into_iter().find(|contender| contender.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Contender::name).join(", ");
            BenchError::Misuse(format!("no contender `{text}`: there are {names}"))
        })
    }
}

/// Where an end or a middle stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Of which system it is a part.
    pub contender: Contender,
    /// Who talks to whom.
    pub scenario: Scenario,
    /// Where to connect to: the middle's publisher port and subscriber port; without a middle, for subscribers, those
    /// of all publishers.
    pub ports: Vec<u16>,
}

impl Place {
    /// Whether to connect to a middle.
    #[must_use]
    pub fn has_middle(&self) -> bool {
        self.contender.has_middle(self.scenario)
    }

    /// Whether subscribers answer.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.scenario == Scenario::PingPong
    }

    pub(crate) fn port(&self, which: usize) -> Result<u16, BenchError> {
        let missing = || BenchError::failed("connecting", "was told too few ports");
        self.ports.get(which).copied().ok_or_else(missing)
    }
}

/// The end that publishes.
pub trait Sender {
    /// Publishes, waiting for room as long as it takes.
    ///
    /// # Errors
    /// When the way is closed.
    fn send(&mut self, payload: &[u8]) -> Result<(), BenchError>;

    /// Sends what is held back to be sent together; for those that do so.
    ///
    /// # Errors
    /// When the way is closed.
    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }
}

/// The end that receives, and answers in ping-pong.
pub trait Receiver {
    /// Gives each message to `listener`, and publishes what that answers, until it is [over](Until). A receiver that
    /// is to speak first publishes `opening` again and again until it has heard something.
    ///
    /// # Errors
    /// When the way is closed.
    fn receive<L: Listener>(
        self,
        listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError>;
}

/// What happens to a message that arrives.
pub trait Listener: Send + 'static {
    /// Looks at a payload; what is returned is published.
    fn hear(&mut self, payload: &[u8]) -> Option<&[u8]>;
}

/// When a receiver is done.
#[derive(Default)]
pub struct Until {
    over: AtomicBool,
    heard: AtomicBool,
    arrived: AtomicU64,
    stop: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Until {
    /// Whether it is.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// It is: calls what was left with [`then`](Self::then).
    pub fn end(&self) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        self.over.store(true, Ordering::Release);
        if let Some(stop) = stop.take() {
            stop();
        }
    }

    /// Calls `stop` when it is over, for receivers that cannot look by themselves.
    pub fn then(&self, stop: impl FnOnce() + Send + 'static) {
        let mut slot = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over() { stop() } else { *slot = Some(Box::new(stop)) }
    }

    /// Whether anything has arrived.
    #[must_use]
    pub fn heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// Notes that something has.
    pub fn hears(&self) {
        if !self.heard.load(Ordering::Relaxed) {
            self.heard.store(true, Ordering::Release);
        }
    }

    /// Messages that have arrived, for those who watch.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Notes how many have; a plain store.
    pub fn set_arrived(&self, arrived: u64) {
        self.arrived.store(arrived, Ordering::Relaxed);
    }
}

impl fmt::Debug for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Until").field("over", &self.over()).field("arrived", &self.arrived()).finish()
    }
}

/// A started middle: alive until dropped.
pub type Middle = (Vec<u16>, Box<dyn std::any::Any + Send>);

/// What a publishing process does with its end, whichever type that is.
pub(crate) trait PublisherRole {
    fn run(self, ports: Vec<u16>, sender: impl Sender) -> Result<(), BenchError>;
}

/// What a receiving process does with its end.
pub(crate) trait SubscriberRole {
    fn run(self, ports: Vec<u16>, receiver: impl Receiver) -> Result<(), BenchError>;
}

impl Place {
    pub(crate) fn middle(&self) -> Result<Middle, BenchError> {
        match self.contender {
            Contender::MultiplaneNative | Contender::MultiplaneLibzmq => multiplane::middle(self),
            Contender::LibzmqProxy | Contender::LibzmqDirect => libzmq::middle(self),
            Contender::BaseTcp => base_tcp::middle(self),
        }
    }

    pub(crate) fn publish(&self, role: impl PublisherRole) -> Result<(), BenchError> {
        match self.contender {
            Contender::MultiplaneNative | Contender::MultiplaneLibzmq => {
                let (ports, sender) = multiplane::publisher(self)?;
                role.run(ports, sender)
            }
            Contender::LibzmqProxy | Contender::LibzmqDirect => {
                let (ports, sender) = libzmq::publisher(self)?;
                role.run(ports, sender)
            }
            Contender::BaseTcp => {
                let (ports, sender) = base_tcp::publisher(self)?;
                role.run(ports, sender)
            }
        }
    }

    /// `first`: in ping-pong, the one who begins and stands where the publisher stands.
    pub(crate) fn subscribe(&self, first: bool, role: impl SubscriberRole) -> Result<(), BenchError> {
        match self.contender {
            Contender::MultiplaneNative | Contender::MultiplaneLibzmq => {
                let (ports, receiver) = multiplane::subscriber(self, first)?;
                role.run(ports, receiver)
            }
            Contender::LibzmqProxy | Contender::LibzmqDirect => {
                let (ports, receiver) = libzmq::subscriber(self, first)?;
                role.run(ports, receiver)
            }
            Contender::BaseTcp => {
                let (ports, receiver) = base_tcp::subscriber(self, first)?;
                role.run(ports, receiver)
            }
        }
    }
}

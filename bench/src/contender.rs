//! Who is measured.
//!
//! Each file below is one system, with the same functions: `middle` starts what stands in the middle, `publisher` and
//! `subscriber` the ends. To add one, write its file with a `System` in it, and name that in `SYSTEMS`; if it needs
//! a cargo feature, name what it builds in `OPTIONAL` as well.

mod banyan;
pub mod base_stream;
mod ends;
mod gateway;
#[cfg(feature = "iceoryx2")]
mod iceoryx2;
pub mod libzmq;
mod local;
mod mosquitto;
pub mod multiplane;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nng")]
mod nng;
#[cfg(feature = "omq")]
mod omq;
mod peer;
mod place;
mod redis;
pub(crate) mod server;
mod wire;
#[cfg(feature = "zenoh")]
mod zenoh;

use crate::BenchError;
use crate::role::{Local, Publishing, Subscribing};
use crate::scenario::{Scenario, Way, World};
pub use ends::{Listener, Receiver, Sender, Until};
pub use place::{BACK, Place, TOPIC};
use serde::{Deserialize, Serialize};
pub use server::Middle;
use std::fmt;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

/// All that this build can measure.
static SYSTEMS: &[&System] = &[
    &multiplane::NATIVE,
    &multiplane::UNIX,
    &multiplane::CURVE,
    &multiplane::SPIN,
    &multiplane::LIBZMQ,
    &libzmq::PROXY,
    &libzmq::PROXY_CREDIT,
    &libzmq::DIRECT,
    &libzmq::DIRECT_CREDIT,
    &libzmq::NATIVE,
    &base_stream::TCP,
    &base_stream::UNIX,
    &local::eventfd::BASE,
    &local::memory::BASE,
    &local::multiplane::LOCAL,
    &local::crossbeam::SINGLE,
    &local::crossbeam::BATCHED,
    &banyan::BANYAN,
    &banyan::LIBZMQ,
    &mosquitto::MOSQUITTO,
    &redis::REDIS,
    #[cfg(feature = "iceoryx2")]
    &iceoryx2::ICEORYX2,
    #[cfg(feature = "nats")]
    &nats::NATS,
    #[cfg(feature = "nng")]
    &nng::NNG,
    #[cfg(feature = "omq")]
    &omq::OMQ,
    #[cfg(feature = "zenoh")]
    &zenoh::PEER,
    #[cfg(feature = "zenoh")]
    &zenoh::ROUTER,
    #[cfg(feature = "local-peers")]
    &local::bus::BUS,
    #[cfg(feature = "local-peers")]
    &local::disruptor::DISRUPTOR,
    #[cfg(feature = "local-peers")]
    &local::flume::FLUME,
    #[cfg(feature = "local-peers")]
    &local::tokio::TOKIO,
];

/// Gateways, and what does the same without one: they run what nobody else does.
static GATEWAYS: &[&System] = &[
    &gateway::MULTIPLANE,
    &gateway::BANYAN,
    &gateway::clients::MOSQUITTO,
    &gateway::BROKER,
    &gateway::STREAM,
    &gateway::browser::WEBSOCKETS,
];

/// Ends without a middle of their own: for a backplane that runs already.
static ENDS: &[&System] = &[&multiplane::ENDS, &libzmq::ENDS];

/// Contenders that only a build with a cargo feature knows: the feature, and what it builds.
const OPTIONAL: &[(&str, &[&str])] = &[
    ("iceoryx2", &["iceoryx2"]),
    ("local-peers", &["bus-crate", "disruptor", "flume", "tokio-broadcast"]),
    ("nats", &["nats"]),
    ("nng", &["nng"]),
    ("omq", &["omq"]),
    ("zenoh", &["zenoh", "zenoh-router"]),
];

/// How many messages may be on the way by credit, if a system has room for so many: a wide window lets it work in large
/// batches.
const WINDOW: usize = 16_384;

/// How long anything blocks before it looks whether all is over.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// What the harness has to know of a system.
#[derive(Clone, Copy)]
pub(crate) struct System {
    /// As on the command line and in every result.
    pub(crate) name: &'static str,
    /// What keeps it from losing messages.
    pub(crate) lossless: Lossless,
    /// Which scenarios it does not run, and why not.
    pub(crate) check: fn(Scenario) -> Result<(), &'static str>,
    /// How its processes do what they do.
    pub(crate) parts: Parts,
}

/// What the processes of a system run. Each end is handed over to the harness, which knows what to do with it: so the
/// compiler sees through the calls that are made per message.
#[derive(Clone, Copy)]
pub(crate) enum Parts {
    /// Each end is a process.
    Processes {
        /// Starts what stands in the middle; `None`: the ends connect to each other.
        middle: Option<StartMiddle>,
        /// Makes the end that publishes, and lets the role run it.
        publish: fn(&Place, Publishing) -> Result<(), BenchError>,
        /// Makes the end that receives, and lets the role run it.
        subscribe: fn(&Place, Subscribing) -> Result<(), BenchError>,
    },
    /// All are threads of one process: connects them, and lets the role run them.
    Threads(fn(&Place, Local) -> Result<(), BenchError>),
    /// The ends are programs of another language, which understand what [`role`](crate::role) does.
    Programs {
        /// Starts what stands in the middle.
        middle: StartMiddle,
        /// The program, to which the role is one more argument.
        end: fn() -> Result<Command, BenchError>,
    },
}

/// Starts what stands in the middle.
pub(crate) type StartMiddle = fn(&Place) -> Result<Middle, BenchError>;

/// What keeps a contender from losing messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lossless {
    /// Its own transport holds the publisher back.
    BackPressure,
    /// Its transport would drop silently, so the subscribers open a window to the publisher message by message,
    /// outside of it.
    Credit(usize),
    /// `Credit` towards the foreign side of a gateway, which keeps what is new and lets go what is old. Whoever publishes on
    /// the foreign side is held back by the connection.
    CreditOnBus(usize),
    /// Nothing does: what it loses stands beside its rate.
    Drops,
}

impl Lossless {
    /// As in every result.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Lossless::BackPressure => "back-pressure",
            Lossless::Credit(_) | Lossless::CreditOnBus(_) => "credit",
            Lossless::Drops => "drops",
        }
    }
}

/// A system under test.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Contender(&'static System);

impl Contender {
    /// All that this build has.
    #[must_use]
    pub fn all() -> Vec<Contender> {
        SYSTEMS.iter().chain(GATEWAYS).map(|system| Contender(system)).collect()
    }

    /// Those that load a backplane that runs already.
    #[must_use]
    pub fn ends() -> Vec<Contender> {
        ENDS.iter().map(|system| Contender(system)).collect()
    }

    /// Who is there, in words: what this build can measure, and what more a build with other features could.
    #[must_use]
    pub fn told() -> String {
        let names: Vec<_> = SYSTEMS.iter().chain(GATEWAYS).map(|system| system.name).collect();
        let ends: Vec<_> = ENDS.iter().map(|system| system.name).collect();
        let mut told = format!("{}; with --against HOST also {}", names.join(", "), ends.join(" and "));
        for (feature, builds) in OPTIONAL {
            let missing: Vec<_> = builds.iter().filter(|name| !names.contains(name)).copied().collect();
            if !missing.is_empty() {
                told += &format!("; `--features multiplane-bench/{feature}` builds {}", missing.join(", "));
            }
        }
        told
    }

    /// As on the command line and in every result.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether a process stands between publisher and subscriber.
    #[must_use]
    pub fn has_middle(self, scenario: Scenario) -> bool {
        let has = matches!(self.0.parts, Parts::Processes { middle: Some(_), .. } | Parts::Programs { .. });
        has && scenario != Scenario::Direct
    }

    /// Whether all of it are threads of one process.
    #[must_use]
    pub fn is_one_process(self) -> bool {
        matches!(self.0.parts, Parts::Threads(_))
    }

    /// What keeps it from losing messages there.
    #[must_use]
    pub fn lossless(self, scenario: Scenario) -> Lossless {
        match (self.0.lossless, scenario) {
            // A broker between would drop.
            (Lossless::CreditOnBus(_), Scenario::Gateway(World::Tcp | World::WebSocket, Way::From)) => {
                Lossless::BackPressure
            }
            (Lossless::CreditOnBus(messages), _) => Lossless::Credit(messages),
            (lossless, _) => lossless,
        }
    }

    /// Whether it can run this.
    ///
    /// # Errors
    /// [`BenchError::NotOffered`], with the reason.
    pub fn check(self, scenario: Scenario) -> Result<(), BenchError> {
        let not_offered =
            |why| BenchError::NotOffered { contender: self.to_string(), scenario: scenario.to_string(), why };
        if matches!(scenario, Scenario::Local(_)) && !self.is_one_process() {
            return Err(not_offered("its ends are processes"));
        }
        let is_gateway = GATEWAYS.iter().any(|system| system.name == self.name());
        match (is_gateway, matches!(scenario, Scenario::Gateway(..))) {
            (true, false) => return Err(not_offered("it is for what gateways do")),
            (false, true) => return Err(not_offered("it is no gateway")),
            _ => {}
        }
        (self.0.check)(scenario).map_err(not_offered)
    }

    pub(crate) fn parts(self) -> &'static Parts {
        &self.0.parts
    }
}

fn check_against(scenario: Scenario) -> Result<(), &'static str> {
    match scenario {
        Scenario::Direct => Err("a backplane is a process between"),
        Scenario::ManyBackplanes(2..) => Err("only one backplane is named"),
        _ => Ok(()),
    }
}

fn no_backplane(_: &Place) -> Result<Middle, BenchError> {
    Err(BenchError::Misuse("it has no backplane of its own: name one with --against HOST".to_owned()))
}

impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Contender {}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
        if let Some(found) = SYSTEMS.iter().chain(GATEWAYS).chain(ENDS).find(|system| system.name == text) {
            return Ok(Contender(found));
        }
        if let Some((feature, _)) = OPTIONAL.iter().find(|(_, names)| names.contains(&text)) {
            let cure = format!("build with `--features multiplane-bench/{feature}`");
            return Err(BenchError::Misuse(format!("contender `{text}` is not in this build: {cure}")));
        }
        Err(BenchError::Misuse(format!("no contender `{text}`: there are {}", Self::told())))
    }
}

impl TryFrom<String> for Contender {
    type Error = BenchError;

    fn try_from(text: String) -> Result<Self, BenchError> {
        text.parse()
    }
}

impl From<Contender> for String {
    fn from(contender: Contender) -> Self {
        contender.name().to_owned()
    }
}

//! A component linked to several backplanes at once.
//!
//! The backplanes are named in a [routing specification](RoutingSpec). A [`Bus`] links to all of them, receives what the
//! specification subscribes to, in a handler ([`Bus::run`]) or in an inbox ([`Bus::subscriber`]), and publishes through
//! [`Publisher`]s from any thread. A [`Backplane`] is the forwarding point in the middle, to embed or to run by itself.
//! Messages are `[topic][payload]` on ZeroMQ's wire, payloads MessagePack, so Python Banyan components join unchanged.
//!
//! ```no_run
//! use multiplane_bus::{Bus, RoutingSpec};
//!
//! let bus = Bus::builder("multi_echo_server").routing(RoutingSpec::from_path("spec.csv")?).start()?;
//! let notice = bus.publisher("BP2")?;
//! bus.run(move |message, outbox| {
//!     outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
//!     if message.payload()?.get("message_number")?.as_u64() == Some(0) {
//!         outbox.publish(&notice, "notice", &[("message", "got it")])?;
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is promised: nothing is lost in silence ([`BackplaneStats`] says what was lost where), started means ready
//! ([`Builder::start`], [`Publisher::wait_for_subscriber`]), the order of each publisher is kept on each backplane,
//! lost links come back with all their subscriptions ([`Bus::events`]), memory is bounded ([`Budget`]), and
//! [`Bus::close`] ends in time and says what it could not send.

mod backplane;
mod builder;
mod bus;
mod counters;
pub mod curve;
mod error;
mod events;
mod io;
mod latency;
pub mod local;
mod message;
mod outbox;
mod outgoing;
mod publisher;
mod shared;
mod subscriber;
mod worker;

pub use backplane::{
    Addresses, Backplane, BackplaneBuilder, BackplaneError, Engine, ForwardStats, OnSlow, Place,
    SlowSubscriber, raise_open_files_limit,
};
pub use builder::Builder;
pub use bus::{Broadcast, Bus, CloseReport, StopHandle};
pub use counters::{BackplaneStats, Dropped};
pub use error::{BusError, DeadLink, HandlerError, PublishError, StartError};
pub use events::{Direction, Events, LinkEvent, Transport};
#[doc(hidden)]
pub use io::zmq::measuring;
pub use latency::Latency;
pub use message::{BackplaneId, Message, OwnedMessage};
pub use multiplane_codec as codec;
pub use multiplane_core::{Budget, LinkState, Route, RoutingError, RoutingSpec, Trailer, routing};
pub use multiplane_ring::Wait;
pub use outbox::{Destination, Outbox};
pub use publisher::Publisher;
pub use subscriber::{Drain, Iter, OnFull, RecvError, RecvTimeoutError, Subscriber, TryRecvError};
pub use worker::Unsent;

/// The programs of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

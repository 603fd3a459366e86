//! Native links: ZMTP on a plain socket that the worker itself reads and writes, with no thread in between.
//!
//! | file | holds |
//! |---|---|
//! | `stream` | what a connection must be able to do |
//! | `wire` | one connection after another: names, connecting, back-off |
//! | `session` | what both ends do on a connection: handshake, commands, signs of life |
//! | `inbound` | what has been read and not been handled |
//! | `link` | a wire with its sessions |
//! | `subscriber`, `publisher` | the two ends |
//!
//! A session knows no socket and no clock: it is given anything that reads and writes, and the time.

mod inbound;
mod link;
mod publisher;
mod session;
mod stream;
mod subscriber;
mod wire;

pub(crate) use inbound::{Filled, Inbound, Pairs};
pub(crate) use link::{Keys, Way};
pub(crate) use publisher::PublisherWire;
pub(crate) use session::Broken;
pub(crate) use stream::Stream;
pub(crate) use subscriber::SubscriberWire;

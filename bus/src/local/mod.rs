//! Named in-process backplanes: publishers and subscribers attach by name at any time, and every subscriber gets
//! everything that is published after it attached. No socket, no copy, no thread.
//!
//! ```
//! use multiplane_bus::local::{Backplane, PublishTo, SubscribeTo};
//!
//! let _time = Backplane::new("TIME")?;
//! let publisher = PublishTo::new("TIME")?;
//! let mut subscriber = SubscribeTo::new("TIME")?;
//! publisher.publish("12:00\n")?;
//! assert_eq!(subscriber.recv()?.payload(), "12:00\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Messages lie in one ring that all share. A subscriber that is a whole ring behind holds the publishers
//! ([`OnLag::Block`], the default: nothing is lost), or misses the oldest and is told how many ([`OnLag::Skip`]).
//!
//! A backplane carries [`Message`]s: a payload of [`Bytes`](bytes::Bytes), and perhaps a topic, which is what it needs to
//! travel on over a network. It can also carry a type of yours: see [`Builder::carrying`].

mod builder;
mod error;
mod join;
mod message;
mod publish_to;
mod registry;
mod subscribe_to;

pub use builder::{Backplane, Builder, Stats};
pub use error::{Ended, Known, LocalError, PublishError, RecvTimeoutError, TryRecvError};
pub use join::Join;
pub use message::Message;
pub use multiplane_ring::broadcast::{Carried, OnLag};
pub use publish_to::PublishTo;
pub use subscribe_to::{Drain, Iter, SubscribeTo};

//! What every gateway needs and none should write again.
//!
//! | room | holds |
//! |---|---|
//! | [`run`] | one thread, one `mio` poll: the bus's wake-up, foreign sockets, time, and an orderly end |
//! | [`listener`] | a port that others connect to, and what happens when descriptors run out |
//! | [`dialer`] | a connection that comes back, with back-off |
//! | [`bus`] | the bus of a gateway |
//! | [`outgoing`] | the bounded queue of one peer, with a policy and exact counts |
//! | [`complaint`] | a log that says what is wrong at once, and then once a second |
//! | [`report`] | the last words |
//!
//! Time enters as an argument everywhere but in [`run`].
#![forbid(unsafe_code)]

pub mod bus;
pub mod complaint;
pub mod dialer;
pub mod listener;
pub mod outgoing;
pub mod report;
pub mod run;
mod socket;

pub use bus::start_bus;
pub use complaint::RateLimit;
pub use dialer::{Backoff, Dialer};
pub use listener::{Accept, ListenError, Listener, is_loopback};
pub use outgoing::{Bounds, Flushed, Lost, Outgoing};
pub use report::{Report, tell_counts};
pub use run::{Running, Setup, Turn, Work, spawn};

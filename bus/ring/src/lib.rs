//! Bounded lock-free queues, wake-ups and wait policies.
//!
//! The one crate of Multiplane that may say `unsafe`: the publish queue's memory in [`stream`] needs it. All other queues are
//! crossbeam's. Our own is also the protocol between many publishing threads and one worker that sleeps in `poll`:
//!
//! 1. a publisher pushes into the queue of a link, then [`ReadySet::mark`]s the link, then calls [`Wake::wake`];
//! 2. the worker takes the marked links, drains their queues, calls [`Wake::prepare`], looks at the set once more, and
//!    only then sleeps.
//!
//! Both sides put a sequentially consistent fence between their write and their read, so either the publisher sees the
//! sleeper or the sleeper sees the mark: no wake-up is lost, and a worker that is awake costs a publisher no system
//! call. `cargo test` under `--cfg loom` explores exactly this.
#![deny(unsafe_code)]

mod atomic;
pub mod broadcast;
mod fence;
pub mod queue;
mod ready;
pub mod stream;
mod wait;
mod wake;

pub use ready::ReadySet;
pub use wait::Wait;
pub use wake::{SleepFlag, Wake};

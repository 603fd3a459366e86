//! Bounded lock-free queues, wake-ups and wait policies.
//!
//! The one crate of Multiplane that may say `unsafe`: the publish queue's memory in [`stream`] needs it. All other queues are
//! crossbeam's. Our own is also the protocol between many publishing threads and one worker that sleeps in `poll`:
//!
//! 1. a publisher appends to the stream of a link, then marks the link ([`ReadySet::mark_appended`]), then calls
//!    [`Wake::wake_marked`];
//! 2. the worker takes the marked links, drains their queues, calls [`Wake::prepare`], looks at the set once more, and
//!    only then sleeps.
//!
//! The writes and reads of both sides are sequentially consistent, so either the publisher sees the sleeper or the sleeper
//! sees the mark, and either the publisher sees that a mark was taken or the taker sees what was appended: no wake-up is
//! lost. A worker that is awake costs a publisher no system call, and one that has not taken the last mark yet not even a
//! locked instruction. `cargo test` under `--cfg loom` explores exactly this.
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

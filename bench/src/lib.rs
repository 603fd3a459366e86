//! How fast Multiplane is, measured beside its peers in one run.
//!
//! | room | holds |
//! |---|---|
//! | [`scenario`] | what is measured: who talks to whom, and how large the messages are |
//! | [`contender`] | who is measured: one file each, the same functions in all |
//! | [`stamp`], [`load`], [`tally`] | what a message carries; offering messages; counting what arrives |
//! | [`role`] | one process of a measurement: publisher, middle or subscriber |
//! | [`measure`] | starts the processes, tells them what to do, and repeats that in interleaved rounds |
//! | [`report`], [`table`](mod@table), [`page`](mod@page) | what people and programs get to read |
//! | [`topology`] | what the criterion benches share |
//!
//! What is promised: every message is numbered and counted where it arrives, so loss, reordering and duplicates show;
//! processor time is that of all processes of a contender; latency counts from the moment at which a message was *due*,
//! so that a stalled system cannot hide its stall by delaying the publisher. `tests/honest.rs` tests the instrument.
#![forbid(unsafe_code)]

pub mod clock;
pub mod contender;
mod error;
pub mod load;
pub mod measure;
pub mod page;
pub mod report;
pub mod role;
pub mod scenario;
pub mod stamp;
pub mod table;
pub mod tally;
pub mod topology;

pub use error::BenchError;
pub use topology::Topology;

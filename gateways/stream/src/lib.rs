//! Local backplanes on TCP streams: serve one stream to thousands of clients, relay another server's, and gather the
//! lines of many clients in one log.
//!
//! Programs on the other side need nothing of ours: `nc` will do.
//!
//! ```no_run
//! use multiplane_bus::local::{Backplane, PublishTo};
//! use multiplane_stream::{Protocol, StreamServer};
//!
//! let _time = Backplane::new("TIME")?;
//! let server = StreamServer::builder(Protocol::subscribe("TIME")).listen("1500").start()?;
//! println!("nc {} {}", server.address().ip(), server.address().port());
//! PublishTo::new("TIME")?.publish("12:00\n")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `server` | [`StreamServer`]: a port, and what its clients do: subscribe, publish, or both |
//! | `client` | [`StreamClient`]: another server's stream, published here; comes back when it is lost |
//! | `logger` | [`LineLogger`]: a backplane's lines in a file |
//! | `intake` | bytes of a connection become messages |
//!
//! What is promised: a slow client slows no other, and what it loses is counted and its name told; nothing is lost in silence;
//! memory is bounded; `close` ends in time.
#![forbid(unsafe_code)]

mod client;
mod count;
mod intake;
mod logger;
mod server;

pub use client::{ClientBuilder, ClientStats, StreamClient};
pub use intake::Framing;
pub use logger::{LineLogger, LogControl, LoggerBuilder, LoggerError, LoggerStats};
pub use multiplane_bridge::ListenError;
pub use multiplane_bus::OnSlow;
pub use server::{Protocol, ServerBuilder, ServerStats, StreamServer};

/// A stream could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The backplane cannot be found.
    #[error(transparent)]
    Backplane(#[from] multiplane_bus::local::LocalError),
    /// The system has no thread or descriptor left.
    #[error("cannot start a stream: {0}; see `ulimit -n` and `ulimit -u`")]
    System(#[from] std::io::Error),
}

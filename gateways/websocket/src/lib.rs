//! Browsers on the bus: a WebSocket gateway that web clients of Python Banyan know, a protocol with topics for new ones,
//! and a page that shows what passes. `PROTOCOL.md` in this folder says what goes over the wire.
//!
//! | room | holds |
//! |---|---|
//! | `http` | the head of a request, who may come in, and the page's files; without a socket |
//! | `translate` | messages of clients to those of the bus and back, without a socket |
//! | `session` | what one client wants, and what waits for it |
//! | `interest` | which sessions want a topic |
//! | `view` | what passes, for those who watch |
//! | `transport`, `connection` | a socket, with or without TLS, and one client on it |
//! | `desk` | what all connections share: the bus, the books, the answers to what clients ask |
//! | `publication` | a message on its way to the bus, and what waits for room there |
//! | `gateway` | what happens in a turn of the loop |
//! | `config`, `report` | what it is told, and what it tells |
//!
//! ```no_run
//! use multiplane_bus::{Bus, Route, RoutingSpec};
//! use multiplane_websocket::{Config, start};
//! use std::time::Duration;
//!
//! let backplane = Route::new("BP1", "127.0.0.1").publisher_port(43124).subscriber_port(43125);
//! let routing = RoutingSpec::builder().backplane(backplane).build()?;
//! let gateway = start(Bus::builder("WsGateway").routing(routing), Config::new("9000"), |event| println!("{event}"))?;
//! // ... until it is time to end:
//! if let Some(ended) = gateway.stop(Duration::from_millis(200)) {
//!     println!("{}", ended.close(Duration::from_millis(300)).stats);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod config;
mod connection;
mod desk;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod http;
mod interest;
mod publication;
mod report;
mod session;
mod translate;
mod transport;
mod view;

pub use config::{Config, ConfigError, Tls, Token};
pub use gateway::{Gateway, StartError, start};
pub use report::{Event, Report, Stats};

//! Microcontrollers on the bus: a device speaks MessagePack with a length in front over TCP, and neither knows of topics
//! nor of backplanes.
//!
//! The gateway connects to the server on the device, or is itself the server that devices connect to. What a device
//! sends is published on a topic of its own; messages of the topics that it wants are sent to it, without their topic.
//! Payloads pass as they are. One byte of length, as in Python Banyan's gateway, is the default; two and four are there
//! for larger messages.
//!
//! | room | holds |
//! |---|---|
//! | `translate` | messages to bytes and back, without a socket |
//! | `config` | which devices there are, and what goes where |
//! | `connection` | one device that is connected |
//! | `intake` | what the bus has for devices: framed on its own threads, and the queue from there |
//! | `gateway` | what happens in a turn of the loop |
//! | `report` | what is told while it runs, and what was counted |
//!
//! ```no_run
//! use multiplane_bus::{Bus, Route, RoutingSpec};
//! use multiplane_tcp::{Config, Device, Place, start};
//! use std::time::Duration;
//!
//! let backplane = Route::new("BP1", "127.0.0.1").publisher_port(43124).subscriber_port(43125);
//! let pico = Device::new(Place::Connect("10.0.0.5:31335".to_owned())).from("from_pico").to("figura");
//! let routing = RoutingSpec::builder().backplane(backplane).build()?;
//! let gateway = start(Bus::builder("TcpGateway").routing(routing), Config::new([pico]), |event| println!("{event}"))?;
//! // ... until it is time to end:
//! if let Some(ended) = gateway.stop(Duration::from_millis(200)) {
//!     println!("{}", ended.close(Duration::from_millis(300)).stats);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod config;
mod connection;
mod gateway;
mod intake;
mod report;
mod translate;

pub use config::{Config, Device, DeviceError, Place};
pub use gateway::{Gateway, StartError, start};
pub use multiplane_codec::framing::length_prefix::Width;
pub use report::{Event, Report, Stats};

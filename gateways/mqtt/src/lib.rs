//! The bus and an MQTT broker: what is published on the one arrives on the other, as the mapping says.
//!
//! Bodies are JSON on the side of MQTT and MessagePack on the bus, as with Python Banyan's gateway; or MessagePack, or
//! raw bytes, on both. MQTT 3.1.1 and 5.0.
//!
//! What is promised: a broker or backplane that is away is waited for, and messages for it are queued up to a bound and
//! counted beyond it. A message of quality 1 from the broker is acknowledged only when the bus has accepted it; one to the
//! broker is sent again until the broker has acknowledged it. What has no form on the other side is counted, and reported
//! with its topic and the reason. Nothing that the gateway has put on one side comes back through it.
//!
//! | room | holds |
//! |---|---|
//! | `translate` | topics and bodies of one side to those of the other, without a socket |
//! | `config` | which broker, and what goes where |
//! | `client` | the protocol, without a socket |
//! | `session` | one connection to the broker |
//! | `transport` | the socket, in the clear or under TLS |
//! | `gateway` | what happens in a turn of the loop |
//! | `report` | what is told while it runs, and what was counted |
//!
//! ```no_run
//! use multiplane_bus::{Bus, Route, RoutingSpec};
//! use multiplane_mqtt::{Config, FromMqtt, Mapping, ToMqtt, start};
//! use std::time::Duration;
//!
//! let backplane = Route::new("BP1", "127.0.0.1").publisher_port(43124).subscriber_port(43125);
//! let routing = RoutingSpec::builder().backplane(backplane).build()?;
//! let mapping = Mapping {
//!     to_mqtt: vec![ToMqtt::new("to_mqtt", "from_banyan")],
//!     from_mqtt: vec![FromMqtt::new("mqtt_network", "from_mqtt")],
//! };
//! let config = Config::new("localhost:1883", mapping);
//! let gateway = start(Bus::builder("MqttGateway").routing(routing), config, |event| println!("{event}"))?;
//! // ... until it is time to end:
//! if let Some(ended) = gateway.stop(Duration::from_millis(200)) {
//!     println!("{}", ended.close(Duration::from_millis(300)).stats);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod report;
mod session;
mod translate;
mod transport;

pub use config::{Body, Config, Credentials, FromMqtt, Mapping, MappingError, Tls, ToMqtt, Version};
pub use gateway::{Gateway, StartError, start};
pub use report::{Event, Report, Stats};

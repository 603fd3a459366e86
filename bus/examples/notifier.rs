//! Says so when a notice comes; `multi_echo_server` sends one for message 0.
//!
//! Run with a backplane on this machine:
//! ```text
//! cargo run --example notifier [HOST [SUBSCRIBER_PORT [PUBLISHER_PORT]]]
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Bus, Route, RoutingSpec};
use serde::Deserialize;

#[derive(Deserialize)]
struct Notice {
    message: String,
    id: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let subscriber_port = arguments.next().map_or(Ok(43125), |port| port.parse())?;
    let publisher_port = arguments.next().map_or(Ok(43124), |port| port.parse())?;

    let hub = Route::new("hub", host).subscriber_port(subscriber_port).publisher_port(publisher_port);
    let routing = RoutingSpec::builder().backplane(hub.topics(["notice"])).build()?;
    let bus = Bus::builder("Notifier").routing(routing).start()?;
    println!("{}", bus.banner());
    bus.run(|message, _| {
        let Notice { message, id } = message.decode()?;
        println!("Notification Received! {message} (id {id})");
        Ok(())
    })?;
    Ok(())
}

//! Answers every message of topic `echo` with the same payload on topic `reply`.
//!
//! Run with a backplane on this machine:
//! ```text
//! cargo run --example echo_server [HOST [SUBSCRIBER_PORT [PUBLISHER_PORT]]]
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Bus, Route, RoutingSpec};
use serde::Deserialize;

#[derive(Deserialize)]
struct Numbered {
    message_number: i64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let subscriber_port = arguments.next().map_or(Ok(43125), |port| port.parse())?;
    let publisher_port = arguments.next().map_or(Ok(43124), |port| port.parse())?;

    let hub = Route::new("hub", host).subscriber_port(subscriber_port).publisher_port(publisher_port);
    let routing = RoutingSpec::builder().backplane(hub.topics(["echo"])).build()?;
    let bus = Bus::builder("EchoServer").routing(routing).start()?;
    println!("{}", bus.banner());
    bus.run(|message, outbox| {
        outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
        println!("Message number: {}", message.decode::<Numbered>()?.message_number);
        Ok(())
    })?;
    Ok(())
}

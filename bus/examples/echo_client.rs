//! Sends ten messages of topic `echo`, numbered 9 to 0, each when the answer to the one before is there.
//!
//! Run with a backplane and `echo_server` on this machine:
//! ```text
//! cargo run --example echo_client [HOST [SUBSCRIBER_PORT [PUBLISHER_PORT]]]
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Bus, Route, RoutingSpec};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Numbered {
    message_number: i64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let subscriber_port = arguments.next().map_or(Ok(43125), |port| port.parse())?;
    let publisher_port = arguments.next().map_or(Ok(43124), |port| port.parse())?;

    let hub = Route::new("hub", host).subscriber_port(subscriber_port).publisher_port(publisher_port);
    let routing = RoutingSpec::builder().backplane(hub.topics(["reply"])).build()?;
    let bus = Bus::builder("EchoClient").routing(routing).start()?;
    println!("{}", bus.banner());
    let replies = bus.subscriber()?;
    let publisher = bus.publisher("hub")?;
    // The server may start after us: whoever is there first waits.
    publisher.wait_for_subscriber("echo", Duration::from_secs(60))?;
    // And our own wish for answers has got through.
    publisher.wait_for_subscriber("reply", Duration::from_secs(5))?;
    for message_number in (0..10).rev() {
        publisher.publish("echo", &Numbered { message_number })?;
        let reply: Numbered = replies.recv_timeout(Duration::from_secs(10))?.decode()?;
        println!("Message number: {}", reply.message_number);
    }
    println!("10 messages sent and received.");
    Ok(())
}

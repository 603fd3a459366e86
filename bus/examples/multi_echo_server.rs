//! An echo server that is linked to two backplanes by a routing specification file: it answers on BP1, and tells BP2
//! when message 0 came.
//!
//! With backplanes on these ports, a `spec.csv` such as
//! ```text
//! backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port
//! BP1,127.0.0.1,43125,"[echo]",43124
//! BP2,127.0.0.1,,,43126
//! ```
//! and `notifier 127.0.0.1 43127 43126` and `echo_client` on the other sides, run:
//! ```text
//! cargo run --example multi_echo_server [spec.csv]
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Bus, RoutingSpec};
use serde::Serialize;

#[derive(Serialize)]
struct Notice {
    message: &'static str,
    id: &'static str,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "spec.csv".to_owned());
    let bus = Bus::builder("MultiEchoServer").routing(RoutingSpec::from_path(file)?).start()?;
    println!("{}", bus.banner());
    let bp2 = bus.publisher("BP2")?;
    bus.run(move |message, outbox| {
        // A file may give BP2 a subscriber port too: its messages are not ours to answer.
        if message.backplane() != "BP1" {
            return Ok(());
        }
        outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
        let number = message.payload()?.get("message_number")?.as_i64();
        println!("{} {} {}", message.backplane(), message.topic(), message.payload()?);
        if number == Some(0) {
            outbox.publish(&bp2, "notice", &Notice { message: "got it", id: "b" })?;
        }
        Ok(())
    })?;
    Ok(())
}

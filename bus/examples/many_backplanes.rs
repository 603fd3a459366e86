//! Sixty-four backplanes in one process, and one component that is linked to all of them. Needs nothing else:
//! ```text
//! cargo run --example many_backplanes
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Backplane, Bus, RoutingSpec};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = |n| Backplane::builder(format!("BP{n}")).subscriber_port(0).publisher_port(0).start();
    let backplanes = (1..=64).map(start).collect::<Result<Vec<_>, _>>()?;
    let routing = backplanes
        .iter()
        .fold(RoutingSpec::builder(), |spec, backplane| {
            spec.backplane(backplane.route().topics(["greeting"]))
        })
        .build()?;
    let bus = Bus::builder("Everywhere").routing(routing).start()?;
    let inbox = bus.subscriber()?;
    for backplane in &backplanes {
        bus.publisher(backplane.name())?.wait_for_subscriber("greeting", Duration::from_secs(5))?;
    }

    // Sent to all at once, and each copy comes back by the backplane it went to.
    let sent = bus.broadcast("greeting", "hello")?;
    println!("one message to {} backplanes", sent.accepted);
    for _ in &backplanes {
        let message = inbox.recv_timeout(Duration::from_secs(5))?;
        println!("{} {} {}", message.backplane(), message.topic(), message.payload()?);
    }
    Ok(())
}

//! Looks at several cameras at once, each of them a backplane of its own: see `camera`.
//! ```text
//! cargo run --example viewer [NAME SUBSCRIBER_PORT PUBLISHER_PORT]...
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Bus, Route, RoutingSpec};
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize)]
struct Frame {
    number: u64,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = ["left", "43125", "43124", "right", "43127", "43126"].map(str::to_owned).into();
    }
    let mut routing = RoutingSpec::builder();
    for camera in arguments.chunks(3) {
        let [name, subscriber_port, publisher_port] = camera else {
            return Err("each camera is a name, a subscriber port and a publisher port".into());
        };
        let route = Route::new(name, "127.0.0.1");
        let route = route.subscriber_port(subscriber_port.parse()?).publisher_port(publisher_port.parse()?);
        routing = routing.backplane(route.topics(["frame"]));
    }
    let bus = Bus::builder("Viewer").routing(routing.build()?).start()?;
    println!("{}", bus.banner());
    // Each camera another one, to tell them apart.
    for (nth, route) in bus.routing().routes().iter().enumerate() {
        let camera = bus.publisher(&route.name)?;
        camera.wait_for_subscriber("exposure", Duration::from_secs(5))?;
        camera.publish("exposure", &(10 * (nth + 1)))?;
    }
    bus.run(|message, _| {
        let Frame { number, width, height, pixels } = message.decode()?;
        let light = pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / pixels.len() as f64;
        println!("{} {number}: {width} x {height}, light {light}", message.backplane());
        Ok(())
    })?;
    Ok(())
}

//! A camera that hosts a backplane of its own and publishes its pictures there: no process stands in the middle, and each
//! viewer gets them in one hop. Whoever wants another exposure publishes it into the same backplane.
//!
//! Two cameras, each in a terminal of its own, and a viewer of both:
//! ```text
//! cargo run --example camera left 43125 43124
//! cargo run --example camera right 43127 43126
//! cargo run --example viewer left 43125 43124 right 43127 43126
//! ```
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::{Backplane, Bus, RecvTimeoutError};
use serde::Serialize;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(40);
const WIDTH: usize = 64;
const HEIGHT: usize = 48;

#[derive(Serialize)]
struct Frame<'a> {
    number: u64,
    width: usize,
    height: usize,
    pixels: &'a [u8],
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "left".to_owned());
    let subscriber_port = arguments.next().map_or(Ok(43125), |port| port.parse())?;
    let publisher_port = arguments.next().map_or(Ok(43124), |port| port.parse())?;

    let hosted = Backplane::builder(&name).subscriber_port(subscriber_port).publisher_port(publisher_port);
    let bus = Bus::builder("Camera").host(hosted).start()?;
    println!("{}", bus.banner());
    let (frames, wishes) = (bus.publisher(&name)?, bus.subscriber()?);
    wishes.subscribe(&name, "exposure")?;
    let (mut number, mut exposure) = (0, 1);
    loop {
        match wishes.recv_timeout(EVERY) {
            Ok(wish) => {
                exposure = wish.decode::<u8>()?;
                println!("exposure {exposure}");
            }
            // Time for the next picture. While nobody looks it goes nowhere, and costs next to nothing.
            Err(RecvTimeoutError::Timeout) => {
                number += 1;
                let pixels = [exposure; WIDTH * HEIGHT];
                frames.publish("frame", &Frame { number, width: WIDTH, height: HEIGHT, pixels: &pixels })?;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

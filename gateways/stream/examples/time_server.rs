//! The time, once a second, to everybody who connects: `nc 127.0.0.1 1500`.
//!
//! The stream of one source, served to many.
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::local::{Backplane, PublishTo};
use multiplane_stream::{Protocol, StreamServer};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).unwrap_or("1500".to_owned());
    let _time = Backplane::new("TIME")?;
    let server = StreamServer::builder(Protocol::subscribe("TIME")).listen(&port).start()?;
    println!("nc {} {}", server.address().ip(), server.address().port());

    let publisher = PublishTo::new("TIME")?;
    // Nothing is ever sent: this is a clock that ticks once a second.
    let (_kept, ticks) = channel::<()>();
    loop {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        publisher.publish(format!("{hour:02}:{minute:02}:{second:02} UTC\n"))?;
        let _ = ticks.recv_timeout(Duration::from_secs(1));
    }
}

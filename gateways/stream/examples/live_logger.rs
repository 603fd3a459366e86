//! A logger whose stream can be watched while it is written: lines come in on one port and go out on the other.
//!
//! `live_logger log.data`, then `nc 127.0.0.1 1501` to watch, and `ls | nc -N 127.0.0.1 1500`.
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::local::Backplane;
use multiplane_stream::{Framing, LineLogger, Protocol, StreamServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or("log.data".to_owned());
    let port = arguments.next().unwrap_or("1500".to_owned());
    let watch_port = arguments.next().unwrap_or("1501".to_owned());

    let _log = Backplane::new("LOGGER")?;
    let _logger = LineLogger::builder("LOGGER", &file).start()?;
    let lines = Protocol::publish("LOGGER", Framing::lines());
    let server = StreamServer::builder(lines).listen(&port).start()?;
    let watch = StreamServer::builder(Protocol::subscribe("LOGGER")).listen(&watch_port).start()?;
    println!("nc -N {} {}", server.address().ip(), server.address().port());
    println!("nc {} {}", watch.address().ip(), watch.address().port());
    loop {
        std::thread::park();
    }
}

//! The lines of everybody who connects, in one file: `logger log.data`, then `ls | nc -N 127.0.0.1 1500`.
//!
//! Nothing is lost: who sends faster than the disk takes it has to wait.
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::local::Backplane;
use multiplane_stream::{Framing, LineLogger, Protocol, StreamServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or("log.data".to_owned());
    let port = arguments.next().unwrap_or("1500".to_owned());

    let _log = Backplane::new("LOGGER")?;
    let _logger = LineLogger::builder("LOGGER", &file).start()?;
    let lines = Protocol::publish("LOGGER", Framing::lines());
    let server = StreamServer::builder(lines).listen(&port).start()?;
    println!("nc -N {} {}", server.address().ip(), server.address().port());
    loop {
        std::thread::park();
    }
}

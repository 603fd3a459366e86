//! Another server's stream, served here to as many as like: `relay 127.0.0.1:1500 1600`, then `nc 127.0.0.1 1600`.
//!
//! When that server goes away, its clients stay, and the stream goes on when it is back.
#![allow(clippy::print_stdout, reason = "an example is a program to look at")]

use multiplane_bus::local::Backplane;
use multiplane_stream::{Protocol, StreamClient, StreamServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let from = arguments.next().unwrap_or("127.0.0.1:1500".to_owned());
    let port = arguments.next().unwrap_or("1600".to_owned());

    let _relay = Backplane::new("RELAY")?;
    let server = StreamServer::builder(Protocol::subscribe("RELAY")).listen(&port).start()?;
    let _client = StreamClient::builder(&from, "RELAY").start()?;
    println!("nc {} {}", server.address().ip(), server.address().port());
    loop {
        std::thread::park();
    }
}

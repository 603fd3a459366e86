//! A forwarder as everybody writes it on libzmq: `XSUB`, `XPUB`, a proxy, and all defaults. To compare with.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut ports = std::env::args().skip(1).map_while(|port| port.parse().ok());
    let (Some(subscriber_port), Some(publisher_port)) = (ports.next(), ports.next()) else {
        return ExitCode::from(2);
    };
    match multiplane_tests::foreign::plain::forward(subscriber_port, publisher_port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

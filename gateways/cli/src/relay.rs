//! `multiplane relay`: another server's stream, for as many as like.

use crate::failure::{Failure, say};
use crate::shutdown::Shutdown;
use crate::stream::{Clients, DRAIN, failed, interrupted, served, unnamed};
use multiplane_bench::table::grouped;
use multiplane_bus::local::Backplane;
use multiplane_bus::raise_open_files_limit;
use multiplane_stream::{Framing, Protocol, StreamClient};

/// The name of the stream within this process.
const STREAM: &str = "RELAY";

/// Serve the stream of another TCP server to all clients that connect, over one connection to that server
///
/// When that server goes away the clients stay, and get the stream again when it is back. Ends on Ctrl-C, and then says on
/// standard error how much came, from how many connections, and how much the clients got and lost.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane relay 127.0.0.1:1500 --listen 1600             then: nc 127.0.0.1 1600
  multiplane relay clock.example:1500 --listen 1600 --lines  clients begin at the beginning of a line")]
pub(crate) struct Args {
    /// The server whose stream it is
    #[arg(value_name = "HOST:PORT", value_parser = server)]
    from: String,

    /// Where to listen: PORT for this machine only, or ADDRESS:PORT; port 0 for any free one
    #[arg(long, value_name = "ADDR")]
    listen: String,

    /// The stream is text: clients get, and lose, whole lines
    #[arg(long)]
    lines: bool,

    #[command(flatten)]
    clients: Clients,
}

fn server(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(text.to_owned())
        }
        _ => Err("write HOST:PORT, such as 127.0.0.1:1500 or [::1]:1500".to_owned()),
    }
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    let _ = raise_open_files_limit();
    let _backplane = Backplane::new(STREAM).map_err(unnamed)?;
    let server = args.clients.server(Protocol::subscribe(STREAM), &args.listen)?;
    let framing = if args.lines { Framing::lines() } else { Framing::Chunks };
    let client = StreamClient::builder(&args.from, STREAM).framing(framing).start().map_err(failed)?;
    shutdown.watch();
    server.announce("relaying", "nc");
    interrupted(shutdown, || client.is_done());
    let came = client.close(DRAIN);
    let stats = server.close(DRAIN);
    let (bytes, connections) = (grouped(came.bytes), grouped(came.connections));
    say(format_args!("received {bytes} bytes in {connections} connections, {}", served(&stats)));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_server_has_a_host_and_a_port() {
        for right in ["h:1", "127.0.0.1:65535", "[::1]:1500"] {
            assert!(super::server(right).is_ok(), "{right}");
        }
        for wrong in ["", "h", ":1", "h:", "h:0", "h:65536", "h:x"] {
            assert!(super::server(wrong).is_err(), "{wrong}");
        }
    }
}

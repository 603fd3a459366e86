//! What `serve`, `relay` and `log` share: a port for clients that know nothing of us.

use crate::backplane::Slow;
use crate::clock::now;
use crate::failure::Failure;
use crate::reach::{Door, Reach, Reached, host};
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use multiplane_bench::table::grouped;
use multiplane_bus::OnSlow;
use multiplane_bus::local::LocalError;
use multiplane_stream::{ListenError, Protocol, ServerBuilder, ServerStats, StreamError, StreamServer};
use std::io::{self, Write};
use std::time::Duration;

/// How long each part of the end may take after Ctrl-C.
pub(crate) const DRAIN: Duration = Duration::from_millis(250);
/// How often it looks whether the source has ended by itself.
const TICK: Duration = Duration::from_millis(100);

/// What holds for those who receive.
#[derive(clap::Args)]
pub(crate) struct Clients {
    /// What happens when a client is too slow and its queue is full
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = Slow::DropOldest)]
    on_slow: Slow,

    /// Disconnect a client that takes nothing of what waits for it for so many seconds, or, where it is to send, that
    /// sends nothing
    #[arg(long, value_name = "S", value_parser = seconds)]
    idle_timeout: Option<Duration>,

    /// Clients that may be connected at a time; whoever comes then is turned away
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Of these, clients from one address of another host
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,

    /// Bytes that wait for one client; beyond, --on-slow says what happens
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(1..))]
    queue_bytes: u32,

    #[command(flatten)]
    reach: Reach,
}

impl Clients {
    /// A server that is to serve them.
    pub(crate) fn server(&self, protocol: Protocol, listen: &str) -> Result<Served, Failure> {
        let reached = self.reach.check(&Door { host: host(listen), security: None, cure: None })?;
        let mut server: ServerBuilder = StreamServer::builder(protocol).listen(listen);
        if let Some(timeout) = self.idle_timeout {
            server = server.idle_timeout(timeout);
        }
        server = server.clients(self.connections as usize).queue_bytes(self.queue_bytes as usize);
        server = server.clients_per_address(self.connections_per_address as usize);
        let server = server.on_slow(OnSlow::from(self.on_slow)).start().map_err(failed)?;
        Ok(Served { server, reached })
    }
}

/// A server, and who reaches it.
pub(crate) struct Served {
    server: StreamServer,
    reached: Reached,
}

impl Served {
    /// Says how to reach it, and who can. Whoever started this may have stopped reading; that is no reason to end.
    pub(crate) fn announce(&self, what: &str, with: &str) {
        let address = self.server.address();
        let mut out = io::stdout();
        let _ = writeln!(out, "{what} at {address}: {with} {} {}", address.ip(), address.port());
        self.reached.announce(address);
    }

    pub(crate) fn close(self, deadline: Duration) -> ServerStats {
        self.server.close(deadline)
    }
}

/// A mistake of the command line is another thing than a port in use.
pub(crate) fn failed(error: StreamError) -> Failure {
    match error {
        StreamError::Listen(ListenError::Address { .. }) => Failure::Misuse(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}

pub(crate) fn unnamed(error: LocalError) -> Failure {
    Failure::Failed(error.to_string())
}

/// Waits for Ctrl-C (then true), or until the source has ended.
pub(crate) fn interrupted(shutdown: &Shutdown, ended: impl Fn() -> bool) -> bool {
    while !ended() {
        if shutdown.wait_until(now() + TICK) {
            return true;
        }
    }
    shutdown.requested()
}

/// The last words about those who received.
pub(crate) fn served(stats: &ServerStats) -> String {
    let mut line = format!("clients {}", grouped(stats.accepted));
    line += &format!(", sent {} of {} bytes", grouped(stats.sent), grouped(stats.sent_bytes));
    line += &format!(", dropped {}", grouped(stats.dropped));
    for (count, what) in [
        (stats.lost, "lost with clients that went away"),
        (stats.slow, "clients disconnected for being slow"),
        (stats.idle, "clients disconnected for being idle"),
        (stats.turned_away, "clients turned away"),
    ] {
        if count > 0 {
            line += &format!(", {what} {}", grouped(count));
        }
    }
    line
}

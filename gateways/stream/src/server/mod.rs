//! A port, and what its clients do.

mod client;
mod feed;
mod stats;
mod work;

use crate::{Framing, StreamError};
use multiplane_bridge::{Bounds, Listener, Running, spawn};
use multiplane_bus::OnSlow;
use stats::Counters;
pub use stats::ServerStats;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use work::Server;

/// Bytes that wait for one client, unless told otherwise: some seconds of a slow link.
const QUEUE: usize = 8 * 1024 * 1024;
/// Clients of one server, unless told otherwise.
const CLIENTS: usize = 10_000;
const PER_ADDRESS: usize = 1000;

/// Serves local backplanes to TCP clients, thousands of them, on one thread of its own until it is closed or dropped.
///
/// A client that subscribes gets everything that is published after it connected, as it was published. One that is slow has a
/// bounded queue and a policy, [`OnSlow`]; it never slows another, unless you ask for that with [`OnSlow::Block`].
///
/// ```
/// use multiplane_bus::local::{Backplane, PublishTo};
/// use multiplane_stream::{Protocol, StreamServer};
/// use std::io::{BufRead, BufReader};
/// use std::net::TcpStream;
///
/// let _time = Backplane::new("CLOCK")?;
/// let server = StreamServer::builder(Protocol::subscribe("CLOCK")).start()?;
/// let client = TcpStream::connect(server.address())?;
/// PublishTo::new("CLOCK")?.publish("12:00\n")?;
/// let mut line = String::new();
/// BufReader::new(client).read_line(&mut line)?;
/// assert_eq!(line, "12:00\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamServer {
    address: SocketAddr,
    counters: Arc<Counters>,
    running: Running<Server>,
}

/// What one client of a [`StreamServer`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    publishes: Option<(Arc<str>, Framing)>,
    subscribes: Option<Arc<str>>,
}

impl Protocol {
    /// It receives what is published on this backplane.
    #[must_use]
    pub fn subscribe(backplane: &str) -> Self {
        Self { publishes: None, subscribes: Some(backplane.into()) }
    }

    /// What it sends is published on this backplane.
    #[must_use]
    pub fn publish(backplane: &str, framing: Framing) -> Self {
        Self { publishes: Some((backplane.into(), framing)), subscribes: None }
    }

    /// It also receives what is published on this backplane: with the one that it publishes on, a chat.
    #[must_use]
    pub fn and_subscribe(self, backplane: &str) -> Self {
        Self { subscribes: Some(backplane.into()), ..self }
    }
}

type Factory = Box<dyn Fn(SocketAddr) -> Protocol + Send>;

/// What clients do, and what is open before the first of them comes.
enum Plan {
    Same(Protocol),
    Each(Factory),
}

/// How a [`StreamServer`] is to be.
#[derive(Debug)]
#[must_use = "nothing happens until `start`"]
pub struct ServerBuilder {
    plan: Plan,
    listen: String,
    rules: Rules,
}

/// What holds for all clients.
#[derive(Clone, Copy, Debug)]
struct Rules {
    on_slow: OnSlow,
    queue: Bounds,
    clients: usize,
    per_address: usize,
    idle_timeout: Option<Duration>,
}

impl StreamServer {
    /// Begins a server all of whose clients do the same. Its backplanes must exist when it starts.
    pub fn builder(protocol: Protocol) -> ServerBuilder {
        ServerBuilder::new(Plan::Same(protocol))
    }

    /// Begins a server that decides for each client, by the address it comes from, what it does. A client whose
    /// backplane does not exist is turned away, and the log says so.
    pub fn factory(protocol: impl Fn(SocketAddr) -> Protocol + Send + 'static) -> ServerBuilder {
        ServerBuilder::new(Plan::Each(Box::new(protocol)))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.counters.read()
    }

    /// Ends in order within `patience`: accepts nobody, publishes what clients have sent, sends what was published, and
    /// disconnects. What was left then is counted as lost.
    pub fn close(self, patience: Duration) -> ServerStats {
        drop(self.running.stop(patience));
        self.counters.read()
    }
}

impl ServerBuilder {
    fn new(plan: Plan) -> Self {
        let rules = Rules {
            on_slow: OnSlow::default(),
            queue: Bounds { bytes: QUEUE },
            clients: CLIENTS,
            per_address: PER_ADDRESS,
            idle_timeout: None,
        };
        Self { plan, listen: "0".to_owned(), rules }
    }

    /// Where to listen: `PORT` of this machine only, the default with any free port, or `HOST:PORT`. Nothing asks who
    /// connects, so an address that other machines reach is for networks that you trust.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// What happens to a client whose queue is full. [`OnSlow::DropOldest`] by default.
    pub fn on_slow(mut self, on_slow: OnSlow) -> Self {
        self.rules.on_slow = on_slow;
        self
    }

    /// Bytes that may wait for one client, besides one message of any size. 8 MiB by default; what is the same for all
    /// of them is there once.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.rules.queue = Bounds { bytes };
        self
    }

    /// Most clients at a time; those beyond are turned away. 10,000 by default.
    pub fn clients(mut self, most: usize) -> Self {
        self.rules.clients = most;
        self
    }

    /// Of these, clients from one address of another host. 1,000 by default.
    pub fn clients_per_address(mut self, most: usize) -> Self {
        self.rules.per_address = most;
        self
    }

    /// Disconnects a client that publishes and was silent for so long, or for which something waited so long and it
    /// took none of it. Never by default; a host that vanished is noticed after 11 seconds in any case, unless data is on its
    /// way there.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.rules.idle_timeout = Some(timeout);
        self
    }

    /// Starts it; from now on clients can connect.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn start(self) -> Result<StreamServer, StreamError> {
        let listener = Listener::bind(&self.listen)?.per_address(self.rules.per_address);
        let address = listener.address();
        let counters = Arc::new(Counters::default());
        let shared = counters.clone();
        let running =
            spawn("stream-server", |setup| Server::new(setup, listener, self.plan, self.rules, shared))?;
        Ok(StreamServer { address, counters, running })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plan::Same(protocol) => protocol.fmt(f),
            Plan::Each(_) => f.write_str("a factory"),
        }
    }
}

//! The forwarding point that components meet at.

mod libzmq;

use crate::io::zmq::{BindError, Context};
use libzmq::Forwarding;
use multiplane_core::{Budget, Route};
use multiplane_ring::Wake;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// Ports of Python Banyan, named from the component's view.
const SUBSCRIBER_PORT: u16 = 43125;
const PUBLISHER_PORT: u16 = 43124;

/// What happens when a subscriber takes messages more slowly than they come and its queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnSlow {
    /// That subscriber loses the new message, and it is counted; the others get it. The default.
    #[default]
    DropNewest,
    /// Every publisher of this backplane waits for it: nothing is lost, and one stalled subscriber stalls all.
    Block,
}

/// A backplane: components publish into its publisher port and receive from its subscriber port. Runs on a thread of
/// its own until it is closed or dropped.
///
/// ```
/// use multiplane_bus::{Backplane, Bus, RoutingSpec};
/// use std::time::Duration;
///
/// let backplane = Backplane::builder("BP1").publisher_port(0).subscriber_port(0).start()?;
/// let routing = RoutingSpec::builder().backplane(backplane.route().topics(["echo"])).build()?;
/// let bus = Bus::builder("hello").routing(routing).start()?;
/// let (publisher, subscriber) = (bus.publisher("BP1")?, bus.subscriber()?);
/// publisher.wait_for_subscriber("echo", Duration::from_secs(5))?;
/// publisher.publish("echo", "hello")?;
/// assert_eq!(subscriber.recv()?.decode::<String>()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Backplane {
    name: String,
    host: String,
    ports: (u16, u16),
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// How a [`Backplane`] is to be.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct BackplaneBuilder {
    name: String,
    host: String,
    ports: (u16, u16),
    on_slow: OnSlow,
    budget: Budget,
}

/// What a backplane counted since it started. The books close: `received == forwarded + dropped`, give or take the one
/// message in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardStats {
    /// Messages taken from publishers.
    pub received: u64,
    /// Bytes of all their frames.
    pub received_bytes: u64,
    /// Messages that went to every subscriber that wants them.
    pub forwarded: u64,
    /// Messages that at least one subscriber had no room for and lost.
    pub dropped: u64,
    /// Publishers connected now.
    pub publishers: u64,
    /// Subscribers connected now.
    pub subscribers: u64,
    /// Distinct topic prefixes that somebody wants now.
    pub subscriptions: u64,
}

/// A backplane could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackplaneError {
    /// Somebody else listens there.
    #[error(
        "backplane {name}: port {port} of {host} is in use: is a backplane running already? stop it, or choose \
         another {which} port with {flag} (`ss -ltnp 'sport = :{port}'` shows who has it)"
    )]
    PortInUse {
        /// The backplane.
        name: String,
        /// Where it should listen.
        host: String,
        /// The port.
        port: u16,
        /// `publisher` or `subscriber`.
        which: &'static str,
        /// The flag of the command line that chooses it.
        flag: &'static str,
    },
    /// No interface of this machine has the address.
    #[error(
        "backplane {name}: this machine has no address {host}: use 127.0.0.1, 0.0.0.0 for all, or one of `ip addr`"
    )]
    NoSuchAddress {
        /// The backplane.
        name: String,
        /// Where it should listen.
        host: String,
    },
    /// Everything else.
    #[error("backplane {name}: cannot listen at {endpoint}: {reason}")]
    Open {
        /// The backplane.
        name: String,
        /// Where it should listen.
        endpoint: String,
        /// The system's answer.
        reason: String,
    },
    /// The bounds make no sense.
    #[error(transparent)]
    Budget(#[from] multiplane_core::BudgetError),
}

/// What the thread and the handle share.
struct Shared {
    wake: Wake,
    /// Nanoseconds to flush for, plus one; 0 while nobody asked to close.
    closing: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    received_bytes: AtomicU64,
    forwarded: AtomicU64,
    dropped: AtomicU64,
    publishers: AtomicU64,
    subscribers: AtomicU64,
    subscriptions: AtomicU64,
}

impl Backplane {
    /// Begins a backplane called `name`, on Banyan's ports of the loopback address.
    pub fn builder(name: impl Into<String>) -> BackplaneBuilder {
        BackplaneBuilder {
            name: name.into(),
            host: "127.0.0.1".to_owned(),
            ports: (SUBSCRIBER_PORT, PUBLISHER_PORT),
            on_slow: OnSlow::default(),
            budget: Budget::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that it listens at.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that components receive from.
    #[must_use]
    pub fn subscriber_port(&self) -> u16 {
        self.ports.0
    }

    /// The port that components publish into.
    #[must_use]
    pub fn publisher_port(&self) -> u16 {
        self.ports.1
    }

    /// The row of a routing specification that leads here, without topics.
    #[must_use]
    pub fn route(&self) -> Route {
        let host = match self.host.as_str() {
            "0.0.0.0" | "*" => "127.0.0.1",
            "::" | "[::]" => "::1",
            host => host,
        };
        Route::new(&self.name, host).subscriber_port(self.ports.0).publisher_port(self.ports.1)
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> ForwardStats {
        let counters = &self.shared.counters;
        let (forwarded, dropped) = (counters.forwarded.load(Relaxed), counters.dropped.load(Relaxed));
        ForwardStats {
            received: forwarded + dropped,
            received_bytes: counters.received_bytes.load(Relaxed),
            forwarded,
            dropped,
            publishers: counters.publishers.load(Relaxed),
            subscribers: counters.subscribers.load(Relaxed),
            subscriptions: counters.subscriptions.load(Relaxed),
        }
    }

    /// Forwards what has arrived, for at most `deadline`, and ends.
    pub fn close(mut self, deadline: Duration) -> ForwardStats {
        self.shut_down(deadline);
        self.stats()
    }

    fn shut_down(&mut self, deadline: Duration) {
        let Some(thread) = self.thread.take() else { return };
        let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX - 1);
        self.shared.closing.store(nanos.saturating_add(1), Relaxed);
        self.shared.wake.wake_always();
        if thread.join().is_err() {
            tracing::error!(
                backplane = self.name,
                "the backplane's thread panicked: this is a bug in Multiplane"
            );
        }
    }
}

impl Drop for Backplane {
    fn drop(&mut self) {
        self.shut_down(Duration::from_millis(100));
    }
}

impl fmt::Debug for Backplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backplane")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("subscriber_port", &self.ports.0)
            .field("publisher_port", &self.ports.1)
            .finish_non_exhaustive()
    }
}

impl BackplaneBuilder {
    /// The address to listen at: an IPv4 or IPv6 address of this machine, or a name. Loopback by default; `0.0.0.0`
    /// lets in whoever can reach this machine, and nothing here asks who that is.
    pub fn bind(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The port that components receive from; 43125 by default, 0 for any free one.
    pub fn subscriber_port(mut self, port: u16) -> Self {
        self.ports.0 = port;
        self
    }

    /// The port that components publish into; 43124 by default, 0 for any free one.
    pub fn publisher_port(mut self, port: u16) -> Self {
        self.ports.1 = port;
        self
    }

    /// What happens to a subscriber that is too slow.
    pub fn on_slow(mut self, on_slow: OnSlow) -> Self {
        self.on_slow = on_slow;
        self
    }

    /// The bounds: `high_water_mark` messages wait for each subscriber and from each publisher, `message_bytes` and
    /// `subscription_topic_bytes` limit what may come in.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Binds both ports and starts to forward.
    ///
    /// # Errors
    /// [`BackplaneError`].
    pub fn start(self) -> Result<Backplane, BackplaneError> {
        self.budget.check()?;
        let context = Context::new();
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let bound = libzmq::bind(&context, &host, self.ports, &self.budget);
        let (forwarder, monitors, ports) = bound.map_err(|error| self.bind_error(&error))?;
        let open = |endpoint: &str, reason: &dyn ToString| BackplaneError::Open {
            name: self.name.clone(),
            endpoint: endpoint.to_owned(),
            reason: reason.to_string(),
        };
        let wake = Wake::new().map_err(|error| open(&host, &error))?;
        let shared = Arc::new(Shared { wake, closing: AtomicU64::new(0), counters: Counters::default() });
        let forwarding = Forwarding::new(shared.clone(), forwarder, monitors, context, &self);
        let thread = std::thread::Builder::new()
            .name("backplane".to_owned())
            .spawn(move || forwarding.run())
            .map_err(|error| open(&host, &error))?;
        Ok(Backplane { name: self.name, host: self.host, ports, shared, thread: Some(thread) })
    }

    fn bind_error(&self, BindError { endpoint, error }: &BindError) -> BackplaneError {
        let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        let (name, host) = (self.name.clone(), self.host.clone());
        if error.is_address_in_use() {
            let (which, flag) = if port == self.ports.0 { ("subscriber", "-s") } else { ("publisher", "-p") };
            BackplaneError::PortInUse { name, host, port, which, flag }
        } else if error.is_address_not_here() {
            BackplaneError::NoSuchAddress { name, host }
        } else {
            BackplaneError::Open { name, endpoint: endpoint.clone(), reason: error.to_string() }
        }
    }
}

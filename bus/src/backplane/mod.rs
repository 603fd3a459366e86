//! The forwarding point that components meet at.

mod descriptors;
mod libzmq;
mod native;

use crate::counters::Count;
use crate::curve::AllowList;
pub use descriptors::raise_open_files_limit;
use libzmq::Forwarding;
use multiplane_codec::zmtp::curve::KeyPair;
use multiplane_core::{Budget, Route};
use multiplane_ring::Wake;
pub(crate) use native::Hosted;
use native::Native;
#[cfg(test)]
pub(crate) use native::simulated;
pub use native::{Addresses, Place};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

/// Slow subscribers that are told of.
const SLOW_SHOWN: usize = 16;

/// More threads than one backplane has use for: each has a joint to each.
const MOST_WORKERS: usize = 64;

/// Ports of Python Banyan, named from the component's view.
const SUBSCRIBER_PORT: u16 = 43125;
const PUBLISHER_PORT: u16 = 43124;

/// What happens when a subscriber takes messages more slowly than they come and its queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnSlow {
    /// It loses the oldest messages of its queue, and they are counted; the others get all. The default: in live data
    /// the fresh message wins. Not on [`Engine::Libzmq`].
    #[default]
    DropOldest,
    /// It loses the new message, and it is counted; the others get it.
    DropNewest,
    /// Every publisher of this backplane waits for it: nothing is lost, and one stalled subscriber stalls all.
    Block,
    /// Its connection is ended, and what waited for it is lost; it may come again, and knows then that it missed
    /// something. Not on [`Engine::Libzmq`].
    Disconnect,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Our own: no message is copied that need not be, every loss is counted, and no peer can end the process.
    #[default]
    Native,
    /// libzmq's `XSUB` and `XPUB`, for comparison. Drops of a slow subscriber are only partly counted.
    Libzmq,
}

impl Engine {
    /// What it is and can do, for people.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Engine::Native => "ZMTP 3.1 and 3.0, NULL and CURVE".to_owned(),
            Engine::Libzmq => crate::io::zmq::describe(),
        }
    }
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
    engine: Engine,
    /// Of each worker.
    shared: Vec<Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
}

/// How a [`Backplane`] is to be.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct BackplaneBuilder {
    name: String,
    host: String,
    ports: (u16, u16),
    on_slow: Option<OnSlow>,
    engine: Engine,
    guard: bool,
    unix_shortcut: bool,
    workers: usize,
    security: Option<Security>,
    budget: Budget,
}

/// By CURVE: who we are, and who may come.
#[derive(Clone, Debug)]
struct Security {
    keys: Arc<KeyPair>,
    allow: Arc<AllowList>,
}

/// A subscriber that is behind, or lost messages; from [`Backplane::slow_subscribers`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowSubscriber {
    /// Where it connects from.
    pub address: String,
    /// Its first subscriptions, shortened where they are long.
    pub topics: String,
    /// Messages that wait for it.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Messages that it lost.
    pub dropped: u64,
    /// It holds all publishers back now, by [`OnSlow::Block`].
    pub holds: bool,
}

/// What a backplane counted since it started.
///
/// A message goes as one copy to each subscriber that wants it. The books close:
/// `copies == forwarded + dropped + lost + queued`. A message that nobody wants has no copy and is `unwanted`; one that
/// the [guard](BackplaneBuilder::guard) stopped has none either and is `guarded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardStats {
    /// Messages taken from publishers.
    pub received: u64,
    /// Bytes of all their frames on the wire, headers included.
    pub received_bytes: u64,
    /// Messages that nobody wanted when they came; publishers that filter send few of them.
    pub unwanted: u64,
    /// Messages that the [guard](BackplaneBuilder::guard) stopped.
    pub guarded: u64,
    /// Copies for subscribers.
    pub copies: u64,
    /// Copies written to their subscriber's connection.
    pub forwarded: u64,
    /// Copies that a too slow subscriber lost, by [`OnSlow`].
    pub dropped: u64,
    /// Copies that still waited when their subscriber went away.
    pub lost: u64,
    /// Copies that wait now.
    pub queued: u64,
    /// Publishers connected now.
    pub publishers: u64,
    /// Subscribers connected now.
    pub subscribers: u64,
    /// Distinct topic prefixes that somebody wants now.
    pub subscriptions: u64,
    /// Connections that were ended because of what the peer did, for want of a place, or because their key is none that
    /// may come in; the log says what.
    pub refused: u64,
    /// Messages and subscriptions to which their key has no right, by [`BackplaneBuilder::curve`]; none of them passed, and
    /// none counts as received.
    pub denied: u64,
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
    /// libzmq cannot do this.
    #[error("backplane {name}: the libzmq engine cannot {what}: use the native engine{or}")]
    NotOffered {
        /// The backplane.
        name: String,
        /// What it cannot do.
        what: &'static str,
        /// What else would help.
        or: &'static str,
    },
    /// A component serves the backplane that it hosts with one of its own workers.
    #[error(
        "backplane {name}: a component hosts it with one worker: leave out `workers`, or start it beside the component"
    )]
    HostedWorkers {
        /// The backplane.
        name: String,
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
    /// Who wants to know the slow subscribers.
    asked: Mutex<Vec<mpsc::Sender<Vec<SlowSubscriber>>>>,
    counters: Arc<Counters>,
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Vec<SlowSubscriber>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Written by the backplane's thread alone.
#[derive(Default)]
struct Counters {
    received: Count,
    received_bytes: Count,
    unwanted: Count,
    guarded: Count,
    copies: Count,
    forwarded: Count,
    dropped: Count,
    lost: Count,
    publishers: Count,
    subscribers: Count,
    subscriptions: Count,
    refused: Count,
    denied: Count,
}

impl Counters {
    fn queued(&self) -> u64 {
        let gone = self.forwarded.get() + self.dropped.get() + self.lost.get();
        self.copies.get().saturating_sub(gone)
    }
}

impl Backplane {
    /// Begins a backplane called `name`, on Banyan's ports of the loopback address.
    pub fn builder(name: impl Into<String>) -> BackplaneBuilder {
        BackplaneBuilder {
            name: name.into(),
            host: "127.0.0.1".to_owned(),
            ports: (SUBSCRIBER_PORT, PUBLISHER_PORT),
            on_slow: None,
            engine: Engine::default(),
            guard: false,
            unix_shortcut: false,
            workers: 1,
            security: None,
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
        let sum =
            |count: fn(&Counters) -> u64| self.shared.iter().map(|worker| count(&worker.counters)).sum();
        ForwardStats {
            received: sum(|counters| counters.received.get()),
            received_bytes: sum(|counters| counters.received_bytes.get()),
            unwanted: sum(|counters| counters.unwanted.get()),
            guarded: sum(|counters| counters.guarded.get()),
            copies: sum(|counters| counters.copies.get()),
            forwarded: sum(|counters| counters.forwarded.get()),
            dropped: sum(|counters| counters.dropped.get()),
            lost: sum(|counters| counters.lost.get()),
            queued: sum(Counters::queued),
            publishers: sum(|counters| counters.publishers.get()),
            subscribers: sum(|counters| counters.subscribers.get()),
            // Each worker knows of all.
            subscriptions: self.shared.first().map_or(0, |first| first.counters.subscriptions.get()),
            refused: sum(|counters| counters.refused.get()),
            denied: sum(|counters| counters.denied.get()),
        }
    }

    /// The subscribers that are furthest behind, or lost messages: a few, the slowest first. Asks the backplane's thread,
    /// and so takes as long as its turn. Nobody with [`Engine::Libzmq`], which does not know.
    #[must_use]
    pub fn slow_subscribers(&self) -> Vec<SlowSubscriber> {
        if self.engine == Engine::Libzmq {
            return Vec::new();
        }
        let ask = |worker: &Arc<Shared>| {
            let (answer, answers) = mpsc::channel();
            worker.asked().push(answer);
            worker.wake.wake_always();
            answers.recv_timeout(Duration::from_secs(1)).unwrap_or_default()
        };
        let mut slow: Vec<_> = self.shared.iter().flat_map(ask).collect();
        slow.sort_by_key(|subscriber| std::cmp::Reverse((subscriber.queued_bytes, subscriber.dropped)));
        slow.truncate(SLOW_SHOWN);
        slow
    }

    /// Forwards what has arrived, for at most `deadline`, and ends.
    pub fn close(mut self, deadline: Duration) -> ForwardStats {
        self.shut_down(deadline);
        self.stats()
    }

    fn shut_down(&mut self, deadline: Duration) {
        let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX - 1);
        // One that is hosted has no thread, and ends with its component.
        for worker in self.shared.iter().filter(|_| !self.threads.is_empty()) {
            worker.closing.store(nanos.saturating_add(1), Relaxed);
            worker.wake.wake_always();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(
                    backplane = self.name,
                    "the backplane's thread panicked: this is a bug in Multiplane"
                );
            }
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
    /// lets in whoever can reach this machine, and only [`curve`](Self::curve) asks who that is.
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
        self.on_slow = Some(on_slow);
        self
    }

    /// Who does the work; [`Engine::Native`] by default.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Stops messages that would end a component written in Python, whose decoder raises on them: those of one frame, with
    /// a topic that is not UTF-8, or with a payload that is not one whole MessagePack value with text in UTF-8 and text or
    /// bytes for keys. Each is counted, and its publisher named in the log. Off by default: then messages pass verbatim,
    /// whatever they hold. Not on [`Engine::Libzmq`].
    pub fn guard(mut self, guard: bool) -> Self {
        self.guard = guard;
        self
    }

    /// How many threads share the work, 1 to 64; 1 by default, which serves two cores or few components best. Connections
    /// are dealt out among them in turn. A message for a subscriber of another thread costs one more hop; so this pays where
    /// several publishers keep one thread busy. Not on [`Engine::Libzmq`].
    ///
    /// The order of each publisher's messages is kept as long as connections last. Whoever loses one may come back to
    /// another thread: then a publisher's first messages may overtake its last, and a subscriber may get again what is still
    /// on its way between the threads. The trailer tells both.
    ///
    /// The bounds hold for all threads together, but for the text of unusually long subscriptions, which each bounds for
    /// itself. Each keeps a table of all that is wanted, and one of what its own subscribers want. On the way to each other
    /// thread up to 4 MiB may wait; by [`OnSlow::Block`] a stalled subscriber stops the publishers of its own thread at
    /// once, those of another when the way from there is full, and those never that send nothing to anybody of its thread.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.clamp(1, MOST_WORKERS);
        self
    }

    /// Whether it listens at a Unix socket beside each port, to which native components on this host then move by
    /// themselves; off by default. It answers sooner than TCP, by about a quarter, but seldom carries as much. Others
    /// notice nothing of it. Linux only, and not on [`Engine::Libzmq`].
    pub fn unix_shortcut(mut self, unix_shortcut: bool) -> Self {
        self.unix_shortcut = unix_shortcut;
        self
    }

    /// Lets nobody in but who proves by CURVE to have one of the keys of `allow`, and nothing pass but what that key has a
    /// right to; everything on the wire is encrypted. Others are refused, counted, and named in the log. Peers of any make
    /// come in if they speak CURVE, and there is no Unix shortcut. A component that hosts this backplane and subscribes to it
    /// links to it as others do: it takes [`Builder::curve`](crate::Builder::curve), too. Not on [`Engine::Libzmq`].
    pub fn curve(mut self, keys: KeyPair, allow: AllowList) -> Self {
        self.security = Some(Security { keys: Arc::new(keys), allow: Arc::new(allow) });
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
        let shared = (0..self.workers).map(|_| self.open()).collect::<Result<Vec<_>, _>>()?;
        let (ports, runs): (_, Vec<Box<dyn FnOnce() + Send>>) = match self.engine {
            Engine::Native => {
                let (natives, ports) = self.bind_native(&shared)?;
                let run = |native: Native| -> Box<dyn FnOnce() + Send> { Box::new(move || native.run()) };
                (ports, natives.into_iter().map(run).collect())
            }
            Engine::Libzmq => {
                let cannot = match self.on_slow {
                    _ if self.guard => Some(("judge messages", "")),
                    _ if self.security.is_some() => Some(("speak CURVE", "")),
                    _ if self.workers > 1 => Some(("share the work of one backplane", "")),
                    Some(OnSlow::DropOldest) => Some(("drop the oldest", ", `drop-newest` or `block`")),
                    Some(OnSlow::Disconnect) => {
                        Some(("disconnect who is slow", ", `drop-newest` or `block`"))
                    }
                    _ => None,
                };
                if let Some((what, or)) = cannot {
                    return Err(BackplaneError::NotOffered { name: self.name, what, or });
                }
                let (forwarding, ports) = Forwarding::bind(shared[0].clone(), &self)?;
                (ports, vec![Box::new(move || forwarding.run())])
            }
        };
        let engine = self.engine;
        let (name, host) = (self.name.clone(), self.host.clone());
        let mut backplane = Backplane { name, host, ports, engine, shared, threads: Vec::new() };
        for run in runs {
            let thread = std::thread::Builder::new().name("backplane".to_owned()).spawn(run);
            backplane.threads.push(thread.map_err(|error| self.refused(0, &error))?);
        }
        Ok(backplane)
    }

    /// Binds both ports for a component that serves them itself.
    pub(crate) fn host(self) -> Result<(Backplane, Hosted), BackplaneError> {
        if self.engine == Engine::Libzmq {
            let (what, or) = ("be hosted by a component", "");
            return Err(BackplaneError::NotOffered { name: self.name, what, or });
        }
        if self.workers > 1 {
            return Err(BackplaneError::HostedWorkers { name: self.name });
        }
        let shared = vec![self.open()?];
        let (listeners, ports) = native::bind(&self)?;
        let native = Native::new(shared[0].clone(), listeners, &self);
        let native = native.map_err(|error| self.refused(0, &error))?;
        let Self { name, host, engine, .. } = self;
        Ok((Backplane { name, host, ports, engine, shared, threads: Vec::new() }, Hosted::new(native)))
    }

    fn open(&self) -> Result<Arc<Shared>, BackplaneError> {
        self.budget.check()?;
        let wake = Wake::new().map_err(|error| self.refused(0, &error))?;
        let (closing, asked, counters) = (AtomicU64::new(0), Mutex::default(), Arc::default());
        Ok(Arc::new(Shared { wake, closing, asked, counters }))
    }

    fn bind_native(&self, shared: &[Arc<Shared>]) -> Result<(Vec<Native>, (u16, u16)), BackplaneError> {
        let (listeners, ports) = native::bind(self)?;
        let natives = Native::team(shared, listeners, self);
        Ok((natives.map_err(|error| self.refused(0, &error))?, ports))
    }

    /// Says why `port` could not be had; 0 stands for no port in particular.
    fn refused(&self, port: u16, error: &io::Error) -> BackplaneError {
        let (name, host) = (self.name.clone(), self.host.clone());
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let (which, flag) =
                    if port == self.ports.0 { ("subscriber", "-s") } else { ("publisher", "-p") };
                BackplaneError::PortInUse { name, host, port, which, flag }
            }
            io::ErrorKind::AddrNotAvailable => BackplaneError::NoSuchAddress { name, host },
            _ => BackplaneError::Open { name, endpoint: format!("{host}:{port}"), reason: error.to_string() },
        }
    }
}

//! Another server's stream, published on a backplane here.

use crate::StreamError;
use crate::count::Count;
use crate::intake::{self, CHUNK, FULL_PAUSE, Framing, Had, Intake, Pumped};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};
use multiplane_bridge::dialer::Dialled;
use multiplane_bridge::{Dialer, RateLimit, Running, Setup, Turn, Work, spawn};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOKEN: Token = Token(0);
/// Chunks read in one turn.
const READS: usize = 16;

/// Connects to a server and publishes what that sends. A connection that is lost comes back, after pauses that double
/// from 0.1 to 5 seconds. Runs on a thread of its own until it is closed or dropped.
///
/// ```no_run
/// use multiplane_bus::local::Backplane;
/// use multiplane_stream::{Protocol, StreamClient, StreamServer};
///
/// let _relay = Backplane::new("RELAY")?;
/// let _server = StreamServer::builder(Protocol::subscribe("RELAY")).listen("1600").start()?;
/// let client = StreamClient::builder("127.0.0.1:1500", "RELAY").start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamClient {
    counters: Arc<Counters>,
    running: Running<Client>,
}

/// How a [`StreamClient`] is to be.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct ClientBuilder {
    address: String,
    backplane: String,
    framing: Framing,
    idle_timeout: Option<Duration>,
}

/// What a [`StreamClient`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// The connection stands.
    pub connected: bool,
    /// Times that it was made.
    pub connections: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Messages published.
    pub published: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connected: Count,
    connections: Count,
    bytes: Count,
    published: Count,
}

impl StreamClient {
    /// Begins a client of the server at `HOST:PORT`, which publishes on this backplane.
    pub fn builder(address: &str, backplane: &str) -> ClientBuilder {
        let (address, backplane) = (address.to_owned(), backplane.to_owned());
        ClientBuilder { address, backplane, framing: Framing::Chunks, idle_timeout: None }
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.counters.read()
    }

    /// Whether the backplane is gone, and the client with it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.running.is_done()
    }

    /// Publishes what has arrived and ends, within `patience`.
    pub fn close(self, patience: Duration) -> ClientStats {
        let _ = self.running.stop(patience);
        self.counters.read()
    }
}

impl Counters {
    fn read(&self) -> ClientStats {
        ClientStats {
            connected: self.connected.get() != 0,
            connections: self.connections.get(),
            bytes: self.bytes.get(),
            published: self.published.get(),
        }
    }
}

impl ClientBuilder {
    /// How the stream becomes messages: [`Framing::Chunks`] by default, which changes nothing.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Connects anew when the server was silent for so long. Never by default; a host that vanished is noticed after 11
    /// seconds in any case.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Starts it; the server may come later.
    ///
    /// # Errors
    /// [`StreamError::Backplane`], [`StreamError::System`].
    pub fn start(self) -> Result<StreamClient, StreamError> {
        let counters = Arc::new(Counters::default());
        let shared = counters.clone();
        let running = spawn("stream-client", move |setup: Setup| {
            Ok::<_, StreamError>(Client {
                intake: Intake::new(&self.backplane, self.framing)?,
                dialer: Dialer::new(&self.address, TOKEN, setup.waker.clone(), setup.now),
                idle_timeout: self.idle_timeout,
                registry: setup.registry,
                counters: shared,
                buffer: vec![0; CHUNK],
                stream: None,
                heard: setup.now,
                stopping: false,
                complaint: RateLimit::default(),
            })
        })?;
        Ok(StreamClient { counters, running })
    }
}

#[derive(Debug)]
struct Client {
    registry: Registry,
    counters: Arc<Counters>,
    dialer: Dialer,
    idle_timeout: Option<Duration>,
    stream: Option<TcpStream>,
    intake: Intake,
    buffer: Vec<u8>,
    heard: Instant,
    stopping: bool,
    complaint: RateLimit,
}

impl Work for Client {
    fn ready(&mut self, _: &Event, _: Instant) {}

    fn turn(&mut self, now: Instant) -> Turn {
        // What the former connection brought comes first.
        if !self.stopping && !self.intake.has_ended() {
            self.dial(now);
        }
        match self.read(now) {
            Turn::Idle if self.stopping => Turn::Done,
            Turn::Idle => {
                let idle = self.stream.as_ref().and(self.idle_timeout).map(|timeout| self.heard + timeout);
                Turn::first(idle.into_iter().chain(self.dialer.due()))
            }
            turn => turn,
        }
    }

    fn stop(&mut self, _: Instant) {
        self.stopping = true;
    }
}

impl Client {
    fn dial(&mut self, now: Instant) {
        let server = self.dialer.address();
        if self.stream.is_some()
            && self.idle_timeout.is_some_and(|timeout| now.saturating_duration_since(self.heard) >= timeout)
        {
            tracing::warn!(server, "silent for too long: connecting anew");
            self.lose(now);
        }
        match self.dialer.turn(&self.registry, now) {
            Dialled::Nothing => {}
            Dialled::Connected(stream) => {
                tracing::info!(server = self.dialer.address(), "connected");
                self.stream = Some(stream);
                self.heard = now;
                self.counters.connections.add(1);
                self.counters.connected.set(1);
            }
            Dialled::Failed(error) => {
                let server = self.dialer.address();
                self.complaint.complain(now, |before| {
                    tracing::warn!(server, %error, before, "cannot connect: trying again");
                });
            }
        }
    }

    /// [`Turn::Idle`] when there is nothing more for now.
    fn read(&mut self, now: Instant) -> Turn {
        for _ in 0..READS {
            match self.intake.pump(|| self.counters.published.add(1)) {
                Pumped::All => {}
                Pumped::Full => return Turn::Until(now + FULL_PAUSE),
                Pumped::Closed => return Turn::Done,
                Pumped::Wrong(error) => {
                    // The decoder goes on behind that line.
                    let server = self.dialer.address();
                    tracing::warn!(server, %error, "connecting anew");
                    if self.stream.is_some() {
                        self.lose(now);
                    }
                    continue;
                }
            }
            let Some(stream) = &mut self.stream else {
                self.intake.begin();
                return Turn::Idle;
            };
            match intake::read(stream, &mut self.buffer) {
                Ok(Had::Bytes(count)) => {
                    self.heard = now;
                    self.counters.bytes.add(count as u64);
                    self.intake.feed(&self.buffer[..count]);
                }
                Ok(Had::Nothing) if self.stopping => {
                    self.stream = None;
                    self.intake.end();
                }
                Ok(Had::Nothing) => return Turn::Idle,
                Ok(Had::End) => {
                    tracing::warn!(
                        server = self.dialer.address(),
                        "the server ended the stream: connecting anew"
                    );
                    self.lose(now);
                }
                Err(error) => {
                    tracing::warn!(server = self.dialer.address(), %error, "lost the server: connecting anew");
                    self.lose(now);
                }
            }
        }
        Turn::Again
    }

    /// The connection is over: what came of its last line is a line.
    fn lose(&mut self, now: Instant) {
        self.stream = None;
        self.counters.connected.set(0);
        self.dialer.lost(now);
        self.intake.end();
    }
}

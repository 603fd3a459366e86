//! A connection that comes back.

use crate::socket;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long the other side may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pauses that double, up to a limit, each shortened at random by up to a quarter: many who lost the same server must not
/// all come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: RandomState,
    taken: u64,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, random: RandomState::new(), taken: 0 }
    }

    /// How long to pause now.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        self.taken += 1;
        pause - pause * (self.random.hash_one(self.taken) % 256) as u32 / 1024
    }

    /// It went well: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Connects to one address, again and again.
#[derive(Debug)]
pub struct Dialer {
    address: String,
    token: Token,
    backoff: Backoff,
    /// Which of the addresses of the name is next, and whether there are more behind it.
    next: usize,
    more: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Try then.
    Paused(Instant),
    /// The other side has until then to answer.
    Dialling(TcpStream, Instant),
    /// Somebody else has the connection.
    Connected,
}

/// What came of it.
#[derive(Debug)]
pub enum Dialled {
    /// Here it is, registered for reading and writing, with keep-alive and without delay.
    Connected(TcpStream),
    /// An attempt failed; another one comes.
    Failed(io::Error),
    /// Nothing new.
    Nothing,
}

impl Dialer {
    /// Connects to `HOST:PORT`, the first time with the next [`turn`](Self::turn), and registers as `token`.
    #[must_use]
    pub fn new(address: &str, token: Token, now: Instant) -> Self {
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        Self { address: address.to_owned(), token, backoff, next: 0, more: false, state: State::Paused(now) }
    }

    /// Whom it calls.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Goes on with whatever it is at; to be called when its token was reported, and at [`due`](Self::due).
    pub fn turn(&mut self, registry: &Registry, now: Instant) -> Dialled {
        match &self.state {
            State::Connected => Dialled::Nothing,
            State::Paused(until) if now < *until => Dialled::Nothing,
            State::Paused(_) => match self.dial(registry) {
                Ok(stream) => {
                    self.state = State::Dialling(stream, now + PATIENCE);
                    Dialled::Nothing
                }
                Err(error) => self.failed(error, now),
            },
            State::Dialling(stream, until) => match answer(stream) {
                Ok(true) => {
                    self.next = 0;
                    self.backoff.reset();
                    match std::mem::replace(&mut self.state, State::Connected) {
                        State::Dialling(stream, _) => Dialled::Connected(stream),
                        _ => Dialled::Nothing,
                    }
                }
                Ok(false) if now < *until => Dialled::Nothing,
                Ok(false) => self.failed(io::ErrorKind::TimedOut.into(), now),
                Err(error) => self.failed(error, now),
            },
        }
    }

    /// When the next turn is due although nothing was reported.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Paused(until) | State::Dialling(_, until) => Some(until),
            State::Connected => None,
        }
    }

    /// The connection that it had given out is over.
    pub fn lost(&mut self, now: Instant) {
        self.state = State::Paused(now + self.backoff.pause());
    }

    /// A name may have several addresses, such as `localhost` has of two kinds: it pauses when all were tried.
    fn failed(&mut self, error: io::Error, now: Instant) -> Dialled {
        if self.more {
            self.next += 1;
            self.state = State::Paused(now);
            return Dialled::Nothing;
        }
        self.next = 0;
        self.lost(now);
        Dialled::Failed(error)
    }

    fn dial(&mut self, registry: &Registry) -> io::Result<TcpStream> {
        self.more = false;
        // A name is looked up anew each time: it may have moved.
        let found: Vec<SocketAddr> = self.address.to_socket_addrs()?.collect();
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let address = found.get(self.next).or(found.first()).ok_or_else(none)?;
        self.more = self.next + 1 < found.len();
        let mut stream = TcpStream::connect(*address)?;
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }
}

/// Whether the connection stands.
fn answer(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => socket::set_options(stream).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::net::TcpListener;

    /// Whatever `localhost` is, one of its addresses is that of the listener.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn every_address_of_a_name_is_tried() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let mut dialer = Dialer::new(&address, Token(0), Instant::now());
        loop {
            match dialer.turn(poll.registry(), Instant::now()) {
                Dialled::Connected(_) => return,
                Dialled::Failed(error) => panic!("{error}"),
                Dialled::Nothing => {
                    let wait = dialer.due().map(|due| due.saturating_duration_since(Instant::now()));
                    poll.poll(&mut events, wait).unwrap();
                }
            }
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.pause().as_millis();
            assert!(pause <= expected && pause >= expected * 3 / 4, "{pause} of {expected}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}

//! A connection that comes back.

use crate::socket;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
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
    waker: Arc<Waker>,
    backoff: Backoff,
    resolve: fn(&str) -> Found,
    /// The addresses of the name that are still to be tried.
    found: VecDeque<SocketAddr>,
    state: State,
}

/// What came of looking a name up.
type Found = io::Result<VecDeque<SocketAddr>>;

#[derive(Debug)]
enum State {
    /// Try then.
    Paused(Instant),
    /// A thread is looking the name up. If it is still at it then, that is worth a word.
    Looking(Receiver<Found>, Option<Instant>),
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
    /// An attempt failed, or takes long; another one comes.
    Failed(io::Error),
    /// Nothing new.
    Nothing,
}

impl Dialer {
    /// Connects to `HOST:PORT`, the first time with the next [`turn`](Self::turn), and registers as `token`. A name is
    /// looked up by a thread, for that may take many seconds; it calls `waker` when it is done.
    #[must_use]
    pub fn new(address: &str, token: Token, waker: Arc<Waker>, now: Instant) -> Self {
        let (backoff, state) = (Backoff::new(PAUSES.0, PAUSES.1), State::Paused(now));
        let (address, found) = (address.to_owned(), VecDeque::new());
        Self { address, token, waker, backoff, resolve, found, state }
    }

    /// Whom it calls.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Goes on with whatever it is at; to be called when its token or the waker was reported, and at [`due`](Self::due).
    pub fn turn(&mut self, registry: &Registry, now: Instant) -> Dialled {
        match &mut self.state {
            State::Connected => Dialled::Nothing,
            State::Paused(until) if now < *until => Dialled::Nothing,
            State::Paused(_) => self.look_up(registry, now),
            State::Looking(answer, late) => match answer.try_recv() {
                Ok(found) => self.tell_found(found, registry, now),
                Err(TryRecvError::Empty) if late.is_some_and(|late| late <= now) => {
                    *late = None;
                    Dialled::Failed(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the name is still being looked up",
                    ))
                }
                Err(TryRecvError::Empty) => Dialled::Nothing,
                Err(TryRecvError::Disconnected) => {
                    self.dial(io::Error::other("looking the name up failed"), registry, now)
                }
            },
            State::Dialling(stream, until) => match answer(stream) {
                Ok(true) => {
                    self.found.clear();
                    self.backoff.reset();
                    match std::mem::replace(&mut self.state, State::Connected) {
                        State::Dialling(stream, _) => Dialled::Connected(stream),
                        _ => Dialled::Nothing,
                    }
                }
                Ok(false) if now < *until => Dialled::Nothing,
                Ok(false) => self.dial(io::ErrorKind::TimedOut.into(), registry, now),
                Err(error) => self.dial(error, registry, now),
            },
        }
    }

    /// When the next turn is due although nothing was reported.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Paused(until) | State::Dialling(_, until) => Some(until),
            State::Looking(_, late) => late,
            State::Connected => None,
        }
    }

    /// The connection that it had given out is over.
    pub fn lost(&mut self, now: Instant) {
        self.state = State::Paused(now + self.backoff.pause());
    }

    /// A name is looked up anew for each round: it may have moved.
    fn look_up(&mut self, registry: &Registry, now: Instant) -> Dialled {
        if let Ok(address) = self.address.parse() {
            return self.tell_found(Ok([address].into()), registry, now);
        }
        let (tell, answer) = sync_channel(1);
        let (address, waker, resolve) = (self.address.clone(), self.waker.clone(), self.resolve);
        let looking = move || {
            // Nobody hears it if the gateway has ended meanwhile.
            let _ = tell.send(resolve(&address));
            // The only failure is that it is being woken already.
            let _ = waker.wake();
        };
        match std::thread::Builder::new().name("look-up".to_owned()).spawn(looking) {
            Ok(_) => {
                self.state = State::Looking(answer, now.checked_add(PATIENCE));
                Dialled::Nothing
            }
            Err(error) => self.dial(error, registry, now),
        }
    }

    fn tell_found(&mut self, found: Found, registry: &Registry, now: Instant) -> Dialled {
        let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let why = match found {
            Ok(found) => {
                self.found = found;
                none
            }
            Err(error) => error,
        };
        self.dial(why, registry, now)
    }

    /// Tries the next address, for a name may have several, such as `localhost` has of two kinds. When all were tried it
    /// pauses; `why` is what became of the last one.
    fn dial(&mut self, mut why: io::Error, registry: &Registry, now: Instant) -> Dialled {
        while let Some(address) = self.found.pop_front() {
            match connect(address, self.token, registry) {
                Ok(stream) => {
                    self.state = State::Dialling(stream, now + PATIENCE);
                    return Dialled::Nothing;
                }
                Err(error) => why = error,
            }
        }
        self.lost(now);
        Dialled::Failed(why)
    }
}

fn resolve(address: &str) -> Found {
    address.to_socket_addrs().map(Iterator::collect)
}

fn connect(address: SocketAddr, token: Token, registry: &Registry) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Whether the connection stands.
fn answer(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // Where nobody listens, the system may give the near end the very port that it calls.
        Ok(peer) if stream.local_addr().is_ok_and(|local| local == peer) => {
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there: it has met itself"))
        }
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
    use std::sync::Mutex;

    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn now() -> Instant {
        Instant::now()
    }

    /// A dialer that calls a listener by this name, with its poll.
    fn dialer(host: &str, listener: &TcpListener) -> (Dialer, Poll) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(1)).unwrap());
        let address = format!("{host}:{}", listener.local_addr().unwrap().port());
        (Dialer::new(&address, Token(0), waker, now()), poll)
    }

    fn until_connected(mut dialer: Dialer, mut poll: Poll) {
        let mut events = Events::with_capacity(8);
        loop {
            match dialer.turn(poll.registry(), now()) {
                Dialled::Connected(_) => return,
                Dialled::Failed(error) => panic!("{error}"),
                Dialled::Nothing => {
                    let wait = dialer.due().map(|due| due.saturating_duration_since(now()));
                    poll.poll(&mut events, wait).unwrap();
                }
            }
        }
    }

    /// Whatever `localhost` is, one of its addresses is that of the listener.
    #[test]
    fn every_address_of_a_name_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (dialer, poll) = dialer("localhost", &listener);
        until_connected(dialer, poll);
    }

    /// The loop goes on, hears of it once, and is woken when the name is known.
    #[test]
    fn a_look_up_that_takes_long_holds_nobody_up() {
        static SLOW: Mutex<()> = Mutex::new(());
        fn slow(address: &str) -> Found {
            drop(SLOW.lock());
            resolve(address)
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut dialer, poll) = dialer("localhost", &listener);
        dialer.resolve = slow;
        let held = SLOW.lock().unwrap();
        let start = now();
        assert!(matches!(dialer.turn(poll.registry(), start), Dialled::Nothing));
        assert_eq!(dialer.due(), Some(start + PATIENCE));
        let told = dialer.turn(poll.registry(), start + PATIENCE);
        assert!(
            matches!(&told, Dialled::Failed(error) if error.kind() == io::ErrorKind::TimedOut),
            "{told:?}"
        );
        assert!(matches!(dialer.turn(poll.registry(), start + 10 * PATIENCE), Dialled::Nothing));
        assert_eq!(dialer.due(), None);
        drop(held);
        until_connected(dialer, poll);
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

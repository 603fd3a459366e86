//! A port that others connect to.

use crate::RateLimit;
use crate::socket;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use multiplane_bus::{Addresses, Place};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long to accept nobody after the descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that the system holds until they are accepted: thousands may come at once.
const BACKLOG: i32 = 4096;
/// What a port alone stands for: this machine only.
const LOOPBACK: &str = "127.0.0.1";

/// A listening socket that survives when descriptors run out.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    /// Kept for telling those who come when there is no descriptor left.
    spare: Option<OwnedFd>,
    accept_after: Option<Instant>,
    complaint: RateLimit,
    addresses: Addresses,
    per_address: usize,
    crowded: RateLimit,
}

/// Who came.
#[derive(Debug)]
pub enum Accept {
    /// A connection, with keep-alive and without delay; its place is to be kept for as long as it lasts, and this machine
    /// needs none.
    Connected(TcpStream, SocketAddr, Option<Place>),
    /// There was no descriptor for it, or its host has too many already: it was turned away, and the log says so.
    TurnedAway,
    /// Nobody, for now.
    Nobody,
}

/// A port cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// It does not read as one.
    #[error(
        "{address:?} is no address to listen at: write PORT, HOST:PORT or [IPV6]:PORT, such as 1500 or 0.0.0.0:1500"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// Somebody else listens there.
    #[error(
        "{address} is in use: stop who listens there (`ss -ltnp 'sport = :{port}'` shows it), or choose another port"
    )]
    InUse {
        /// The address.
        address: String,
        /// Its port.
        port: u16,
    },
    /// No interface of this machine has the address.
    #[error("this machine has no address {address}: use 127.0.0.1, 0.0.0.0 for all, or one of `ip addr`")]
    NoSuchAddress {
        /// The address.
        address: String,
    },
    /// Everything else.
    #[error("cannot listen at {address}: {reason}")]
    Open {
        /// The address.
        address: String,
        /// The system's answer.
        reason: String,
    },
}

impl Listener {
    /// Listens at `PORT` (of this machine only), `HOST:PORT` or `[IPV6]:PORT`; port 0 is any free one. `*` is every
    /// address of this machine.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(address: &str) -> Result<Self, ListenError> {
        let unreadable = || ListenError::Address { address: address.to_owned() };
        let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
        let port: u16 = port.parse().map_err(|_| unreadable())?;
        let host = match host {
            "" => LOOPBACK,
            "*" => "0.0.0.0",
            host => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
        };
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address: address.clone(), port },
            io::ErrorKind::AddrNotAvailable => ListenError::NoSuchAddress { address: address.clone() },
            _ => ListenError::Open { address: address.clone(), reason: error.to_string() },
        };
        let mut found = (host, port).to_socket_addrs().map_err(refused)?;
        let found = found.next().ok_or_else(|| refused(io::ErrorKind::AddrNotAvailable.into()))?;
        let listener = TcpListener::bind(found).map_err(refused)?;
        // mio listens with a backlog of 128; asking again changes it.
        rustix::net::listen(&listener, BACKLOG).map_err(|error| refused(error.into()))?;
        let address = listener.local_addr().map_err(refused)?;
        let spare = listener.as_fd().try_clone_to_owned().ok();
        Ok(Self {
            listener,
            address,
            spare,
            accept_after: None,
            complaint: RateLimit::default(),
            addresses: Addresses::default(),
            per_address: usize::MAX,
            crowded: RateLimit::default(),
        })
    }

    /// Takes no more than so many connections at a time from one address of another host.
    #[must_use]
    pub fn per_address(mut self, most: usize) -> Self {
        self.per_address = most;
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has `token` reported when somebody comes.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// The next one who came. To be called until it is [`Accept::Nobody`], and again at [`due`](Self::due).
    pub fn accept(&mut self, now: Instant) -> Accept {
        if self.accept_after.is_some_and(|after| now < after) {
            return Accept::Nobody;
        }
        self.accept_after = None;
        loop {
            let error = match self.listener.accept() {
                Ok((stream, address)) => match socket::set_options(&stream) {
                    Ok(()) => return self.place(stream, address, now),
                    // It is gone already.
                    Err(_) => continue,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Accept::Nobody,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => error,
            };
            // Out of descriptors: who waits is turned away with the spare one, and need not wonder. Without that he is
            // taken later.
            let turned_away = self.spare.take().is_some() && self.listener.accept().is_ok();
            self.spare = self.listener.as_fd().try_clone_to_owned().ok();
            let address = self.address;
            self.complaint.complain(now, |before| {
                tracing::warn!(%address, %error, before, "refused: raise the limit of open files, see `ulimit -n`");
            });
            if turned_away {
                return Accept::TurnedAway;
            }
            self.accept_after = Some(now + PAUSE);
            return Accept::Nobody;
        }
    }

    /// Lets somebody in whose host has not too many connections.
    fn place(&mut self, stream: TcpStream, address: SocketAddr, now: Instant) -> Accept {
        if is_loopback(address.ip()) {
            return Accept::Connected(stream, address, None);
        }
        let limit = self.per_address;
        match self.addresses.enter(address.ip(), limit) {
            Some(place) => Accept::Connected(stream, address, Some(place)),
            None => {
                self.crowded.complain(now, |before| {
                    tracing::warn!(%address, limit, before, "refused: its host has too many connections");
                });
                Accept::TurnedAway
            }
        }
    }

    /// When to accept again although nobody was reported.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.accept_after
    }
}

/// Whether only this machine reaches it.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine_only() {
        for address in ["0", ":0", "127.0.0.1:0", "localhost:0"] {
            let listener = Listener::bind(address).unwrap();
            assert!(is_loopback(listener.address().ip()), "{address}");
        }
        for address in ["0.0.0.0:0", "*:0"] {
            assert!(!is_loopback(Listener::bind(address).unwrap().address().ip()), "{address}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn one_host_does_not_take_the_places_of_another() {
        let mut listener = Listener::bind("0").unwrap().per_address(2);
        let (door, now) = (listener.address(), Instant::now());
        let mut comes = |from: &str| {
            let stream = TcpStream::connect(door).unwrap();
            match listener.place(stream, from.parse().unwrap(), now) {
                Accept::Connected(_, _, place) => Some(place),
                Accept::TurnedAway | Accept::Nobody => None,
            }
        };
        let places = ["192.0.2.1:1", "[::ffff:192.0.2.1]:2"].map(&mut comes);
        assert!(places.iter().flatten().all(Option::is_some));
        assert!(comes("192.0.2.1:3").is_none());
        assert!(comes("192.0.2.2:1").is_some());
        let here: Vec<_> = (0..5).map(|_| comes("127.0.0.1:1")).collect();
        assert!(here.iter().all(|place| place.as_ref().is_some_and(Option::is_none)));
        drop(places);
        assert!(comes("192.0.2.1:3").is_some());
    }

    #[test]
    fn errors_name_the_place_and_the_cure() {
        let taken = Listener::bind("0").unwrap();
        let port = taken.address().port();
        let says = |address: &str, part: &str| {
            let error = Listener::bind(address).unwrap_err().to_string();
            assert!(error.contains(part), "{address}: {error}");
        };
        says(&port.to_string(), &format!("127.0.0.1:{port} is in use: stop who listens there"));
        says("192.0.2.1:0", "this machine has no address 192.0.2.1:0");
        for wrong in ["", "x", "host", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x"] {
            says(wrong, "write PORT, HOST:PORT");
        }
    }
}

//! One connection after another to the same endpoint.

use super::stream::Stream;
use crate::events::Transport;
use crate::io::Readiness;
use crate::io::curve::Dialler;
use crate::worker::after;
use mio::{Registry, Token};
use multiplane_core::Budget;
use multiplane_ring::queue::{Receiver, TryRecvError, bounded};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A host that answers nothing to a connection attempt is asked again.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// What happened to a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Connected: the handshake may begin.
    Open,
    /// Another attempt begins.
    Retried,
}

enum Phase<S> {
    /// Tries at this time.
    Waiting(Instant),
    /// The name is being looked up, on a thread of its own, for that may take seconds.
    Resolving(Receiver<io::Result<Vec<SocketAddr>>>),
    Connecting(S, Instant),
    Open(S),
}

pub(super) struct Wire<S> {
    host: String,
    port: u16,
    budget: Arc<Budget>,
    security: Option<Dialler>,
    /// Called by the thread that has found the addresses.
    wake: Arc<dyn Fn() + Send + Sync>,
    phase: Phase<S>,
    /// Attempts since the last connection that was worth it.
    attempts: u32,
    /// The socket may have something to read.
    pub(super) readable: bool,
    /// The socket may take something.
    pub(super) writable: bool,
    /// The peer has sent its last byte, so nothing more will be announced.
    ended: bool,
}

impl<S: Stream> Wire<S> {
    /// `endpoint` as `tcp://HOST:PORT`.
    pub(super) fn new(
        endpoint: &str,
        security: Option<Dialler>,
        budget: &Arc<Budget>,
        wake: Arc<dyn Fn() + Send + Sync>,
        now: Instant,
    ) -> io::Result<Self> {
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("{endpoint} is no tcp://HOST:PORT"));
        let (host, port) =
            endpoint.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            budget: budget.clone(),
            security,
            wake,
            phase: Phase::Waiting(now),
            attempts: 0,
            readable: false,
            writable: false,
            ended: false,
        })
    }

    pub(super) fn ready(&mut self, what: Readiness) {
        self.ended |= what.ended;
        self.readable |= what.readable || self.ended;
        self.writable |= what.writable;
    }

    #[inline]
    pub(super) fn stream(&mut self) -> Option<&mut S> {
        if let Phase::Open(stream) = &mut self.phase { Some(stream) } else { None }
    }

    pub(super) fn transport(&self) -> Transport {
        if let Phase::Open(stream) = &self.phase { stream.transport() } else { Transport::Tcp }
    }

    /// Moves to the shorter way that the peer offers; whether there is one.
    pub(super) fn shorten(&mut self, offer: &[u8], registry: &Registry, token: Token) -> bool {
        let Phase::Open(stream) = &mut self.phase else { return false };
        let Some(shorter) = stream.shorten(offer, registry, token) else { return false };
        *stream = shorter;
        (self.readable, self.writable, self.ended) = (true, true, false);
        true
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// All has been read that was announced.
    pub(super) fn read_all(&mut self) {
        self.readable = self.ended;
    }

    /// The connection was good for something, so the next attempt comes soon.
    pub(super) fn worth_it(&mut self) {
        self.attempts = 0;
    }

    /// Goes on with connecting.
    pub(super) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Notice> {
        match &mut self.phase {
            Phase::Waiting(until) if now < *until => None,
            Phase::Waiting(_) => {
                self.attempt(registry, token, now);
                (self.attempts > 1).then_some(Notice::Retried)
            }
            Phase::Resolving(answer) => {
                match answer.try_recv() {
                    Err(TryRecvError::Empty) => {}
                    Ok(Ok(addresses)) => self.connect(&addresses, registry, token, now),
                    Ok(Err(_)) | Err(TryRecvError::Disconnected) => self.fail(now),
                }
                None
            }
            Phase::Connecting(stream, until) => {
                let failed = stream.has_failed() || now >= *until;
                if failed || (self.writable && !stream.is_connected()) {
                    self.fail(now);
                    return None;
                }
                if !self.writable {
                    return None;
                }
                if let Phase::Connecting(stream, _) = std::mem::replace(&mut self.phase, Phase::Waiting(now))
                {
                    self.phase = Phase::Open(stream);
                }
                self.readable = true;
                Some(Notice::Open)
            }
            Phase::Open(_) => None,
        }
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting(until) | Phase::Connecting(_, until) => Some(*until),
            Phase::Resolving(_) | Phase::Open(_) => None,
        }
    }

    /// Ends this connection; the next attempt comes after the back-off.
    pub(super) fn fail(&mut self, now: Instant) {
        let doubled = self.budget.reconnect_interval.saturating_mul(1 << self.attempts.min(16));
        let wait = doubled.min(self.budget.reconnect_maximum);
        // Up to a quarter less, so that those who lost the same backplane do not all come back at once.
        let jitter = S::random() % 256;
        self.phase = Phase::Waiting(after(now, wait - wait / 1024 * jitter as u32));
    }

    fn attempt(&mut self, registry: &Registry, token: Token, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return self.connect(&[SocketAddr::new(address, self.port)], registry, token, now);
        }
        let (reply, answer) = bounded(1);
        let (host, port, wake) = (self.host.clone(), self.port, self.wake.clone());
        let resolve = move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            let _ = reply.send(found);
            wake();
        };
        match std::thread::Builder::new().name("bus-resolver".to_owned()).spawn(resolve) {
            Ok(_) => self.phase = Phase::Resolving(answer),
            Err(_) => self.fail(now),
        }
    }

    fn connect(&mut self, addresses: &[SocketAddr], registry: &Registry, token: Token, now: Instant) {
        // IPv4 first, for `localhost` is often also `::1` where nobody listens; later attempts try the others.
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv4());
        let all = [v4, v6].concat();
        let Some(&address) = all.get((self.attempts as usize).saturating_sub(1) % all.len().max(1)) else {
            return self.fail(now);
        };
        (self.readable, self.writable, self.ended) = (false, false, false);
        match S::connect(address, registry, token) {
            Ok(mut stream) => {
                if let Some(security) = &self.security {
                    stream = stream.secured(security.tunnel());
                }
                self.phase = Phase::Connecting(stream, after(now, CONNECT_PATIENCE));
            }
            Err(_) => self.fail(now),
        }
    }
}

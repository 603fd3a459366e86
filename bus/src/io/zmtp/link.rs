//! What the two ends have in common: a wire, and a session on each of its connections.

use super::inbound::{Filled, Inbound};
use super::session::{Broken, Session};
use super::stream::Stream;
use super::wire::{Notice, Wire};
use crate::events::Transport;
use crate::io::curve::Dialler;
use crate::io::{Readiness, Signal};
use crate::worker::after;
use mio::{Registry, Token};
use multiplane_codec::zmtp::SocketType;
use multiplane_codec::zmtp::curve::{KeyPair, PublicKey};
use multiplane_core::Budget;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// How to come to a backplane.
#[derive(Clone, Debug)]
pub(crate) struct Way<'a> {
    /// `tcp://HOST:PORT`.
    pub(crate) endpoint: &'a str,
    /// Whether to take the Unix socket that it may offer.
    pub(crate) unix: bool,
    pub(crate) curve: Option<Keys>,
}

/// Our keys and that of the backplane, for CURVE.
pub(crate) type Keys = (Arc<KeyPair>, PublicKey);

pub(super) struct Link<S> {
    kind: SocketType,
    budget: Arc<Budget>,
    wire: Wire<S>,
    session: Option<Session>,
    /// The buffer of the last session.
    spare: Option<Inbound>,
    /// Until when the handshake must be done.
    deadline: Instant,
    shortcut: Shortcut,
}

/// What becomes of a shorter way that the peer may offer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortcut {
    Unwanted,
    Wanted,
    /// The connection has moved there.
    Taken,
    /// That was in vain: the next connection stays where it is.
    Failed,
}

impl<S: Stream> Link<S> {
    pub(super) fn new(
        kind: SocketType,
        way: Way<'_>,
        budget: &Arc<Budget>,
        wake: Arc<dyn Fn() + Send + Sync>,
        now: Instant,
    ) -> io::Result<Self> {
        // Nothing leads past CURVE.
        let unix = way.unix && way.curve.is_none();
        let limit = match kind {
            SocketType::Sub | SocketType::XSub => budget.message_bytes,
            SocketType::Pub | SocketType::XPub => budget.subscription_topic_bytes + 64,
        };
        let security = way.curve.map(|(keys, server)| Dialler { keys, server, kind, limit });
        let wire = Wire::new(way.endpoint, security, budget, wake, now)?;
        let shortcut = if unix { Shortcut::Wanted } else { Shortcut::Unwanted };
        let (session, spare, deadline) = (None, None, now);
        Ok(Self { kind, budget: budget.clone(), wire, session, spare, deadline, shortcut })
    }

    pub(super) fn ready(&mut self, what: Readiness) {
        self.wire.ready(what);
    }

    /// The session and its stream, past the handshake.
    #[inline]
    pub(super) fn live(&mut self) -> Option<(&mut Session, &mut S)> {
        let session = self.session.as_mut().filter(|session| session.peer().is_some())?;
        Some((session, self.wire.stream()?))
    }

    #[inline]
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What the connection runs on.
    pub(super) fn transport(&self) -> Transport {
        self.wire.transport()
    }

    /// Whether a read may find something.
    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        self.wire.readable
    }

    /// Bytes that are read and not handled.
    pub(super) fn waiting(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.inbound.bytes().len())
    }

    /// Takes the handling of the last bytes back.
    pub(super) fn unread(&mut self, bytes: usize) {
        self.session.iter_mut().for_each(|session| session.inbound.unread(bytes));
    }

    /// Whether the peer will send nothing more.
    pub(super) fn has_ended(&self) -> bool {
        self.wire.has_ended()
    }

    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        self.wire.writable
    }

    /// The stream takes nothing more until it says so.
    #[inline]
    pub(super) fn is_full(&mut self) {
        self.wire.writable = false;
    }

    /// What has come is of no interest any more, and something may come without an event.
    pub(super) fn ignore_input(&mut self) {
        self.wire.readable = true;
        self.session.iter_mut().for_each(|session| session.inbound.clear());
    }

    /// Reads once; whether anything came.
    #[inline]
    pub(super) fn read(&mut self, now: Instant) -> Result<bool, Broken> {
        if !self.wire.readable {
            return Ok(false);
        }
        let (Some(session), Some(stream)) = (&mut self.session, self.wire.stream()) else { return Ok(false) };
        let filled = session.read_from(stream, now)?;
        if filled != Filled::More {
            self.wire.read_all();
        }
        Ok(filled != Filled::Nothing)
    }

    /// Writes the commands that wait; whether none waits any more.
    pub(super) fn write_control(&mut self) -> Result<bool, Broken> {
        let writable = self.wire.writable;
        let (Some(session), Some(stream)) = (&mut self.session, self.wire.stream()) else { return Ok(false) };
        if !session.has_control() || !writable {
            return Ok(!session.has_control());
        }
        let all = session.write_control(stream)?;
        self.wire.writable = all;
        Ok(all)
    }

    /// Goes on with connecting and shaking hands.
    pub(super) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        match self.wire.advance(registry, token, now) {
            Some(Notice::Open) => {
                if self.shortcut == Shortcut::Taken {
                    self.shortcut = Shortcut::Wanted;
                }
                self.begin(now);
            }
            Some(Notice::Retried) => return Some(Signal::Retried),
            None => {}
        }
        if self.session.as_ref().is_none_or(|session| session.peer().is_some()) {
            return None;
        }
        let mut done = self.shake_hands(now);
        if matches!(done, Ok(true)) && self.take_shortcut(registry, token, now) {
            done = self.shake_hands(now);
        }
        match done {
            Ok(true) => {
                self.wire.worth_it();
                if self.shortcut == Shortcut::Failed {
                    self.shortcut = Shortcut::Wanted;
                }
                Some(Signal::Connected)
            }
            Ok(false) if now < self.deadline => None,
            failed if self.shortcut == Shortcut::Taken => {
                self.shortcut = Shortcut::Failed;
                self.end(now);
                let why = failed.err().map(|broken| broken.to_string());
                tracing::debug!(?why, "a link goes back to TCP: nobody shakes hands on the Unix socket");
                None
            }
            Ok(false) => {
                let waited = self.budget.handshake_deadline.as_secs();
                self.end(now);
                Some(Signal::HandshakeFailed(format!("it has not said hello for {waited} seconds")))
            }
            Err(broken) => {
                self.end(now);
                // Nobody there yet is no news; a stranger is.
                let stranger = matches!(broken, Broken::Refused(_) | Broken::Denied(_));
                stranger.then(|| Signal::HandshakeFailed(broken.to_string()))
            }
        }
    }

    /// Begins a session on a new connection.
    fn begin(&mut self, now: Instant) {
        let inbound = self.spare.take().unwrap_or_else(Inbound::new);
        self.session = Some(Session::start(self.kind, inbound, now));
        self.deadline = after(now, self.budget.handshake_deadline);
    }

    /// Moves to the shorter way if the peer offers one and it can be had. Nothing has been said on the connection but
    /// hello; what the peer has said it says again there.
    fn take_shortcut(&mut self, registry: &Registry, token: Token, now: Instant) -> bool {
        if self.shortcut != Shortcut::Wanted {
            return false;
        }
        let Some(offer) = self.session.as_ref().and_then(Session::offer) else { return false };
        if !self.wire.shorten(offer, registry, token) {
            return false;
        }
        // The peer is there, so that if this fails the next attempt comes soon.
        self.wire.worth_it();
        self.shortcut = Shortcut::Taken;
        self.spare = self.session.take().map(|session| session.inbound);
        self.begin(now);
        true
    }

    fn shake_hands(&mut self, now: Instant) -> Result<bool, Broken> {
        loop {
            self.write_control()?;
            let Some(session) = &mut self.session else { return Ok(false) };
            let done = session.shake_hands();
            if !matches!(done, Ok(None)) {
                // Also a refusal tells the peer why.
                let told = self.write_control();
                done?;
                told?;
                return Ok(true);
            }
            if !self.read(now)? {
                self.write_control()?;
                return Ok(false);
            }
        }
    }

    /// Ends the connection, if there is one. The next attempt follows by itself.
    pub(super) fn end(&mut self, now: Instant) {
        self.spare = self.session.take().map(|session| session.inbound).or(self.spare.take());
        self.wire.fail(now);
    }

    /// Asks a peer that is silent for a sign of life, or gives it up; see [`Session::keep_alive`].
    pub(super) fn keep_alive(&mut self, sent: u64, now: Instant) -> Result<(), Broken> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.keep_alive(sent, now)?;
        self.write_control().map(|_| ())
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        let shaking = self.session.as_ref().filter(|session| session.peer().is_none());
        shaking.map(|_| self.deadline).or(self.wire.due())
    }

    pub(super) fn excuse_silence(&mut self, now: Instant) {
        self.session.iter_mut().for_each(|session| session.excuse_silence(now));
    }
}

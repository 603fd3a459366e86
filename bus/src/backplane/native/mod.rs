//! The native backplane: ZMTP on plain sockets, one thread, one `mio` poll. Here is what waits, accepts and knows the
//! time; what is done with the bytes is the [`Forwarder`]'s.
//!
//! A chunk is read from a publisher, the borders of its messages are found in place, and a run of messages that the
//! same subscribers want goes to each of them as one piece: shared if it is long, copied behind the others if it is
//! short. All that a turn gathered for a subscriber leaves in one `writev`.

mod addresses;
mod chunk;
mod connection;
mod courtesy;
mod delivery;
mod forwarder;
mod gate;
mod guard;
mod hosted;
mod listener;
mod peers;
mod queue;
mod router;
#[cfg(test)]
pub(crate) mod simulated;
mod team;
mod wishes;

use super::{BackplaneBuilder, Security, Shared};
use crate::io::Socket;
use crate::worker::{RateLimit, now};
pub use addresses::{Addresses, Place};
use connection::{Newcomer, Side};
use courtesy::{Courtesy, Moved};
use forwarder::{Forwarder, Readiness};
pub(crate) use hosted::Hosted;
pub(super) use listener::{Listener, bind};
use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use team::Team;

const WAKE: Token = Token(0);
/// Listener `n` has token `LISTENERS + n`, and there are at most four.
const LISTENERS: usize = 1;
/// Connection `n` has token `FIRST + n`.
const FIRST: usize = LISTENERS + 4;

/// Connections taken from a listener in one turn: a flood of them must not starve the others.
const ACCEPTS: usize = 64;

/// While there are at most so many connections, subscribers on this machine are sent to without the pacing that some
/// systems have by default (BBR): that doubled the rate of one and raised that of two by half. With 8 or 64 the pacing is
/// better left, for it gathers more for each time that a subscriber wakes up.
const FEW: usize = 6;

/// How long to accept nobody after the descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Native {
    shared: Arc<Shared>,
    name: String,
    poll: Poll,
    /// Of the poll.
    registry: Arc<Registry>,
    listeners: Vec<Listener>,
    addresses: Addresses,
    /// Connections of one of them.
    places: usize,
    forwarder: Forwarder<Socket>,
    security: Option<Security>,
    /// Kept for telling those who come when there is no descriptor left.
    spare: Option<OwnedFd>,
    /// Accept nobody until then.
    accept_after: Option<Instant>,
    complaint: RateLimit,
}

impl Native {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut listeners: Vec<Listener>,
        builder: &BackplaneBuilder,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&shared.wake.fd().as_raw_fd()), WAKE, Interest::READABLE)?;
        for (n, listener) in listeners.iter_mut().enumerate() {
            listener.register(registry, Token(LISTENERS + n))?;
        }
        Ok(Self {
            forwarder: Forwarder::new(builder, shared.counters.clone()),
            name: builder.name.clone(),
            security: builder.security.clone(),
            shared,
            registry: Arc::new(poll.registry().try_clone()?),
            poll,
            listeners,
            addresses: Addresses::default(),
            places: builder.budget.connections_per_address,
            spare: None,
            accept_after: None,
            complaint: RateLimit::new(),
        })
    }

    /// As many as `shared`, joined with each other; the first one accepts for all.
    pub(super) fn team(
        shared: &[Arc<Shared>],
        mut listeners: Vec<Listener>,
        builder: &BackplaneBuilder,
    ) -> io::Result<Vec<Self>> {
        let first = |shared: &Arc<Shared>| Self::new(shared.clone(), std::mem::take(&mut listeners), builder);
        let natives = shared.iter().map(first);
        let mut natives = natives.collect::<io::Result<Vec<_>>>()?;
        if natives.len() > 1 {
            let teams = Team::form(shared, builder.budget.subscriptions);
            natives.iter_mut().zip(teams).for_each(|(native, team)| native.forwarder.join(team));
        }
        for from in 0..natives.len() {
            for to in (0..natives.len()).filter(|&to| to != from) {
                let (ours, theirs) = UnixStream::pair()?;
                natives[from].connect_joint(ours, Side::Subscriber, to)?;
                natives[to].connect_joint(theirs, Side::Publisher, from)?;
            }
        }
        Ok(natives)
    }

    fn connect_joint(&mut self, stream: UnixStream, side: Side, worker: usize) -> io::Result<()> {
        let token = Token(FIRST + self.forwarder.next_id() as usize);
        let mut stream = Socket::unix(stream);
        stream.watch(&self.registry, token)?;
        self.forwarder.connect_joint(stream, side, worker, now());
        Ok(())
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut now = now();
        let mut courtesy = Courtesy::new(now);
        loop {
            let closing = self.shared.closing.load(Relaxed) != 0;
            if closing {
                return self.close(&mut events, now);
            }
            self.turn(&mut events, self.sleep(now));
            now = courtesy.after(self.moved(), crate::worker::now(), || {
                std::thread::yield_now();
                crate::worker::now()
            });
            self.expire(now);
        }
    }

    fn moved(&self) -> Moved {
        (self.shared.counters.received.get(), self.shared.counters.received_bytes.get())
    }

    /// How long nothing is due; `None`: for ever.
    fn sleep(&self, now: Instant) -> Option<Duration> {
        if self.forwarder.has_work() {
            return Some(Duration::ZERO);
        }
        Some(self.due()?.saturating_duration_since(now))
    }

    /// When something is due.
    fn due(&self) -> Option<Instant> {
        self.forwarder.first_deadline().into_iter().chain(self.accept_after).min()
    }

    /// Waits, reads, forwards, writes.
    fn turn(&mut self, events: &mut Events, sleep: Option<Duration>) {
        if let Err(error) = self.poll.poll(events, sleep)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(backplane = self.name, %error, "the backplane cannot poll");
        }
        let now = now();
        if self.spare.is_none() {
            self.spare = self.shared.wake.fd().try_clone_to_owned().ok();
        }
        for event in events.iter() {
            match event.token() {
                WAKE => {
                    let asked = std::mem::take(&mut *self.shared.asked());
                    for answer in asked {
                        let _ = answer.send(self.forwarder.peers.slow_subscribers());
                    }
                    let newcomers = self.forwarder.team.as_ref().map(Team::newcomers);
                    for newcomer in newcomers.into_iter().flatten() {
                        self.take_in(newcomer, now);
                    }
                }
                Token(token @ LISTENERS..FIRST) => self.accept(token - LISTENERS, now),
                Token(token) => {
                    let what = Readiness {
                        readable: event.is_readable(),
                        writable: event.is_writable(),
                        ended: event.is_read_closed() || event.is_error(),
                    };
                    self.forwarder.ready((token - FIRST) as u32, what);
                }
            }
        }
        self.forwarder.turn(now);
    }

    fn accept(&mut self, nth: usize, now: Instant) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get(nth) else { return };
            match listener.accept() {
                Ok((mut newcomer, address))
                    if self.forwarder.has_place(&newcomer.address, listener.over_limit(), now) =>
                {
                    if let Some(address) = address {
                        newcomer.place = self.addresses.enter(address, self.places);
                        if newcomer.place.is_none() {
                            self.refuse_address(&newcomer.address, now);
                            continue;
                        }
                    }
                    let ours = match &mut self.forwarder.team {
                        Some(team) => team.deal(newcomer),
                        None => Some(newcomer),
                    };
                    if let Some(newcomer) = ours {
                        self.take_in(newcomer, now);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors: who waits is turned away with the spare one, and need not wonder. Without
                    // that he is taken later.
                    let turned_away = self.spare.take().is_some() && listener.accept().is_ok();
                    self.spare = self.shared.wake.fd().try_clone_to_owned().ok();
                    self.complaint.complain(now, |before| {
                        tracing::warn!(backplane = self.name, %error, before, "refused: raise the limit of open files, see `ulimit -n`");
                    });
                    if !turned_away {
                        self.accept_after = Some(now + ACCEPT_PAUSE);
                        return;
                    }
                    self.shared.counters.refused.add(1);
                }
            }
        }
        // There may be more, and there will be no event for them.
        self.accept_after = Some(now);
    }

    /// Turns away one more from an address that has as many connections as it may.
    fn refuse_address(&mut self, address: &str, now: Instant) {
        self.shared.counters.refused.add(1);
        let limit = self.places;
        self.complaint.complain(now, |before| {
            tracing::warn!(
                backplane = self.name,
                address,
                limit,
                before,
                "refused: too many connections from this address"
            );
        });
    }

    fn take_in(&mut self, mut newcomer: Newcomer<Socket>, now: Instant) {
        let token = Token(FIRST + self.forwarder.next_id() as usize);
        // Closing the socket takes it out of the poll.
        let unpaced =
            newcomer.side == Side::Subscriber && newcomer.is_here && self.forwarder.connections() < FEW;
        let opened =
            newcomer.stream.set_options(unpaced).and_then(|()| newcomer.stream.watch(&self.registry, token));
        match opened {
            Ok(()) => {
                if let Some(security) = &self.security {
                    newcomer.stream = newcomer.stream.secured(self.forwarder.tunnel(security, newcomer.side));
                }
                self.forwarder.connect(newcomer, now);
            }
            Err(error) => {
                let address = newcomer.address;
                if let Some(team) = &self.forwarder.team {
                    team.has_left();
                }
                self.complaint.complain(now, |before| {
                    tracing::warn!(backplane = self.name, address, %error, before, "a connection failed");
                });
            }
        }
    }

    /// Does what time demands.
    fn expire(&mut self, now: Instant) {
        if self.accept_after.is_some_and(|after| now >= after) {
            self.accept_after = None;
            (0..self.listeners.len()).for_each(|nth| self.accept(nth, now));
        }
        self.forwarder.expire(now);
    }

    fn close(mut self, events: &mut Events, asked: Instant) {
        let deadline = Duration::from_nanos(self.shared.closing.load(Relaxed).saturating_sub(1));
        self.finish(events, asked, asked + deadline);
    }

    /// Forwards what has arrived, for at most half of the time, and writes it for at most the rest.
    fn finish(&mut self, events: &mut Events, asked: Instant, end: Instant) {
        let half = asked + end.saturating_duration_since(asked) / 2;
        self.listeners.clear();
        self.accept_after = None;
        let mut takes = true;
        loop {
            let now = crate::worker::now();
            if now >= end {
                break;
            }
            if takes && now >= half {
                // From here on we ourselves hold the publishers.
                takes = false;
                self.forwarder.hold();
            }
            let waits = self.shared.counters.queued() > 0 || self.forwarder.waits_for_joints();
            let next = if takes { half } else { end };
            let sleep = if waits && !self.forwarder.has_work() {
                next.saturating_duration_since(now)
            } else {
                Duration::ZERO
            };
            self.turn(events, Some(sleep));
            // Whoever wrote before we were asked to close is readable at once.
            let is_done = !waits
                && events.is_empty()
                && !self.forwarder.has_work()
                && self.shared.counters.queued() == 0
                && !self.forwarder.waits_for_joints();
            if is_done && !self.forwarder.part(now) {
                break;
            }
        }
        self.forwarder.disconnect_all(asked);
        // What comes too late is counted. The others end when we do.
        while self.forwarder.hears_joints() {
            let sleep = self.forwarder.has_work().then_some(Duration::ZERO);
            self.turn(events, sleep);
        }
    }
}

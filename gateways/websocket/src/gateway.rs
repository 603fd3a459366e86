//! What happens in a turn of the loop.

use crate::config::{Config, ConfigError};
use crate::connection::{Connection, Phase, Reading};
use crate::desk::Desk;
use crate::http::{self, Gate};
use crate::report::{Event, Report, Stats};
use crate::session::Session;
use crate::translate::Copies;
use crate::transport::Security;
use crate::view::{CLIENTS, Row};
use jiff::tz::TimeZone;
use mio::{Interest, Registry, Token};
use multiplane_bridge::{
    Accept, ListenError, Listener, Running, Setup, Turn, Work, is_loopback, spawn, start_bus,
};
use multiplane_bus::{Builder, Bus, BusError, Direction, OwnedMessage, TryRecvError};
use slab::Slab;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The listener's token; those of connections are behind it.
const LISTENER: Token = Token(0);
/// Messages of the bus taken in one turn, and connections accepted: the others wait meanwhile.
const BATCH: usize = 1024;
const ACCEPTED: usize = 64;
/// How often the links are looked at while clients are connected.
const LINKS: Duration = Duration::from_millis(500);

/// The gateway cannot begin; the message says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// What it was told does not go.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bus cannot begin.
    #[error(transparent)]
    Bus(#[from] multiplane_bus::StartError),
    /// The bus has no publisher or subscriber left.
    #[error(transparent)]
    Backplane(#[from] BusError),
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system has no descriptor or thread left.
    #[error("the gateway cannot begin: {0}")]
    System(#[from] io::Error),
}

/// The gateway between the bus and its clients. Made by [`start`]; it comes back when it has stopped.
pub struct Gateway {
    desk: Desk,
    listener: Listener,
    security: Security,
    connections: Slab<Connection>,
    /// Those with work to do in the next turn.
    list: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    registry: Registry,
    accepting: bool,
    links_at: Instant,
    zone: TimeZone,
    stopping: bool,
    bus_ended: bool,
    /// Last to go: what the others hold belongs to it.
    bus: Bus,
}

/// Links a component to the backplanes of its routing specification, listens for clients, and works on a thread of its own.
/// `tell` is called there with what people may want to see. Bounds of the component and when it starts are the gateway's.
///
/// The backplanes need not be there yet: the gateway keeps trying.
///
/// # Errors
/// [`StartError`].
pub fn start(
    component: Builder,
    config: Config,
    tell: impl FnMut(&Event<'_>) + Send + 'static,
) -> Result<Running<Gateway>, StartError> {
    config.check()?;
    let security = Security::new(config.tls.as_ref())?;
    let listener = Listener::bind(&config.listen)?.per_address(config.connections_per_address);
    config.check_reach(is_loopback(listener.address().ip()))?;
    let bus = start_bus(component, config.queue)?;
    spawn("websocket-gateway", |setup| Gateway::new(bus, config, security, listener, Box::new(tell), setup))
}

impl Gateway {
    fn new(
        bus: Bus,
        config: Config,
        security: Security,
        mut listener: Listener,
        tell: Box<dyn FnMut(&Event<'_>) + Send>,
        setup: Setup,
    ) -> Result<Self, StartError> {
        listener.register(&setup.registry, LISTENER)?;
        let gate = Gate {
            loopback: is_loopback(listener.address().ip()),
            token: config.token.is_some(),
            origins: config.origins.clone(),
        };
        let tls = config.tls.is_some();
        let mut desk = Desk::new(&bus, config, gate, tell, &setup)?;
        (desk.tell)(&Event::Listening { address: listener.address(), tls });
        if let Some(inbox) = &desk.inbox {
            let waker = setup.waker.clone();
            // The only failure is that it is being woken already.
            inbox.on_ready(move || drop(waker.wake()));
        }
        Ok(Self {
            desk,
            listener,
            security,
            connections: Slab::new(),
            list: Vec::new(),
            timers: BTreeSet::new(),
            registry: setup.registry,
            accepting: true,
            links_at: setup.now,
            zone: TimeZone::system(),
            stopping: false,
            bus_ended: false,
            bus,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.desk.stats
    }

    /// Whether it stopped because its bus did, which is a fault.
    #[must_use]
    pub fn bus_ended(&self) -> bool {
        self.bus_ended
    }

    /// Closes the bus, which sends for at most `deadline` what clients had sent.
    #[must_use = "the report says what was lost"]
    pub fn close(mut self, deadline: Duration) -> Report {
        for key in self.connections.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove(key, "the gateway ended");
        }
        Report { stats: self.desk.stats, bus: self.bus.close(deadline) }
    }

    /// Lets in who has come, as far as there is room.
    fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..ACCEPTED {
            let (mut stream, peer, place) = match self.listener.accept(now) {
                Accept::Connected(stream, peer, place) => (stream, peer, place),
                Accept::TurnedAway => {
                    self.desk.stats.turned_away += 1;
                    continue;
                }
                Accept::Nobody => {
                    self.accepting = false;
                    return false;
                }
            };
            if self.connections.len() >= self.desk.config.connections {
                if let Security::None = self.security {
                    // It is short, and the socket is empty; whoever does not get it sees the end all the same.
                    let _ = stream.write(&http::full());
                }
                self.desk.stats.turned_away += 1;
                let limit = self.desk.config.connections;
                self.desk.complaints.full.complain(now, |before| {
                    tracing::warn!(%peer, limit, before, "turned a client away: too many are connected");
                });
                continue;
            }
            let entry = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = self.registry.register(&mut stream, Token(entry.key() + 1), interest);
            let wrapped = registered
                .map_err(|error| error.to_string())
                .and_then(|()| self.security.wrap(stream).map_err(|error| error.to_string()));
            match wrapped {
                Ok(transport) => {
                    let key = entry.key();
                    entry.insert(Connection::new(transport, peer, &self.desk, now).with_place(place));
                    enlist(&mut self.connections, &mut self.list, key);
                }
                Err(error) => self.desk.refuse(peer, &error, now),
            }
        }
        true
    }

    /// Those whose time has come get a turn.
    fn wake_those_due(&mut self, now: Instant) {
        while let Some((due, key)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, key));
            if let Some(connection) = self.connections.get_mut(key) {
                connection.timer = None;
                enlist(&mut self.connections, &mut self.list, key);
            }
        }
    }

    fn set_timer(&mut self, key: usize, due: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Later ones are put off until the earlier one has come.
        if connection.timer.is_none_or(|timer| due < timer) {
            if let Some(timer) = connection.timer.replace(due) {
                self.timers.remove(&(timer, key));
            }
            self.timers.insert((due, key));
        }
    }

    /// Gives what the bus has to those who want it. Says whether there may be more.
    fn forward(&mut self, now: Instant) -> bool {
        for _ in 0..BATCH {
            let received =
                self.desk.inbox.as_ref().map_or(Err(TryRecvError::Empty), |inbox| inbox.try_recv());
            match received {
                Ok(message) => self.forward_one(&message, now),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => {
                    self.bus_ended = true;
                    return false;
                }
            }
        }
        true
    }

    fn forward_one(&mut self, message: &OwnedMessage, now: Instant) {
        let Self { desk, connections, list, zone, .. } = self;
        let topic = message.topic();
        let Some(place) = desk.place(message.backplane().name()) else { return };
        if topic.starts_with(crate::desk::OWN) {
            return;
        }
        if desk.is_watched(topic) {
            desk.board.count(place, message, now);
        }
        let mut copies = Copies::new(message, zone);
        let (stats, complaints) = (&mut desk.stats, &mut desk.complaints);
        desk.interest.each(topic, place, |wish| {
            let Some(connection) = connections.get_mut(wish.session) else { return };
            let peer = connection.peer;
            let Some(session) = connection.session_mut() else { return };
            let Some(frame) = copies.get(session.form, session.is_banyan()) else {
                stats.undecodable += 1;
                complaints.undecodable.complain(now, |before| {
                    tracing::warn!(topic, %peer, before, "a payload has no form for a Banyan client");
                });
                return;
            };
            let (dropped, conflated) = match wish.pace {
                None => (session.offer(frame), 0),
                Some(pace) => session.offer_paced((place, topic), pace, frame, now),
            };
            stats.dropped += dropped;
            stats.conflated += conflated;
            if dropped > 0 {
                complaints.slow.complain(now, |before| {
                    tracing::warn!(%peer, before, "dropped messages for a client that takes too little");
                });
            }
            enlist(connections, list, wish.session);
        });
        stats.nulled += copies.nulled;
    }

    /// What one client needs: its deadlines, what it sent, what waits for it. Says when it has to come again.
    fn serve(&mut self, key: usize, now: Instant) -> Option<Turn> {
        let connection = self.connections.get_mut(key)?;
        connection.listed = false;
        if let Some(why) = connection.overdue(&mut self.desk, now) {
            self.remove(key, &why);
            return None;
        }
        let mut turn = None;
        let was_full = !connection.takes_more();
        let holds = matches!(&connection.phase, Phase::Open { held: Some(_), .. });
        if connection.readable || holds {
            match connection.receive(key, &mut self.desk, now) {
                Reading::Dry => {}
                Reading::More => turn = Some(Turn::Again),
                // The backplane wakes us.
                Reading::Held => turn = Some(Turn::Idle),
                Reading::Paused(until) => self.set_timer(key, until),
                Reading::Over(why) => {
                    self.remove(key, &why);
                    return None;
                }
            }
        }
        self.show(key, now);
        let connection = self.connections.get_mut(key)?;
        if connection.writable
            && let Err(error) = connection.flush(&mut self.desk, now)
        {
            let why = match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => "it hung up".to_owned(),
                _ => error.to_string(),
            };
            self.remove(key, &why);
            return None;
        }
        if let Some(session) = connection.over.take() {
            self.ended(key, *session, "the session was ended");
        }
        let connection = self.connections.get(key)?;
        if was_full && connection.takes_more() {
            // It was left unread while it did not take its answers.
            turn = Some(Turn::Again);
        }
        let due = connection.due(&self.desk);
        self.set_timer(key, due);
        if turn.is_some() {
            enlist(&mut self.connections, &mut self.list, key);
        }
        turn
    }

    /// A view for who watches, when it is time.
    fn show(&mut self, key: usize, now: Instant) {
        let watches = self
            .connections
            .get(key)
            .and_then(Connection::session)
            .and_then(|session| session.watch.as_ref());
        if watches.is_none_or(|watch| watch.next > now) {
            return;
        }
        self.look_at_links(now);
        let lost =
            self.bus.stats().iter().map(|stats| stats.inbox_full).sum::<u64>() + self.desk.stats.dropped;
        let rows: Vec<Row> =
            self.connections.iter().take(CLIENTS).map(|(_, connection)| row(connection)).collect();
        let left_out = self.connections.len() - rows.len();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(session) = connection.session_mut() else { return };
        let Some(watch) = &mut session.watch else { return };
        watch.next = now + watch.every;
        let stats = &self.desk.stats;
        match self.desk.board.view(&mut watch.before, (&rows, left_out), (stats, lost), now) {
            Ok(view) => {
                let view = session.form.frame_of(&view);
                session.show(view);
            }
            Err(error) => tracing::error!(%error, "a view has no form"),
        }
    }

    fn look_at_links(&mut self, now: Instant) {
        while let Some(event) = self.bus.events().try_recv() {
            self.desk.board.link(&event, now);
        }
        for stats in self.bus.stats() {
            let links =
                [(Direction::Publish, stats.publisher_link), (Direction::Subscribe, stats.subscriber_link)];
            for (direction, state) in links {
                let name = stats.backplane.name();
                state.into_iter().for_each(|state| self.desk.board.correct(name, direction, state, now));
            }
        }
    }

    fn ended(&mut self, key: usize, session: Session, why: &str) {
        let unsent = self.desk.stats.unsent;
        self.desk.leave(key, session);
        let unsent = self.desk.stats.unsent - unsent;
        if let Some(connection) = self.connections.get(key) {
            (self.desk.tell)(&Event::Ended { peer: connection.peer, why, unsent });
        }
    }

    fn remove(&mut self, key: usize, why: &str) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let session = match std::mem::replace(&mut connection.phase, Phase::Closing) {
            Phase::Open { session, .. } => session,
            Phase::Head(_) | Phase::Closing => connection.over.take(),
        };
        self.desk.stats.unsent += connection.outgoing.messages();
        // The last word of TLS, if there is one and the socket takes it.
        let _ = connection.transport.flush();
        if let Some(timer) = connection.timer {
            self.timers.remove(&(timer, key));
        }
        if let Some(session) = session {
            self.ended(key, *session, why);
        }
        self.connections.remove(key);
    }
}

/// Puts a connection on the list of those with work to do.
fn enlist(connections: &mut Slab<Connection>, list: &mut Vec<usize>, key: usize) {
    if let Some(connection) = connections.get_mut(key)
        && !std::mem::replace(&mut connection.listed, true)
    {
        list.push(key);
    }
}

fn row(connection: &Connection) -> Row {
    let session = connection.session();
    Row {
        peer: connection.peer,
        kind: session.map_or("new", Session::name),
        topics: session.map_or(0, Session::topics),
        queued: session.map_or(0, Session::queued) + connection.outgoing.messages(),
        sent: connection.sent,
        dropped: session.map_or(0, |session| session.dropped),
        conflated: session.map_or(0, |session| session.conflated),
    }
}

impl Work for Gateway {
    fn ready(&mut self, event: &mio::event::Event, _now: Instant) {
        if event.token() == LISTENER {
            self.accepting = true;
            return;
        }
        let key = event.token().0 - 1;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            connection.writable |= event.is_writable() || event.is_write_closed();
            enlist(&mut self.connections, &mut self.list, key);
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        let due = self.listener.due();
        let mut again =
            !self.stopping && (self.accepting || due.is_some_and(|due| due <= now)) && self.accept(now);
        self.wake_those_due(now);
        again |= self.forward(now);
        // Those that are put on the list meanwhile have their turn in the next one.
        for key in std::mem::take(&mut self.list) {
            again |= self.serve(key, now) == Some(Turn::Again);
        }
        if self.links_at <= now && !self.connections.is_empty() {
            self.look_at_links(now);
            self.links_at = now + LINKS;
        }
        if self.bus_ended || self.stopping && self.connections.is_empty() {
            return Turn::Done;
        }
        if again {
            return Turn::Again;
        }
        let timer = self.timers.first().map(|(due, _)| *due);
        let links = (!self.connections.is_empty()).then_some(self.links_at);
        Turn::first([timer, self.listener.due(), links].into_iter().flatten())
    }

    fn stop(&mut self, now: Instant) {
        self.stopping = true;
        for key in self.connections.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.say_goodbye(now);
                enlist(&mut self.connections, &mut self.list, key);
            }
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("stats", &self.desk.stats).finish_non_exhaustive()
    }
}

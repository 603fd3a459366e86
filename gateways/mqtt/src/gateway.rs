//! What happens in a turn of the loop.

use crate::client::{Client, Message, News, Received};
use crate::config::{Config, FromMqtt, MappingError};
use crate::report::{Event, Report, Stats};
use crate::session::{Over, Session};
use crate::translate::{body_on_bus, to_mqtt, topic_on_bus};
use crate::transport::Security;
use mio::{Registry, Token};
use multiplane_bridge::dialer::Dialled;
use multiplane_bridge::{Backoff, Dialer, RateLimit, Running, Setup, Turn, Work, spawn, start_bus};
use multiplane_bus::{
    Builder, Bus, BusError, Direction, LinkEvent, PublishError, Publisher, Subscriber, TryRecvError,
};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

/// Messages forwarded in one turn: the broker waits meanwhile.
const BATCH: usize = 1024;
/// A link tells nobody when it takes messages again.
const RETRY: Duration = Duration::from_millis(5);
/// The pauses after a broker has not let us in.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
const BROKER: Token = Token(0);

/// The gateway cannot begin; the message says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The mapping cannot be.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The bus cannot begin.
    #[error(transparent)]
    Bus(#[from] multiplane_bus::StartError),
    /// The mapping names a backplane that the routing specification has not, or one without the port that it needs.
    #[error(transparent)]
    Backplane(#[from] BusError),
    /// TLS cannot be had; the message says why.
    #[error("{0}")]
    Tls(String),
    /// The system has no descriptor or thread left.
    #[error("the gateway cannot begin: {0}")]
    System(#[from] io::Error),
}

/// The gateway between the bus and a broker. Made by [`start`]; it comes back when it has stopped.
pub struct Gateway {
    config: Config,
    client_id: String,
    tell: Box<dyn FnMut(&Event<'_>) + Send>,
    stats: Stats,
    complaints: Complaints,
    registry: Registry,
    dialer: Dialer,
    security: Security,
    /// Whether people know that the broker is away.
    told: bool,
    /// After the broker has not let us in.
    pauses: Backoff,
    pause: Option<Instant>,
    session: Option<Session>,
    /// What the broker has sent and the bus has not taken yet. While there is some, nothing more is read.
    arrived: VecDeque<Arrived>,
    /// What is to be published next: what was not acknowledged on a former connection, then what is taken from the inbox.
    leaving: VecDeque<(Message, u8)>,
    stopping: bool,
    disconnected: bool,
    bus_ended: bool,
    targets: Vec<Target>,
    /// The one bounded queue on the way to the broker.
    inbox: Option<Subscriber>,
    /// Last to go: what the others hold belongs to it.
    bus: Bus,
}

#[derive(Default)]
struct Complaints {
    unreadable: RateLimit,
    unsayable: RateLimit,
    too_large: RateLimit,
    refused: RateLimit,
}

/// A backplane to publish on.
struct Target {
    publisher: Publisher,
    live: bool,
}

/// A message on its way to the bus.
struct Arrived {
    row: usize,
    topic: String,
    payload: Vec<u8>,
    /// To be acknowledged, on the connection that it came by.
    id: Option<u16>,
    /// The first backplane that does not have it yet.
    begin: usize,
}

/// Links a component to the backplanes of its routing specification and to the broker, and works on a thread of its own.
/// `tell` is called there with what people may want to see. Bounds of the component and when it starts are the gateway's.
///
/// Neither the broker nor backplanes need be there yet: the gateway keeps trying.
///
/// # Errors
/// [`StartError`].
pub fn start(
    component: Builder,
    config: Config,
    tell: impl FnMut(&Event<'_>) + Send + 'static,
) -> Result<Running<Gateway>, StartError> {
    config.mapping.check(config.version)?;
    let security = Security::new(&config).map_err(StartError::Tls)?;
    let bus = start_bus(component, config.queue)?;
    spawn("mqtt-gateway", |setup| Gateway::new(bus, config, security, Box::new(tell), setup))
}

/// The backplanes that rows name must be there.
fn check_names(bus: &Bus, config: &Config) -> Result<(), BusError> {
    let to = config.mapping.to_mqtt.iter().flat_map(|row| &row.backplanes);
    let from = config.mapping.from_mqtt.iter().flat_map(|row| &row.backplanes);
    for name in from {
        bus.publisher(name)?;
    }
    for name in to {
        match bus.routing().get(name) {
            Some(route) if route.subscriber_port.is_some() => {}
            Some(_) => return Err(BusError::NotSubscribing { backplane: name.clone() }),
            None => return bus.publisher(name).map(drop),
        }
    }
    Ok(())
}

impl Gateway {
    fn new(
        bus: Bus,
        config: Config,
        security: Security,
        tell: Box<dyn FnMut(&Event<'_>) + Send>,
        setup: Setup,
    ) -> Result<Self, StartError> {
        check_names(&bus, &config)?;
        let mut targets = Vec::new();
        let mut inbox: Option<Subscriber> = None;
        let mirrors = config.mapping.mirrors();
        for route in bus.routing().routes() {
            if route.publisher_port.is_some() {
                let waker = setup.waker.clone();
                // The only failure is that it is being woken already.
                let publisher = bus.publisher(&route.name)?.on_room(move || drop(waker.wake()));
                // By the trailer it knows its own messages again.
                let publisher = if mirrors { publisher.with_trailer() } else { publisher };
                targets.push(Target { publisher, live: false });
            }
            let rows = config.mapping.to_mqtt.iter();
            let wanted = rows.filter(|row| row.backplanes.is_empty() || row.backplanes.contains(&route.name));
            for row in wanted.filter(|_| route.subscriber_port.is_some()) {
                match &inbox {
                    Some(inbox) => inbox.subscribe(&route.name, &row.topic)?,
                    None => inbox = Some(bus.subscriber_of(&route.name, [row.topic.as_str()])?),
                }
            }
        }
        if let Some(inbox) = &inbox {
            let waker = setup.waker.clone();
            inbox.on_ready(move || drop(waker.wake()));
        }
        let client_id = config
            .client_id
            .clone()
            .unwrap_or_else(|| format!("multiplane-{:08x}", RandomState::new().hash_one(0_u8) as u32));
        Ok(Self {
            client_id,
            tell,
            stats: Stats::default(),
            complaints: Complaints::default(),
            registry: setup.registry,
            dialer: Dialer::new(&config.broker, BROKER, setup.waker, setup.now),
            security,
            told: false,
            pauses: Backoff::new(PAUSES.0, PAUSES.1),
            pause: None,
            session: None,
            arrived: VecDeque::new(),
            leaving: VecDeque::new(),
            stopping: false,
            disconnected: false,
            bus_ended: false,
            targets,
            inbox,
            config,
            bus,
        })
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether it stopped because its bus did, which is a fault.
    #[must_use]
    pub fn bus_ended(&self) -> bool {
        self.bus_ended
    }

    /// Closes the bus, which sends for at most `deadline` what had come from the broker.
    #[must_use = "the report says what was lost"]
    pub fn close(self, deadline: Duration) -> Report {
        let mut stats = self.stats;
        let inbox = self.inbox.iter().map(|inbox| inbox.drain().count()).sum::<usize>();
        stats.unsent += (inbox + self.leaving.len()) as u64;
        if let Some(session) = self.session {
            let (unsent, in_flight) = session.end();
            stats.unsent += unsent + in_flight.count() as u64;
        }
        stats.refused += self.arrived.len() as u64;
        drop(self.inbox);
        Report { stats, bus: self.bus.close(deadline) }
    }

    fn connect(&mut self, now: Instant) {
        if self.stopping || self.session.is_some() || self.pause.is_some_and(|until| now < until) {
            return;
        }
        self.pause = None;
        match self.dialer.turn(&self.registry, now) {
            Dialled::Nothing => {}
            Dialled::Connected(socket) => {
                let client = Client::connect(&self.config, &self.client_id, now);
                match client.and_then(|client| Ok((client, self.security.wrap(socket)?))) {
                    Ok((client, stream)) => self.session = Some(Session::new(client, stream)),
                    Err(why) => {
                        self.dialer.lost(now);
                        self.not_let_in(&why, now);
                    }
                }
            }
            Dialled::Failed(error) => {
                let (broker, why) = (self.config.broker.as_str(), error.to_string());
                tracing::info!(broker, why, "waiting for the broker");
                if !std::mem::replace(&mut self.told, true) {
                    (self.tell)(&Event::Waiting { broker, why: &why });
                }
            }
        }
    }

    fn not_let_in(&mut self, why: &str, now: Instant) {
        self.pause = Some(now + self.pauses.pause());
        let broker = self.config.broker.as_str();
        tracing::warn!(broker, why, "the broker does not let the gateway in");
        if !std::mem::replace(&mut self.told, true) {
            (self.tell)(&Event::Refused { broker, why });
        }
    }

    /// Takes what the broker sends, unless the bus has yet to take what came before; whether there may be more.
    fn receive(&mut self, now: Instant) -> Result<bool, Over> {
        if !self.arrived.is_empty() {
            return Ok(false);
        }
        let Some(mut session) = self.session.take() else { return Ok(false) };
        let mut refused = None;
        let more = match session.readable {
            false => Ok(false),
            true => session.read(now, |session, news| match news {
                News::Accepted => self.accepted(),
                News::Refused(why) => refused = Some(why),
                News::NotSubscribed { filter, why } => {
                    tracing::warn!(filter, why, "the broker refuses a subscription");
                    (self.tell)(&Event::NotSubscribed { filter: &filter, why: &why });
                }
                News::Acknowledged(id) => self.stats.to_mqtt += u64::from(session.acknowledged(id)),
                News::Received(message) => self.translate(session, message, now),
                News::Over(_) => {}
            }),
        };
        self.session = Some(session);
        if let Some(why) = refused {
            return Err(why);
        }
        // One chunk at a time, so that what waits for the bus is bounded.
        more.map(|more| more && self.arrived.is_empty())
    }

    fn accepted(&mut self) {
        self.told = false;
        self.pauses.reset();
        let broker = self.config.broker.as_str();
        tracing::info!(broker, "connected to the broker");
        (self.tell)(&Event::Connected { broker });
    }

    /// A message of the broker: its form on the bus, if it has one.
    fn translate(&mut self, session: &mut Session, message: Received, now: Instant) {
        let Received { topic: from, body, id } = message;
        let rows = self.config.mapping.from_mqtt.iter().enumerate();
        let mut rows = rows.filter_map(|(n, row)| topic_on_bus(row, &from).map(|topic| (n, row, topic)));
        let Some((row, FromMqtt { body: form, .. }, topic)) = rows.next() else {
            // A session that the broker kept has other subscriptions than we.
            if let Some(id) = id {
                session.acknowledge(id, now);
            }
            return;
        };
        match body_on_bus(*form, &body) {
            Ok(payload) => self.arrived.push_back(Arrived { row, topic, payload, id, begin: 0 }),
            Err(error) => {
                self.stats.unreadable += 1;
                self.complaints.unreadable.complain(now, |before| {
                    tracing::warn!(topic = from, %error, before, "dropped a message of the broker: its body is not understood");
                });
                // Sent again it would be no better.
                if let Some(id) = id {
                    session.acknowledge(id, now);
                }
            }
        }
    }

    /// Publishes on the bus what came from the broker.
    fn publish(&mut self, now: Instant) -> Published {
        while let Some(event) = self.bus.events().try_recv() {
            let (changed, live) = match event {
                LinkEvent::LinkUp { backplane, direction: Direction::Publish, .. } => (backplane, true),
                LinkEvent::LinkDown { backplane, direction: Direction::Publish, .. } => (backplane, false),
                _ => continue,
            };
            for target in self.targets.iter_mut().filter(|one| one.publisher.backplane() == changed) {
                target.live = live;
            }
        }
        while let Some(message) = self.arrived.front_mut() {
            let names = &self.config.mapping.from_mqtt[message.row].backplanes;
            let wanted = |target: &Target| {
                let name = target.publisher.backplane().name();
                names.is_empty() || names.iter().any(|wanted| wanted == name)
            };
            // While no backplane is there the broker keeps the rest.
            if !self.targets.iter().any(|target| target.live && wanted(target)) {
                return Published::Nowhere;
            }
            for (n, target) in self.targets.iter().enumerate().skip(message.begin) {
                if !wanted(target) {
                    continue;
                }
                match target.publisher.try_publish_raw(&message.topic, &message.payload) {
                    Ok(()) => {}
                    Err(PublishError::Full { .. }) => {
                        message.begin = n;
                        return Published::Full;
                    }
                    Err(error) => {
                        self.stats.refused += 1;
                        let topic = &message.topic;
                        self.complaints.refused.complain(now, |before| {
                            tracing::warn!(topic, %error, before, "the bus refused a message of the broker");
                        });
                    }
                }
            }
            self.stats.from_mqtt += 1;
            if let (Some(id), Some(session)) = (message.id, &mut self.session) {
                session.acknowledge(id, now);
            }
            self.arrived.pop_front();
        }
        Published::All
    }

    /// Hands what the bus has to the broker, as far as it takes it.
    fn forward(&mut self, now: Instant) -> Forwarded {
        for _ in 0..BATCH {
            let Some(session) = &mut self.session else { return Forwarded::All };
            match self.leaving.front() {
                Some((_, qos)) if !session.has_room(*qos) => return Forwarded::Full,
                Some(_) => {
                    let Some((message, qos)) = self.leaving.pop_front() else { return Forwarded::All };
                    let (topic, length) = (message.topic.clone(), message.body.len());
                    if let Err(why) = session.publish(message, qos, now) {
                        self.stats.too_large += 1;
                        self.complaints.too_large.complain(now, |before| {
                            let why = why.as_deref().unwrap_or("it is larger than the broker takes");
                            tracing::warn!(topic, length, why, before, "dropped a message for the broker");
                        });
                    }
                }
                None if !session.has_room(0) => return Forwarded::Full,
                None => match self.inbox.as_ref().map(Subscriber::try_recv) {
                    None | Some(Err(TryRecvError::Empty)) => return Forwarded::All,
                    Some(Err(TryRecvError::Disconnected)) => {
                        self.bus_ended = true;
                        return Forwarded::All;
                    }
                    Some(Ok(message)) => {
                        // What came from here does not go back.
                        let own = message.trailer().is_some_and(|trailer| {
                            self.targets
                                .iter()
                                .any(|one| one.publisher.trailer_id() == Some(trailer.publisher))
                        });
                        if !own {
                            self.leave(&message.as_message(), now);
                        }
                    }
                },
            }
        }
        Forwarded::Enough
    }

    /// A message of the bus: its forms on the side of MQTT.
    fn leave(&mut self, message: &multiplane_bus::Message<'_>, now: Instant) {
        let from = message.backplane().name();
        for row in &self.config.mapping.to_mqtt {
            if !row.backplanes.is_empty() && !row.backplanes.iter().any(|name| name == from) {
                continue;
            }
            match to_mqtt(row, message.topic(), message.payload_bytes()) {
                None => {}
                Some(Ok((topic, body))) => {
                    self.leaving.push_back((Message { topic, body, retain: row.retain }, row.qos));
                }
                Some(Err(error)) => {
                    self.stats.unsayable += 1;
                    let topic = message.topic();
                    self.complaints.unsayable.complain(now, |before| {
                        tracing::warn!(topic, %error, before, "dropped a message of the bus: MQTT cannot say it");
                    });
                }
            }
        }
    }

    fn end(&mut self, why: &str, now: Instant) {
        let Some(session) = self.session.take() else { return };
        let accepted = session.client.accepted();
        let (unsent, in_flight) = session.end();
        self.stats.unsent += unsent;
        for message in in_flight.rev() {
            self.stats.repeated += 1;
            self.leaving.push_front((message, 1));
        }
        // The broker sends them again, but only if it kept a session; twice is better than never.
        self.arrived.iter_mut().for_each(|message| message.id = None);
        self.dialer.lost(now);
        if !accepted {
            return self.not_let_in(why, now);
        }
        let broker = self.config.broker.as_str();
        tracing::info!(broker, why, unsent, "lost the broker");
        (self.tell)(&Event::Lost { broker, why, unsent });
    }

    /// Whether nothing is on its way here any more.
    fn is_settled(&self) -> bool {
        let Some(session) = &self.session else { return true };
        let waits = self.inbox.as_ref().is_some_and(|inbox| !inbox.is_empty());
        !waits && self.leaving.is_empty() && self.arrived.is_empty() && session.is_settled()
    }
}

/// How far publishing what came from the broker got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Published {
    /// The bus has it all.
    All,
    /// A backplane had no room, and wakes us when it has.
    Full,
    /// No backplane is there that it is for.
    Nowhere,
}

/// Why handing on to the broker stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forwarded {
    /// Nothing was left, and whoever brings more wakes us.
    All,
    /// The session had no room.
    Full,
    /// Others have their turn.
    Enough,
}

impl Work for Gateway {
    fn ready(&mut self, _event: &mio::event::Event, _now: Instant) {
        if let Some(session) = &mut self.session {
            session.readable = true;
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        self.connect(now);
        let received = self.receive(now);
        let progress = self.publish(now);
        let published = progress == Published::All;
        let forwarded = self.forward(now);
        let mut again = forwarded == Forwarded::Enough;
        let mut over = received.as_ref().err().cloned();
        if let Some(session) = &mut self.session {
            match session.flush(now, published) {
                Ok(sent) => self.stats.to_mqtt += sent,
                Err(why) => over = over.or(Some(why)),
            }
            // There is room again for what stayed in the inbox. Even if nothing did: it wakes us only after it was found empty.
            again |= forwarded == Forwarded::Full && session.has_room(1);
            // What could not be read before can now.
            again |= published && session.readable;
        }
        if let Some(why) = over {
            self.end(&why, now);
        }
        if self.stopping && self.is_settled() {
            match &mut self.session {
                Some(session) if !self.disconnected => {
                    self.disconnected = true;
                    session.disconnect(now);
                    return Turn::Again;
                }
                _ => return Turn::Done,
            }
        }
        if self.bus_ended {
            return Turn::Done;
        }
        if again {
            return Turn::Again;
        }
        let retry = (progress == Published::Nowhere).then_some(now + RETRY);
        let dial = match &self.session {
            Some(session) => session.client.due(),
            None => self.pause.max(self.dialer.due()),
        };
        Turn::first(retry.into_iter().chain(dial))
    }

    fn stop(&mut self, _now: Instant) {
        self.stopping = true;
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("stats", &self.stats).finish_non_exhaustive()
    }
}

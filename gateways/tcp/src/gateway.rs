//! What happens in a turn of the loop.

use crate::config::{Config, Device, Place};
use crate::connection::{Connection, Desk, End, Reading};
use crate::intake::{Intake, Lane, Piece, Wanted};
use crate::report::{Event, Report, Stats};
use crate::translate::frames;
use bytes::Bytes;
use mio::{Interest, Registry, Token};
use multiplane_bridge::dialer::Dialled;
use multiplane_bridge::{
    Accept, Dialer, ListenError, Listener, Running, Setup, Turn, Work, spawn, start_bus,
};
use multiplane_bus::{Builder, Bus, BusError, Publisher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pieces forwarded to one place in one turn: the others wait meanwhile.
const BATCH: usize = 16;

/// The gateway cannot begin; the message says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is nobody to talk to.
    #[error("the gateway has no device: name one, or listen for them")]
    NoDevice,
    /// The bus cannot begin.
    #[error(transparent)]
    Bus(#[from] multiplane_bus::StartError),
    /// A device names a backplane that the routing specification has not, or one without the port that it needs.
    #[error(transparent)]
    Backplane(#[from] BusError),
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system has no descriptor or thread left.
    #[error("the gateway cannot begin: {0}")]
    System(#[from] io::Error),
}

/// The gateway between the bus and its devices. Made by [`start`]; it comes back when it has stopped.
pub struct Gateway {
    desk: Desk,
    stations: Vec<Station>,
    registry: Registry,
    next_token: usize,
    stopping: bool,
    bus_ended: bool,
    /// What waits for the devices, by station.
    lanes: Arc<[Lane]>,
    /// Last to go: what the others hold belongs to its bus.
    intake: Intake,
}

/// One place where devices are, with what goes where.
struct Station {
    /// Of its listener, or of the connection to its device; those that come have numbers of their own.
    token: Token,
    source: Source,
    topic: String,
    publishers: Vec<Publisher>,
    /// The lane was not found empty, for there was no room.
    unfinished: bool,
    connections: Vec<Connection>,
}

enum Source {
    Dialer { dialer: Dialer, told: bool },
    Listener { listener: Listener },
}

impl Source {
    /// When to connect or accept again although nothing was reported.
    fn due(&self) -> Option<Instant> {
        match self {
            Source::Dialer { dialer, .. } => dialer.due(),
            Source::Listener { listener } => listener.due(),
        }
    }
}

/// Hands a piece to each connection that has room for it.
fn queue(piece: Piece, connections: &mut [Connection], desk: &mut Desk, now: Instant) {
    let (frames, messages) = (Bytes::from(piece.frames), piece.messages);
    for connection in connections {
        if connection.outgoing.has_room(0) {
            connection.outgoing.push(frames.clone(), messages);
            continue;
        }
        desk.stats.slow += u64::from(messages);
        let device = &connection.name;
        desk.complaints.slow.complain(now, |before| {
            tracing::warn!(device, messages, before, "dropped messages for a device that takes too little");
        });
    }
}

/// What is still to do, and when.
struct Agenda {
    again: bool,
    due: Vec<Instant>,
}

/// Links a component to the backplanes of its routing specification and to the devices, and works on a thread of its own.
/// `tell` is called there with what people may want to see. Bounds of the component and when it starts are the gateway's.
///
/// Neither devices nor backplanes need be there yet: the gateway keeps trying.
///
/// # Errors
/// [`StartError`].
pub fn start(
    component: Builder,
    config: Config,
    tell: impl FnMut(&Event<'_>) + Send + 'static,
) -> Result<Running<Gateway>, StartError> {
    if config.devices.is_empty() {
        return Err(StartError::NoDevice);
    }
    let bus = start_bus(component, config.queue)?;
    spawn("tcp-gateway", |setup| Gateway::new(bus, config, Box::new(tell), setup))
}

/// Subscribes the bus to what a device wants.
fn subscribe(bus: &Bus, device: &Device) -> Result<Wanted, BusError> {
    let mut wanted = Wanted { backplanes: Vec::new(), to: device.to.clone(), from: device.from.clone() };
    let all = || bus.routing().routes().iter().map(|route| route.name.clone()).collect();
    let names: Vec<String> = if device.backplanes.is_empty() { all() } else { device.backplanes.clone() };
    for name in names {
        // One that is not there is refused when it is subscribed to.
        if bus.routing().get(&name).is_none_or(|route| route.subscriber_port.is_some()) {
            device.to.iter().try_for_each(|topic| bus.subscribe(&name, topic))?;
            wanted.backplanes.push(name);
        }
    }
    Ok(wanted)
}

impl Gateway {
    fn new(
        bus: Bus,
        config: Config,
        tell: Box<dyn FnMut(&Event<'_>) + Send>,
        setup: Setup,
    ) -> Result<Self, StartError> {
        let devices = config.devices.clone();
        let mut desk = Desk::new(config, tell);
        let mut stations = Vec::with_capacity(devices.len());
        let mut lanes = Vec::with_capacity(devices.len());
        for (n, device) in devices.into_iter().enumerate() {
            let wanted = subscribe(&bus, &device)?;
            lanes.push(Lane::new(wanted, desk.config.width, desk.config.queue, setup.waker.clone()));
            let station = Station::open(&bus, device, Token(n), &setup, &desk.config)?;
            if let Source::Listener { listener } = &station.source {
                let address = listener.address().to_string();
                (desk.tell)(&Event::Listening { address: &address });
            }
            stations.push(station);
        }
        let lanes: Arc<[Lane]> = lanes.into();
        Ok(Self {
            desk,
            next_token: stations.len(),
            stations,
            registry: setup.registry,
            stopping: false,
            bus_ended: false,
            intake: Intake::start(bus, lanes.clone(), setup.waker)?,
            lanes,
        })
    }

    /// The addresses that it listens at, in the order of the devices.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> {
        self.stations.iter().filter_map(|station| match &station.source {
            Source::Listener { listener } => Some(listener.address()),
            Source::Dialer { .. } => None,
        })
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

    /// Closes the bus, which sends for at most `deadline` what devices had sent.
    #[must_use = "the report says what was lost"]
    pub fn close(self, deadline: Duration) -> Report {
        let mut stats = self.desk.stats;
        for station in self.stations {
            let queued = station.connections.iter().map(|connection| connection.outgoing.messages());
            stats.unsent += queued.sum::<u64>();
        }
        let bus = self.intake.close(deadline);
        for lane in self.lanes.iter() {
            while let (Some(piece), _) = lane.take(&mut stats) {
                stats.unsent += u64::from(piece.messages);
            }
        }
        Report { stats, bus }
    }
}

impl Work for Gateway {
    fn ready(&mut self, event: &mio::event::Event, _now: Instant) {
        for station in &mut self.stations {
            for connection in station.connections.iter_mut().filter(|one| one.token == event.token()) {
                connection.readable = true;
            }
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        let mut agenda = Agenda { again: false, due: Vec::new() };
        self.bus_ended |= !self.stopping && self.intake.has_ended();
        for (station, lane) in self.stations.iter_mut().zip(self.lanes.iter()) {
            if !self.stopping {
                station.connect(&self.registry, &mut self.next_token, &mut self.desk, now);
            }
            station.receive(self.stopping, &mut self.desk, now, &mut agenda);
            station.forward(lane, &mut self.desk, now, &mut agenda);
            station.flush(&mut self.desk, now, &mut agenda);
            agenda.due.extend(station.source.due());
        }
        let is_settled = |(station, lane): (&Station, &Lane)| station.is_settled(lane);
        if self.bus_ended || self.stopping && self.stations.iter().zip(self.lanes.iter()).all(is_settled) {
            return Turn::Done;
        }
        if agenda.again { Turn::Again } else { Turn::first(agenda.due) }
    }

    fn stop(&mut self, _now: Instant) {
        self.stopping = true;
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("stats", &self.desk.stats).finish_non_exhaustive()
    }
}

impl Station {
    fn open(
        bus: &Bus,
        device: Device,
        token: Token,
        setup: &Setup,
        config: &Config,
    ) -> Result<Self, StartError> {
        let routes = bus.routing().routes().iter();
        let named = |name: &String| device.backplanes.is_empty() || device.backplanes.contains(name);
        let publishes = routes.filter(|route| route.publisher_port.is_some() && named(&route.name));
        let publishers = publishes.map(|route| {
            let waker = setup.waker.clone();
            Ok(bus.publisher(&route.name)?.on_room(move || drop(waker.wake())))
        });
        let publishers = publishers.collect::<Result<Vec<_>, BusError>>()?;
        let source = match &device.place {
            Place::Connect(address) => Source::Dialer {
                dialer: Dialer::new(address, token, setup.waker.clone(), setup.now),
                told: false,
            },
            Place::Listen(address) => {
                let mut listener = Listener::bind(address)?.per_address(config.connections_per_address);
                listener.register(&setup.registry, token)?;
                Source::Listener { listener }
            }
        };
        Ok(Self { token, source, topic: device.from, publishers, unfinished: false, connections: Vec::new() })
    }

    /// Connects to the device, or accepts those that come.
    fn connect(&mut self, registry: &Registry, next_token: &mut usize, desk: &mut Desk, now: Instant) {
        match &mut self.source {
            Source::Dialer { dialer, told } => match dialer.turn(registry, now) {
                Dialled::Nothing => {}
                Dialled::Connected(stream) => {
                    *told = false;
                    let device = dialer.address();
                    tracing::info!(device, "connected to a device");
                    (desk.tell)(&Event::Connected { device });
                    self.connections.push(Connection::new(
                        stream,
                        self.token,
                        device.to_owned(),
                        &desk.config,
                    ));
                }
                Dialled::Failed(error) => {
                    let (device, why) = (dialer.address(), error.to_string());
                    tracing::info!(device, why, "waiting for a device");
                    if !std::mem::replace(told, true) {
                        (desk.tell)(&Event::Waiting { device, why: &why });
                    }
                }
            },
            Source::Listener { listener } => loop {
                let (mut stream, address, place) = match listener.accept(now) {
                    Accept::Connected(stream, address, place) => (stream, address, place),
                    Accept::TurnedAway => continue,
                    Accept::Nobody => return,
                };
                if self.connections.len() >= desk.config.connections {
                    let limit = desk.config.connections;
                    desk.complaints.refused.complain(now, |before| {
                            tracing::warn!(%address, limit, before, "turned a device away: too many are connected");
                        });
                    continue;
                }
                let token = Token(*next_token);
                *next_token += 1;
                let interest = Interest::READABLE | Interest::WRITABLE;
                if let Err(error) = registry.register(&mut stream, token, interest) {
                    tracing::warn!(%address, %error, "turned a device away");
                    continue;
                }
                let device = address.to_string();
                tracing::info!(device, "a device has connected");
                (desk.tell)(&Event::Connected { device: &device });
                let connection = Connection::new(stream, token, device, &desk.config);
                self.connections.push(connection.with_place(place));
            },
        }
    }

    /// Publishes what the devices send.
    fn receive(&mut self, stopping: bool, desk: &mut Desk, now: Instant, agenda: &mut Agenda) {
        let mut n = 0;
        while let Some(connection) = self.connections.get_mut(n) {
            let overdue = connection.due().is_some_and(|due| due <= now);
            let wanted = connection.holds() || !stopping && (connection.readable || overdue);
            match wanted.then(|| connection.receive(&self.topic, &self.publishers, desk, now)) {
                Some(Err(end)) => {
                    self.end(n, &end, desk, now);
                    continue;
                }
                Some(Ok(Reading::More)) => agenda.again = true,
                // Whoever holds it wakes us.
                Some(Ok(Reading::Dry | Reading::Held)) | None => {}
            }
            n += 1;
        }
    }

    /// Queues what the bus has for the devices.
    fn forward(&mut self, lane: &Lane, desk: &mut Desk, now: Instant, agenda: &mut Agenda) {
        for _ in 0..BATCH {
            // Found empty it wakes us again; nobody there to take anything, it keeps the newest.
            self.unfinished = !self.connections.iter().any(|connection| connection.outgoing.has_room(0));
            if self.unfinished {
                return;
            }
            let (piece, oversize) = lane.take(&mut desk.stats);
            if let Some((topic, error)) = oversize {
                desk.complaints.oversize.complain(now, |before| {
                    tracing::warn!(topic, %error, before, "dropped a message for devices");
                });
            }
            let Some(piece) = piece else { return };
            if desk.config.trace_frames {
                for connection in &self.connections {
                    let device = connection.name.as_str();
                    let tell = |payload: &_| (desk.tell)(&Event::Frame { device, came: false, payload });
                    frames(desk.config.width, &piece.frames, tell);
                }
            }
            queue(piece, &mut self.connections, desk, now);
        }
        agenda.again = true;
    }

    fn flush(&mut self, desk: &mut Desk, now: Instant, agenda: &mut Agenda) {
        let mut n = 0;
        while let Some(connection) = self.connections.get_mut(n) {
            let waited = !connection.outgoing.is_empty();
            if let Err(end) = connection.flush(&mut desk.stats) {
                self.end(n, &end, desk, now);
                continue;
            }
            // There is room again for what stayed in the lane. Even if nothing did: it wakes us only after it was found empty.
            agenda.again |= waited && connection.outgoing.is_empty() && self.unfinished;
            agenda.due.extend(connection.due());
            n += 1;
        }
    }

    fn end(&mut self, n: usize, end: &End, desk: &mut Desk, now: Instant) {
        self.connections.swap_remove(n).end(end, desk);
        if let Source::Dialer { dialer, .. } = &mut self.source {
            dialer.lost(now);
        }
    }

    /// Whether nothing is on its way here any more.
    fn is_settled(&self, lane: &Lane) -> bool {
        (lane.messages() == 0 || self.connections.is_empty())
            && self.connections.iter().all(|one| one.outgoing.is_empty() && !one.holds())
    }
}

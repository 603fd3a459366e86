//! Connections in memory, with all that a network may do to them. One network per thread.

use super::random::Random;
use crate::events::Transport;
use crate::io::Readiness;
use crate::io::curve::Tunnel;
use crate::io::zmtp;
use mio::{Registry, Token};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// The two ends of a connection.
pub(super) const CLIENT: usize = 0;
pub(super) const SERVER: usize = 1;

/// The port that publishers connect to.
pub(super) const PUBLISHER_PORT: u16 = 1;

#[derive(Debug, Default)]
struct End {
    /// What the other end wrote and this one has not read.
    inbox: VecDeque<u8>,
    /// How much of it has arrived.
    arrived: usize,
    /// The other end has closed; and: this end can know.
    fin: bool,
    fin_arrived: bool,
    /// The connection is broken; and: this end can know.
    broken: bool,
    reset: bool,
    /// How much this end may write now, and whether that was too little.
    window: usize,
    blocked: bool,
    closed: bool,
    readable: bool,
    writable: bool,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Refused,
}

#[derive(Debug)]
struct Connection {
    token: usize,
    publishes: bool,
    /// It connects two workers of the backplane: it may be slow, but never breaks.
    joint: bool,
    state: State,
    /// Nothing moves for now.
    held: bool,
    capacity: usize,
    ends: [End; 2],
}

pub(super) struct Network {
    connections: Vec<Connection>,
    /// Those of which an end is open, and perhaps some more.
    alive: Vec<usize>,
    pub(super) random: Random,
    /// Whether anything bad may happen.
    pub(super) faulty: bool,
    /// Whether anything that was written never arrived, from publishers and to subscribers.
    pub(super) lost: [bool; 2],
    /// Whether data comes in pieces, now and then.
    pub(super) piecemeal: bool,
    pub(super) listening: bool,
    /// A digest of all that happened.
    pub(super) trace: u64,
}

thread_local! {
    static NETWORK: RefCell<Network> = RefCell::new(Network::new(0));
}

/// Works on the network of this thread.
pub(super) fn network<T>(work: impl FnOnce(&mut Network) -> T) -> T {
    NETWORK.with_borrow_mut(work)
}

/// Something that a connection tells one of its ends.
pub(super) struct Told {
    pub(super) connection: usize,
    pub(super) end: usize,
    pub(super) token: usize,
    pub(super) what: Readiness,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            connections: Vec::new(),
            alive: Vec::new(),
            random: Random::new(seed),
            faulty: false,
            lost: [false; 2],
            piecemeal: true,
            listening: true,
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(super) fn note(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.trace = (self.trace ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
        }
    }

    fn connect(&mut self, token: Token, publishes: bool) -> Stream {
        let connection = Connection {
            token: token.0,
            publishes,
            joint: false,
            state: State::Connecting,
            capacity: [64, 500, 5_000, 50_000][self.random.below(4)],
            held: self.faulty && self.random.chance(20),
            ends: [End::default(), End::default()],
        };
        Stream { connection: self.add(connection), end: CLIENT }
    }

    /// The connections that still matter.
    fn alive(&mut self) -> Vec<usize> {
        let connections = &self.connections;
        self.alive.retain(|&n| connections[n].ends.iter().any(|end| !end.closed));
        self.alive.clone()
    }

    /// A new connection between two workers of the backplane.
    pub(super) fn join(&mut self) -> usize {
        let capacity = [64, 500, 5_000, 50_000][self.random.below(4)];
        let ends = [End::default(), End::default()];
        let (state, held) = (State::Open, false);
        self.add(Connection { token: 0, publishes: false, joint: true, state, held, capacity, ends })
    }

    fn add(&mut self, connection: Connection) -> usize {
        self.alive.push(self.connections.len());
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// Moves data of all connections, or of some, in random order. Those that can be accepted now are returned, with
    /// whether a publisher calls.
    pub(super) fn pump(&mut self) -> Vec<(usize, bool)> {
        let mut accepted = Vec::new();
        let mut alive = self.alive();
        self.random.shuffle(&mut alive);
        for n in alive {
            let skip = self.piecemeal && self.random.chance(3);
            let connection = &mut self.connections[n];
            if skip || connection.held {
                continue;
            }
            if connection.state == State::Connecting {
                let [client, server] = &mut connection.ends;
                if client.closed {
                    server.closed = true;
                } else if !self.listening || self.faulty && self.random.chance(8) {
                    connection.state = State::Refused;
                    server.closed = true;
                    (client.readable, client.writable, client.ended) = (true, true, true);
                    client.fin_arrived = true;
                } else {
                    connection.state = State::Open;
                    client.writable = true;
                    accepted.push((n, connection.publishes));
                }
            } else if connection.state == State::Open {
                let which = self.random.below(2);
                for end in [which, 1 - which] {
                    self.move_to(n, end);
                    self.widen(n, end);
                }
            }
        }
        accepted
    }

    /// Lets some of what is under way arrive.
    fn move_to(&mut self, n: usize, end: usize) {
        let publishes = self.connections[n].publishes;
        let end = &mut self.connections[n].ends[end];
        let under_way = end.inbox.len() - end.arrived;
        if end.broken {
            if !end.reset {
                self.lost[usize::from(!publishes)] |= under_way > 0;
                end.inbox.truncate(end.arrived);
                end.reset = true;
                (end.readable, end.writable, end.ended) = (true, true, true);
            }
            return;
        }
        if under_way > 0 {
            end.arrived += if self.piecemeal { self.random.part(under_way) } else { under_way };
            end.readable = true;
        }
        if end.fin && !end.fin_arrived && end.arrived == end.inbox.len() {
            end.fin_arrived = true;
            (end.readable, end.ended) = (true, true);
        }
    }

    /// Gives an end room to write.
    fn widen(&mut self, n: usize, end: usize) {
        let connection = &mut self.connections[n];
        let room = connection.capacity.saturating_sub(connection.ends[1 - end].inbox.len());
        let end = &mut connection.ends[end];
        if room > end.window {
            end.window = if self.piecemeal { end.window.max(self.random.part(room)) } else { room };
        }
        if end.blocked && end.window.min(room) > 0 {
            end.blocked = false;
            end.writable = true;
        }
    }

    /// What the clients or the servers are told now, in random order.
    pub(super) fn take_told(&mut self, side: usize) -> Vec<Told> {
        let mut told = Vec::new();
        for n in self.alive() {
            let connection = &mut self.connections[n];
            if connection.held || connection.state == State::Connecting {
                continue;
            }
            for (which, end) in connection.ends.iter_mut().enumerate() {
                let is_here = if connection.joint { side == SERVER } else { side == which };
                if !is_here || end.closed || !(end.readable || end.writable || end.ended) {
                    continue;
                }
                let what = Readiness {
                    readable: std::mem::take(&mut end.readable),
                    writable: std::mem::take(&mut end.writable),
                    ended: std::mem::take(&mut end.ended),
                };
                told.push(Told { connection: n, end: which, token: connection.token, what });
            }
        }
        self.random.shuffle(&mut told);
        told
    }

    /// Whether nothing is under way.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.alive().into_iter().all(|n| {
            let connection = &self.connections[n];
            let is_quiet = |end: &End| {
                let arrives =
                    end.inbox.len() > end.arrived || end.fin && !end.fin_arrived || end.broken && !end.reset;
                end.closed || !(arrives || end.readable || end.writable || end.ended)
            };
            let waits = |end: usize| {
                let [one, other] = [end, 1 - end].map(|end| &connection.ends[end]);
                one.blocked && !one.closed && other.inbox.len() < connection.capacity
            };
            let moves = connection.state == State::Connecting || waits(CLIENT) || waits(SERVER);
            !moves && connection.ends.iter().all(is_quiet)
        })
    }

    /// Something bad happens to some connection.
    pub(super) fn harm(&mut self) {
        let alive = self.alive();
        let Some(&n) = alive.get(self.random.below(alive.len().max(1))) else { return };
        let what = self.random.below(5);
        let connection = &mut self.connections[n];
        if connection.joint {
            return;
        }
        match what {
            0 | 1 => connection.held = !connection.held,
            2 => connection.ends[self.random.below(2)].broken = true,
            _ => connection.ends.iter_mut().for_each(|end| end.broken = true),
        }
        self.note(&[1, n as u64, what as u64]);
    }

    /// From now on all is well.
    pub(super) fn heal(&mut self) {
        (self.faulty, self.piecemeal, self.listening) = (false, false, true);
        for connection in &mut self.connections {
            connection.held = false;
            connection.capacity = 50_000;
            if connection.ends.iter().any(|end| end.broken) {
                connection.ends.iter_mut().for_each(|end| end.broken = true);
            }
        }
    }

    /// What stands, for people.
    pub(super) fn describe(&mut self) -> String {
        let alive = self.alive();
        alive.into_iter().map(|n| format!("\n{n}: {:?}", self.connections[n])).collect()
    }
}

/// One end of a connection.
pub(super) struct Stream {
    connection: usize,
    end: usize,
}

impl Stream {
    pub(super) fn end(connection: usize, end: usize) -> Self {
        Self { connection, end }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        network(|network| {
            let unread = !network.connections[self.connection].ends[self.end].inbox.is_empty();
            let resets = unread && network.random.chance(2);
            let Connection { publishes, joint, .. } = network.connections[self.connection];
            assert!(!(joint && unread) || std::thread::panicking(), "what came from another worker is lost");
            network.lost[usize::from(!publishes)] |= unread;
            let ends = &mut network.connections[self.connection].ends;
            ends[self.end].closed = true;
            ends[self.end].inbox = VecDeque::new();
            ends[self.end].arrived = 0;
            let other = &mut ends[1 - self.end];
            (other.fin, other.broken) = (true, other.broken || resets);
        });
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        network(|network| {
            let end = &mut network.connections[self.connection].ends[self.end];
            let read = end.arrived.min(buffer.len());
            if read == 0 {
                return match (end.reset, end.fin_arrived) {
                    (true, _) => Err(io::ErrorKind::ConnectionReset.into()),
                    (false, true) => Ok(0),
                    (false, false) => Err(io::ErrorKind::WouldBlock.into()),
                };
            }
            for (place, byte) in buffer.iter_mut().zip(end.inbox.drain(..read)) {
                *place = byte;
            }
            end.arrived -= read;
            network.note(&[2, self.connection as u64, self.end as u64, read as u64]);
            Ok(read)
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, all: &[IoSlice<'_>]) -> io::Result<usize> {
        network(|network| {
            let asked: usize = all.iter().map(|bytes| bytes.len()).sum();
            let connection = &mut network.connections[self.connection];
            let publishes = connection.publishes;
            let capacity = connection.capacity;
            let [client, server] = &mut connection.ends;
            let (mine, other) = if self.end == CLIENT { (client, server) } else { (server, client) };
            if mine.reset {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if other.closed {
                mine.broken = true;
                network.lost[usize::from(!publishes)] = true;
                return Ok(asked);
            }
            let written = asked.min(mine.window).min(capacity.saturating_sub(other.inbox.len()));
            mine.blocked |= written < asked;
            mine.window -= written;
            let mut left = written;
            for bytes in all {
                let part = left.min(bytes.len());
                other.inbox.extend(&bytes[..part]);
                left -= part;
            }
            network.note(&[3, self.connection as u64, self.end as u64, written as u64]);
            if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl zmtp::Stream for Stream {
    fn connect(address: SocketAddr, _: &Registry, token: Token) -> io::Result<Self> {
        network(|network| {
            if network.faulty && network.random.chance(10) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(network.connect(token, address.port() == PUBLISHER_PORT))
        })
    }

    fn secured(self, _: Tunnel) -> Self {
        // Nobody asks for it here.
        self
    }

    fn has_failed(&self) -> bool {
        network(|network| network.connections[self.connection].state == State::Refused)
    }

    fn is_connected(&self) -> bool {
        network(|network| network.connections[self.connection].state == State::Open)
    }

    fn shorten(&self, _: &[u8], _: &Registry, token: Token) -> Option<Self> {
        network(|network| {
            let publishes = network.connections[self.connection].publishes;
            network.random.chance(2).then(|| network.connect(token, publishes))
        })
    }

    fn transport(&self) -> Transport {
        Transport::Tcp
    }

    fn close_write(&self) -> io::Result<()> {
        network(|network| network.connections[self.connection].ends[SERVER].fin = true);
        Ok(())
    }

    fn wait_readable(&self, _: Duration) {}

    fn random() -> u64 {
        network(|network| network.random.next())
    }
}

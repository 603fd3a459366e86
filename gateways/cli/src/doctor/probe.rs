//! A visit to a port of a backplane: who is there, and what does it speak?

use crate::clock::now;
use crate::links::Keys;
use multiplane_bus::codec::zmtp::command::{self, Command};
use multiplane_bus::codec::zmtp::curve::{CurveError, MECHANISM, Traffic, client};
use multiplane_bus::codec::zmtp::frame::{self, COMMAND, Header};
use multiplane_bus::codec::zmtp::{GREETING, NULL, greeting};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a port may take for each answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read; no peer has that much to say before somebody subscribes.
const ANSWER: usize = 4096;

/// Which of the two ports, seen from the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Subscriber,
    Publisher,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Subscriber => "subscriber port",
            Side::Publisher => "publisher port",
        }
    }

    /// What we are there.
    fn socket_type(self) -> &'static str {
        match self {
            Side::Subscriber => "SUB",
            Side::Publisher => "PUB",
        }
    }

    /// Whether this is what belongs there.
    pub(super) fn fits(self, theirs: &str) -> bool {
        match self {
            Side::Subscriber => ["XPUB", "PUB"].contains(&theirs),
            Side::Publisher => ["XSUB", "SUB"].contains(&theirs),
        }
    }
}

/// What the visit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// The name leads nowhere.
    NoAddress(String),
    /// The machine says that nobody listens there.
    Refused,
    /// Nothing answers at all.
    Unreachable(String),
    /// Somebody is there and says nothing.
    Silent,
    /// Somebody is there and speaks something else.
    Foreign(String),
    /// ZMTP under CURVE, of which no more is told without a key.
    Secured,
    /// ZMTP without security, and we come with a key.
    Unsecured,
    /// It does not prove that it has the key that it should have.
    NotItself,
    /// It refuses our key.
    NotLetIn,
    /// A peer past its handshake.
    Peer { minor: u8, socket_type: String, round_trip: Option<Duration>, sealed: bool },
}

/// Goes there, says who we are, asks for a sign of life, and leaves.
pub(super) fn visit(host: &str, port: u16, side: Side, keys: Option<&Keys>) -> Visit {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = match (host, port).to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return Visit::NoAddress("it has no address".to_owned()),
        Err(error) => return Visit::NoAddress(error.to_string()),
    };
    let stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Visit::Refused,
        Err(error) => return Visit::Unreachable(error.to_string()),
    };
    // Or the second of two small packets waits for the first to be acknowledged.
    let options = stream
        .set_nodelay(true)
        .and(stream.set_read_timeout(Some(PATIENCE)))
        .and(stream.set_write_timeout(Some(PATIENCE)));
    match options.and_then(|()| talk(stream, side, keys)) {
        Ok(visit) => visit,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Visit::Silent,
        Err(error) => Visit::Foreign(format!("it ends the conversation: {error}")),
    }
}

fn talk(mut stream: TcpStream, side: Side, keys: Option<&Keys>) -> io::Result<Visit> {
    let ours = if keys.is_some() { MECHANISM } else { NULL };
    stream.write_all(&greeting(ours, 1, false))?;
    let mut theirs = [0; GREETING];
    stream.read_exact(&mut theirs[..1])?;
    if theirs[0] != 0xff {
        return Ok(Visit::Foreign(format!("its first byte is {:#04x}, which is not ZMTP", theirs[0])));
    }
    stream.read_exact(&mut theirs[1..])?;
    if theirs[9] != 0x7f || theirs[10] < 3 {
        return Ok(Visit::Foreign("it speaks ZMTP older than 3.0".to_owned()));
    }
    let minor = if theirs[10] == 3 { theirs[11] } else { 1 };
    let mechanism = String::from_utf8_lossy(&theirs[12..32]).trim_end_matches('\0').to_owned();
    match (mechanism.as_str(), keys) {
        (NULL, None) | (MECHANISM, Some(_)) => {}
        (NULL, Some(_)) => return Ok(Visit::Unsecured),
        (MECHANISM, None) => return Ok(Visit::Secured),
        _ => {
            let what =
                format!("it wants the security mechanism {mechanism:?}, and here there are NULL and CURVE");
            return Ok(Visit::Foreign(what));
        }
    }
    let mut metadata = Vec::new();
    command::write_property(&mut metadata, "Socket-Type", side.socket_type().as_bytes());
    let mut peer = Conversation { stream, bytes: Vec::new(), traffic: None };
    let metadata = match keys {
        Some(keys) => match peer.shake_hands(keys, &metadata)? {
            Ok(metadata) => metadata,
            Err(visit) => return Ok(visit),
        },
        None => {
            let mut ready = Vec::new();
            command::write(&mut ready, "READY", &[&metadata]);
            peer.stream.write_all(&ready)?;
            let body = peer.command()?;
            match command::parse(&body) {
                Some(Command::Ready(metadata)) => metadata.to_vec(),
                Some(Command::Error(reason)) => {
                    return Ok(Visit::Foreign(format!("it refuses us: {}", String::from_utf8_lossy(reason))));
                }
                _ => return Ok(Visit::Foreign("its first command is not READY".to_owned())),
            }
        }
    };
    let name = command::property(&metadata, "Socket-Type").unwrap_or_default();
    let socket_type = String::from_utf8_lossy(&name[..name.len().min(32)]).into_owned();
    let round_trip = if minor >= 1 && side.fits(&socket_type) { peer.ping() } else { None };
    Ok(Visit::Peer { minor, socket_type, round_trip, sealed: keys.is_some() })
}

struct Conversation {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// What seals it, past the handshake.
    traffic: Option<Traffic>,
}

impl Conversation {
    /// The handshake of CURVE: what the peer says of itself, or why it comes to nothing.
    fn shake_hands(&mut self, (ours, server): &Keys, metadata: &[u8]) -> io::Result<Result<Vec<u8>, Visit>> {
        let mut random = [0; 48];
        getrandom(&mut random[..], GetRandomFlags::empty())?;
        let (greeted, hello) = client::start(ours, server, &random).map_err(wrong)?;
        let Some(welcome) = self.answer(&hello)? else { return Ok(Err(Visit::NotItself)) };
        let (initiated, initiate) = match greeted.welcome(&welcome, metadata) {
            Ok(next) => next,
            Err(CurveError::Forged { .. }) => return Ok(Err(Visit::NotItself)),
            Err(error) => return Err(wrong(error)),
        };
        let Some(ready) = self.answer(&initiate)? else { return Ok(Err(Visit::NotLetIn)) };
        match initiated.ready(&ready) {
            Ok((traffic, metadata)) => {
                self.traffic = Some(traffic);
                Ok(Ok(metadata))
            }
            Err(CurveError::Refused { .. }) => Ok(Err(Visit::NotLetIn)),
            Err(error) => Err(wrong(error)),
        }
    }

    /// What comes upon a step of the handshake; `None` when the peer hangs up.
    fn answer(&mut self, said: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut step = Vec::new();
        frame::write(&mut step, COMMAND, said);
        let hung_up = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        match self.stream.write_all(&step).and_then(|()| self.command()) {
            Err(error) if hung_up.contains(&error.kind()) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Says a command past the handshake.
    fn say(&mut self, command: &[u8]) -> io::Result<()> {
        let Some(traffic) = &mut self.traffic else { return self.stream.write_all(command) };
        let mut sealed = Vec::new();
        if let Some(header) = Header::parse(command, ANSWER).map_err(wrong)? {
            traffic.seal(COMMAND, &command[header.header..], &mut sealed);
        }
        self.stream.write_all(&sealed)
    }

    /// The body of the next command; messages before it are passed over.
    fn command(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match Header::parse(&self.bytes, ANSWER).map_err(wrong)? {
                Some(header) if self.bytes.len() >= header.total() => {
                    let mut body = self.bytes[header.header..header.total()].to_vec();
                    self.bytes.drain(..header.total());
                    if let Some(traffic) = &mut self.traffic {
                        let opened = traffic.open(&mut body).map_err(wrong)?;
                        if opened.flags & COMMAND != 0 {
                            return Ok(opened.body.to_vec());
                        }
                    } else if header.is_command() {
                        return Ok(body);
                    }
                }
                _ => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; ANSWER];
        match self.stream.read(&mut piece)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.bytes.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }

    /// How long a question takes there and back. A publisher may hear any number of subscriptions before the answer.
    fn ping(&mut self) -> Option<Duration> {
        let mut question = Vec::new();
        command::write_ping(&mut question, 0, b"doctor");
        let start = now();
        self.say(&question).ok()?;
        while start.elapsed() < PATIENCE {
            let body = self.command().ok()?;
            if let Some(Command::Pong(_)) = command::parse(&body) {
                return Some(start.elapsed());
            }
        }
        None
    }
}

fn wrong(error: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}

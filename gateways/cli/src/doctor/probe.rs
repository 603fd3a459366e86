//! A visit to a port of a backplane: who is there, and what does it speak?

use crate::clock::now;
use multiplane_bus::codec::zmtp::command::{self, Command};
use multiplane_bus::codec::zmtp::frame::Header;
use multiplane_bus::codec::zmtp::{GREETING, NULL, greeting};
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
    /// ZMTP under a security mechanism, of which no more is told without a key.
    Secured { mechanism: String },
    /// A peer past its handshake.
    Peer { minor: u8, socket_type: String, round_trip: Option<Duration> },
}

/// Goes there, says who we are, asks for a sign of life, and leaves.
pub(super) fn visit(host: &str, port: u16, side: Side) -> Visit {
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
    match options.and_then(|()| talk(stream, side)) {
        Ok(visit) => visit,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Visit::Silent,
        Err(error) => Visit::Foreign(format!("it ends the conversation: {error}")),
    }
}

fn talk(mut stream: TcpStream, side: Side) -> io::Result<Visit> {
    stream.write_all(&greeting(NULL, 1, false))?;
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
    if mechanism != NULL {
        return Ok(Visit::Secured { mechanism });
    }
    let mut ready = Vec::new();
    let mut metadata = Vec::new();
    command::write_property(&mut metadata, "Socket-Type", side.socket_type().as_bytes());
    command::write(&mut ready, "READY", &[&metadata]);
    stream.write_all(&ready)?;
    let mut input = Input { stream, bytes: Vec::new() };
    let body = input.command()?;
    let socket_type = match command::parse(&body) {
        Some(Command::Ready(metadata)) => {
            let name = command::property(metadata, "Socket-Type").unwrap_or_default();
            String::from_utf8_lossy(&name[..name.len().min(32)]).into_owned()
        }
        Some(Command::Error(reason)) => {
            return Ok(Visit::Foreign(format!("it refuses us: {}", String::from_utf8_lossy(reason))));
        }
        _ => return Ok(Visit::Foreign("its first command is not READY".to_owned())),
    };
    let round_trip = if minor >= 1 && side.fits(&socket_type) { input.ping() } else { None };
    Ok(Visit::Peer { minor, socket_type, round_trip })
}

struct Input {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Input {
    /// The body of the next command; messages before it are passed over.
    fn command(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let header = Header::parse(&self.bytes, ANSWER);
            match header.map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))? {
                Some(header) if self.bytes.len() >= header.total() => {
                    let body = self.bytes[header.header..header.total()].to_vec();
                    self.bytes.drain(..header.total());
                    if header.is_command() {
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
        self.stream.write_all(&question).ok()?;
        while start.elapsed() < PATIENCE {
            let body = self.command().ok()?;
            if let Some(Command::Pong(_)) = command::parse(&body) {
                return Some(start.elapsed());
            }
        }
        None
    }
}

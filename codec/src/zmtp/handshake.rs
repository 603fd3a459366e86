//! From the first byte to READY (RFC 37, "Overall behavior", "Greeting", "The NULL mechanism").

use super::command::{self, Command};
use super::curve::CurveError;
use super::frame::{FrameError, Header};
use super::words_of;

/// Bytes of a greeting.
pub const GREETING: usize = 64;

const SIGNATURE: usize = 10;

/// The mechanism without security.
pub const NULL: &str = "NULL";

/// Bytes that a READY command may have; ours has 28 and what it offers, libzmq's 41.
const READY_LIMIT: usize = 4096;

/// Bytes that the value of a property may have to be kept.
const VALUE_LIMIT: usize = 255;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// Publishes; does not tell its application who subscribes.
    Pub,
    /// Receives what it subscribed to.
    Sub,
    /// A [`Pub`](Self::Pub) that tells.
    XPub,
    /// A [`Sub`](Self::Sub) whose application writes the subscriptions itself.
    XSub,
}

impl SocketType {
    /// As it stands in READY.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SocketType::Pub => "PUB",
            SocketType::Sub => "SUB",
            SocketType::XPub => "XPUB",
            SocketType::XSub => "XSUB",
        }
    }

    fn parse(name: &[u8]) -> Option<Self> {
        let all = [SocketType::Pub, SocketType::Sub, SocketType::XPub, SocketType::XSub];
        all.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    fn publishes(self) -> bool {
        matches!(self, SocketType::Pub | SocketType::XPub)
    }
}

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The minor version of ZMTP 3 that both speak: 0 or 1.
    pub minor: u8,
    /// What its socket is for.
    pub socket_type: SocketType,
}

/// Why a connection cannot be. Each is the peer's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The first bytes are no ZMTP signature.
    #[error("no ZMTP but {what}")]
    NotZmtp {
        /// What it looks like.
        what: &'static str,
    },
    /// ZMTP 1.0 or 2.0.
    #[error("ZMTP {major}.x is too old: the peer needs ZeroMQ 4.0 or newer")]
    TooOld {
        /// The major version.
        major: u8,
    },
    /// Another security mechanism than ours.
    #[error("the peer comes with the security mechanism {name}, and here it is {ours}")]
    Mechanism {
        /// Its name.
        name: String,
        /// The one that is wanted here.
        ours: &'static str,
    },
    /// The CURVE mechanism ends it.
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// The handshake is not what the protocol says.
    #[error("the handshake is wrong: {what}")]
    Protocol {
        /// What is wrong.
        what: &'static str,
    },
    /// A socket that has no business here.
    #[error("a {theirs} socket cannot talk to this port: {cure}")]
    SocketType {
        /// Its type.
        theirs: String,
        /// What may be the matter.
        cure: &'static str,
    },
    /// The peer itself refused.
    #[error("the peer refuses: {reason}")]
    Refused {
        /// In its own words.
        reason: String,
    },
    /// An impossible frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Ready { minor: u8 },
    Done(Peer),
}

/// The handshake of one connection.
///
/// ```
/// use multiplane_codec::zmtp::{Handshake, SocketType};
///
/// let (mut hub, mut to_component) = Handshake::start(SocketType::XPub);
/// let (mut component, mut to_hub) = Handshake::start(SocketType::Sub);
/// while hub.peer().is_none() || component.peer().is_none() {
///     let read = hub.handle(&to_hub, &mut to_component)?;
///     to_hub.drain(..read);
///     let read = component.handle(&to_component, &mut to_hub)?;
///     to_component.drain(..read);
/// }
/// assert_eq!(hub.peer().map(|peer| peer.socket_type), Some(SocketType::Sub));
/// # Ok::<(), multiplane_codec::zmtp::Refusal>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handshake {
    ours: SocketType,
    state: State,
    /// What our READY says besides.
    offered: Option<(&'static str, Box<[u8]>)>,
    /// What we look for in theirs, and what it said.
    sought: Option<&'static str>,
    found: Option<Box<[u8]>>,
}

impl Handshake {
    /// A new connection, and the greeting to send on it at once.
    #[must_use]
    pub fn start(ours: SocketType) -> (Self, Vec<u8>) {
        let state = State::Greeting;
        (Self { ours, state, offered: None, sought: None, found: None }, greeting(NULL, 1, false).to_vec())
    }

    /// Says one thing more in READY. Names that begin with `X-` are for applications (RFC 37, "Connection metadata"); a
    /// peer that does not know one passes over it.
    #[must_use]
    pub fn offering(mut self, name: &'static str, value: &[u8]) -> Self {
        self.offered = Some((name, value.into()));
        self
    }

    /// Keeps what the peer's READY says under this name, up to 255 bytes, for [`found`](Self::found).
    #[must_use]
    pub fn seeking(mut self, name: &'static str) -> Self {
        self.sought = Some(name);
        self
    }

    /// What the peer said under the name that was [sought](Self::seeking).
    #[must_use]
    pub fn found(&self) -> Option<&[u8]> {
        self.found.as_deref()
    }

    /// The other side, once the handshake is done.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        if let State::Done(peer) = self.state { Some(peer) } else { None }
    }

    /// Takes bytes of the peer and appends what has to be sent to `out`; how many bytes were used. Those after the
    /// handshake are not. To be called again when more have come.
    ///
    /// # Errors
    /// [`Refusal`]: close the connection. What is in `out` tells the peer why, if it can understand that.
    pub fn handle(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Refusal> {
        let mut used = 0;
        if self.state == State::Greeting {
            let Some(minor) = read_greeting(input, NULL)? else { return Ok(0) };
            used = GREETING;
            self.state = State::Ready { minor };
            self.write_ready(out);
        }
        if let State::Ready { minor } = self.state {
            let rest = &input[used..];
            let Some(header) = Header::parse(rest, READY_LIMIT)? else { return Ok(used) };
            if !header.is_command() {
                return Err(Refusal::Protocol { what: "a message before READY" });
            }
            let Some(body) = rest.get(header.header..header.total()) else { return Ok(used) };
            self.state = State::Done(self.ready(body, minor, out)?);
            used += header.total();
        }
        Ok(used)
    }

    fn write_ready(&mut self, out: &mut Vec<u8>) {
        let mut metadata = Vec::new();
        command::write_property(&mut metadata, "Socket-Type", self.ours.name().as_bytes());
        if let Some((name, value)) = self.offered.take() {
            command::write_property(&mut metadata, name, &value);
        }
        command::write(out, "READY", &[&metadata]);
    }

    fn ready(&mut self, body: &[u8], minor: u8, out: &mut Vec<u8>) -> Result<Peer, Refusal> {
        let metadata = match command::parse(body) {
            Some(Command::Ready(metadata)) => metadata,
            Some(Command::Error(reason)) => {
                return Err(Refusal::Refused { reason: words_of(reason) });
            }
            _ => return Err(Refusal::Protocol { what: "the first command is not READY" }),
        };
        let Some(theirs) = command::property(metadata, "Socket-Type") else {
            return Err(Refusal::Protocol { what: "READY names no Socket-Type" });
        };
        match SocketType::parse(theirs) {
            Some(socket_type) if socket_type.publishes() != self.ours.publishes() => {
                let found = self.sought.and_then(|name| command::property(metadata, name));
                self.found = found.filter(|value| value.len() <= VALUE_LIMIT).map(Box::from);
                Ok(Peer { minor, socket_type })
            }
            other => {
                command::write_error(out, "Invalid socket type");
                let theirs = words_of(&theirs[..theirs.len().min(32)]);
                let cure = match other {
                    Some(_) => "publisher and subscriber port are probably swapped",
                    None => "only PUB, SUB, XPUB and XSUB talk to a backplane",
                };
                Err(Refusal::SocketType { theirs, cure })
            }
        }
    }
}

/// The greeting of ZMTP 3 with this minor version and security mechanism, whose name has up to 20 bytes; `as_server`: on the
/// server's side of that.
#[must_use]
pub fn greeting(mechanism: &str, minor: u8, as_server: bool) -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    greeting[0] = 0xff;
    greeting[8] = 1;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[11] = minor;
    greeting[12..32].iter_mut().zip(mechanism.bytes()).for_each(|(place, byte)| *place = byte);
    greeting[32] = u8::from(as_server);
    greeting
}

/// Reads a greeting of [`GREETING`] bytes: the minor version of ZMTP 3 that both speak, or `None` when not all of it has come.
///
/// # Errors
/// [`Refusal`], as early as the bytes allow, so that a stranger does not keep a connection by sending nothing more.
pub fn read_greeting(input: &[u8], mechanism: &'static str) -> Result<Option<u8>, Refusal> {
    check_greeting(input, mechanism)?;
    // Whoever is newer than 3.1 comes down to it.
    let minor = |greeting: &[u8; GREETING]| if greeting[10] > 3 { 1 } else { greeting[11].min(1) };
    Ok(input.first_chunk().map(minor))
}

fn check_greeting(input: &[u8], wanted: &'static str) -> Result<(), Refusal> {
    match input.first() {
        None | Some(0xff) => {}
        // What a client begins with, and what a server answers.
        Some(0x15 | 0x16) => return Err(Refusal::NotZmtp { what: "TLS" }),
        Some(b'G' | b'P' | b'H' | b'D' | b'O' | b'C' | b'T') => {
            return Err(Refusal::NotZmtp { what: "perhaps HTTP" });
        }
        Some(b'S') => return Err(Refusal::NotZmtp { what: "perhaps SSH" }),
        Some(0x10) => return Err(Refusal::NotZmtp { what: "perhaps MQTT" }),
        Some(1..=0x0f) => return Err(Refusal::TooOld { major: 1 }),
        Some(_) => return Err(Refusal::NotZmtp { what: "something unknown" }),
    }
    if input.len() >= SIGNATURE && input[9] & 1 == 0 {
        return Err(Refusal::TooOld { major: 1 });
    }
    if let Some(&major) = input.get(SIGNATURE)
        && major < 3
    {
        // The byte was a revision then: 0 for ZMTP 1.0, 1 for 2.0.
        return Err(Refusal::TooOld { major: if major == 0 { 1 } else { 2 } });
    }
    let Some(mechanism) = input.get(12..32) else { return Ok(()) };
    if mechanism.strip_prefix(wanted.as_bytes()).is_none_or(|rest| rest.iter().any(|&byte| byte != 0)) {
        let name = mechanism.split(|&byte| byte == 0).next().unwrap_or_default();
        return Err(Refusal::Mechanism { name: words_of(name), ours: wanted });
    }
    Ok(())
}

//! Between the NULL of an engine and the CURVE of a wire, without a socket.
//!
//! The engine begins as always, and hears nothing until the peer has proved who it is; then it gets a greeting and a READY,
//! as if the peer had just come by NULL, and from there on each frame passes by itself.

use super::{Denied, OTHER_SECURITY};
use multiplane_codec::zmtp::command::{self, Command};
use multiplane_codec::zmtp::curve::{
    CurveError, HANDSHAKE_LIMIT, KeyPair, MECHANISM, Opened, PublicKey, Traffic, client, server,
};
use multiplane_codec::zmtp::frame::{self, COMMAND, Header, MORE};
use multiplane_codec::zmtp::{GREETING, NULL, SocketType, greeting, read_greeting};
use rustix::rand::{GetRandomFlags, getrandom};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What libzmq says to a key that it does not let in (RFC 27).
const NOT_ALLOWED: &str = "400";

/// Empty buffers above this are given back.
const KEPT: usize = 256 * 1024;

/// Who decides about peers that prove who they are, and about what they say.
pub(crate) trait Gate: Send {
    /// Whether the holder of this key may come in.
    fn admit(&mut self, key: &PublicKey) -> Result<(), Denied>;

    /// Whether a frame of his may pass.
    fn lets_pass(&mut self, frame: &Opened<'_>) -> bool;

    /// The connection is over, and so many messages that were taken for him have not left.
    fn lost(&mut self, messages: u64);
}

/// On which side of CURVE.
pub(crate) enum Role {
    Client { ours: Arc<KeyPair>, server: PublicKey },
    Server { ours: Arc<KeyPair>, gate: Box<dyn Gate> },
}

enum State {
    Greeting,
    // The client's.
    Greeted(client::Greeted),
    Initiated(client::Initiated),
    // The server's.
    Awaiting,
    Welcomed(server::Welcomed),
    // Both sides'.
    Open(Traffic),
    Over,
}

pub(crate) struct Tunnel {
    role: Role,
    state: State,
    kind: SocketType,
    /// Bytes that a frame of the peer may have.
    limit: usize,
    /// The minor version of both.
    minor: u8,
    /// For the engine, and how much of it has been taken.
    inwards: Vec<u8>,
    taken: usize,
    /// Of the engine: less than a frame.
    partial: Vec<u8>,
    /// Bytes of the engine's greeting that have still to come, and whether its READY has.
    unheard: usize,
    ready: bool,
    /// For the wire, and how much of it has been written.
    pub(super) outwards: Vec<u8>,
    pub(super) written: usize,
    /// Where in it messages end.
    ends: Vec<usize>,
}

impl Tunnel {
    pub(crate) fn new(role: Role, kind: SocketType, limit: usize) -> Self {
        let outwards = greeting(MECHANISM, 1, matches!(role, Role::Server { .. })).to_vec();
        Self {
            role,
            state: State::Greeting,
            kind,
            limit: limit.max(HANDSHAKE_LIMIT).saturating_add(Traffic::OVERHEAD),
            minor: 1,
            inwards: Vec::new(),
            taken: 0,
            partial: Vec::new(),
            unheard: GREETING,
            ready: false,
            outwards,
            written: 0,
            ends: Vec::new(),
        }
    }

    /// Takes what has come from the peer; how many bytes of it. It is changed in place.
    pub(super) fn receive(&mut self, wire: &mut [u8]) -> Result<usize, Denied> {
        let mut used = 0;
        loop {
            let rest = wire.get_mut(used..).unwrap_or_default();
            let more = match &mut self.state {
                State::Greeting => self.take_greeting(rest)?,
                State::Open(_) => self.take_message(rest)?,
                _ => self.take_command(rest)?,
            };
            match more {
                0 => return Ok(used),
                more => used += more,
            }
        }
    }

    fn take_greeting(&mut self, wire: &[u8]) -> Result<usize, Denied> {
        let Some(minor) = read_greeting(wire, MECHANISM).map_err(Denied::because)? else { return Ok(0) };
        self.minor = minor;
        self.state = match &self.role {
            Role::Server { .. } => State::Awaiting,
            Role::Client { ours, server } => {
                let (greeted, hello) = client::start(ours, server, &*random()?).map_err(Denied::because)?;
                frame::write(&mut self.outwards, COMMAND, &hello);
                State::Greeted(greeted)
            }
        };
        Ok(GREETING)
    }

    /// A step of the handshake.
    fn take_command(&mut self, wire: &[u8]) -> Result<usize, Denied> {
        let Some(header) = Header::parse(wire, HANDSHAKE_LIMIT).map_err(Denied::because)? else {
            return Ok(0);
        };
        if !header.is_command() {
            return Err(Denied("a message before the handshake is done".to_owned()));
        }
        let Some(body) = wire.get(header.header..header.total()) else { return Ok(0) };
        let state = std::mem::replace(&mut self.state, State::Over);
        self.state = self.step(state, body)?;
        Ok(header.total())
    }

    fn step(&mut self, state: State, body: &[u8]) -> Result<State, Denied> {
        let metadata = || {
            let mut metadata = Vec::new();
            command::write_property(&mut metadata, "Socket-Type", self.kind.name().as_bytes());
            metadata
        };
        let (state, said) = match (state, &mut self.role) {
            (State::Awaiting, Role::Server { ours, .. }) => {
                let (welcomed, welcome) = server::hello(ours, body, &*random()?).map_err(Denied::because)?;
                (State::Welcomed(welcomed), welcome)
            }
            (State::Welcomed(welcomed), Role::Server { ours, gate }) => {
                let vouched = welcomed.initiate(ours, body).map_err(Denied::because)?;
                if let Err(denied) = gate.admit(vouched.client()) {
                    command::write_error(&mut self.outwards, NOT_ALLOWED);
                    return Err(denied);
                }
                introduce(&mut self.inwards, self.minor, vouched.metadata());
                let (traffic, ready) = vouched.ready(&metadata());
                (State::Open(traffic), ready)
            }
            (State::Greeted(greeted), Role::Client { .. }) => {
                let (initiated, initiate) = greeted.welcome(body, &metadata()).map_err(refused)?;
                (State::Initiated(initiated), initiate)
            }
            (State::Initiated(initiated), Role::Client { .. }) => {
                let (traffic, metadata) = initiated.ready(body).map_err(refused)?;
                introduce(&mut self.inwards, self.minor, &metadata);
                return Ok(State::Open(traffic));
            }
            _ => return Err(Denied("more after the end".to_owned())),
        };
        frame::write(&mut self.outwards, COMMAND, &said);
        Ok(state)
    }

    fn take_message(&mut self, wire: &mut [u8]) -> Result<usize, Denied> {
        let State::Open(traffic) = &mut self.state else { return Ok(0) };
        let Some(header) = Header::parse(wire, self.limit).map_err(Denied::because)? else { return Ok(0) };
        let Some(body) = wire.get_mut(header.header..header.total()) else { return Ok(0) };
        let opened = traffic.open(body).map_err(Denied::because)?;
        let passes = match &mut self.role {
            Role::Server { gate, .. } => gate.lets_pass(&opened),
            Role::Client { .. } => true,
        };
        if passes {
            frame::write(&mut self.inwards, opened.flags, opened.body);
        }
        Ok(header.total())
    }

    /// Hands on what has come for the engine; how many bytes.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let waiting = self.inwards.get(self.taken..).unwrap_or_default();
        let taken = waiting.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&waiting[..taken]);
        self.taken += taken;
        if self.taken == self.inwards.len() {
            empty(&mut self.inwards);
            self.taken = 0;
        }
        taken
    }

    /// Takes what the engine says, cut anywhere.
    pub(super) fn send(&mut self, mut said: &[u8]) {
        let greeting = self.unheard.min(said.len());
        self.unheard -= greeting;
        said = &said[greeting..];
        if self.partial.is_empty() {
            let sealed = self.seal(said);
            self.partial.extend_from_slice(&said[sealed..]);
            return;
        }
        self.partial.extend_from_slice(said);
        let mut partial = std::mem::take(&mut self.partial);
        let sealed = self.seal(&partial);
        if sealed == partial.len() {
            empty(&mut partial);
        } else {
            partial.drain(..sealed);
        }
        self.partial = partial;
    }

    /// Seals the whole frames at the beginning; how many bytes they are.
    fn seal(&mut self, said: &[u8]) -> usize {
        let mut at = 0;
        // Our own engine makes whole frames.
        while let Ok(Some(header)) = Header::parse(&said[at..], usize::MAX) {
            let Some(body) = said.get(at + header.header..at.saturating_add(header.total())) else { break };
            if !std::mem::replace(&mut self.ready, true) {
                // Its READY: ours was said by the handshake.
            } else if let State::Open(traffic) = &mut self.state {
                traffic.seal(header.flags, body, &mut self.outwards);
                if header.flags & (MORE | COMMAND) == 0 {
                    self.ends.push(self.outwards.len());
                }
            } else {
                break;
            }
            at += header.total();
        }
        at
    }

    /// All that was for the wire is written.
    pub(super) fn all_written(&mut self) {
        empty(&mut self.outwards);
        self.ends.clear();
        self.written = 0;
    }

    /// Messages that are not written to their end. `owes`: the last byte that was taken does not count as taken.
    pub(super) fn unwritten(&self, owes: bool) -> u64 {
        let written = self.ends.partition_point(|end| *end <= self.written);
        let owed = owes && self.ends.last() == Some(&self.outwards.len());
        (self.ends.len() - written) as u64 - u64::from(owed)
    }

    /// The connection is over.
    pub(super) fn over(&mut self, owes: bool) {
        let lost = self.unwritten(owes);
        if let Role::Server { gate, .. } = &mut self.role {
            gate.lost(lost);
        }
    }

    /// What it means that the peer hangs up now, in the middle of something or not, if that is no ordinary end.
    pub(super) fn hung_up(&self, in_the_middle: bool) -> Option<Denied> {
        let what = match &self.state {
            State::Greeting if in_the_middle => return Some(Denied::because(OTHER_SECURITY)),
            State::Greeted(_) => "HELLO: the server key that we were given is probably not its own",
            State::Initiated(_) => "INITIATE: it probably does not let our key in",
            _ => return None,
        };
        Some(Denied(format!("the peer hangs up on our {what}")))
    }
}

/// What a peer by NULL would have said.
fn introduce(inwards: &mut Vec<u8>, minor: u8, metadata: &[u8]) {
    inwards.extend_from_slice(&greeting(NULL, minor, false));
    command::write(inwards, "READY", &[metadata]);
}

/// The server's ERROR in words.
fn refused(error: CurveError) -> Denied {
    match error {
        CurveError::Refused { reason } if reason == NOT_ALLOWED => {
            Denied("the peer does not let our key in, or not by this port (400)".to_owned())
        }
        other => Denied::because(other),
    }
}

/// New bytes for a connection.
fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Denied> {
    let mut bytes = Zeroizing::new([0; N]);
    match getrandom(bytes.as_mut_slice(), GetRandomFlags::empty()) {
        Ok(got) if got == N => Ok(bytes),
        other => Err(Denied(format!("the system has no randomness: {other:?}"))),
    }
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
}

/// Which topic a frame of a subscriber begins to want. To end needs no right: who never began changes nothing.
pub(crate) fn wish<'a>(frame: &Opened<'a>) -> Option<&'a [u8]> {
    if frame.flags & COMMAND != 0 {
        return match command::parse(frame.body) {
            Some(Command::Subscribe(topic)) => Some(topic),
            _ => None,
        };
    }
    match frame.body {
        [1, topic @ ..] => Some(topic),
        _ => None,
    }
}

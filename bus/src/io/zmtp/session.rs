//! What both ends do on a connection: the handshake, the commands that carry no data, signs of life.

use super::inbound::{Filled, Inbound};
use crate::io::curve::{OTHER_SECURITY, denial};
use crate::io::unix;
use multiplane_codec::zmtp::command::{self, Command};
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Bytes of commands that may wait for a peer that does not read, besides the subscriptions, which have their own bound.
const CONTROL_LIMIT: usize = 16 * 1024;

/// A connection on which nothing has come for so long is asked whether anybody is there...
const PING_AFTER: Duration = Duration::from_secs(5);

/// ... and given up when no answer comes for so long.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the peer has closed the connection")]
    Closed,
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Protocol(String),
    #[error("no sign of life for {} seconds", DEAD_AFTER.as_secs())]
    Silent,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match denial(&error) {
            Some(denied) => Broken::Denied(denied.to_string()),
            None => Broken::Io(error),
        }
    }
}

impl Broken {
    pub(super) fn protocol(error: impl ToString) -> Self {
        Self::Protocol(error.to_string())
    }
}

pub(super) struct Session {
    handshake: Handshake,
    pub(super) inbound: Inbound,
    /// Commands on their way out, and how much of them is.
    control: Vec<u8>,
    written: usize,
    heard: Instant,
    pinged: Option<Instant>,
    /// The peer has answered a question that stood behind so many messages of ours.
    answered: u64,
}

impl Session {
    /// The beginning of a connection; `inbound` of the last one is used again.
    pub(super) fn start(kind: SocketType, mut inbound: Inbound, now: Instant) -> Self {
        let (handshake, control) = Handshake::start(kind);
        let handshake = handshake.seeking(unix::PROPERTY);
        inbound.clear();
        Self { handshake, inbound, control, written: 0, heard: now, pinged: None, answered: 0 }
    }

    /// Who is there, once the handshake is done.
    #[inline]
    pub(super) fn peer(&self) -> Option<Peer> {
        self.handshake.peer()
    }

    /// The shorter way that the peer offers.
    pub(super) fn offer(&self) -> Option<&[u8]> {
        self.handshake.found()
    }

    /// Reads once.
    pub(super) fn read_from(&mut self, stream: &mut impl Read, now: Instant) -> Result<Filled, Broken> {
        let filled = self.inbound.read_from(stream)?;
        match filled {
            Filled::End if self.peer().is_none() && !self.inbound.bytes().is_empty() => {
                return Err(Broken::Denied(OTHER_SECURITY.to_owned()));
            }
            Filled::End => return Err(Broken::Closed),
            Filled::Nothing => {}
            Filled::More | Filled::All => (self.heard, self.pinged) = (now, None),
        }
        Ok(filled)
    }

    /// Goes on with the handshake; who is there if it is done now.
    pub(super) fn shake_hands(&mut self) -> Result<Option<Peer>, Refusal> {
        let used = self.handshake.handle(self.inbound.bytes(), &mut self.control)?;
        self.inbound.consume(used);
        Ok(self.handshake.peer())
    }

    pub(super) fn push_subscription(&mut self, subscribe: bool, topic: &[u8]) {
        if let Some(peer) = self.peer() {
            command::write_subscription(&mut self.control, peer.minor, subscribe, topic);
        }
    }

    /// Takes a command that is neither SUBSCRIBE nor CANCEL.
    pub(super) fn obey(&mut self, command: &Command<'_>) -> Result<(), Broken> {
        match command {
            Command::Ping { context, .. } => {
                if self.control.len() - self.written > CONTROL_LIMIT {
                    return Err(Broken::protocol("the peer asks for answers and does not read them"));
                }
                command::write_pong(&mut self.control, context);
                Ok(())
            }
            Command::Pong(context) => {
                self.answered = (*context).try_into().map_or(self.answered, u64::from_be_bytes);
                Ok(())
            }
            Command::Error(reason) => {
                Err(Broken::Protocol(format!("the peer says: {}", String::from_utf8_lossy(reason))))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Writes what commands wait; whether all went out.
    pub(super) fn write_control(&mut self, stream: &mut impl Write) -> Result<bool, Broken> {
        while self.written < self.control.len() {
            match write_some(stream, &self.control[self.written..])? {
                0 => return Ok(false),
                written => self.written += written,
            }
        }
        self.control.clear();
        self.written = 0;
        if self.control.capacity() > 4 * CONTROL_LIMIT {
            self.control = Vec::new();
        }
        Ok(true)
    }

    /// Asks for a sign of life when it is time, or gives up. The connection has taken `sent` messages. A backplane may leave
    /// them unread as long as it has to hold its publishers back, and finds no question behind them; so it is given up
    /// only when it has answered behind the last of them.
    pub(super) fn keep_alive(&mut self, sent: u64, now: Instant) -> Result<(), Broken> {
        // A peer of 3.0 does not know the question.
        if self.peer().is_none_or(|peer| peer.minor < 1) {
            return Ok(());
        }
        let may_be_held = self.answered != sent;
        match self.pinged {
            Some(pinged) if now >= pinged + (DEAD_AFTER - PING_AFTER) && !may_be_held => {
                return Err(Broken::Silent);
            }
            None if now >= self.heard + PING_AFTER => {
                command::write_ping(&mut self.control, 0, &sent.to_be_bytes());
                self.pinged = Some(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// While nobody reads, silence means nothing.
    pub(super) fn excuse_silence(&mut self, now: Instant) {
        (self.heard, self.pinged) = (now, None);
    }
}

/// Writes once; 0 when the stream takes nothing now.
#[inline]
pub(super) fn write_some(stream: &mut impl Write, bytes: &[u8]) -> Result<usize, Broken> {
    loop {
        match stream.write(bytes) {
            Ok(0) => return Err(Broken::Closed),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

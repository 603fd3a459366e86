//! One client on its socket: the head of its request, its WebSocket, its end.

use crate::desk::Desk;
use crate::http::{self, Step};
use crate::publication::Held;
use crate::session::Session;
use crate::translate::Form;
use crate::transport::Transport;
use bytes::Bytes;
use multiplane_bridge::{Bounds, Outgoing};
use multiplane_bus::Place;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// Bytes that wait for the socket; it is the session that bounds what is for its client.
const OUTGOING: Bounds = Bounds { bytes: usize::MAX };
/// Answers that a client does not take: then nothing more is read from it.
const ANSWERS: usize = 256 * 1024;
/// Messages taken from one client in one turn: the others wait meanwhile.
const BATCH: usize = 256;
/// Bytes read at once: of a head, of frames.
const READ: usize = 8 * 1024;
const FRAMES: usize = 32 * 1024;
/// Bytes of a message before the session begins.
const FIRST: usize = 64 * 1024;
/// How long a client may take to end its side.
const GOODBYE: Duration = Duration::from_secs(2);
/// Bytes of the reason for an end.
const REASON: usize = 123;

/// A client.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) outgoing: Outgoing,
    pub(crate) sent: u64,
    /// The poll has said that there is something, and it was not all taken.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// It is on the list of those with work to do.
    pub(crate) listed: bool,
    /// When it is to be looked at although nothing happened, as the gateway's clock knows it.
    pub(crate) timer: Option<Instant>,
    pub(crate) phase: Phase,
    /// When something came or went last.
    pub(crate) heard: Instant,
    pinged: bool,
    finished: bool,
    /// Until when what it is at may take, where that is bounded.
    pub(crate) until: Option<Instant>,
    budget: Budget,
    /// A session that has ended, for whoever has to tidy up behind it.
    pub(crate) over: Option<Box<Session>>,
    /// Among the connections of its host.
    _place: Option<Place>,
}

/// How far it is.
pub(crate) enum Phase {
    /// The head of the request, as far as it came.
    Head(Vec<u8>),
    /// A WebSocket; without a session as long as there was no first message.
    Open { socket: Box<WebSocketContext>, session: Option<Box<Session>>, held: Option<Held> },
    /// Everything was said; what the client still says is passed over.
    Closing,
}

/// How many messages a client may send, where that is bounded.
struct Budget {
    rate: Option<u32>,
    left: f64,
    at: Instant,
}

/// Why a session is to end: a code of WebSocket, and the reason that the client is told.
pub(crate) type Close = (CloseCode, String);

/// What reading came to.
pub(crate) enum Reading {
    /// The poll will tell when there is more.
    Dry,
    /// There may be more now.
    More,
    /// A backplane has no room; it wakes us when it has.
    Held,
    /// It has sent all that it may for now: go on then.
    Paused(Instant),
    /// It is over.
    Over(String),
}

/// The socket as the WebSocket sees it: what it writes goes behind what waits already.
struct Pipe<'c> {
    transport: &'c mut Transport,
    written: Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.transport.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    pub(crate) fn new(transport: Transport, peer: SocketAddr, desk: &Desk, now: Instant) -> Self {
        Self {
            peer,
            transport,
            outgoing: Outgoing::new(OUTGOING),
            sent: 0,
            readable: true,
            writable: true,
            listed: false,
            timer: None,
            phase: Phase::Head(Vec::new()),
            heard: now,
            pinged: false,
            finished: false,
            over: None,
            until: Some(now + desk.config.patience),
            budget: Budget { rate: desk.config.rate, left: 1.0, at: now },
            _place: None,
        }
    }

    pub(crate) fn with_place(self, place: Option<Place>) -> Self {
        Self { _place: place, ..self }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Open { session, .. } => session.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Open { session, .. } => session.as_deref_mut(),
            _ => None,
        }
    }

    /// Whether it takes what it is told: else nothing more is read from it.
    pub(crate) fn takes_more(&self) -> bool {
        self.outgoing.bytes() <= ANSWERS
    }

    /// Takes what has come.
    pub(crate) fn receive(&mut self, key: usize, desk: &mut Desk, now: Instant) -> Reading {
        if !self.takes_more() {
            return Reading::Dry;
        }
        match &mut self.phase {
            Phase::Head(_) => self.receive_head(desk, now),
            Phase::Open { .. } => self.receive_frames(key, desk, now),
            Phase::Closing => self.pass_over(),
        }
    }

    fn receive_head(&mut self, desk: &mut Desk, now: Instant) -> Reading {
        let Phase::Head(head) = &mut self.phase else { return Reading::More };
        let mut chunk = [0; READ];
        let length = match self.transport.read(&mut chunk) {
            Ok(0) => return Reading::Over("it hung up before its request was whole".to_owned()),
            Ok(length) => length,
            Err(error) => return self.failed(&error),
        };
        self.heard = now;
        head.extend_from_slice(&chunk[..length]);
        match desk.gate.judge(head) {
            Step::More => {}
            Step::Answer { bytes, refused } => {
                if let Some(why) = refused {
                    desk.stats.turned_away += 1;
                    desk.refuse(self.peer, &why, now);
                }
                self.outgoing.push(bytes.into(), 0);
                self.end(now);
            }
            Step::Upgrade { bytes, taken } => {
                self.outgoing.push(bytes.into(), 0);
                let begun = head.split_off(taken);
                let most =
                    if desk.config.echo { desk.config.message } else { FIRST.min(desk.config.message) };
                let config = WebSocketConfig::default()
                    .read_buffer_size(FRAMES)
                    .write_buffer_size(0)
                    .max_message_size(Some(most))
                    .max_frame_size(Some(most));
                let socket = WebSocketContext::from_partially_read(begun, Role::Server, Some(config));
                self.phase = Phase::Open { socket: Box::new(socket), session: None, held: None };
                self.until = Some(now + desk.config.patience);
            }
        }
        Reading::More
    }

    fn receive_frames(&mut self, key: usize, desk: &mut Desk, now: Instant) -> Reading {
        for _ in 0..BATCH {
            if !self.publish_held(desk, now) {
                return Reading::Held;
            }
            if let Some(until) = self.budget.pause(now) {
                return Reading::Paused(until);
            }
            let Phase::Open { socket, session, .. } = &mut self.phase else { return Reading::More };
            let mut pipe = Pipe { transport: &mut self.transport, written: Vec::new() };
            let read = socket.read(&mut pipe);
            if !pipe.written.is_empty() {
                self.outgoing.push(pipe.written.into(), 0);
            }
            let message = match read {
                Ok(message) => message,
                Err(Error::Io(error)) => return self.failed(&error),
                Err(error) => return self.broken(&error, desk, now),
            };
            (self.heard, self.pinged) = (now, false);
            let (form, body) = match &message {
                Message::Text(text) => (Form::Json, text.as_bytes()),
                Message::Binary(bytes) => (Form::Msgpack, &bytes[..]),
                Message::Close(_) => {
                    // The answer to it is written by the next look.
                    continue;
                }
                _ => continue,
            };
            self.budget.left -= 1.0;
            if desk.config.echo {
                self.outgoing.push(form.frame(body), 0);
                continue;
            }
            let begins = session.is_none();
            if let Err((code, reason)) = desk.hear(key, self, form, body, now) {
                if begins {
                    desk.stats.turned_away += 1;
                    desk.refuse(self.peer, &reason, now);
                }
                self.close(code, &reason, now);
                return Reading::More;
            }
            if begins && let Phase::Open { socket, .. } = &mut self.phase {
                let message = desk.config.message;
                socket.set_config(|config| {
                    (config.max_message_size, config.max_frame_size) = (Some(message), Some(message));
                });
                self.until = None;
            }
        }
        Reading::More
    }

    /// What waits for a backplane goes first; false when it still waits.
    fn publish_held(&mut self, desk: &mut Desk, now: Instant) -> bool {
        let Phase::Open { session, held, .. } = &mut self.phase else { return true };
        let Some(waiting) = held.take() else { return true };
        let form = session.as_ref().map_or(Form::Json, |session| session.form);
        *held = desk.publish(waiting.again(), form, &mut self.outgoing, now);
        held.is_none()
    }

    /// The frames are not what they should be, or there will be no more.
    fn broken(&mut self, error: &Error, desk: &mut Desk, now: Instant) -> Reading {
        let (code, reason) = match error {
            // The client ended the session, and has its answer.
            Error::ConnectionClosed | Error::AlreadyClosed => {
                self.end(now);
                return Reading::More;
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                return Reading::Over("it hung up".to_owned());
            }
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                let reason =
                    format!("a message of {size} bytes is over the limit of {max_size}; send it in parts");
                (CloseCode::Size, reason)
            }
            Error::Utf8(_) => {
                (CloseCode::Invalid, "text that is not UTF-8; send it in a binary frame".to_owned())
            }
            error => (CloseCode::Protocol, error.to_string()),
        };
        desk.stats.unreadable += 1;
        desk.refuse(self.peer, &reason, now);
        self.close(code, &reason, now);
        Reading::More
    }

    fn failed(&mut self, error: &io::Error) -> Reading {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                self.readable = false;
                Reading::Dry
            }
            io::ErrorKind::Interrupted => Reading::More,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Reading::Over("it hung up".to_owned())
            }
            _ => Reading::Over(error.to_string()),
        }
    }

    fn pass_over(&mut self) -> Reading {
        let mut chunk = [0; READ];
        match self.transport.read(&mut chunk) {
            Ok(0) => Reading::Over("the session was ended".to_owned()),
            Ok(_) => Reading::More,
            Err(error) => self.failed(&error),
        }
    }

    /// Ends a WebSocket with a word about why; what waited for the client is given up.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str, now: Instant) {
        if let Phase::Open { socket, .. } = &mut self.phase {
            let end = (0..=REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
            let reason = reason[..end.unwrap_or(0)].to_owned();
            let mut pipe = Pipe { transport: &mut self.transport, written: Vec::new() };
            // It writes into memory; where the client has ended the session itself there is nothing to write.
            let _ = socket.close(&mut pipe, Some(CloseFrame { code, reason: reason.into() }));
            self.outgoing.push(pipe.written.into(), 0);
        }
        self.end(now);
    }

    /// The gateway ends.
    pub(crate) fn say_goodbye(&mut self, now: Instant) {
        // What waits has its last chance.
        if let Phase::Open { session: Some(session), .. } = &mut self.phase {
            session.pump(&mut self.outgoing, now);
        }
        self.close(CloseCode::Away, "the gateway ends", now);
    }

    /// Everything was said.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Phase::Open { session: Some(session), .. } = std::mem::replace(&mut self.phase, Phase::Closing)
        {
            self.over = Some(session);
        }
        self.until = Some(now + GOODBYE);
    }

    /// Looks after what has taken too long; says when it is over.
    pub(crate) fn overdue(&mut self, desk: &mut Desk, now: Instant) -> Option<String> {
        let patience = desk.config.patience;
        if self.until.is_some_and(|until| until <= now) {
            match &self.phase {
                Phase::Closing => return Some("the session was ended".to_owned()),
                Phase::Head(_) => {
                    self.outgoing.push(http::late().into(), 0);
                    self.end(now);
                }
                Phase::Open { .. } => {
                    let reason = format!("no first message within {patience:?}");
                    self.close(CloseCode::Policy, &reason, now);
                }
            }
            desk.stats.turned_away += 1;
            desk.refuse(self.peer, &format!("it took longer than {patience:?}"), now);
        } else if self.until.is_none() && self.heard + desk.config.ping <= now {
            if self.pinged {
                return Some(format!(
                    "it was silent for {:?}, and did not answer a ping",
                    2 * desk.config.ping
                ));
            }
            // An empty ping.
            self.outgoing.push(Bytes::from_static(&[0x89, 0]), 0);
            (self.pinged, self.heard) = (true, now);
        }
        None
    }

    /// When to look although nothing happens.
    pub(crate) fn due(&self, desk: &Desk) -> Instant {
        let own = self.until.unwrap_or(self.heard + desk.config.ping);
        self.session().and_then(Session::due).map_or(own, |due| due.min(own))
    }

    /// Writes what the system takes now; says whether it took all.
    pub(crate) fn flush(&mut self, desk: &mut Desk, now: Instant) -> io::Result<bool> {
        loop {
            if let Phase::Open { session: Some(session), .. } = &mut self.phase {
                session.pump(&mut self.outgoing, now);
            }
            if self.outgoing.is_empty() {
                break;
            }
            let flushed = self.outgoing.flush(&mut self.transport)?;
            desk.stats.to_clients += flushed.messages;
            self.sent += flushed.messages;
            if flushed.bytes > 0 {
                self.heard = now;
            }
            if flushed.blocked {
                self.writable = false;
                return Ok(false);
            }
        }
        match self.transport.flush() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        if let Phase::Closing = self.phase
            && !std::mem::replace(&mut self.finished, true)
        {
            self.transport.finish();
        }
        Ok(!self.transport.is_pending())
    }
}

impl Budget {
    /// Until when to take no more messages, if the client has sent as many as it may.
    fn pause(&mut self, now: Instant) -> Option<Instant> {
        let rate = f64::from(self.rate?);
        self.left = (self.left + (now - self.at).as_secs_f64() * rate).min(rate.max(1.0));
        self.at = now;
        (self.left < 1.0).then(|| now + Duration::from_secs_f64((1.0 - self.left) / rate))
    }
}

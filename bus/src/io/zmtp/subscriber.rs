use super::inbound::{Inbound, Pairs};
use super::link::{Link, Way};
use super::session::Broken;
use super::stream::Stream;
use crate::events::Transport;
use crate::io::{Readiness, Received, Signal, Socket};
use bytes::Bytes;
use mio::{Registry, Token};
use multiplane_codec::zmtp::SocketType;
use multiplane_codec::zmtp::command;
use multiplane_codec::zmtp::frame::{self, Header, find_from};
use multiplane_core::{Budget, Trailer};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// The link on which a component receives: a `SUB` that reads chunks and hands out messages as they lie in them.
pub(crate) struct SubscriberWire<S = Socket> {
    link: Link<S>,
    limit: usize,
    /// Where the frames of the present message are.
    topic: Range<usize>,
    payload: Range<usize>,
    trailer: Option<Trailer>,
    /// How much of the first message that has not all come is known already.
    scanned: usize,
    /// What came on former connections and nobody has taken yet.
    leftover: Inbound,
    /// The present message lies there.
    is_left_over: bool,
}

/// Bytes that former connections may leave behind: what a socket's receive buffer holds, and some more.
const LEFTOVER: usize = 16 * 1024 * 1024;

impl<S: Stream> SubscriberWire<S> {
    pub(crate) fn new(
        way: Way<'_>,
        budget: &Arc<Budget>,
        wake: Arc<dyn Fn() + Send + Sync>,
        now: Instant,
    ) -> io::Result<Self> {
        let link = Link::new(SocketType::Sub, way, budget, wake, now)?;
        Ok(Self {
            link,
            limit: budget.message_bytes,
            topic: 0..0,
            payload: 0..0,
            trailer: None,
            scanned: 0,
            leftover: Inbound::empty(),
            is_left_over: false,
        })
    }

    pub(crate) fn ready(&mut self, what: Readiness) {
        self.link.ready(what);
    }

    /// Topic and payload of the message that was received last.
    #[inline]
    pub(crate) fn frames(&self) -> (&[u8], &[u8]) {
        let session = self.link.session().map(|session| &session.inbound);
        let inbound = if self.is_left_over { Some(&self.leftover) } else { session };
        inbound.map_or((&[], &[]), |inbound| (inbound.part(&self.topic), inbound.part(&self.payload)))
    }

    /// What has come behind it.
    #[inline]
    pub(crate) fn pairs(&mut self) -> Option<Pairs<'_>> {
        if !self.leftover.bytes().is_empty() {
            return None;
        }
        let (session, _) = self.link.live()?;
        Some(session.inbound.pairs(self.limit))
    }

    pub(crate) fn trailer(&self) -> Option<Trailer> {
        self.trailer
    }

    /// A copy: sharing would let one message keep a whole chunk.
    pub(crate) fn take_payload(&mut self) -> Bytes {
        Bytes::copy_from_slice(self.frames().1)
    }

    /// Goes on with connecting. With [`Signal::Connected`] the subscriptions are to be told.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        let signal = self.link.advance(registry, token, now);
        if matches!(signal, Some(Signal::Connected)) {
            self.scanned = 0;
        }
        signal
    }

    /// What the connection runs on.
    pub(crate) fn transport(&self) -> Transport {
        self.link.transport()
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.link.due()
    }

    /// Tells the backplane that topics beginning with `topic` are wanted, or not any more.
    pub(crate) fn subscribe(&mut self, subscribe: bool, topic: &[u8]) {
        if let Some((session, _)) = self.link.live() {
            session.push_subscription(subscribe, topic);
        }
    }

    /// Sends what was told.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        self.link.write_control().map(|_| ())
    }

    /// Asks a peer that is silent for a sign of life, or gives it up.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> Result<(), Broken> {
        self.link.keep_alive(0, now)
    }

    /// While a full inbox holds the link, silence means nothing.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        self.link.excuse_silence(now);
    }

    /// The connection is no more; the whole messages that it has brought can still be taken.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Some(session) = self.link.session().filter(|session| session.peer().is_some()) {
            let bytes = session.inbound.bytes();
            // Half of a message must not stand before what the next connection leaves behind.
            self.leftover.append(&bytes[..whole(bytes, self.limit)]);
        }
        self.link.end(now);
    }

    /// Notices what becomes of the peer while nobody takes messages. What a peer that is gone has left behind is read at
    /// once, so that the next connection need not wait until it is taken.
    pub(crate) fn look(&mut self, now: Instant) -> Result<(), Broken> {
        while self.leftover.bytes().len() + self.link.waiting() < LEFTOVER {
            // Its commands, its end; a message stays where it is.
            if !self.link.has_ended()
                && let Some(message) = self.next_in_session()?
            {
                self.link.unread(message.total);
                return Ok(());
            }
            if !self.link.read(now)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Receives one message without waiting.
    #[inline]
    pub(crate) fn recv(&mut self, now: Instant) -> Received {
        if !self.leftover.bytes().is_empty()
            && let Some(received) = self.next_left_over()
        {
            return received;
        }
        loop {
            match self.next_in_session() {
                Ok(Some(found)) => return found.received,
                Ok(None) => {}
                Err(broken) => return Received::Broken(broken),
            }
            match self.link.read(now) {
                Ok(true) => {}
                Ok(false) => return Received::Empty,
                Err(broken) => return Received::Broken(broken),
            }
        }
    }

    /// Finds the next message of this connection.
    #[inline]
    fn next_in_session(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            let Some((session, _)) = self.link.live() else { return Ok(None) };
            let (input, at) = (session.inbound.bytes(), session.inbound.position());
            let found = match find(input, &mut self.scanned, self.limit)? {
                Some(Found::Message(found)) => found,
                Some(Found::Command(header)) => {
                    self.obey(header)?;
                    continue;
                }
                None => return Ok(None),
            };
            let total = found.total;
            session.inbound.consume(total);
            self.is_left_over = false;
            return Ok(Some(Message { received: self.show(at, found), total }));
        }
    }

    /// Finds the next message that a former connection left behind.
    #[cold]
    fn next_left_over(&mut self) -> Option<Received> {
        loop {
            let (input, at) = (self.leftover.bytes(), self.leftover.position());
            match find(input, &mut 0, self.limit) {
                Ok(Some(Found::Message(found))) => {
                    self.leftover.consume(found.total);
                    self.is_left_over = true;
                    return Some(self.show(at, found));
                }
                Ok(Some(Found::Command(header))) => self.leftover.consume(header.total()),
                Ok(None) | Err(_) => {
                    self.leftover = Inbound::empty();
                    return None;
                }
            }
        }
    }

    /// Notes where the frames are, in a buffer in which the message begins `at`.
    #[inline]
    fn show(&mut self, at: usize, found: Frames) -> Received {
        self.trailer = found.trailer;
        self.topic = at + found.topic.start..at + found.topic.end;
        self.payload = at + found.payload.start..at + found.payload.end;
        if found.payload.start == 0 { Received::OneFrame } else { Received::Message }
    }

    #[cold]
    fn obey(&mut self, header: Header) -> Result<(), Broken> {
        let Some((session, _)) = self.link.live() else { return Ok(()) };
        let body = session.inbound.bytes().get(header.header..header.total()).unwrap_or_default().to_vec();
        session.inbound.consume(header.total());
        match command::parse(&body) {
            Some(command) => session.obey(&command)?,
            None => return Err(Broken::Protocol("a command that is none".to_owned())),
        }
        self.flush()
    }
}

struct Message {
    received: Received,
    total: usize,
}

/// What stands first in a buffer.
enum Found {
    Message(Frames),
    Command(Header),
}

struct Frames {
    topic: Range<usize>,
    /// Begins with 0 if there is none.
    payload: Range<usize>,
    trailer: Option<Trailer>,
    total: usize,
}

/// Finds the first message or command of `input`; `None` when not all has come. `scanned` is as in [`find_from`].
#[inline]
fn find(input: &[u8], scanned: &mut usize, limit: usize) -> Result<Option<Found>, Broken> {
    let Some(first) = Header::parse(input, limit).map_err(Broken::protocol)? else { return Ok(None) };
    let topic = first.header..first.total();
    if !first.has_more() {
        if first.total() > input.len() {
            return Ok(None);
        }
        let alone = Frames { topic, payload: 0..0, trailer: None, total: first.total() };
        return Ok(Some(if first.is_command() { Found::Command(first) } else { Found::Message(alone) }));
    }
    let rest = input.get(first.total()..).unwrap_or_default();
    let Some(second) = Header::parse(rest, limit).map_err(Broken::protocol)? else { return Ok(None) };
    if second.is_command() {
        return Err(Broken::Protocol("a command inside of a message".to_owned()));
    }
    let begin = first.total() + second.header;
    let (payload, mut total, mut trailer) = (begin..begin + second.body, begin + second.body, None);
    if second.has_more() {
        match find_from(input, scanned, limit).map_err(Broken::protocol)? {
            frame::Found::Message { total: all, .. } => {
                trailer = third(&input[total..all], limit);
                total = all;
            }
            _ => return Ok(None),
        }
    } else if total > input.len() {
        if total > limit {
            return Err(Broken::Protocol(format!("a message of {total} bytes is over the limit of {limit}")));
        }
        return Ok(None);
    }
    Ok(Some(Found::Message(Frames { topic, payload, trailer, total })))
}

/// How long the whole messages and commands at the beginning of `input` are.
#[cold]
fn whole(input: &[u8], limit: usize) -> usize {
    let mut at = 0;
    while let Ok(Some(found)) = find(&input[at..], &mut 0, limit) {
        at += match found {
            Found::Message(frames) => frames.total,
            Found::Command(header) => header.total(),
        };
    }
    at
}

/// The third frame may be a trailer; further ones are nobody's, as in Python Banyan.
#[cold]
fn third(frames: &[u8], limit: usize) -> Option<Trailer> {
    let header = Header::parse(frames, limit).ok()??;
    Trailer::decode(frames.get(header.header..header.total())?)
}

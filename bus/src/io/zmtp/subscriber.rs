use super::link::Link;
use super::session::Broken;
use crate::io::{Received, Signal};
use bytes::Bytes;
use mio::event::Event;
use mio::{Registry, Token};
use multiplane_codec::zmtp::SocketType;
use multiplane_codec::zmtp::command;
use multiplane_codec::zmtp::frame::{Found, Header, find_from};
use multiplane_core::{Budget, Trailer};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// The link on which a component receives: a `SUB` that reads chunks and hands out messages as they lie in them.
pub(crate) struct SubscriberWire {
    link: Link,
    limit: usize,
    /// Where the frames of the present message are.
    topic: Range<usize>,
    payload: Range<usize>,
    trailer: Option<Trailer>,
    /// How much of the first message that has not all come is known already.
    scanned: usize,
}

impl SubscriberWire {
    pub(crate) fn new(
        endpoint: &str,
        budget: &Arc<Budget>,
        wake: Arc<dyn Fn() + Send + Sync>,
        now: Instant,
    ) -> io::Result<Self> {
        let link = Link::new(SocketType::Sub, endpoint, budget, wake, now)?;
        Ok(Self { link, limit: budget.message_bytes, topic: 0..0, payload: 0..0, trailer: None, scanned: 0 })
    }

    pub(crate) fn handle_event(&mut self, event: &Event) {
        self.link.handle_event(event);
    }

    pub(crate) fn topic(&self) -> &[u8] {
        self.part(&self.topic)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.part(&self.payload)
    }

    pub(crate) fn trailer(&self) -> Option<Trailer> {
        self.trailer
    }

    /// A copy: sharing would let one message keep a whole chunk.
    pub(crate) fn take_payload(&mut self) -> Bytes {
        Bytes::copy_from_slice(self.payload())
    }

    #[inline]
    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.link.session().map_or(&[], |session| session.inbound.part(range))
    }

    /// Goes on with connecting. With [`Signal::Connected`] the subscriptions are to be told.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        let signal = self.link.advance(registry, token, now);
        if matches!(signal, Some(Signal::Connected)) {
            self.scanned = 0;
        }
        signal
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
        self.link.keep_alive(now)
    }

    /// While a full inbox holds the link, silence means nothing.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        self.link.excuse_silence(now);
    }

    /// The connection is no more.
    pub(crate) fn end(&mut self, now: Instant) {
        self.link.end(now);
    }

    /// Receives one message without waiting.
    #[inline]
    pub(crate) fn recv(&mut self, now: Instant) -> Received {
        loop {
            match self.next() {
                Ok(Some(received)) => return received,
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

    /// Finds the next message in what has come.
    #[inline]
    fn next(&mut self) -> Result<Option<Received>, Broken> {
        loop {
            let Some((session, _)) = self.link.live() else { return Ok(None) };
            let (input, at) = (session.inbound.bytes(), session.inbound.position());
            let Some(first) = Header::parse(input, self.limit).map_err(Broken::protocol)? else {
                return Ok(None);
            };
            if !first.has_more() {
                if first.total() > input.len() {
                    return Ok(None);
                }
                if !first.is_command() {
                    session.inbound.consume(first.total());
                    return Ok(Some(Received::OneFrame));
                }
                self.obey(first)?;
                continue;
            }
            let rest = input.get(first.total()..).unwrap_or_default();
            let Some(second) = Header::parse(rest, self.limit).map_err(Broken::protocol)? else {
                return Ok(None);
            };
            if second.is_command() {
                return Err(Broken::Protocol("a command inside of a message".to_owned()));
            }
            let mut total = first.total() + second.total();
            self.trailer = None;
            if second.has_more() {
                match find_from(input, &mut self.scanned, self.limit).map_err(Broken::protocol)? {
                    Found::Message { total: all, .. } => {
                        self.trailer = third(&input[total..all], self.limit);
                        total = all;
                    }
                    _ => return Ok(None),
                }
            } else if total > input.len() {
                if total > self.limit {
                    let limit = self.limit;
                    return Err(Broken::Protocol(format!(
                        "a message of {total} bytes is over the limit of {limit}"
                    )));
                }
                return Ok(None);
            }
            let payload = at + first.total() + second.header;
            self.topic = at + first.header..at + first.total();
            self.payload = payload..payload + second.body;
            session.inbound.consume(total);
            return Ok(Some(Received::Message));
        }
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

/// The third frame may be a trailer; further ones are nobody's, as in Python Banyan.
#[cold]
fn third(frames: &[u8], limit: usize) -> Option<Trailer> {
    let header = Header::parse(frames, limit).ok()??;
    Trailer::decode(frames.get(header.header..header.total())?)
}

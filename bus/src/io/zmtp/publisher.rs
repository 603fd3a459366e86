use super::link::{Link, Way};
use super::session::{Broken, Session, write_some};
use super::stream::Stream;
use crate::events::Transport;
use crate::io::{Notice, Readiness, SYNC_MARKER, Signal, Socket};
use crate::worker::now;
use mio::{Registry, Token};
use multiplane_codec::zmtp::SocketType;
use multiplane_codec::zmtp::command::{self, Command};
use multiplane_codec::zmtp::frame::{Found, find};
use multiplane_core::Budget;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The link on which a component publishes: an `XPUB` that writes the publish queue's own memory to the socket.
pub(crate) struct PublisherWire<S = Socket> {
    link: Link<S>,
    limit: usize,
}

impl<S: Stream> PublisherWire<S> {
    pub(crate) fn new(
        way: Way<'_>,
        budget: &Arc<Budget>,
        wake: Arc<dyn Fn() + Send + Sync>,
        now: Instant,
    ) -> io::Result<Self> {
        let link = Link::new(SocketType::XPub, way, budget, wake, now)?;
        Ok(Self { link, limit: budget.subscription_topic_bytes + 64 })
    }

    pub(crate) fn ready(&mut self, what: Readiness) {
        self.link.ready(what);
    }

    /// Goes on with connecting.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        self.link.advance(registry, token, now)
    }

    /// What the connection runs on.
    pub(crate) fn transport(&self) -> Transport {
        self.link.transport()
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.link.due()
    }

    /// The connection is no more.
    pub(crate) fn end(&mut self, now: Instant) {
        self.link.end(now);
    }

    /// Writes whole messages or what is left of them; how much of it the stream took.
    #[inline]
    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<usize, Broken> {
        let mut written = 0;
        while written < frames.len() && self.link.is_writable() {
            let Some((_, stream)) = self.link.live() else { return Ok(written) };
            match write_some(stream, &frames[written..])? {
                0 => self.link.is_full(),
                more => written += more,
            }
        }
        Ok(written)
    }

    /// Messages that were written and have not left: if the connection ends now, they are lost.
    pub(crate) fn unwritten(&mut self) -> u64 {
        self.link.live().map_or(0, |(_, stream)| stream.unwritten())
    }

    /// Whether answers wait that can be sent.
    pub(crate) fn has_answers(&self) -> bool {
        self.link.is_writable() && self.link.session().is_some_and(Session::has_control)
    }

    /// Sends what answers wait; never in the middle of a message, which the caller sees to.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        self.link.write_control().map(|_| ())
    }

    /// Asks a backplane that is silent for a sign of life, or gives it up; never in the middle of a message. `sent`: whole
    /// messages on this connection.
    pub(crate) fn keep_alive(&mut self, sent: u64, now: Instant) -> Result<(), Broken> {
        self.link.keep_alive(sent, now)
    }

    /// Says that nothing more comes, and waits until the backplane has taken all and hung up, or for the deadline. A socket
    /// that is closed with something unread would be reset, and what is on its way with it.
    pub(crate) fn finish(&mut self, deadline: Instant) {
        if self.link.live().is_none_or(|(_, stream)| stream.close_write().is_err()) {
            return;
        }
        loop {
            let now = now();
            self.link.ignore_input();
            match self.link.read(now) {
                Ok(true) => {}
                Ok(false) if now < deadline => {
                    let Some((_, stream)) = self.link.live() else { return };
                    stream.wait_readable(deadline.saturating_duration_since(now));
                }
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Hears what the backplane says about its subscribers; whether it said anything.
    pub(crate) fn hear(&mut self, now: Instant, mut visit: impl FnMut(Notice<'_>)) -> Result<bool, Broken> {
        let mut heard = false;
        loop {
            while let Some((session, _)) = self.link.live() {
                let input = session.inbound.bytes();
                let (total, command) = match find(input, self.limit).map_err(Broken::protocol)? {
                    Found::Incomplete => break,
                    Found::Command { body, total } => match command::parse(&input[body..total]) {
                        None => return Err(Broken::Protocol("a command that is none".to_owned())),
                        Some(Command::Subscribe(topic)) => (total, tell(true, topic, &mut visit)),
                        Some(Command::Cancel(topic)) => (total, tell(false, topic, &mut visit)),
                        Some(_) => (total, Some(input[body..total].to_vec())),
                    },
                    // The form of ZMTP 3.0, and of an XSUB at any version.
                    Found::Message { topic, topic_length, total } => match input[topic..topic + topic_length]
                    {
                        [1, ref topic @ ..] => (total, tell(true, topic, &mut visit)),
                        [0, ref topic @ ..] => (total, tell(false, topic, &mut visit)),
                        _ => (total, None),
                    },
                };
                heard = true;
                session.inbound.consume(total);
                if let Some(command) = command.as_deref().and_then(command::parse) {
                    session.obey(&command)?;
                }
            }
            if !self.link.is_readable() || !self.link.read(now)? {
                return Ok(heard);
            }
        }
    }
}

fn tell(subscribe: bool, topic: &[u8], visit: &mut impl FnMut(Notice<'_>)) -> Option<Vec<u8>> {
    match (subscribe, topic) {
        (true, SYNC_MARKER) => visit(Notice::Synchronised),
        (true, topic) => visit(Notice::Subscribed(topic)),
        (false, topic) => visit(Notice::Unsubscribed(topic)),
    }
    None
}

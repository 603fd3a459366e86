use super::zmq::{Incoming, Monitor, SubscriberSocket, wire_prefix};
use super::zmtp::{Broken, Pairs, Stream, SubscriberWire};
use super::{Readiness, Received, Signal, Socket};
use crate::events::Transport;
use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use multiplane_core::Trailer;
use std::io;
use std::time::Instant;

/// The receiving end of a link, on either engine.
pub(crate) enum Inlet<S = Socket> {
    Native(Box<SubscriberWire<S>>),
    Libzmq(Box<ZmqInlet>),
}

pub(crate) struct ZmqInlet {
    pub(crate) socket: SubscriberSocket,
    pub(crate) monitor: Monitor,
    pub(crate) incoming: Incoming,
}

impl<S: Stream> Inlet<S> {
    /// Watches its descriptors, if they are there from the beginning. `tokens`: for the socket, for its monitor.
    pub(crate) fn register(&self, registry: &Registry, tokens: (Token, Token)) -> io::Result<()> {
        let Inlet::Libzmq(zmq) = self else { return Ok(()) };
        registry.register(&mut SourceFd(&zmq.socket.fd()), tokens.0, Interest::READABLE)?;
        registry.register(&mut SourceFd(&zmq.monitor.fd()), tokens.1, Interest::READABLE)
    }

    pub(crate) fn ready(&mut self, what: Readiness) {
        if let Inlet::Native(wire) = self {
            wire.ready(what);
        }
    }

    /// Goes on with connecting, or hears what the monitor says; to be called until it says nothing.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        match self {
            Inlet::Native(wire) => wire.advance(registry, token, now),
            Inlet::Libzmq(zmq) => zmq.monitor.next(),
        }
    }

    /// What the connection runs on.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Inlet::Native(wire) => wire.transport(),
            Inlet::Libzmq(_) => Transport::Tcp,
        }
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Inlet::Native(wire) => wire.due(),
            Inlet::Libzmq(_) => None,
        }
    }

    /// Asks a peer that is silent for a sign of life, or gives it up.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> Result<(), Broken> {
        match self {
            Inlet::Native(wire) => wire.keep_alive(now),
            Inlet::Libzmq(_) => Ok(()),
        }
    }

    /// While a full inbox holds the link, silence means nothing.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        if let Inlet::Native(wire) = self {
            wire.excuse_silence(now);
        }
    }

    /// The connection is no more.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Inlet::Native(wire) = self {
            wire.end(now);
        }
    }

    /// Whether the engine asks for more than `topic`, so that what arrives must be matched again.
    pub(crate) fn widens(&self, topic: &[u8]) -> bool {
        matches!(self, Inlet::Libzmq(_)) && wire_prefix(topic).len() != topic.len()
    }

    /// Tells the backplane that topics beginning with `topic` are wanted, or not any more.
    pub(crate) fn subscribe(&mut self, subscribe: bool, topic: &[u8]) {
        match self {
            Inlet::Native(wire) => wire.subscribe(subscribe, topic),
            Inlet::Libzmq(zmq) => {
                let changed =
                    if subscribe { zmq.socket.subscribe(topic) } else { zmq.socket.unsubscribe(topic) };
                if let Err(error) = changed {
                    tracing::error!(%error, subscribe, "a subscription cannot be changed");
                }
            }
        }
    }

    /// A reconnected peer has forgotten what was wanted: tells it all, if the engine does not do so by itself.
    pub(crate) fn subscribe_all(&mut self, topics: impl Iterator<Item = Vec<u8>>) {
        if let Inlet::Native(wire) = self {
            topics.for_each(|topic| wire.subscribe(true, &topic));
        }
    }

    /// Sends what was told.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        match self {
            Inlet::Native(wire) => wire.flush(),
            Inlet::Libzmq(_) => Ok(()),
        }
    }

    /// Notices what becomes of the peer while nobody takes messages.
    pub(crate) fn look(&mut self, now: Instant) -> Result<(), Broken> {
        match self {
            Inlet::Native(wire) => wire.look(now),
            Inlet::Libzmq(_) => Ok(()),
        }
    }

    /// A look that needs no event; whether there may be something to receive.
    pub(crate) fn touch(&self) -> bool {
        match self {
            Inlet::Native(_) => false,
            Inlet::Libzmq(zmq) => zmq.socket.touch(),
        }
    }

    /// Receives one message without waiting.
    #[inline]
    pub(crate) fn recv(&mut self, now: Instant) -> Received {
        match self {
            Inlet::Native(wire) => wire.recv(now),
            Inlet::Libzmq(zmq) => zmq.socket.recv(&mut zmq.incoming),
        }
    }

    /// Topic and payload of the message that was received last; nothing is received while they are borrowed.
    #[inline]
    pub(crate) fn frames(&self) -> (&[u8], &[u8]) {
        match self {
            Inlet::Native(wire) => wire.frames(),
            Inlet::Libzmq(zmq) => (zmq.incoming.topic(), zmq.incoming.payload()),
        }
    }

    /// What has come behind it, if the engine can tell.
    #[inline]
    pub(crate) fn pairs(&mut self) -> Option<Pairs<'_>> {
        match self {
            Inlet::Native(wire) => wire.pairs(),
            Inlet::Libzmq(_) => None,
        }
    }

    /// Its trailer.
    #[inline]
    pub(crate) fn trailer(&self) -> Option<Trailer> {
        match self {
            Inlet::Native(wire) => wire.trailer(),
            Inlet::Libzmq(zmq) => zmq.incoming.trailer(),
        }
    }

    /// Its payload, to keep.
    pub(crate) fn take_payload(&mut self) -> Bytes {
        match self {
            Inlet::Native(wire) => wire.take_payload(),
            Inlet::Libzmq(zmq) => zmq.incoming.take_payload(),
        }
    }
}

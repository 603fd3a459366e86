use super::zmq::{Monitor, PublisherSocket, TrySend};
use super::zmtp::{Broken, PublisherWire};
use super::{Notice, Signal};
use crate::outgoing;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::time::Instant;

/// The publishing end of a link, on either engine.
pub(crate) enum Outlet {
    Native(Box<PublisherWire>),
    Libzmq(Box<ZmqOutlet>),
}

pub(crate) struct ZmqOutlet {
    pub(crate) socket: PublisherSocket,
    pub(crate) monitor: Monitor,
}

/// What became of a run of messages.
pub(crate) struct Wrote {
    /// So many bytes are gone; the last message may be gone in part.
    pub(crate) bytes: usize,
    /// Messages among them that the transport refused.
    pub(crate) refused: u64,
}

impl Outlet {
    /// Watches its descriptors, if they are there from the beginning. `tokens`: for the socket, for its monitor.
    pub(crate) fn register(&self, registry: &Registry, tokens: (Token, Token)) -> io::Result<()> {
        let Outlet::Libzmq(zmq) = self else { return Ok(()) };
        registry.register(&mut SourceFd(&zmq.socket.fd()), tokens.0, Interest::READABLE)?;
        registry.register(&mut SourceFd(&zmq.monitor.fd()), tokens.1, Interest::READABLE)
    }

    pub(crate) fn handle_event(&mut self, event: &Event) {
        if let Outlet::Native(wire) = self {
            wire.handle_event(event);
        }
    }

    /// Goes on with connecting, or hears what the monitor says; to be called until it says nothing.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        match self {
            Outlet::Native(wire) => wire.advance(registry, token, now),
            Outlet::Libzmq(zmq) => zmq.monitor.next(),
        }
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Outlet::Native(wire) => wire.due(),
            Outlet::Libzmq(_) => None,
        }
    }

    /// The connection is no more.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Outlet::Native(wire) = self {
            wire.end(now);
        }
    }

    /// Sends commands that wait. Not to be called while a message is half written.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        match self {
            Outlet::Native(wire) => wire.flush(),
            Outlet::Libzmq(_) => Ok(()),
        }
    }

    /// Sends a run of messages, of which the first may be the rest of one; less than all when there is no room.
    #[inline]
    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<Wrote, Broken> {
        match self {
            Outlet::Native(wire) => Ok(Wrote { bytes: wire.write(frames)?, refused: 0 }),
            Outlet::Libzmq(zmq) => Ok(zmq.write(frames)),
        }
    }

    /// Hears what the backplane says about its subscribers; whether it said anything.
    pub(crate) fn hear(&mut self, now: Instant, mut visit: impl FnMut(Notice<'_>)) -> Result<bool, Broken> {
        match self {
            Outlet::Native(wire) => wire.hear(now, visit),
            Outlet::Libzmq(zmq) => {
                let mut heard = false;
                while zmq.socket.notice(&mut visit) {
                    heard = true;
                }
                Ok(heard)
            }
        }
    }

    /// Closes when the backplane has taken all that was written, or at the deadline.
    pub(crate) fn finish(&mut self, now: Instant, deadline: Instant) {
        match self {
            Outlet::Native(wire) => wire.finish(deadline),
            // The engine's own threads go on after the socket is closed.
            Outlet::Libzmq(zmq) => zmq.socket.set_linger(deadline.saturating_duration_since(now)),
        }
    }
}

impl ZmqOutlet {
    fn write(&self, frames: &[u8]) -> Wrote {
        let mut wrote = Wrote { bytes: 0, refused: 0 };
        while let Some(rest) = frames.get(wrote.bytes..)
            && let Some(found) = outgoing::find(rest)
        {
            let trailer = found.trailer.and_then(|at| rest.get(at..found.total));
            match self.socket.try_send(&rest[found.topic], &rest[found.payload], trailer) {
                Ok(TrySend::Sent) => {}
                Ok(TrySend::Full) => break,
                Err(error) => {
                    tracing::debug!(%error, "libzmq refuses a message");
                    wrote.refused += 1;
                }
            }
            wrote.bytes += found.total;
        }
        wrote
    }
}

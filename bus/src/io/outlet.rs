use super::zmq::{Monitor, PublisherSocket, TrySend};
use super::zmtp::{Broken, PublisherWire, Stream};
use super::{Notice, Readiness, Signal, Socket};
use crate::backplane::Hosted;
use crate::events::Transport;
use crate::outgoing;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::time::Instant;

/// The publishing end of a link, on either engine.
pub(crate) enum Outlet<S = Socket> {
    Native(Box<PublisherWire<S>>),
    Libzmq(Box<ZmqOutlet>),
    /// The backplane itself, in this component.
    Hosted(Box<Hosted>),
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

impl<S: Stream> Outlet<S> {
    /// Watches its descriptors, if they are there from the beginning. `tokens`: for the socket, for its monitor.
    pub(crate) fn register(&self, registry: &Registry, tokens: (Token, Token)) -> io::Result<()> {
        match self {
            Outlet::Native(_) => Ok(()),
            Outlet::Libzmq(zmq) => {
                registry.register(&mut SourceFd(&zmq.socket.fd()), tokens.0, Interest::READABLE)?;
                registry.register(&mut SourceFd(&zmq.monitor.fd()), tokens.1, Interest::READABLE)
            }
            Outlet::Hosted(hosted) => {
                registry.register(&mut SourceFd(&hosted.fd()), tokens.0, Interest::READABLE)
            }
        }
    }

    pub(crate) fn ready(&mut self, what: Readiness) {
        match self {
            Outlet::Native(wire) => wire.ready(what),
            Outlet::Libzmq(_) => {}
            Outlet::Hosted(hosted) => hosted.wake(),
        }
    }

    /// Goes on with connecting, or hears what the monitor says; to be called until it says nothing.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token, now: Instant) -> Option<Signal> {
        match self {
            Outlet::Native(wire) => wire.advance(registry, token, now),
            Outlet::Libzmq(zmq) => zmq.monitor.next(),
            Outlet::Hosted(hosted) => hosted.introduce().then_some(Signal::Connected),
        }
    }

    /// What the connection runs on.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Outlet::Native(wire) => wire.transport(),
            Outlet::Libzmq(_) => Transport::Tcp,
            Outlet::Hosted(_) => Transport::Hosted,
        }
    }

    /// When to call [`advance`](Self::advance) if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Outlet::Native(wire) => wire.due(),
            Outlet::Libzmq(_) => None,
            Outlet::Hosted(hosted) => hosted.due(),
        }
    }

    /// Whether it has more to do at once.
    pub(crate) fn has_work(&self) -> bool {
        match self {
            Outlet::Native(wire) => wire.has_answers(),
            Outlet::Libzmq(_) => false,
            Outlet::Hosted(hosted) => hosted.has_work(),
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
            Outlet::Libzmq(_) | Outlet::Hosted(_) => Ok(()),
        }
    }

    /// Asks a backplane that is silent for a sign of life, or gives it up. `sent`: messages on this connection, none of them
    /// half written.
    pub(crate) fn keep_alive(&mut self, sent: u64, now: Instant) -> Result<(), Broken> {
        match self {
            Outlet::Native(wire) => wire.keep_alive(sent, now),
            Outlet::Libzmq(_) | Outlet::Hosted(_) => Ok(()),
        }
    }

    /// Sends a run of messages, of which the first may be the rest of one; less than all when there is no room.
    #[inline]
    pub(crate) fn write(&mut self, frames: &[u8], now: Instant) -> Result<Wrote, Broken> {
        match self {
            Outlet::Native(wire) => Ok(Wrote { bytes: wire.write(frames)?, refused: 0 }),
            Outlet::Libzmq(zmq) => Ok(zmq.write(frames)),
            Outlet::Hosted(hosted) => {
                Ok(Wrote { bytes: hosted.publish(frames, now).map_err(Broken::Protocol)?, refused: 0 })
            }
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
            Outlet::Hosted(hosted) => Ok(hosted.serve(now, visit)),
        }
    }

    /// Messages that were written and have not left: if the connection ends now, they are lost.
    pub(crate) fn unwritten(&mut self) -> u64 {
        if let Outlet::Native(wire) = self { wire.unwritten() } else { 0 }
    }

    /// Closes when the backplane has taken all that was written, or at the deadline.
    pub(crate) fn finish(&mut self, now: Instant, deadline: Instant) {
        match self {
            Outlet::Native(wire) => wire.finish(deadline),
            // The engine's own threads go on after the socket is closed.
            Outlet::Libzmq(zmq) => zmq.socket.set_linger(deadline.saturating_duration_since(now)),
            Outlet::Hosted(hosted) => hosted.finish(deadline),
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

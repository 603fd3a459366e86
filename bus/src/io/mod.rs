//! The transports behind a worker: [`zmtp`], our own on plain sockets, and [`zmq`], which is all that knows libzmq.
//! Nothing above sees their types but for what stands here.

pub(crate) mod curve;
mod inlet;
mod outlet;
mod socket;
pub(crate) mod tcp;
pub(crate) mod unix;
pub(crate) mod zmq;
pub(crate) mod zmtp;

pub(crate) use inlet::{Inlet, ZmqInlet};
pub(crate) use outlet::{Outlet, ZmqOutlet};
pub(crate) use socket::Socket;

use mio::event::Event;

/// A subscription that our backplanes always hold upstream. It is not UTF-8, so no message ever matches it, and it
/// sorts last, so whoever receives it has received all others: the publisher's table is complete.
pub(crate) const SYNC_MARKER: &[u8] = &[0xff];

/// What a connection may do without waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has sent its last byte, or the connection has failed.
    pub(crate) ended: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        Self {
            readable: event.is_readable(),
            writable: event.is_writable() || event.is_error(),
            ended: event.is_read_closed() || event.is_error(),
        }
    }
}

/// What happened to the connection of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The ZMTP handshake succeeded: messages flow.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// Another attempt to connect begins.
    Retried,
    /// The peer speaks something else, as far as is known what.
    HandshakeFailed(String),
}

/// What the backplane says to its publishers.
pub(crate) enum Notice<'a> {
    /// Somebody wants topics with this prefix, and nobody did before.
    Subscribed(&'a [u8]),
    /// Nobody wants this prefix any more.
    Unsubscribed(&'a [u8]),
    /// All subscriptions of a new connection have been told.
    Synchronised,
}

/// What a receive found.
pub(crate) enum Received {
    /// A message.
    Message,
    /// Nothing now; the descriptor will fire.
    Empty,
    /// A single frame: a topic without a payload.
    OneFrame,
    /// The connection cannot go on.
    Broken(zmtp::Broken),
}

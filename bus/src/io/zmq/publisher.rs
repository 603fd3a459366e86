use super::{Context, Monitor, SocketError, common, descriptor, options, set_family};
use crate::io::{Notice, SYNC_MARKER};
use multiplane_core::Budget;
use std::os::fd::RawFd;

/// The link on which a component publishes: an `XPUB` socket connected to the publisher port of a backplane. `XPUB`
/// and not `PUB`, because it tells us the subscriptions that flow upstream, and refuses what it has no room for.
pub(crate) struct PublisherSocket {
    socket: zmq::Socket,
    fd: RawFd,
}

/// The answer of [`PublisherSocket::try_send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrySend {
    /// Handed to libzmq.
    Sent,
    /// The high-water mark is reached; the descriptor fires when there is room.
    Full,
}

impl PublisherSocket {
    pub(crate) fn connect(
        context: &Context,
        endpoint: &str,
        budget: &Budget,
    ) -> Result<(Self, Monitor), SocketError> {
        let mut socket = context.0.socket(zmq::XPUB)?;
        common(&socket, budget)?;
        socket.set_rcvhwm(0)?;
        // Without this libzmq keeps filling a queue for a backplane that is gone, and its subscriptions stay known.
        socket.set_immediate(true)?;
        options::set_xpub_nodrop(&mut socket, true)?;
        set_family(&socket, endpoint)?;
        let monitor = Monitor::new(context, &socket)?;
        socket.connect(endpoint)?;
        let fd = descriptor(&socket)?;
        Ok((Self { socket, fd }, monitor))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// How long closing may take to flush what libzmq holds.
    pub(crate) fn set_linger(&self, linger: std::time::Duration) {
        let _ = self.socket.set_linger(super::millis(linger));
    }

    /// Sends a message if there is room for all of it.
    #[inline]
    pub(crate) fn try_send(
        &self,
        topic: &[u8],
        payload: &[u8],
        trailer: Option<&[u8]>,
    ) -> Result<TrySend, SocketError> {
        if let Err(error) = self.socket.send(topic, zmq::DONTWAIT | zmq::SNDMORE) {
            return if error == zmq::Error::EAGAIN { Ok(TrySend::Full) } else { Err(error.into()) };
        }
        match trailer {
            None => self.socket.send(payload, zmq::DONTWAIT)?,
            Some(trailer) => {
                self.socket.send(payload, zmq::DONTWAIT | zmq::SNDMORE)?;
                self.socket.send(trailer, zmq::DONTWAIT)?;
            }
        }
        Ok(TrySend::Sent)
    }

    /// Reads one notice and hands it to `visit`; whether there was one.
    pub(crate) fn notice(&self, visit: impl FnOnce(Notice<'_>)) -> bool {
        let Ok(message) = self.socket.recv_msg(zmq::DONTWAIT) else { return false };
        match message.split_first() {
            Some((1, SYNC_MARKER)) => visit(Notice::Synchronised),
            Some((1, topic)) => visit(Notice::Subscribed(topic)),
            Some((0, topic)) => visit(Notice::Unsubscribed(topic)),
            _ => {}
        }
        true
    }
}

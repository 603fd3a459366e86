use super::{Context, Monitor, SocketError, common, descriptor, set_family, wire_prefix};
use crate::io::Received;
use bytes::Bytes;
use multiplane_core::{Budget, Trailer};
use std::os::fd::RawFd;

/// The link on which a component receives: a `SUB` socket connected to the subscriber port of a backplane.
pub(crate) struct SubscriberSocket {
    socket: zmq::Socket,
    fd: RawFd,
}

/// Where messages are received into; reused, so that receiving allocates nothing here.
pub(crate) struct Incoming {
    topic: zmq::Message,
    payload: zmq::Message,
    rest: zmq::Message,
    trailer: Option<Trailer>,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        let new = zmq::Message::new;
        Self { topic: new(), payload: new(), rest: new(), trailer: None }
    }

    pub(crate) fn topic(&self) -> &[u8] {
        &self.topic
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn trailer(&self) -> Option<Trailer> {
        self.trailer
    }

    /// The payload without a copy, sharing libzmq's buffer.
    pub(crate) fn take_payload(&mut self) -> Bytes {
        struct Owner(zmq::Message);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Owner(std::mem::replace(&mut self.payload, zmq::Message::new())))
    }
}

impl SubscriberSocket {
    pub(crate) fn connect(
        context: &Context,
        endpoint: &str,
        budget: &Budget,
    ) -> Result<(Self, Monitor), SocketError> {
        let socket = context.0.socket(zmq::SUB)?;
        common(&socket, budget)?;
        socket.set_sndhwm(0)?;
        set_family(&socket, endpoint)?;
        let monitor = Monitor::new(context, &socket)?;
        socket.connect(endpoint)?;
        let fd = descriptor(&socket)?;
        Ok((Self { socket, fd }, monitor))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    pub(crate) fn subscribe(&self, topic: &[u8]) -> Result<(), SocketError> {
        Ok(self.socket.set_subscribe(wire_prefix(topic))?)
    }

    pub(crate) fn unsubscribe(&self, topic: &[u8]) -> Result<(), SocketError> {
        Ok(self.socket.set_unsubscribe(wire_prefix(topic))?)
    }

    /// Lets libzmq do what is due on this socket (after a reconnect: send the subscriptions again); whether there is
    /// something to receive.
    pub(crate) fn touch(&self) -> bool {
        self.socket.get_events().is_ok_and(|events| events.contains(zmq::POLLIN))
    }

    /// Receives one message without waiting.
    #[inline]
    pub(crate) fn recv(&self, incoming: &mut Incoming) -> Received {
        incoming.trailer = None;
        if self.socket.recv(&mut incoming.topic, zmq::DONTWAIT).is_err() {
            return Received::Empty;
        }
        if !incoming.topic.get_more() {
            return Received::OneFrame;
        }
        // The frames of a message arrive all or none, so these cannot fail.
        if self.socket.recv(&mut incoming.payload, zmq::DONTWAIT).is_err() {
            return Received::OneFrame;
        }
        if incoming.payload.get_more() {
            self.recv_rest(incoming);
        }
        Received::Message
    }

    /// The third frame may be a trailer; further ones are nobody's, as in Python Banyan.
    #[cold]
    fn recv_rest(&self, incoming: &mut Incoming) {
        let mut first = true;
        while self.socket.recv(&mut incoming.rest, zmq::DONTWAIT).is_ok() {
            if first {
                incoming.trailer = Trailer::decode(&incoming.rest);
                first = false;
            }
            if !incoming.rest.get_more() {
                break;
            }
        }
    }
}

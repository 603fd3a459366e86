use super::{Context, SocketError, descriptor, unique_endpoint};
use crate::io::Signal;
use std::os::fd::RawFd;
use zmq::SocketEvent;

/// Watches the connections of one socket.
pub(crate) struct Monitor {
    socket: zmq::Socket,
    fd: RawFd,
}

impl Monitor {
    /// Must be made before the socket binds or connects.
    pub(super) fn new(context: &Context, watched: &zmq::Socket) -> Result<Self, SocketError> {
        let endpoint = unique_endpoint();
        let events = [
            SocketEvent::HANDSHAKE_SUCCEEDED,
            SocketEvent::DISCONNECTED,
            SocketEvent::CONNECT_RETRIED,
            SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
            SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
            SocketEvent::HANDSHAKE_FAILED_AUTH,
        ];
        watched.monitor(&endpoint, events.iter().map(|event| i32::from(event.to_raw())).sum())?;
        let socket = context.0.socket(zmq::PAIR)?;
        socket.set_linger(0)?;
        socket.connect(&endpoint)?;
        let fd = descriptor(&socket)?;
        Ok(Self { socket, fd })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// The next signal; `None` when there is none now.
    pub(crate) fn next(&self) -> Option<Signal> {
        loop {
            let event = self.socket.recv_msg(zmq::DONTWAIT).ok()?;
            while self.socket.get_rcvmore().unwrap_or(false) {
                drop(self.socket.recv_msg(zmq::DONTWAIT).ok()?);
            }
            let Some(&[low, high]) = event.first_chunk::<2>() else { continue };
            let signal = match SocketEvent::from_raw(u16::from_ne_bytes([low, high])) {
                SocketEvent::HANDSHAKE_SUCCEEDED => Signal::Connected,
                SocketEvent::DISCONNECTED => Signal::Disconnected,
                SocketEvent::CONNECT_RETRIED => Signal::Retried,
                SocketEvent::HANDSHAKE_FAILED_NO_DETAIL
                | SocketEvent::HANDSHAKE_FAILED_PROTOCOL
                | SocketEvent::HANDSHAKE_FAILED_AUTH => {
                    Signal::HandshakeFailed("it speaks something else".to_owned())
                }
                _ => continue,
            };
            return Some(signal);
        }
    }
}

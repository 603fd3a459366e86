//! The ways into a backplane: two ports, and beside each a Unix socket for those on this host.

use super::connection::{Newcomer, Side};
use crate::backplane::{BackplaneBuilder, BackplaneError};
use crate::io::{Socket, unix};
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

/// Connections over the limit that may come in by a Unix socket: each has a place already, which it gives up as soon as
/// it has come.
const MOVING: usize = 64;

pub(in crate::backplane) struct Listener {
    side: Side,
    port: Port,
}

enum Port {
    /// With the name of the Unix socket beside it, which is offered to those on this host.
    Tcp(TcpListener, Option<Arc<[u8]>>),
    Unix(UnixListener),
}

impl Listener {
    /// Takes the next connection, and says where it comes from if that is another host.
    pub(super) fn accept(&self) -> io::Result<(Newcomer<Socket>, Option<IpAddr>)> {
        let side = self.side;
        match &self.port {
            Port::Tcp(listener, offer) => {
                let (stream, address) = listener.accept()?;
                let is_here = unix::is_same_host(&stream);
                let offer = offer.as_ref().filter(|_| is_here).cloned();
                let newcomer = Newcomer {
                    stream: Socket::Tcp(stream),
                    address: address.to_string(),
                    side,
                    is_here,
                    offer,
                    place: None,
                };
                Ok((newcomer, (!is_here).then_some(address.ip())))
            }
            Port::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                // The address that comes with it lacks abstract names.
                let address = stream
                    .peer_addr()
                    .map_or_else(|_| "unix".to_owned(), |address| format!("unix {address:?}"));
                let stream = Socket::unix(stream);
                Ok((Newcomer { stream, address, side, is_here: true, offer: None, place: None }, None))
            }
        }
    }

    /// How many connections may come in here over the limit.
    pub(super) fn over_limit(&self) -> usize {
        if matches!(self.port, Port::Unix(_)) { MOVING } else { 0 }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.port {
            Port::Tcp(listener, _) => listener.register(registry, token, Interest::READABLE),
            Port::Unix(listener) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

/// Binds both ports.
pub(in crate::backplane) fn bind(
    builder: &BackplaneBuilder,
) -> Result<(Vec<Listener>, (u16, u16)), BackplaneError> {
    let mut listeners = Vec::new();
    let mut listen = |side, port| -> Result<u16, BackplaneError> {
        let refused = |error: &io::Error| builder.refused(port, error);
        let host = builder.host.trim_start_matches('[').trim_end_matches(']');
        let host = if host == "*" { "0.0.0.0" } else { host };
        let mut addresses = (host, port).to_socket_addrs().map_err(|error| refused(&error))?;
        let address = addresses.next().ok_or_else(|| refused(&io::ErrorKind::AddrNotAvailable.into()))?;
        let listener = TcpListener::bind(address).map_err(|error| refused(&error))?;
        let port = listener.local_addr().map_err(|error| refused(&error))?.port();
        let mut offer = None;
        if builder.unix_shortcut && builder.security.is_none() {
            match unix::listen() {
                Ok((beside, name)) => {
                    offer = Some(name.into());
                    listeners.push(Listener { side, port: Port::Unix(beside) });
                }
                Err(error) => {
                    let backplane = &builder.name;
                    tracing::debug!(backplane, %error, "no Unix socket beside a port: all use TCP");
                }
            }
        }
        listeners.push(Listener { side, port: Port::Tcp(listener, offer) });
        Ok(port)
    };
    let ports = (listen(Side::Subscriber, builder.ports.0)?, listen(Side::Publisher, builder.ports.1)?);
    Ok((listeners, ports))
}

//! What a link runs on: a socket, or one end of a simulated network.

use crate::events::Transport;
use crate::io::curve::Tunnel;
use crate::io::{Socket, unix};
use crate::worker::wait_readable;
use mio::net::TcpStream;
use mio::{Registry, Token};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// A connection that never waits.
pub(crate) trait Stream: Read + Write + Sized {
    /// Begins to connect; what becomes of it is announced under `token`.
    fn connect(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self>;

    /// The same, sealed from its first byte on.
    fn secured(self, tunnel: Tunnel) -> Self;

    /// Whether the attempt to connect has failed.
    fn has_failed(&self) -> bool;

    /// Whether it has succeeded.
    fn is_connected(&self) -> bool;

    /// Connects by the shorter way that the peer offers in its READY, if that can be; announced under the same `token`.
    fn shorten(&self, offer: &[u8], registry: &Registry, token: Token) -> Option<Self>;

    /// What it is.
    fn transport(&self) -> Transport;

    /// Messages that it has taken and not written: if it ends now, they are lost.
    fn unwritten(&self) -> u64 {
        0
    }

    /// Says that nothing more will be written.
    fn close_write(&self) -> io::Result<()>;

    /// Waits until there is something to read, at most `sleep`.
    fn wait_readable(&self, sleep: Duration);

    /// Some number, so that not all do the same at the same time.
    fn random() -> u64;
}

impl Stream for Socket {
    fn connect(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = Socket::Tcp(TcpStream::connect(address)?);
        stream.set_options(address.ip().is_loopback())?;
        stream.watch(&Arc::new(registry.try_clone()?), token)?;
        Ok(stream)
    }

    fn secured(self, tunnel: Tunnel) -> Self {
        Socket::secured(self, tunnel)
    }

    fn has_failed(&self) -> bool {
        let error = match self {
            Socket::Tcp(stream) => stream.take_error(),
            Socket::Unix(socket) => socket.stream.take_error(),
            Socket::Curve(secured) => return secured.socket().has_failed(),
        };
        matches!(error, Ok(Some(_)) | Err(_))
    }

    fn is_connected(&self) -> bool {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().is_ok(),
            Socket::Unix(socket) => socket.stream.peer_addr().is_ok(),
            Socket::Curve(secured) => secured.socket().is_connected(),
        }
    }

    fn shorten(&self, offer: &[u8], registry: &Registry, token: Token) -> Option<Self> {
        let Socket::Tcp(tcp) = self else { return None };
        if !unix::is_same_host(tcp) {
            return None;
        }
        let shorter = unix::connect(offer).map(Socket::unix).and_then(|mut stream| {
            stream.set_options(true)?;
            stream.watch(&Arc::new(registry.try_clone()?), token)?;
            Ok(stream)
        });
        // From inside of another network namespace, for one, the name leads nowhere.
        let refused =
            |error| tracing::debug!(%error, "a link stays on TCP: the Unix socket of its peer cannot be had");
        shorter.map_err(refused).ok()
    }

    fn transport(&self) -> Transport {
        match self {
            Socket::Tcp(_) => Transport::Tcp,
            Socket::Unix(_) => Transport::Unix,
            Socket::Curve(_) => Transport::Curve,
        }
    }

    fn unwritten(&self) -> u64 {
        if let Socket::Curve(secured) = self { secured.unwritten() } else { 0 }
    }

    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn wait_readable(&self, sleep: Duration) {
        let descriptor = match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(socket) => socket.stream.as_raw_fd(),
            Socket::Curve(secured) => return secured.socket().wait_readable(sleep),
        };
        wait_readable(descriptor, sleep);
    }

    fn random() -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

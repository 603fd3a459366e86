//! What a link runs on: a socket, or one end of a simulated network.

use crate::io::tcp;
use crate::worker::wait_readable;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A connection that never waits.
pub(crate) trait Stream: Read + Write + Sized {
    /// Begins to connect; what becomes of it is announced under `token`.
    fn connect(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self>;

    /// Whether the attempt to connect has failed.
    fn has_failed(&self) -> bool;

    /// Whether it has succeeded.
    fn is_connected(&self) -> bool;

    /// Says that nothing more will be written.
    fn close_write(&self) -> io::Result<()>;

    /// Waits until there is something to read, at most `sleep`.
    fn wait_readable(&self, sleep: Duration);

    /// Some number, so that not all do the same at the same time.
    fn random() -> u64;
}

impl Stream for TcpStream {
    fn connect(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        tcp::set_options(&stream)?;
        if address.ip().is_loopback() {
            tcp::serve_loopback(&stream);
        }
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    fn has_failed(&self) -> bool {
        matches!(self.take_error(), Ok(Some(_)) | Err(_))
    }

    fn is_connected(&self) -> bool {
        self.peer_addr().is_ok()
    }

    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn wait_readable(&self, sleep: Duration) {
        wait_readable(self.as_raw_fd(), sleep);
    }

    fn random() -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

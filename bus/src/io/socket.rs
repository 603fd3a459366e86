//! A stream socket of either kind.

use super::curve::{Secured, Tunnel};
use super::{tcp, unix};
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

/// Never waits.
pub(crate) enum Socket {
    Tcp(TcpStream),
    /// Both ends are on this host.
    Unix(UnixSocket),
    /// One of the others, and what it carries is sealed.
    Curve(Box<Secured>),
}

/// A Unix socket that hears of room only while it has too little.
///
/// Linux tells a writer of room each time that a reader takes something from a Unix socket, wanted or not, and wakes it
/// for that; with TCP only after a write that found too little. So this asks when one did, until one does not.
pub(crate) struct UnixSocket {
    pub(crate) stream: UnixStream,
    watch: Option<(Arc<Registry>, Token)>,
    asks_for_room: bool,
}

impl UnixSocket {
    /// What a write of so many bytes came to.
    #[inline]
    fn wrote(&mut self, result: io::Result<usize>, asked: usize) -> io::Result<usize> {
        let is_short = match &result {
            Ok(written) => *written < asked,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if is_short != self.asks_for_room {
            self.ask_for_room(is_short)?;
        }
        result
    }

    #[cold]
    fn ask_for_room(&mut self, asks: bool) -> io::Result<()> {
        let Some((registry, token)) = &self.watch else { return Ok(()) };
        let room = asks.then_some(Interest::WRITABLE);
        let interests = room.map_or(Interest::READABLE, |room| Interest::READABLE.add(room));
        registry.reregister(&mut self.stream, *token, interests)?;
        self.asks_for_room = asks;
        Ok(())
    }
}

impl Socket {
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Socket::Unix(UnixSocket { stream, watch: None, asks_for_room: false })
    }

    /// Lets nothing pass but what the tunnel seals and opens.
    pub(crate) fn secured(self, tunnel: Tunnel) -> Self {
        Socket::Curve(Box::new(Secured::new(self, tunnel)))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(how),
            Socket::Unix(socket) => socket.stream.shutdown(how),
            Socket::Curve(secured) => secured.socket().shutdown(how),
        }
    }

    /// Lets its poll tell what it may do.
    pub(crate) fn watch(&mut self, registry: &Arc<Registry>, token: Token) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => registry.register(stream, token, Interest::READABLE | Interest::WRITABLE),
            Socket::Unix(socket) => {
                socket.watch = Some((registry.clone(), token));
                registry.register(&mut socket.stream, token, Interest::READABLE)
            }
            Socket::Curve(secured) => secured.socket_mut().watch(registry, token),
        }
    }

    /// What every connection of ours has. `unpaced`: the other end is on this host, and nobody else matters.
    pub(crate) fn set_options(&self, unpaced: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => {
                if unpaced {
                    // Where it cannot be had, all goes on more slowly.
                    tcp::serve_loopback(stream);
                }
                tcp::set_options(stream)
            }
            Socket::Unix(socket) => {
                unix::set_options(&socket.stream);
                Ok(())
            }
            Socket::Curve(secured) => secured.socket().set_options(unpaced),
        }
    }
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(socket) => socket.stream.read(buffer),
            Socket::Curve(secured) => secured.read(buffer),
        }
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(socket) => {
                let result = socket.stream.write(bytes);
                socket.wrote(result, bytes.len())
            }
            Socket::Curve(secured) => secured.write(bytes),
        }
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write_vectored(slices),
            Socket::Unix(socket) => {
                let result = socket.stream.write_vectored(slices);
                socket.wrote(result, slices.iter().map(|slice| slice.len()).sum())
            }
            Socket::Curve(secured) => secured.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

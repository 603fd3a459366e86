//! A socket with a tunnel before it.

use super::Denied;
use super::tunnel::Tunnel;
use crate::io::Socket;
use crate::io::zmtp::{Filled, Inbound};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

/// Bytes that are sealed ahead of what the socket has taken.
const AHEAD: usize = 256 * 1024;

/// Reads and writes what the engine says and hears; the socket below carries it sealed.
pub(crate) struct Secured {
    socket: Socket,
    tunnel: Tunnel,
    inbound: Inbound,
    /// The last byte that was taken from the engine, and not acknowledged.
    owes: bool,
    denied: Option<String>,
}

impl Secured {
    pub(crate) fn new(socket: Socket, tunnel: Tunnel) -> Self {
        Self { socket, tunnel, inbound: Inbound::new(), owes: false, denied: None }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Messages that were taken and will never leave if the connection ends now.
    pub(crate) fn unwritten(&self) -> u64 {
        self.tunnel.unwritten(self.owes)
    }

    /// Writes what is sealed; whether that was all.
    fn flush_sealed(&mut self) -> io::Result<bool> {
        while self.tunnel.written < self.tunnel.outwards.len() {
            match self.socket.write(&self.tunnel.outwards[self.tunnel.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.tunnel.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.tunnel.all_written();
        Ok(true)
    }

    fn receive(&mut self) -> Result<(), Denied> {
        let used = self.tunnel.receive(self.inbound.bytes_mut());
        // What the peer is to hear has to go even if it is the last.
        let _ = self.flush_sealed();
        self.inbound.consume(used?);
        Ok(())
    }

    /// The peer has done what it must not. What it sent before is handed on first; the socket is ended, and so whoever
    /// reads it is called again.
    fn deny(&mut self, denied: Denied, filled: usize) -> io::Result<usize> {
        let _ = self.socket.shutdown(Shutdown::Both);
        if filled > 0 {
            self.denied = Some(denied.0);
            return Ok(filled);
        }
        self.denied = Some(denied.0.clone());
        Err(denied.into())
    }
}

impl Read for Secured {
    /// Comes back with less than asked for only when the socket has nothing more.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.tunnel.take(buffer);
        if let Some(denied) = self.denied.as_ref().filter(|_| filled == 0) {
            return Err(Denied(denied.clone()).into());
        }
        while filled < buffer.len() && self.denied.is_none() {
            let found = match self.inbound.read_from(&mut self.socket) {
                Ok(Filled::End) if filled == 0 => match self.tunnel.hung_up(!self.inbound.bytes().is_empty())
                {
                    Some(denied) => return self.deny(denied, 0),
                    None => return Ok(0),
                },
                Ok(Filled::Nothing) if filled == 0 => return Err(io::ErrorKind::WouldBlock.into()),
                Ok(Filled::Nothing | Filled::End) => break,
                Ok(found) => found,
                Err(error) if filled == 0 => return Err(error),
                Err(_) => break,
            };
            let received = self.receive();
            filled += self.tunnel.take(&mut buffer[filled..]);
            if let Err(denied) = received {
                return self.deny(denied, filled);
            }
            if found == Filled::All && filled < buffer.len() {
                break;
            }
        }
        if filled == 0 && !buffer.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(filled) }
    }
}

impl Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Takes more when all that was sealed before is gone. Until then one byte of that counts as not taken, so that the
    /// engine waits for room, and calls again, as with any socket that is full.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush_sealed()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in slices {
            let (owed, new) = slice.split_at(usize::from(self.owes).min(slice.len()));
            self.owes &= owed.is_empty();
            self.tunnel.send(new);
            taken += slice.len();
            if self.tunnel.outwards.len() >= AHEAD {
                break;
            }
        }
        if taken == 0 || self.flush_sealed()? {
            return Ok(taken);
        }
        self.owes = true;
        if taken == 1 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken - 1) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.tunnel.over(self.owes);
    }
}

#[cfg(test)]
mod tests;

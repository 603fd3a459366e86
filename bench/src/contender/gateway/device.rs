//! A device: a TCP server that takes one connection at a time, with MessagePack behind a length of one byte.

use super::super::wire::{Reader, Unit, Wire, Writer};
use super::super::{Listener, Receiver, Sender, Until};
use crate::BenchError;
use std::net::{TcpListener, TcpStream};

/// The longest payload that one byte of length has room for.
const LONGEST: usize = u8::MAX as usize;

pub(super) struct Frames;

impl Wire for Frames {
    fn open(_: &mut Vec<u8>, _: bool) {}

    fn subscribe(_: &mut Vec<u8>, _: &str) {}

    #[inline]
    fn publish(out: &mut Vec<u8>, _: &str, payload: &[u8]) {
        out.push(payload.len() as u8);
        out.extend_from_slice(payload);
    }

    #[inline]
    fn next(bytes: &[u8]) -> Result<Option<Unit<'_>>, BenchError> {
        let Some((&length, rest)) = bytes.split_first() else { return Ok(None) };
        let payload = rest.get(..usize::from(length));
        Ok(payload.map(|payload| Unit { length: 1 + payload.len(), payload: Some(payload) }))
    }
}

fn listen(port: u16) -> Result<TcpListener, BenchError> {
    TcpListener::bind(("127.0.0.1", port)).map_err(BenchError::doing("listening"))
}

fn accept(listener: &TcpListener) -> Result<TcpStream, BenchError> {
    let (stream, _) = listener.accept().map_err(BenchError::doing("accepting"))?;
    stream.set_nodelay(true).map_err(BenchError::doing("accepting"))?;
    Ok(stream)
}

/// A device that sends; the first message waits for whoever is to get it.
pub(super) struct Sending {
    listener: TcpListener,
    writer: Option<Writer<Frames>>,
}

impl Sending {
    /// Of port 0, one that is free.
    pub(super) fn listen(port: u16) -> Result<(Self, u16), BenchError> {
        let listener = listen(port)?;
        let port = listener.local_addr().map_err(BenchError::doing("listening"))?.port();
        Ok((Self { listener, writer: None }, port))
    }
}

impl Sender for Sending {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        if payload.len() > LONGEST {
            return Err(BenchError::Misuse(format!("a device's payload is {LONGEST} bytes at most")));
        }
        match &mut self.writer {
            Some(writer) => writer.send(topic, payload),
            None => {
                let writer = self.writer.insert(Writer::over(accept(&self.listener)?)?);
                writer.send(topic, payload)
            }
        }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.writer.as_mut().map_or(Ok(()), Writer::flush)
    }
}

/// A device that receives.
pub(super) struct Receiving(TcpListener);

impl Receiving {
    pub(super) fn listen(port: u16) -> Result<Self, BenchError> {
        listen(port).map(Self)
    }
}

impl Receiver for Receiving {
    fn receive<L: Listener>(
        self,
        listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        Reader::<Frames>::over(accept(&self.0)?, &[])?.receive(listener, opening, until)
    }
}

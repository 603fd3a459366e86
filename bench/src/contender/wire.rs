//! Servers that are spoken to in a plain protocol on a TCP stream. Their files know the protocol, this one the stream:
//! 64 KiB per write and read, as in `base-tcp`.

use super::{LOOK, Listener, Place, Receiver, Sender, Until};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use std::io::{ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::net::TcpStream;

const BATCH: usize = 64 * 1024;

/// What a server is told, and what it says.
pub(super) trait Wire {
    /// Appends what opens a connection that publishes, or one that subscribes.
    fn open(out: &mut Vec<u8>, publishes: bool);

    /// Appends a subscription.
    fn subscribe(out: &mut Vec<u8>, topic: &str);

    /// Appends a message.
    fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]);

    /// What `bytes` begin with: `None` if it is not whole.
    ///
    /// # Errors
    /// What the server said instead.
    fn next(bytes: &[u8]) -> Result<Option<Unit<'_>>, BenchError>;
}

/// One thing that a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    /// How many bytes it takes.
    pub(super) length: usize,
    /// Of a message; `None`: it is something else, such as a confirmation.
    pub(super) payload: Option<&'a [u8]>,
}

pub(super) fn publish<W: Wire>(place: &Place, role: Publishing) -> Result<(), BenchError> {
    role.run(Vec::new(), Writer::<W>::connect(place.port(0)?)?)
}

pub(super) fn subscribe<W: Wire>(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let (first, port) = (role.first(), place.port(0)?);
    let answers = place.answers().then(|| Writer::<W>::connect(port)).transpose()?;
    let reader = Reader::<W>::connect(port, &place.hears(first))?;
    role.run(Vec::new(), Reader { answers, says: place.says(first), ..reader })
}

fn connect(port: u16) -> Result<TcpStream, BenchError> {
    let connected = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
        stream.set_nodelay(true)?;
        Ok(stream)
    });
    connected.map_err(BenchError::doing("connecting"))
}

pub(super) struct Writer<W> {
    stream: TcpStream,
    buffer: Vec<u8>,
    wire: PhantomData<W>,
}

impl<W: Wire> Writer<W> {
    pub(super) fn connect(port: u16) -> Result<Self, BenchError> {
        Self::over(connect(port)?)
    }

    pub(super) fn over(stream: TcpStream) -> Result<Self, BenchError> {
        let mut buffer = Vec::with_capacity(2 * BATCH);
        W::open(&mut buffer, true);
        let mut writer = Writer { stream, buffer, wire: PhantomData };
        writer.flush()?;
        Ok(writer)
    }
}

impl<W: Wire> Sender for Writer<W> {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        W::publish(&mut self.buffer, topic, payload);
        if self.buffer.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        if !self.buffer.is_empty() {
            self.stream.write_all(&self.buffer).map_err(BenchError::doing("publishing"))?;
            self.buffer.clear();
        }
        Ok(())
    }
}

pub(super) struct Reader<W> {
    stream: TcpStream,
    answers: Option<Writer<W>>,
    says: &'static str,
}

impl<W: Wire> Reader<W> {
    pub(super) fn connect(port: u16, hears: &[String]) -> Result<Self, BenchError> {
        Self::over(connect(port)?, hears)
    }

    pub(super) fn over(mut stream: TcpStream, hears: &[String]) -> Result<Self, BenchError> {
        let mut out = Vec::new();
        W::open(&mut out, false);
        hears.iter().for_each(|topic| W::subscribe(&mut out, topic));
        let told = stream.write_all(&out).and_then(|()| stream.set_read_timeout(Some(LOOK)));
        told.map_err(BenchError::doing("subscribing"))?;
        Ok(Reader { stream, answers: None, says: "" })
    }
}

impl<W: Wire> Receiver for Reader<W> {
    fn receive<L: Listener>(
        mut self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let (mut buffer, mut filled) = (vec![0; 4 * BATCH], 0);
        while !until.over() {
            if let (Some(opening), Some(answers), false) = (opening, &mut self.answers, until.heard()) {
                answers.send(self.says, opening)?;
                answers.flush()?;
            }
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(BenchError::failed("receiving", "the server has closed the connection")),
                Ok(read) => filled += read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(BenchError::doing("receiving")(error)),
            }
            let mut at = 0;
            while let Some(unit) = W::next(&buffer[at..filled])? {
                at += unit.length;
                let answer = unit.payload.and_then(|payload| listener.hear(payload));
                if let (Some(answer), Some(answers)) = (answer, &mut self.answers) {
                    answers.send(self.says, answer)?;
                }
            }
            if let Some(answers) = &mut self.answers {
                answers.flush()?;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
            if filled == buffer.len() {
                // No message is longer than the longest payload, which `scenario` bounds.
                buffer.resize(2 * buffer.len(), 0);
            }
        }
        Ok(listener)
    }
}

//! Bare streams, TCP on loopback and Unix ones: what the machine can do, and no more than that is done.
//!
//! A message is its length, the topic and the payload. The publisher writes 64 KiB at a time; the middle copies bytes
//! without looking at them; the subscriber finds the messages in what it reads. Nobody matches topics.

use super::{LOOK, Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, TOPIC, Until};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use crate::scenario::Scenario;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

const BATCH: usize = 64 * 1024;

pub(crate) static TCP: System = System {
    name: "base-tcp",
    lossless: Lossless::BackPressure,
    check: |scenario| match scenario {
        Scenario::FanIn(2..) => Err("a bare stream has one writer"),
        Scenario::ManyBackplanes(2..) => Err("a bare stream has one relay"),
        Scenario::ManyTopics(2..) => Err("nobody matches topics"),
        _ => Ok(()),
    },
    parts: Parts::Processes {
        middle: Some(middle::<TcpStream>),
        publish: publish::<TcpStream>,
        subscribe: subscribe::<TcpStream>,
    },
};

pub(crate) static UNIX: System = System {
    name: "base-unix",
    parts: Parts::Processes {
        middle: Some(middle::<UnixStream>),
        publish: publish::<UnixStream>,
        subscribe: subscribe::<UnixStream>,
    },
    ..TCP
};

/// What both kinds of stream have under different types.
trait Stream: Read + Write + Send + Sized + 'static {
    type Listener: Send + 'static;

    fn listen() -> io::Result<(Self::Listener, u16)>;
    fn accept(listener: &Self::Listener) -> io::Result<Self>;
    fn connect(port: u16) -> io::Result<Self>;
    fn share(&self) -> io::Result<Self>;
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    type Listener = TcpListener;

    fn listen() -> io::Result<(TcpListener, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    fn accept(listener: &TcpListener) -> io::Result<Self> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn share(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

/// A number for a port is part of a name that no file has.
fn unix_address(port: u16) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("multiplane-bench/{port}"))
}

impl Stream for UnixStream {
    type Listener = UnixListener;

    fn listen() -> io::Result<(UnixListener, u16)> {
        for port in 1..u16::MAX {
            match UnixListener::bind_addr(&unix_address(port)?) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                listener => return Ok((listener?, port)),
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    fn accept(listener: &UnixListener) -> io::Result<Self> {
        Ok(listener.accept()?.0)
    }

    fn connect(port: u16) -> io::Result<Self> {
        UnixStream::connect_addr(&unix_address(port)?)
    }

    fn share(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

/// Copies what one publisher writes to all subscribers, and in ping-pong also the other way.
fn middle<S: Stream>(place: &Place) -> Result<Middle, BenchError> {
    let failed = || BenchError::doing("starting the relay");
    let (incoming, from_publisher) = S::listen().map_err(failed())?;
    let (outgoing, to_subscribers) = S::listen().map_err(failed())?;
    let (subscribers, answers) = (place.scenario.subscribers(), place.answers());
    let relay = move || {
        let mut publisher = S::accept(&incoming)?;
        let mut streams = (0..subscribers).map(|_| S::accept(&outgoing)).collect::<io::Result<Vec<_>>>()?;
        if let Some(mut subscriber) = streams.first().filter(|_| answers).map(S::share).transpose()? {
            let mut back = [publisher.share()?];
            thread::Builder::new().spawn(move || copy(&mut subscriber, &mut back))?;
        }
        copy(&mut publisher, &mut streams)
    };
    thread::Builder::new().name("relay".to_owned()).spawn(relay).map_err(failed())?;
    Ok(Middle::here(vec![from_publisher, to_subscribers], ()))
}

/// The writer of the stream, connected to the relay or listening.
fn publish<S: Stream>(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let buffer = Vec::with_capacity(2 * BATCH);
    if place.has_middle() {
        let stream = S::connect(place.port(0)?).map_err(BenchError::doing("connecting"))?;
        return role.run(Vec::new(), Writer { ends: Ends::Connected(vec![stream]), buffer });
    }
    let (listener, port) = S::listen().map_err(BenchError::doing("listening"))?;
    let ends = Ends::<S>::Awaited(listener, place.scenario.subscribers());
    role.run(vec![port], Writer { ends, buffer })
}

/// The reader of the stream; in ping-pong, either end.
fn subscribe<S: Stream>(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let port = place.port(usize::from(place.has_middle() && !role.first()))?;
    let stream = S::connect(port).map_err(BenchError::doing("connecting"))?;
    stream.set_patience(LOOK).map_err(BenchError::doing("connecting"))?;
    role.run(Vec::new(), Reader { stream })
}

fn copy<S: Stream>(from: &mut S, to: &mut [S]) -> io::Result<()> {
    let mut buffer = vec![0; BATCH];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        for stream in &mut *to {
            stream.write_all(&buffer[..read])?;
        }
    }
}

#[inline]
fn append(buffer: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    buffer.extend_from_slice(&((topic.len() + payload.len()) as u32).to_le_bytes());
    buffer.extend_from_slice(topic.as_bytes());
    buffer.extend_from_slice(payload);
}

struct Writer<S: Stream> {
    ends: Ends<S>,
    buffer: Vec<u8>,
}

enum Ends<S: Stream> {
    /// So many subscribers have yet to come; the first message waits for them.
    Awaited(S::Listener, u32),
    Connected(Vec<S>),
}

impl<S: Stream> Sender for Writer<S> {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        append(&mut self.buffer, topic, payload);
        if self.buffer.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        let mut write = || {
            if let Ends::Awaited(listener, subscribers) = &self.ends {
                self.ends = Ends::Connected(
                    (0..*subscribers).map(|_| S::accept(listener)).collect::<Result<_, _>>()?,
                );
            }
            if let Ends::Connected(streams) = &mut self.ends {
                streams.iter_mut().try_for_each(|stream| stream.write_all(&self.buffer))?;
            }
            self.buffer.clear();
            Ok::<_, io::Error>(())
        };
        write().map_err(BenchError::doing("writing"))
    }
}

struct Reader<S> {
    stream: S,
}

impl<S: Stream> Receiver for Reader<S> {
    fn receive<L: Listener>(
        mut self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let failed = || BenchError::doing("receiving");
        let (mut buffer, mut filled) = (vec![0; 4 * BATCH], 0);
        let mut out = Vec::new();
        while !until.over() {
            if let (Some(opening), false) = (opening, until.heard()) {
                append(&mut out, TOPIC, opening);
            }
            if !out.is_empty() {
                self.stream.write_all(&out).map_err(failed())?;
                out.clear();
            }
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(failed()(error)),
            }
            let mut at = 0;
            while let Some((length, rest)) = buffer[at..filled].split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                let Some(message) = rest.get(..length) else {
                    // The peer is one of ours, so a length is honest; the longest payload is bounded by `scenario`.
                    buffer.resize(buffer.len().max(length + 4 + BATCH), 0);
                    break;
                };
                at += 4 + length;
                if let Some(answer) = message.get(TOPIC.len()..).and_then(|payload| listener.hear(payload)) {
                    append(&mut out, TOPIC, answer);
                }
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
        }
        Ok(listener)
    }
}

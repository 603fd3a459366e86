//! Bare TCP streams on loopback: what the machine can do, and no more than that is done.
//!
//! A message is its length, the topic and the payload. The publisher writes 64 KiB at a time; the middle copies bytes
//! without looking at them; the subscriber finds the messages in what it reads. Nobody matches topics.

use super::{LOOK, Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, TOPIC, Until};
use crate::BenchError;
use crate::scenario::Scenario;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const BATCH: usize = 64 * 1024;

pub(crate) static BASE: System = System {
    name: "base-tcp",
    lossless: Lossless::BackPressure,
    check: |scenario| match scenario {
        Scenario::FanIn(2..) => Err("a bare stream has one writer"),
        Scenario::ManyBackplanes(2..) => Err("a bare stream has one relay"),
        Scenario::ManyTopics(2..) => Err("nobody matches topics"),
        _ => Ok(()),
    },
    parts: Parts::Processes {
        middle: Some(middle),
        publish: |place, role| {
            let (ports, writer) = publisher(place)?;
            role.run(ports, writer)
        },
        subscribe: |place, role| {
            let reader = subscriber(place, role.first())?;
            role.run(Vec::new(), reader)
        },
    },
};

/// Copies what one publisher writes to all subscribers, and in ping-pong also the other way.
fn middle(place: &Place) -> Result<Middle, BenchError> {
    let failed = || BenchError::doing("starting the relay");
    let (incoming, from_publisher) = listen()?;
    let (outgoing, to_subscribers) = listen()?;
    let (subscribers, answers) = (place.scenario.subscribers(), place.answers());
    let relay = move || {
        let mut publisher = accept(&incoming)?;
        let mut streams = (0..subscribers).map(|_| accept(&outgoing)).collect::<io::Result<Vec<_>>>()?;
        if let Some(mut subscriber) =
            streams.first().filter(|_| answers).map(TcpStream::try_clone).transpose()?
        {
            let mut back = [publisher.try_clone()?];
            thread::Builder::new().spawn(move || copy(&mut subscriber, &mut back))?;
        }
        copy(&mut publisher, &mut streams)
    };
    thread::Builder::new().name("relay".to_owned()).spawn(relay).map_err(failed())?;
    Ok(Middle::here(vec![from_publisher, to_subscribers], ()))
}

/// The writer of the stream, connected to the relay or listening.
fn publisher(place: &Place) -> Result<(Vec<u16>, Writer), BenchError> {
    let writer = |ends| Writer { ends, buffer: Vec::with_capacity(2 * BATCH) };
    if place.has_middle() {
        let stream = connect(place.port(0)?)?;
        return Ok((Vec::new(), writer(Ends::Connected(vec![stream]))));
    }
    let (listener, port) = listen()?;
    Ok((vec![port], writer(Ends::Awaited(listener, place.scenario.subscribers()))))
}

/// The reader of the stream; in ping-pong, either end.
fn subscriber(place: &Place, first: bool) -> Result<Reader, BenchError> {
    if place.answers() && !place.has_middle() {
        return Err(BenchError::failed("subscribing", "ping-pong goes through the relay"));
    }
    let which = usize::from(place.has_middle() && !first);
    let stream = connect(place.port(which)?)?;
    stream.set_read_timeout(Some(LOOK)).map_err(BenchError::doing("connecting"))?;
    Ok(Reader { stream })
}

fn listen() -> Result<(TcpListener, u16), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::doing("listening"))?;
    let port = listener.local_addr().map_err(BenchError::doing("listening"))?.port();
    Ok((listener, port))
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn connect(port: u16) -> Result<TcpStream, BenchError> {
    let connected = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
        stream.set_nodelay(true)?;
        Ok(stream)
    });
    connected.map_err(BenchError::doing("connecting"))
}

fn copy(from: &mut TcpStream, to: &mut [TcpStream]) -> io::Result<()> {
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

struct Writer {
    ends: Ends,
    buffer: Vec<u8>,
}

enum Ends {
    /// So many subscribers have yet to come; the first message waits for them.
    Awaited(TcpListener, u32),
    Connected(Vec<TcpStream>),
}

impl Sender for Writer {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        append(&mut self.buffer, topic, payload);
        if self.buffer.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        let mut write = || {
            if let Ends::Awaited(listener, subscribers) = &self.ends {
                self.ends =
                    Ends::Connected((0..*subscribers).map(|_| accept(listener)).collect::<Result<_, _>>()?);
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

struct Reader {
    stream: TcpStream,
}

impl Receiver for Reader {
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

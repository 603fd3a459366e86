//! A peer that speaks ZMTP by hand, so that it can be as odd as a test wants it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../common/zmtp.rs"]
mod zmtp;

use multiplane_bus::{Backplane, BackplaneBuilder, Budget, Engine, ForwardStats};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
pub use zmtp::{command, frame, greeting, message, ready};

/// Far longer than anything takes: nothing here is about speed.
pub const LONG: Duration = Duration::from_secs(30);

pub const ENGINES: [Engine; 2] = [Engine::Native, Engine::Libzmq];

pub fn builder() -> BackplaneBuilder {
    Backplane::builder("BP1").publisher_port(0).subscriber_port(0)
}

pub fn native(budget: Budget) -> BackplaneBuilder {
    builder().budget(budget)
}

/// Looks until `condition` holds; the counters have no event to wait for.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Waits until nothing is queued; every copy has become something then.
pub fn quiet(backplane: &Backplane) -> ForwardStats {
    until("nothing is queued", || backplane.stats().queued == 0);
    let stats = backplane.stats();
    assert_eq!(stats.copies, stats.forwarded + stats.dropped + stats.lost, "{stats:?}");
    stats
}

/// A subscription, or its end, as a command or as a message.
pub fn subscription(as_command: bool, subscribe: bool, topic: &[u8]) -> Vec<u8> {
    match (as_command, subscribe) {
        (true, true) => command(b"SUBSCRIBE", topic),
        (true, false) => command(b"CANCEL", topic),
        (false, _) => frame(0, &[&[u8::from(subscribe)], topic].concat()),
    }
}

/// What the end of a connection looks like from here.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

pub struct Raw {
    pub stream: TcpStream,
    input: Vec<u8>,
    at: usize,
    minor: u8,
    pub last_wish_was_command: bool,
}

impl Raw {
    /// A connection, and not a word yet.
    pub fn connect(port: u16) -> Self {
        Self::on(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// The next one that comes, and not a word yet.
    pub fn accept(listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let mut stream = None;
        until("somebody connects", || {
            stream = listener.accept().ok();
            stream.is_some()
        });
        let (stream, _) = stream.unwrap();
        stream.set_nonblocking(false).unwrap();
        Self::on(stream)
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self { stream, input: Vec::new(), at: 0, minor: 1, last_wish_was_command: false }
    }

    /// A peer past its handshake.
    pub fn peer(port: u16, kind: &str, minor: u8) -> Self {
        Self::connect(port).shake_hands(kind, minor)
    }

    /// The next one that comes, past its handshake.
    pub fn host(listener: &TcpListener, kind: &str, minor: u8) -> Self {
        Self::accept(listener).shake_hands(kind, minor)
    }

    fn shake_hands(mut self, kind: &str, minor: u8) -> Self {
        self.minor = minor;
        self.write(&[greeting(minor), ready(kind)].concat());
        assert_eq!(self.greeting()[10], 3);
        let (flags, body) = self.frame().expect("READY");
        assert!(flags == 4 && body.starts_with(b"\x05READY"), "{body:?}");
        self
    }

    pub fn publisher(backplane: &Backplane) -> Self {
        Self::peer(backplane.publisher_port(), "PUB", 1)
    }

    /// Subscribed, and the backplane knows it.
    pub fn subscriber(backplane: &Backplane, topics: &[&[u8]]) -> Self {
        let mut peer = Self::peer(backplane.subscriber_port(), "SUB", 1);
        topics.iter().for_each(|topic| peer.write(&subscription(true, true, topic)));
        peer.ping();
        peer
    }

    /// There and back: all that was written before has been handled.
    pub fn ping(&mut self) {
        self.write(&command(b"PING", b"\0\0ctx!"));
        assert_eq!(self.command(), b"\x04PONGctx!");
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Writes to somebody who may close the connection.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn send(&mut self, frames: &[&[u8]]) {
        self.write(&message(frames));
    }

    /// So many bytes, or `None` when the connection ends before.
    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.input.len() - self.at < n {
            self.input.drain(..std::mem::take(&mut self.at));
            let filled = self.input.len();
            self.input.resize(filled + n.max(1 << 16), 0);
            let read = self.stream.read(&mut self.input[filled..]);
            self.input.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if is_end(&error) => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
        self.at += n;
        Some(self.input[self.at - n..self.at].to_vec())
    }

    pub fn greeting(&mut self) -> Vec<u8> {
        self.take(64).expect("a greeting")
    }

    /// The next frame: flags without that for long ones, and body.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let flags = self.take(1)?[0];
        let length = match flags & 2 {
            0 => u64::from(self.take(1)?[0]),
            _ => u64::from_be_bytes(self.take(8)?.try_into().unwrap()),
        };
        Some((flags & !2, self.take(length as usize)?))
    }

    /// The next message; `None` at the end.
    pub fn try_recv(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        loop {
            let (flags, body) = self.frame()?;
            assert!(flags & 4 == 0, "a command: {body:?}");
            frames.push(body);
            if flags & 1 == 0 {
                return Some(frames);
            }
        }
    }

    pub fn recv(&mut self) -> Vec<Vec<u8>> {
        self.try_recv().expect("a message")
    }

    /// The next command that is no wish.
    pub fn command(&mut self) -> Vec<u8> {
        let (flags, body) = self.frame().expect("a command");
        assert_eq!(flags, 4, "a message: {body:?}");
        body
    }

    /// The next thing that a publisher hears: whether it is a subscription, and its topic. (libzmq 4.3.4 in an XSUB
    /// keeps to the old form whatever the version.)
    pub fn wish(&mut self) -> (bool, Vec<u8>) {
        let (flags, body) = self.frame().expect("a wish");
        self.last_wish_was_command = flags == 4;
        match flags {
            0 => (body[0] == 1, body[1..].to_vec()),
            4 if self.minor > 0 && body.starts_with(b"\x09SUBSCRIBE") => (true, body[10..].to_vec()),
            4 if self.minor > 0 && body.starts_with(b"\x06CANCEL") => (false, body[7..].to_vec()),
            _ => panic!("no wish of version 3.{}: {flags} {body:?}", self.minor),
        }
    }

    /// Whether it said that it speaks 3.1.
    pub fn is_new(&self) -> bool {
        self.minor > 0
    }

    /// Hears wishes until this one comes.
    pub fn await_wanted(&mut self, topic: &[u8]) {
        while self.wish() != (true, topic.to_vec()) {}
    }

    /// Reads what is left; all of it, once the other side has closed the connection.
    pub fn rest(mut self) -> Vec<u8> {
        let mut rest = self.input.split_off(self.at);
        match self.stream.read_to_end(&mut rest) {
            Err(error) if !is_end(&error) => panic!("the connection stays: {error}"),
            _ => rest,
        }
    }

    /// Says that there is no more, and waits until the other side has taken it all.
    pub fn finish(self) -> Vec<u8> {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.rest()
    }

    /// Whether nothing comes for so long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent =
            self.at == self.input.len() && self.stream.read(&mut [0]).is_err_and(|error| !is_end(&error));
        self.stream.set_read_timeout(Some(LONG)).unwrap();
        silent
    }
}

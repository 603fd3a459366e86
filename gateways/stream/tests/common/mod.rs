//! A plain client, as `nc` is one. Nothing here sleeps.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken; the machine may be slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `nc HOST PORT`
pub(crate) struct Nc {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Nc {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The end of its input.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next line without its end; `None` when the server has ended the stream.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).unwrap();
        (count > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).unwrap();
        rest
    }

    pub(crate) fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = vec![0; bytes];
        self.lines.read_exact(&mut all).unwrap();
        all
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Waits for what counts but tells nobody.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = now() + PATIENCE;
    while !condition() {
        assert!(now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test that waits")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

//! One connection: its socket, its handshake, what has come and what waits to go.

use super::queue::SendQueue;
use crate::worker::RateLimit;
use bytes::BytesMut;
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType};
use std::io::{self, Read};
use std::time::Instant;

/// A read asks for so much at first, and for more when the peer has more to say.
const SMALL_READ: usize = 4 * 1024;
const LARGE_READ: usize = 64 * 1024;

/// Answers to PING that may wait: hundreds, and honest peers have one at a time.
const CONTROL_LIMIT: usize = 16 * 1024;

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Publisher,
    Subscriber,
}

pub(super) struct Connection<S> {
    pub(super) stream: S,
    /// Who it is, for people.
    pub(super) address: String,
    pub(super) side: Side,
    handshake: Handshake,
    /// Until when the handshake must be done.
    pub(super) deadline: Instant,
    pub(super) input: BytesMut,
    /// How much of the first message of `input` is known already.
    pub(super) scanned: usize,
    pub(super) queue: SendQueue,
    /// Bytes of commands that may wait for a peer that does not read.
    pub(super) control_limit: usize,
    /// The socket may have something to read.
    pub(super) readable: bool,
    /// The socket may take something.
    pub(super) writable: bool,
    /// The peer has sent its last byte, so nothing more will be announced.
    pub(super) ended: bool,
    /// This subscriber holds all publishers back.
    pub(super) holds: bool,
    /// Messages that it lost because it was too slow.
    pub(super) dropped: u64,
    pub(super) complaint: RateLimit,
    read_size: usize,
}

/// What a read found.
#[derive(PartialEq)]
pub(super) enum ReadOutcome {
    Some,
    WouldBlock,
    Closed,
}

impl<S: Read> Connection<S> {
    pub(super) fn new(
        stream: S,
        address: String,
        side: Side,
        mut queue: SendQueue,
        deadline: Instant,
    ) -> Self {
        let ours = match side {
            Side::Publisher => SocketType::XSub,
            Side::Subscriber => SocketType::XPub,
        };
        let (handshake, greeting) = Handshake::start(ours);
        queue.push_control(&greeting);
        Self {
            stream,
            address,
            side,
            handshake,
            deadline,
            input: BytesMut::new(),
            scanned: 0,
            queue,
            control_limit: CONTROL_LIMIT,
            readable: true,
            writable: true,
            ended: false,
            holds: false,
            dropped: 0,
            complaint: RateLimit::new(),
            read_size: SMALL_READ,
        }
    }

    /// Who is there, once the handshake is done.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.handshake.peer()
    }

    /// Goes on with the handshake; whether it is done now.
    pub(super) fn shake_hands(&mut self) -> Result<bool, Refusal> {
        let mut answer = Vec::new();
        let used = self.handshake.handle(&self.input, &mut answer);
        self.queue.push_control(&answer);
        drop(self.input.split_to(used?));
        Ok(self.handshake.peer().is_some())
    }

    /// Reads once into `input`.
    pub(super) fn read(&mut self) -> ReadOutcome {
        let filled = self.input.len();
        self.input.resize(filled + self.read_size, 0);
        let read = loop {
            match self.stream.read(&mut self.input[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.input.truncate(filled + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(0) => ReadOutcome::Closed,
            Ok(n) => {
                if n == self.read_size {
                    self.read_size = LARGE_READ;
                } else {
                    // All has been read; whatever comes later is a new event.
                    self.readable = self.ended;
                    if n < SMALL_READ / 2 {
                        self.read_size = SMALL_READ;
                    }
                }
                ReadOutcome::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                ReadOutcome::WouldBlock
            }
            Err(_) => ReadOutcome::Closed,
        }
    }
}

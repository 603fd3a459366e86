//! One connection: its socket, its handshake, what has come and what waits to go.

use super::addresses::Place;
use super::chunk::{CHUNK, Input, Pool, Run};
use super::queue::SendQueue;
use crate::io::curve::{OTHER_SECURITY, denial};
use crate::io::unix;
use crate::worker::RateLimit;
use multiplane_codec::zmtp::frame::Header;
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Publisher,
    Subscriber,
}

/// A connection that comes in.
pub(super) struct Newcomer<S> {
    pub(super) stream: S,
    /// Who it is, for people.
    pub(super) address: String,
    pub(super) side: Side,
    /// From this host.
    pub(super) is_here: bool,
    /// The name of a Unix socket to which it may move.
    pub(super) offer: Option<Arc<[u8]>>,
    /// What it takes of the places for its address.
    pub(super) place: Option<Place>,
}

pub(super) struct Connection<S> {
    pub(super) stream: S,
    /// Who it is, for people.
    pub(super) address: String,
    pub(super) side: Side,
    /// It leads to another worker of this backplane, or comes from one: no handshake, and nothing is lost there.
    pub(super) joint: bool,
    handshake: Handshake,
    /// Until when the handshake must be done.
    pub(super) deadline: Instant,
    pub(super) input: Input,
    /// How much of the first message of `input` is known already.
    pub(super) scanned: usize,
    pub(super) queue: SendQueue,
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
    /// The first subscriptions, for people.
    pub(super) topics: String,
    /// Memory of `input` that was counted.
    pub(super) kept: usize,
    _place: Option<Place>,
}

/// Bytes of text about subscriptions, and of each of them.
const TOPICS_SHOWN: usize = 100;
const TOPIC_SHOWN: usize = 32;

/// What a read found.
pub(super) enum ReadOutcome {
    /// So many bytes.
    Some(usize),
    WouldBlock,
    Closed,
    /// Security does not let it in, or it is not content with ours.
    Denied(String),
}

impl<S: Read + Write> Connection<S> {
    pub(super) fn new(
        Newcomer { stream, address, side, offer, place, .. }: Newcomer<S>,
        mut queue: SendQueue,
        deadline: Instant,
    ) -> Self {
        let ours = match side {
            Side::Publisher => SocketType::XSub,
            Side::Subscriber => SocketType::XPub,
        };
        let (mut handshake, greeting) = Handshake::start(ours);
        if let Some(offer) = offer {
            handshake = handshake.offering(unix::PROPERTY, &offer);
        }
        queue.push_control(&greeting);
        Self {
            stream,
            address,
            side,
            joint: false,
            handshake,
            deadline,
            input: Input::default(),
            scanned: 0,
            queue,
            readable: true,
            writable: true,
            ended: false,
            holds: false,
            dropped: 0,
            complaint: RateLimit::new(),
            topics: String::new(),
            kept: 0,
            _place: place,
        }
    }

    /// One end of a joint.
    pub(super) fn joint(newcomer: Newcomer<S>, queue: SendQueue, now: Instant) -> Self {
        let nothing_yet = SendQueue::new(usize::MAX, usize::MAX);
        Self { joint: true, queue, ..Self::new(newcomer, nothing_yet, now) }
    }

    /// Who is there, once the handshake is done.
    pub(super) fn peer(&self) -> Option<Peer> {
        if self.joint {
            return Some(Peer { minor: 1, socket_type: SocketType::XPub });
        }
        self.handshake.peer()
    }

    /// How many messages were forwarded since the last call; a joint only brings them on their way.
    pub(super) fn take_forwarded(&mut self) -> u64 {
        let sent = self.queue.take_sent() as u64;
        if self.joint { 0 } else { sent }
    }

    /// Remembers a subscription, if it is one of the first.
    pub(super) fn note_topic(&mut self, topic: &[u8]) {
        if self.topics.len() < TOPICS_SHOWN {
            let shown = String::from_utf8_lossy(&topic[..topic.len().min(TOPIC_SHOWN)]);
            let dots = if topic.len() > TOPIC_SHOWN { ".." } else { "" };
            self.topics += &format!("{}{shown:?}{dots}", if self.topics.is_empty() { "" } else { ", " });
        } else if !self.topics.ends_with("...") {
            self.topics += ", ...";
        }
    }

    /// Queues a run that has room, or writes it at once if it would have to be copied for that.
    pub(super) fn push(&mut self, run: &mut Run<'_>) {
        if !run.is_shareable() && run.bytes.len() >= CHUNK / 8 && self.writable && self.queue.bytes() == 0 {
            // An error shows itself again at the next write.
            self.writable = self.queue.write_through(&mut self.stream, run).unwrap_or(true);
        } else {
            self.queue.push(run);
        }
    }

    /// Goes on with the handshake; whether it is done now.
    pub(super) fn shake_hands(&mut self) -> Result<bool, Refusal> {
        let mut answer = Vec::new();
        let used = self.handshake.handle(&self.input, &mut answer);
        self.queue.push_control(&answer);
        self.input.consume(used?);
        Ok(self.handshake.peer().is_some())
    }

    /// Reads once into `input`, at most `most` bytes.
    pub(super) fn read(&mut self, pool: &mut Pool, most: usize) -> ReadOutcome {
        let expected = match Header::parse(self.input.get(self.scanned..).unwrap_or_default(), usize::MAX) {
            Ok(Some(next)) => self.scanned.saturating_add(next.total()),
            _ => 0,
        };
        match self.input.read(&mut self.stream, pool, most, expected) {
            Ok((0, _)) if self.peer().is_none() && !self.input.is_empty() => {
                ReadOutcome::Denied(OTHER_SECURITY.to_owned())
            }
            Ok((0, _)) => ReadOutcome::Closed,
            Ok((n, is_full)) => {
                // Otherwise all has been read, and whatever comes later is a new event.
                self.readable = is_full || self.ended;
                ReadOutcome::Some(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                ReadOutcome::WouldBlock
            }
            Err(error) => {
                denial(&error).map_or(ReadOutcome::Closed, |why| ReadOutcome::Denied(why.to_string()))
            }
        }
    }
}

//! One connection to the broker.

use crate::client::{Client, Message, News, Published};
use crate::transport::Transport;
use bytes::Bytes;
use multiplane_bridge::{Bounds, Outgoing};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Instant;

/// Bytes that wait for the broker besides one message of any size; what is behind them waits in the inbox.
const OUTGOING: Bounds = Bounds { bytes: 256 * 1024 };
/// Read at once, and so often in one turn: the bus waits meanwhile.
const CHUNK: usize = 16 * 1024;
const CHUNKS: usize = 16;
/// Messages are gathered up to so many bytes, to be written together.
const PIECE: usize = 16 * 1024;

/// A connection with its protocol, and what is on its way.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) readable: bool,
    stream: Transport,
    outgoing: Outgoing,
    /// Messages of quality 0 among the bytes that the client has gathered.
    gathered: u32,
    /// Sent with quality 1, and not acknowledged yet.
    in_flight: VecDeque<(u16, Message)>,
    chunk: Box<[u8]>,
}

/// Why a session is over.
pub(crate) type Over = String;

impl Session {
    pub(crate) fn new(client: Client, stream: Transport) -> Self {
        let (outgoing, in_flight) = (Outgoing::new(OUTGOING), VecDeque::new());
        let chunk = vec![0; CHUNK].into();
        Self { client, readable: true, stream, outgoing, gathered: 0, in_flight, chunk }
    }

    /// Queues what the protocol wants to say.
    fn queue(&mut self) {
        let bytes = self.client.take_out();
        if !bytes.is_empty() {
            self.outgoing.push(Bytes::from(bytes), std::mem::take(&mut self.gathered));
        }
    }

    /// Reads what the broker says, up to a bound; whether there may be more.
    pub(crate) fn read(&mut self, now: Instant, mut hear: impl FnMut(&mut Self, News)) -> Result<bool, Over> {
        for _ in 0..CHUNKS {
            match self.stream.read(&mut self.chunk) {
                Ok(0) => return Err("the broker hung up".to_owned()),
                Ok(length) => {
                    self.client.feed(&self.chunk[..length], now);
                    let mut over = None;
                    for news in self.client.take_news() {
                        match news {
                            News::Over(why) => over = over.or(Some(why)),
                            news => hear(self, news),
                        }
                    }
                    if let Some(why) = over {
                        return Err(why);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(true)
    }

    /// Whether another message may be published.
    pub(crate) fn has_room(&self, qos: u8) -> bool {
        self.client.accepted()
            && self.outgoing.has_room(self.client.gathered())
            && (qos == 0 || self.client.has_window())
    }

    /// Publishes; `Err` where this message cannot be, with the reason if it is not just its size.
    pub(crate) fn publish(&mut self, message: Message, qos: u8, now: Instant) -> Result<(), Option<String>> {
        match self.client.publish(&message, qos, now) {
            Published::Sent(None) => self.gathered += 1,
            Published::Sent(Some(id)) => self.in_flight.push_back((id, message)),
            Published::TooLarge => return Err(None),
            Published::Refused(why) => return Err(Some(why)),
        }
        if self.client.gathered() >= PIECE {
            self.queue();
        }
        Ok(())
    }

    /// The broker has a message for good; whether it was on its way.
    pub(crate) fn acknowledged(&mut self, id: u16) -> bool {
        let at = self.in_flight.iter().position(|(sent, _)| *sent == id);
        at.and_then(|at| self.in_flight.remove(at)).is_some()
    }

    /// The bus has a message of the broker for good.
    pub(crate) fn acknowledge(&mut self, id: u16, now: Instant) {
        self.client.acknowledge(id, now);
    }

    /// Sends what the broker takes now, and asks whether it is there when it is time to; how many messages of quality 0
    /// have gone whole.
    pub(crate) fn flush(&mut self, now: Instant, reads: bool) -> Result<u64, Over> {
        self.client.tick(now, reads);
        self.queue();
        for news in self.client.take_news() {
            if let News::Over(why) = news {
                return Err(why);
            }
        }
        let flushed = self.outgoing.flush(&mut self.stream).map_err(|error| error.to_string())?;
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.to_string()),
            _ => Ok(flushed.messages),
        }
    }

    pub(crate) fn disconnect(&mut self, now: Instant) {
        self.client.disconnect(now);
        self.queue();
    }

    /// Whether nothing is on its way to the broker.
    pub(crate) fn is_settled(&self) -> bool {
        self.outgoing.is_empty() && self.client.gathered() == 0 && self.in_flight.is_empty()
    }

    /// Ends: messages of quality 0 that are lost with it, and those of quality 1 that have to be sent again.
    pub(crate) fn end(self) -> (u64, impl DoubleEndedIterator<Item = Message>) {
        let unsent = self.outgoing.messages() + u64::from(self.gathered);
        (unsent, self.in_flight.into_iter().map(|(_, message)| message))
    }
}

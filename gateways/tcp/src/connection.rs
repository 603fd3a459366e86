//! One device that is connected.

use crate::config::Config;
use crate::report::{Event, Stats};
use crate::translate::FromDevice;
use bytes::Bytes;
use mio::Token;
use mio::net::TcpStream;
use multiplane_bridge::{Bounds, Outgoing, RateLimit};
use multiplane_bus::{Place, PublishError, Publisher};
use multiplane_codec::framing::FramingError;
use std::io::{self, Read};
use std::time::Instant;

/// Bytes that wait for one device besides one message of any size; what is behind them waits in the inbox.
const OUTGOING: Bounds = Bounds { bytes: 64 * 1024 };
/// Read at once, and so often in one turn: the others wait meanwhile.
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 4;
/// Bytes of a broken frame that are shown.
const SHOWN: usize = 64;

/// What all connections share.
pub(crate) struct Desk {
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) tell: Box<dyn FnMut(&Event<'_>) + Send>,
    pub(crate) complaints: Complaints,
    /// Bytes of payloads that are not whole, of all devices.
    unfinished: usize,
    chunk: Box<[u8]>,
}

/// One each, so that a frequent mishap does not hide a rare one.
#[derive(Default)]
pub(crate) struct Complaints {
    pub(crate) oversize: RateLimit,
    pub(crate) slow: RateLimit,
    pub(crate) empty: RateLimit,
    pub(crate) refused: RateLimit,
}

impl Desk {
    pub(crate) fn new(config: Config, tell: Box<dyn FnMut(&Event<'_>) + Send>) -> Self {
        let (stats, complaints) = (Stats::default(), Complaints::default());
        Self { config, stats, tell, complaints, unfinished: 0, chunk: vec![0; CHUNK].into() }
    }

    /// Publishes on all backplanes from number `begin` on; answers with the number of one that has no room.
    fn publish(
        &mut self,
        (topic, payload): (&str, &[u8]),
        publishers: &[Publisher],
        begin: usize,
        now: Instant,
    ) -> Result<(), usize> {
        for (n, publisher) in publishers.iter().enumerate().skip(begin) {
            match publisher.try_publish_raw(topic, payload) {
                Ok(()) => {}
                Err(PublishError::Full { .. }) => return Err(n),
                Err(error) => {
                    self.stats.refused += 1;
                    self.complaints.refused.complain(now, |before| {
                        tracing::warn!(topic, %error, before, "the bus refused a device's payload");
                    });
                }
            }
        }
        self.stats.from_devices += 1;
        Ok(())
    }
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("it hung up")]
    HungUp,
    #[error("it hung up inside of a payload, {0} bytes of which had come")]
    Torn(usize),
    #[error(
        "{0} bytes of a payload had come, and then no more; a length may promise too much, or framing was lost"
    )]
    Stalled(usize),
    #[error(
        "{here} bytes of a payload had come, and unfinished payloads of all devices were over the limit of {limit} bytes; send smaller ones, or raise the limit"
    )]
    Crowded { here: usize, limit: usize },
    #[error(transparent)]
    Framing(FramingError),
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Where reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The poll will tell when there is more.
    Dry,
    /// There may be more now.
    More,
    /// A publish queue is full, and what is behind has to wait; it wakes us when there is room.
    Held,
}

/// A connected device.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) token: Token,
    pub(crate) name: String,
    pub(crate) readable: bool,
    pub(crate) outgoing: Outgoing,
    stream: TcpStream,
    incoming: FromDevice,
    /// A payload that has not been published everywhere, and where to go on.
    held: Option<(Bytes, usize)>,
    /// The bytes that came last, when they are to be shown.
    last: Vec<u8>,
    /// Among the connections of its host.
    _place: Option<Place>,
    /// What is counted of it among the bytes of unfinished payloads.
    unfinished: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, token: Token, name: String, config: &Config) -> Self {
        Self {
            token,
            name,
            readable: true,
            outgoing: Outgoing::new(OUTGOING),
            stream,
            incoming: FromDevice::new(config.width, config.limit, config.frame_timeout),
            held: None,
            last: Vec::new(),
            _place: None,
            unfinished: 0,
        }
    }

    pub(crate) fn with_place(self, place: Option<Place>) -> Self {
        Self { _place: place, ..self }
    }

    /// Publishes what the device sends.
    pub(crate) fn receive(
        &mut self,
        topic: &str,
        publishers: &[Publisher],
        desk: &mut Desk,
        now: Instant,
    ) -> Result<Reading, End> {
        for _ in 0..CHUNKS {
            let published = self.publish(topic, publishers, desk, now)?;
            self.count_unfinished(desk)?;
            if !published {
                return Ok(Reading::Held);
            }
            if self.incoming.due().is_some_and(|due| due <= now) && !self.readable {
                return Err(End::Stalled(self.incoming.pending()));
            }
            match self.stream.read(&mut desk.chunk) {
                Ok(0) => {
                    return Err(match self.incoming.pending() {
                        0 => End::HungUp,
                        pending => End::Torn(pending),
                    });
                }
                Ok(length) => {
                    let chunk = &desk.chunk[..length];
                    if desk.config.trace_frames {
                        self.last.extend_from_slice(chunk);
                        self.last.drain(..self.last.len().saturating_sub(SHOWN));
                    }
                    self.incoming.feed(chunk, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(Reading::Dry);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Reading::More)
    }

    /// Counts what it holds of payloads that are not whole; one that no longer has room beside those of all others ends the
    /// connection.
    fn count_unfinished(&mut self, desk: &mut Desk) -> Result<(), End> {
        let others = desk.unfinished - self.unfinished;
        self.unfinished = self.incoming.pending();
        desk.unfinished = others + self.unfinished;
        // A chunk of each is within any bound.
        if self.unfinished > CHUNK && desk.unfinished > desk.config.unfinished {
            return Err(End::Crowded { here: self.unfinished, limit: desk.config.unfinished });
        }
        Ok(())
    }

    /// Publishes the whole payloads that are here; false when one has to wait.
    fn publish(
        &mut self,
        topic: &str,
        publishers: &[Publisher],
        desk: &mut Desk,
        now: Instant,
    ) -> Result<bool, End> {
        if let Some((payload, begin)) = self.held.take()
            && let Err(at) = desk.publish((topic, &payload), publishers, begin, now)
        {
            self.held = Some((payload, at));
            return Ok(false);
        }
        while let Some(payload) = self.incoming.next().map_err(End::Framing)? {
            if desk.config.trace_frames {
                (desk.tell)(&Event::Frame { device: &self.name, came: true, payload });
            }
            if payload.is_empty() {
                desk.stats.empty += 1;
                let device = &self.name;
                desk.complaints.empty.complain(now, |before| {
                    tracing::warn!(device, before, "dropped an empty payload: it holds no message");
                });
            } else if let Err(at) = desk.publish((topic, payload), publishers, 0, now) {
                self.held = Some((Bytes::copy_from_slice(payload), at));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a payload waits for room on the bus.
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// When the rest of a payload must be here; nothing is due while the bus keeps us from reading.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.incoming.due().filter(|_| !self.holds() && !self.readable)
    }

    /// Sends what the device takes now.
    pub(crate) fn flush(&mut self, stats: &mut Stats) -> Result<(), End> {
        stats.to_devices += self.outgoing.flush(&mut self.stream)?.messages;
        Ok(())
    }

    /// Counts and tells what is lost with it.
    pub(crate) fn end(self, end: &End, desk: &mut Desk) {
        desk.unfinished -= self.unfinished;
        let (device, why, unsent) = (self.name.as_str(), end.to_string(), self.outgoing.messages());
        desk.stats.unsent += unsent;
        desk.stats.refused += u64::from(self.held.is_some());
        if matches!(end, End::Torn(_) | End::Stalled(_) | End::Framing(_) | End::Crowded { .. }) {
            desk.stats.cut += 1;
            if desk.config.trace_frames {
                (desk.tell)(&Event::Broken { device, why: &why, bytes: &self.last });
            }
        }
        tracing::info!(device, why, unsent, "lost a device");
        (desk.tell)(&Event::Lost { device, why: &why, unsent });
    }
}

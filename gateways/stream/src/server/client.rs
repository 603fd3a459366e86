//! One connection.

use super::Rules;
use super::stats::Counters;
use crate::intake::{self, Had, Intake, Pumped};
use bytes::Bytes;
use mio::event::Event;
use mio::net::TcpStream;
use multiplane_bridge::{Outgoing, RateLimit};
use multiplane_bus::{OnSlow, Place};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// Chunks read from a client in one turn.
const READS: usize = 4;
/// How long a client that we are done with may take none of what waits for it.
const STALL: Duration = Duration::from_secs(5);
/// How long it may then take to go.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    pub(super) address: SocketAddr,
    intake: Option<Intake>,
    /// Its place among the feeds.
    pub(super) feed: Option<usize>,
    outgoing: Outgoing,
    readable: bool,
    writable: bool,
    /// It is in the list of those to be served.
    pub(super) listed: bool,
    /// It sends nothing more.
    silent: bool,
    /// The connection is over; only what it has brought is still worth reading.
    closed: bool,
    leaving: Option<Leaving>,
    /// When it last sent something, or took something.
    progress: Instant,
    dropped: u64,
    complaint: RateLimit,
    /// Among the connections of its host.
    _place: Option<Place>,
}

/// We are done with it: what waits is written, then it hears the end, then it has a while to go. Closing at once would
/// reset the connection, and the last lines with it.
#[derive(Debug)]
struct Leaving {
    told: Option<Instant>,
}

/// How publishing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumping {
    Done,
    Full,
}

/// Whether, and when, to serve it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something is left to do.
    Soon,
    /// The backplane is full: a little later.
    Later,
    /// When the socket says so, or something is published.
    Ready,
    /// It is over.
    Gone,
}

impl Client {
    pub(super) fn new(
        stream: TcpStream,
        address: SocketAddr,
        intake: Option<Intake>,
        feed: Option<usize>,
        rules: &Rules,
        now: Instant,
    ) -> Self {
        Self {
            stream,
            address,
            intake,
            feed,
            outgoing: Outgoing::new(rules.queue),
            readable: true,
            writable: true,
            listed: false,
            silent: false,
            closed: false,
            leaving: None,
            progress: now,
            dropped: 0,
            complaint: RateLimit::default(),
            _place: None,
        }
    }

    pub(super) fn with_place(self, place: Option<Place>) -> Self {
        Self { _place: place, ..self }
    }

    pub(super) fn ready(&mut self, event: &Event) {
        self.closed |= event.is_write_closed();
        self.readable |= event.is_readable() || self.closed;
        self.writable |= event.is_writable();
    }

    /// Whether it may publish something yet.
    pub(super) fn publishes(&self) -> bool {
        self.intake.is_some()
    }

    /// Reads again, whatever the socket said.
    pub(super) fn look_again(&mut self) {
        self.readable = true;
    }

    /// Messages that wait for it.
    pub(super) fn waiting(&self) -> u64 {
        self.outgoing.messages()
    }

    /// Whether its queue is full.
    pub(super) fn holds(&self) -> bool {
        !self.leaves() && !self.outgoing.has_room(0)
    }

    /// Reads, publishes and writes what can be now.
    pub(super) fn serve(
        &mut self,
        buffer: &mut [u8],
        counters: &Counters,
        stopping: bool,
        now: Instant,
    ) -> Next {
        let next = self.read(buffer, counters, stopping, now);
        if self.flush(counters, now).is_err() {
            // What it has sent may still be read.
            self.closed = true;
            self.readable = true;
            return if self.intake.is_some() { Next::Soon } else { Next::Gone };
        }
        if let Some(leaving) = &mut self.leaving
            && self.outgoing.is_empty()
            && leaving.told.is_none()
        {
            leaving.told = Some(now);
            let _ = self.stream.shutdown(Shutdown::Write);
            if stopping || self.silent {
                return Next::Gone;
            }
        }
        next
    }

    fn read(&mut self, buffer: &mut [u8], counters: &Counters, stopping: bool, now: Instant) -> Next {
        for _ in 0..READS {
            if self.pump(counters, now) == Pumping::Full {
                return Next::Later;
            }
            if !self.readable {
                return if self.closed { Next::Gone } else { Next::Ready };
            }
            match intake::read(&mut self.stream, buffer) {
                Ok(Had::Bytes(count)) => {
                    counters.received_bytes.add(count as u64);
                    if let Some(intake) = &mut self.intake {
                        self.progress = now;
                        intake.feed(&buffer[..count]);
                    }
                }
                Ok(Had::Nothing) => {
                    self.readable = false;
                    if stopping {
                        self.end_of_input();
                    }
                }
                Ok(Had::End) => {
                    self.readable = false;
                    self.silent = true;
                    self.closed |= self.leaving.as_ref().is_some_and(|leaving| leaving.told.is_some());
                    self.end_of_input();
                }
                Err(_) => {
                    self.readable = false;
                    self.closed = true;
                    self.end_of_input();
                }
            }
        }
        Next::Soon
    }

    /// Publishes what was read.
    fn pump(&mut self, counters: &Counters, now: Instant) -> Pumping {
        let Some(intake) = &mut self.intake else { return Pumping::Done };
        let pumped = intake.pump(|| counters.published.add(1));
        let listens = self.feed.is_some();
        match pumped {
            Pumped::Full => return Pumping::Full,
            Pumped::All if !intake.has_ended() => return Pumping::Done,
            // Half of a connection is enough for who listens.
            Pumped::All if listens => {}
            Pumped::All | Pumped::Closed => self.leave(now),
            Pumped::Wrong(error) => {
                counters.cut_off.add(1);
                let client = self.address;
                tracing::warn!(%client, %error, "cut off");
                self.outgoing.push(Bytes::from(format!("error: {error}\n")), 0);
                self.leave(now);
            }
        }
        self.intake = None;
        Pumping::Done
    }

    /// What there is of its last line is a line.
    pub(super) fn end_of_input(&mut self) {
        if let Some(intake) = &mut self.intake {
            intake.end();
        }
    }

    /// Nothing more will be queued for it.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.leaving.is_none() {
            self.leaving = Some(Leaving { told: None });
            self.progress = now;
        }
    }

    fn flush(&mut self, counters: &Counters, now: Instant) -> io::Result<()> {
        if self.closed || !self.writable || self.outgoing.is_empty() {
            return Ok(());
        }
        let flushed = self.outgoing.flush(&mut self.stream)?;
        self.writable = !flushed.blocked;
        if flushed.bytes > 0 {
            self.progress = now;
        }
        counters.sent_bytes.add(flushed.bytes);
        counters.sent.add(flushed.messages);
        counters.queued.sub(flushed.messages);
        Ok(())
    }

    /// Queues a piece by the policy. `false`: it is to be disconnected.
    pub(super) fn offer(
        &mut self,
        (bytes, messages): (Bytes, u32),
        rules: &Rules,
        counters: &Counters,
        now: Instant,
    ) -> bool {
        if self.outgoing.is_empty() {
            self.progress = now;
        }
        let before = self.outgoing.messages();
        let lost = match rules.on_slow {
            OnSlow::Block => {
                self.outgoing.push(bytes, messages);
                return self.pushed(before, 0, messages, counters, now);
            }
            OnSlow::DropNewest => self.outgoing.push_or_drop(bytes, messages),
            OnSlow::Disconnect if !self.outgoing.has_room(bytes.len()) => {
                counters.slow.add(1);
                counters.lost.add(u64::from(messages));
                let (client, queued) = (self.address, before);
                tracing::warn!(%client, queued, "too slow: disconnected");
                return false;
            }
            _ => self.outgoing.push_dropping_oldest(bytes, messages),
        };
        self.pushed(before, lost.messages, messages, counters, now)
    }

    fn pushed(&mut self, before: u64, lost: u64, messages: u32, counters: &Counters, now: Instant) -> bool {
        counters.queued.add(u64::from(messages));
        counters.queued.sub(lost);
        debug_assert_eq!(before + u64::from(messages), lost + self.outgoing.messages());
        if lost > 0 {
            counters.dropped.add(lost);
            self.dropped += lost;
            let (client, queued, dropped) = (self.address, self.outgoing.messages(), self.dropped);
            self.complaint.complain(now, |_| {
                tracing::warn!(%client, queued, dropped, "too slow: loses messages");
            });
        }
        true
    }

    /// Names it as the one that all wait for.
    pub(super) fn complain_that_it_holds(&mut self, now: Instant) {
        let (client, queued) = (self.address, self.outgoing.messages());
        self.complaint.complain(now, |_| tracing::warn!(%client, queued, "too slow: all wait for it"));
    }

    /// When something is due for it although nothing happens.
    pub(super) fn due(&self, idle_timeout: Option<Duration>) -> Option<Instant> {
        if let Some(leaving) = &self.leaving {
            return Some(leaving.told.map_or(self.progress + STALL, |told| told + LINGER));
        }
        let waits = self.intake.is_some() || !self.outgoing.is_empty();
        idle_timeout.filter(|_| waits).map(|timeout| self.progress + timeout)
    }

    /// Whether it is on its way out: nothing is queued for it any more.
    pub(super) fn leaves(&self) -> bool {
        self.leaving.is_some() || self.closed
    }
}

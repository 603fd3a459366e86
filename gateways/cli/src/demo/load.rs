//! The demo's load: first as fast as it goes, then at a fixed rate that nobody slows down.

use super::screen::Screen;
use super::topology::Numbered;
use super::{PATIENCE, failed};
use crate::clock::now;
use crate::failure::Failure;
use crate::shutdown::Shutdown;
use hdrhistogram::Histogram;
use multiplane_bench::table::grouped;
use multiplane_bus::{PublishError, Publisher, RecvTimeoutError, Subscriber};
use std::time::{Duration, Instant};

/// Messages on their way at most: fewer than any queue between here and there holds, so none is lost for want of room.
const WINDOW: u64 = 1024;
/// How often it looks whether somebody wants it to end.
const TICK: Duration = Duration::from_millis(50);
/// The longest round trip that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Sends numbered messages and counts them back in. Numbers go on from run to run, and never are 0: that has a meaning.
pub(super) struct Load<'a> {
    publisher: &'a Publisher,
    replies: &'a Subscriber,
    shutdown: &'a Shutdown,
    screen: &'a mut Screen,
    sent: u64,
    answered: u64,
    last: u64,
    late: u64,
    /// When the last reply came, or the run began.
    heard: Instant,
}

/// What the second run found.
pub(super) struct Measured {
    /// Round trips a second.
    pub(super) rate: f64,
    pub(super) took: Duration,
    /// From the moment at which a message was *due* until its reply was there, in nanoseconds: a message that had to
    /// wait for those before it is not let off.
    pub(super) latency: Histogram<u64>,
    /// Replies out of order.
    pub(super) late: u64,
}

impl<'a> Load<'a> {
    pub(super) fn new(
        publisher: &'a Publisher,
        replies: &'a Subscriber,
        shutdown: &'a Shutdown,
        screen: &'a mut Screen,
    ) -> Self {
        Self { publisher, replies, shutdown, screen, sent: 0, answered: 0, last: 0, late: 0, heard: now() }
    }

    /// Replies in all runs.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// Keeps the window full: the rate at which round trips come then is the highest without a loss.
    pub(super) fn saturate(&mut self, time: Duration) -> Result<f64, Failure> {
        let (began, before) = (now(), self.answered);
        let rate = |load: &Self, at: Instant| (load.answered - before) as f64 / (at - began).as_secs_f64();
        self.heard = began;
        loop {
            let now = now();
            if now >= began + time {
                break;
            }
            while self.in_flight() < WINDOW && self.send()? {}
            self.receive(TICK, |_, _| {})?;
            if self.screen.wants_progress(now) {
                let (so_far, rate) = ((now - began).as_secs_f64(), grouped(rate(self, now) as u64));
                self.screen.progress(format_args!(
                    "finding the highest rate   {so_far:>4.1} s   {rate:>9} round trips/s"
                ))?;
            }
        }
        let highest = rate(self, now());
        if self.answered == before {
            return Err(Failure::Failed(format!(
                "no reply came within {time:?} of load; give it more --seconds"
            )));
        }
        self.finish(|_, _| {})?;
        let (time, shown) = (time.as_secs_f64(), grouped(highest as u64));
        self.screen.progress_ends(format_args!(
            "found the highest rate     {time:>4.1} s   {shown:>9} round trips/s"
        ))?;
        Ok(highest)
    }

    /// Sends at a fixed rate, whatever the replies do.
    pub(super) fn open_loop(&mut self, time: Duration, rate: f64) -> Result<Measured, Failure> {
        let mut latency = Histogram::new_with_bounds(1, LONGEST, 3).map_err(failed)?;
        let total = (rate * time.as_secs_f64()).ceil() as u64;
        let (first, began) = (self.sent, now());
        let due = |nth: u64| began + Duration::from_secs_f64((nth - first) as f64 / rate);
        let mut record = |number: u64, arrived: Instant| {
            let waited = arrived.saturating_duration_since(due(number - 1));
            latency.saturating_record(u64::try_from(waited.as_nanos()).unwrap_or(LONGEST));
        };
        self.heard = began;
        while self.sent < first + total {
            let at = now();
            while self.sent < first + total
                && due(self.sent) <= at
                && self.in_flight() < WINDOW
                && self.send()?
            {}
            let wait = match self.in_flight() < WINDOW {
                true => due(self.sent).saturating_duration_since(at).min(TICK),
                false => TICK,
            };
            self.receive(wait, &mut record)?;
            if self.is_stuck() {
                break;
            }
            if self.screen.wants_progress(at) {
                let (so_far, done) = ((at - began).as_secs_f64(), grouped(self.answered - first));
                let waiting = self.in_flight();
                self.screen.progress(format_args!(
                    "at half of that            {so_far:>4.1} s   {done:>9} answered, {waiting} on their way"
                ))?;
            }
        }
        self.finish(&mut record)?;
        let took = now() - began;
        let answered = self.answered - first;
        let (shown, rate) = (grouped(answered), answered as f64 / took.as_secs_f64());
        self.screen.progress_ends(format_args!(
            "at half of that            {:>4.1} s   {shown:>9} answered, {} on their way",
            took.as_secs_f64(),
            self.in_flight()
        ))?;
        Ok(Measured { rate, took, latency, late: self.late })
    }

    /// Whether what is on its way will never come.
    fn is_stuck(&self) -> bool {
        self.in_flight() > 0 && now() > self.heard + PATIENCE
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.answered
    }

    /// Sends the next message; false when there is no room for it yet.
    fn send(&mut self) -> Result<bool, Failure> {
        match self.publisher.try_publish("echo", &Numbered { message_number: self.sent + 1 }) {
            Ok(()) => {
                self.sent += 1;
                Ok(true)
            }
            Err(PublishError::Full { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes what has come, waiting at most `wait` for the first.
    fn receive(&mut self, wait: Duration, mut record: impl FnMut(u64, Instant)) -> Result<(), Failure> {
        if self.shutdown.requested() {
            return Err(Failure::Interrupted);
        }
        let first = match self.replies.recv_timeout(wait) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(failed("the client's bus ended by itself")),
        };
        for reply in std::iter::once(first).chain(self.replies.drain()) {
            let number = reply.decode::<Numbered>().map_err(failed)?.message_number;
            self.answered += 1;
            self.late += u64::from(number <= self.last);
            self.last = number;
            self.heard = now();
            record(number, self.heard);
        }
        Ok(())
    }

    /// Waits for the replies that are still on their way; those that never come stay out, and the books say where.
    fn finish(&mut self, mut record: impl FnMut(u64, Instant)) -> Result<(), Failure> {
        while self.in_flight() > 0 && !self.is_stuck() {
            self.receive(TICK, &mut record)?;
        }
        Ok(())
    }
}

//! The component of a drill: publishes numbers, hears them again, and knows what became of each.

use super::{Common, PATIENCE};
use crate::clock::now;
use crate::failure::Failure;
use crate::shutdown::Shutdown;
use multiplane_bus::{
    Bus, Direction, LinkEvent, LinkState, PublishError, Publisher, Route, RoutingSpec, Subscriber,
};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// Between two messages of a pulse.
const BEAT: Duration = Duration::from_millis(1);
/// How long the end may take.
const CLOSE: Duration = Duration::from_millis(500);

pub(super) struct Watch {
    bus: Bus,
    publisher: Publisher,
    inbox: Subscriber,
    /// Nobody else has it.
    pub(super) topic: String,
    payload: Vec<u8>,
    sent: u64,
    received: u64,
    heard: Instant,
    blackout: Duration,
    /// How often the link that receives was lost.
    pub(super) downs: u64,
    /// Something was heard after the last loss.
    well: bool,
}

/// What became of all messages.
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Lost, and somebody has said so: the link that sends...
    pub(super) unsent: u64,
    /// ... the one that receives, by the gaps...
    pub(super) missed: u64,
    /// ... or our own inbox.
    pub(super) inbox_full: u64,
    /// The longest time without a message.
    pub(super) blackout: Duration,
    pub(super) downs: u64,
}

impl Outcome {
    pub(super) fn lost(&self) -> u64 {
        self.sent - self.received.min(self.sent)
    }

    pub(super) fn reported(&self) -> u64 {
        self.unsent + self.missed + self.inbox_full
    }
}

impl Watch {
    /// Linked, and heard once; `size`: bytes of a payload.
    pub(super) fn start(common: &Common, route: &Route, size: usize) -> Result<Self, Failure> {
        let topic = format!("_drill/{:016x}", RandomState::new().build_hasher().finish());
        let spec = RoutingSpec::builder().backplane(route.clone().topics([topic.as_str()])).build()?;
        let bus = common.links.component("drill")?.routing(spec).start()?;
        let publisher = bus.publisher(&route.name)?.with_trailer();
        let inbox = bus.subscriber()?;
        publisher.wait_for_subscriber(&topic, PATIENCE)?;
        // MessagePack: a `bin`.
        let mut payload = vec![0xc5];
        payload.extend((size as u16).to_be_bytes());
        payload.resize(3 + size, 0x5a);
        let (sent, received, heard) = (0, 0, now());
        let mut watch = Self {
            bus,
            publisher,
            inbox,
            topic,
            payload,
            sent,
            received,
            heard,
            blackout: Duration::ZERO,
            downs: 0,
            well: true,
        };
        // Losses are known from the first message on.
        watch.publish()?;
        if !watch.take(PATIENCE) {
            return Err(Failure::Failed(format!(
                "the first message did not come back within {PATIENCE:?}: see `multiplane doctor`"
            )));
        }
        watch.blackout = Duration::ZERO;
        Ok(watch)
    }

    fn publish(&mut self) -> Result<(), Failure> {
        loop {
            match self.publisher.publish_raw_timeout(&self.topic, &self.payload, BEAT) {
                Ok(()) => break,
                // The link is held; it will have room, or the drill ends by its own time.
                Err(PublishError::Full { .. }) if self.heard.elapsed() < PATIENCE => {
                    self.take(BEAT);
                }
                Err(error) => return Err(Failure::Failed(format!("publish: {error}"))),
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// Takes what has come, and what comes in `timeout` if nothing has. False: nothing.
    fn take(&mut self, timeout: Duration) -> bool {
        let Ok(_first) = self.inbox.recv_timeout(timeout) else { return false };
        self.received += 1 + self.inbox.drain().count() as u64;
        let time = now();
        self.blackout = self.blackout.max(time - self.heard);
        self.heard = time;
        // What came with the end of a link comes before its news.
        self.well = self.bus.stats().iter().all(|stats| stats.subscriber_link == Some(LinkState::Live));
        true
    }

    pub(super) fn is_well(&self) -> bool {
        self.well
    }

    fn news(&mut self) {
        while let Some(event) = self.bus.events().try_recv() {
            if let LinkEvent::LinkDown { direction: Direction::Subscribe, .. } = event {
                self.downs += 1;
                self.well = false;
            }
        }
    }

    /// So many, `window` of them on their way at a time. False: some did not come.
    pub(super) fn exchange(&mut self, count: u64, window: u64, shutdown: &Shutdown) -> Result<bool, Failure> {
        for _ in 0..count {
            self.publish()?;
            while self.sent - self.received.min(self.sent) >= window {
                if shutdown.requested() {
                    return Err(Failure::Interrupted);
                }
                if !self.take(PATIENCE) {
                    return Ok(false);
                }
            }
        }
        while self.received < self.sent {
            if !self.take(PATIENCE) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As fast as it goes; messages a second.
    pub(super) fn flood(&mut self, time: Duration, shutdown: &Shutdown) -> Result<u64, Failure> {
        let start = now();
        let before = self.sent;
        while start.elapsed() < time {
            if shutdown.requested() {
                return Err(Failure::Interrupted);
            }
            for _ in 0..100 {
                self.publish()?;
            }
            self.take(Duration::ZERO);
        }
        let rate = (self.sent - before) as f64 / start.elapsed().as_secs_f64();
        while self.take(Duration::from_millis(500)) {}
        Ok(rate as u64)
    }

    /// One more message, behind which all that was lost is known; then the end.
    pub(super) fn finish(mut self) -> Outcome {
        let blackout = self.blackout;
        while self.take(Duration::from_millis(300)) {}
        if self.publisher.wait_for_subscriber(&self.topic, PATIENCE).is_ok() && self.publish().is_ok() {
            while self.take(Duration::from_millis(300)) {}
        }
        let stats = &self.bus.stats()[0];
        let (unsent, missed, inbox_full) = (stats.dropped.total(), stats.missed, stats.inbox_full);
        let (sent, received, downs) = (self.sent, self.received, self.downs);
        let _ = self.bus.close(CLOSE);
        Outcome { sent, received, unsent, missed, inbox_full, blackout, downs }
    }
}

/// A message a millisecond through each of them until `enough`.
pub(super) fn pulse(
    watches: &mut [Watch],
    shutdown: &Shutdown,
    mut enough: impl FnMut(&[Watch]) -> bool,
) -> Result<(), Failure> {
    while !enough(watches) {
        if shutdown.wait_until(now() + BEAT) {
            return Err(Failure::Interrupted);
        }
        for watch in &mut *watches {
            watch.publish()?;
            watch.take(Duration::ZERO);
            watch.news();
        }
    }
    Ok(())
}

//! A backplane inside of a component: no thread of its own, but a link of a worker. What the component publishes enters
//! without a socket and leaves for the subscribers in the same turn.

use super::Native;
use crate::io::Notice;
use mio::Events;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

pub(crate) struct Hosted {
    native: Native,
    events: Events,
    /// The descriptor has fired.
    woken: bool,
    introduced: bool,
}

impl Hosted {
    pub(in crate::backplane) fn new(mut native: Native) -> Self {
        native.forwarder.upstream = Some(Vec::new());
        Self { native, events: Events::with_capacity(1024), woken: true, introduced: false }
    }

    /// Bytes that a message may have here.
    pub(crate) fn message_bytes(&self) -> usize {
        self.native.forwarder.budget.message_bytes
    }

    /// Behind it stand all its connections.
    pub(crate) fn fd(&self) -> RawFd {
        self.native.poll.as_raw_fd()
    }

    pub(crate) fn wake(&mut self) {
        self.woken = true;
    }

    /// `true` once, for a link that is live from the beginning.
    pub(crate) fn introduce(&mut self) -> bool {
        !std::mem::replace(&mut self.introduced, true)
    }

    /// When to look again if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.native.due()
    }

    /// Whether there is more to do at once.
    pub(crate) fn has_work(&self) -> bool {
        self.woken || self.native.forwarder.has_work()
    }

    /// Takes messages in, whole ones; how many bytes. Fewer than all while subscribers hold their publishers back.
    pub(crate) fn publish(&mut self, frames: &[u8], now: Instant) -> Result<usize, String> {
        let taken = self.native.forwarder.publish(frames, now)?;
        self.native.forwarder.turn(now);
        Ok(taken)
    }

    /// Serves the connections, and tells what their subscribers want; whether that has changed.
    pub(crate) fn serve(&mut self, now: Instant, mut visit: impl FnMut(Notice<'_>)) -> bool {
        if std::mem::take(&mut self.woken) {
            self.native.turn(&mut self.events, Some(Duration::ZERO));
            // As many as could be told of at once: there may be more.
            self.woken = self.events.iter().count() == 1024;
        } else if self.native.forwarder.has_work() {
            self.native.forwarder.turn(now);
        }
        self.native.expire(now);
        let Some(upstream) = &mut self.native.forwarder.upstream else { return false };
        let heard = !upstream.is_empty();
        for (subscribe, topic) in upstream.drain(..) {
            visit(if subscribe { Notice::Subscribed(&topic) } else { Notice::Unsubscribed(&topic) });
        }
        heard
    }

    /// Writes what waits for the subscribers, until the deadline at most.
    pub(crate) fn finish(&mut self, deadline: Instant) {
        self.native.finish(&mut self.events, crate::worker::now(), deadline);
    }
}

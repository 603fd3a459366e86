//! How a handler publishes: on the worker's own thread, straight into the links.

use crate::error::{BusError, PublishError};
use crate::message::BackplaneId;
use crate::outgoing::{Outgoing, with_payload};
use crate::publisher::Publisher;
use crate::shared::{BusShared, not_taken};
use crate::worker::PublisherLink;
use crate::worker::{subscribe, unsubscribe};
use multiplane_codec::encode;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Where an [`Outbox`] sends: a [`BackplaneId`] or a [`Publisher`].
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    backplane: BackplaneId,
    trailer: u64,
}

impl From<BackplaneId> for Destination {
    fn from(backplane: BackplaneId) -> Self {
        Self { backplane, trailer: 0 }
    }
}

impl From<&Publisher> for Destination {
    fn from(publisher: &Publisher) -> Self {
        Self { backplane: publisher.backplane(), trailer: publisher.trailer() }
    }
}

/// Publishes from inside of a handler, with no queue and no wake-up in between.
///
/// `publish` is for answers that must not get lost: when the link has no room, the message waits in a bounded backlog
/// and the handler gets no further messages until it is gone, so that the back-pressure reaches those who ask.
/// `try_publish` is for what may get lost: it gives the message back instead.
pub struct Outbox<'a> {
    pub(crate) links: &'a mut [PublisherLink],
    pub(crate) bus: &'a Arc<BusShared>,
    pub(crate) worker: usize,
    pub(crate) now: Instant,
    pub(crate) stop: &'a mut bool,
    /// Set when a link got a backlog.
    pub(crate) held: &'a mut bool,
}

impl Outbox<'_> {
    /// Publishes `payload` as MessagePack.
    ///
    /// # Errors
    /// [`PublishError::Full`] when a single call of the handler publishes more than a publish queue holds, and else as
    /// [`Publisher::try_publish`]; [`PublishError::NotHere`] for a backplane without a publisher port.
    pub fn publish<T: Serialize + ?Sized>(
        &mut self,
        to: impl Into<Destination>,
        topic: &str,
        payload: &T,
    ) -> Result<(), PublishError> {
        self.submit(to.into(), topic, true, |buffer| Ok(encode::to(buffer, payload)?))
    }

    /// [`publish`](Self::publish) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_raw(
        &mut self,
        to: impl Into<Destination>,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), PublishError> {
        self.submit(to.into(), topic, true, |buffer| {
            buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// Publishes `payload` as MessagePack if the link has room now.
    ///
    /// # Errors
    /// [`PublishError::Full`] when it has none.
    pub fn try_publish<T: Serialize + ?Sized>(
        &mut self,
        to: impl Into<Destination>,
        topic: &str,
        payload: &T,
    ) -> Result<(), PublishError> {
        self.submit(to.into(), topic, false, |buffer| Ok(encode::to(buffer, payload)?))
    }

    /// [`try_publish`](Self::try_publish) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish).
    pub fn try_publish_raw(
        &mut self,
        to: impl Into<Destination>,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), PublishError> {
        self.submit(to.into(), topic, false, |buffer| {
            buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// Ends [`Bus::run`](crate::Bus::run) after this message.
    pub fn stop(&mut self) {
        *self.stop = true;
    }

    /// From now on the handler also gets topics on `backplane` that begin with `topic`.
    ///
    /// # Errors
    /// As [`Bus::subscribe`](crate::Bus::subscribe).
    pub fn subscribe(&mut self, backplane: &str, topic: &str) -> Result<(), BusError> {
        subscribe(self.bus, backplane, topic, 0)
    }

    /// Takes one [`subscribe`](Self::subscribe) back.
    ///
    /// # Errors
    /// As [`Bus::unsubscribe`](crate::Bus::unsubscribe).
    pub fn unsubscribe(&mut self, backplane: &str, topic: &str) -> Result<(), BusError> {
        unsubscribe(self.bus, backplane, topic, 0)
    }

    #[inline]
    fn submit(
        &mut self,
        to: Destination,
        topic: &str,
        keep: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let name = to.backplane.name();
        let shared = self
            .bus
            .backplanes
            .get(to.backplane.index())
            .filter(|shared| shared.id == to.backplane)
            .ok_or(PublishError::NotHere { backplane: name })?;
        let side = shared.publish.as_ref().ok_or(PublishError::NotHere { backplane: name })?;
        let worker = &*shared.worker;
        let sent = with_payload(write, |payload| {
            let message = Outgoing::new(topic, payload, to.trailer, &shared.budget)?;
            if worker.index == self.worker {
                let link = &mut self.links[side.slot];
                link.offer(&message, keep, self.now)?;
                *self.held |= link.has_backlog();
                return Ok(());
            }
            side.try_push(&message).map_err(|refused| not_taken(refused, name))?;
            worker.signal_queued(side.slot);
            Ok(())
        });
        if sent.is_err() {
            shared.counters.refused.add_shared(1);
        }
        sent
    }
}

impl fmt::Debug for Outbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

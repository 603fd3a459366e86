//! The handle that publishes.

use crate::error::{BusError, PublishError};
use crate::message::BackplaneId;
use crate::shared::{BackplaneShared, Outgoing};
use crate::worker::Command;
use multiplane_codec::encode;
use multiplane_ring::queue::{SendTimeoutError, TrySendError, bounded};
use serde::Serialize;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// Publishes on one backplane, from any thread: `Clone + Send + Sync`, lock-free, bounded.
///
/// Messages of one handle used by one thread arrive in the order of the calls. Each verb exists three times: `publish`
/// waits for room in the queue, `try_publish` never waits, `publish_timeout` waits so long. The `_raw` twins take a
/// payload that is MessagePack already.
///
/// A message that was taken is sent, or counted under the reason why not (see [`crate::Dropped`]).
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<BackplaneShared>,
    trailer: u64,
}

/// How long to wait for room.
#[derive(Clone, Copy)]
enum Patience {
    Wait,
    Now,
    For(Duration),
}

impl Publisher {
    pub(crate) fn new(shared: Arc<BackplaneShared>) -> Self {
        Self { shared, trailer: 0 }
    }

    /// The backplane that it publishes on.
    #[must_use]
    pub fn backplane(&self) -> BackplaneId {
        self.shared.id
    }

    pub(crate) fn trailer(&self) -> u64 {
        self.trailer
    }

    /// A publisher whose messages carry a third frame with its random id, a sequence number per topic and the send
    /// time, from which subscribers count what they [missed](crate::BackplaneStats::missed). Python Banyan components
    /// never see it; hand-written peers that unpack exactly two frames do. Off by default.
    #[must_use]
    pub fn with_trailer(mut self) -> Self {
        // The standard library's hash keys are the randomness at hand; 0 would mean no trailer.
        self.trailer = RandomState::new().build_hasher().finish() | 1;
        self
    }

    /// Publishes `payload` as MessagePack, waiting for room in the queue.
    ///
    /// # Errors
    /// [`PublishError::Encode`], [`PublishError::TooLarge`], [`PublishError::Closed`]; inside of a handler, where
    /// waiting would never end, [`PublishError::WouldDeadlock`].
    pub fn publish<T: Serialize + ?Sized>(&self, topic: &str, payload: &T) -> Result<(), PublishError> {
        self.submit(topic, Patience::Wait, |buffer| Ok(encode::to(buffer, payload)?))
    }

    /// Publishes `payload` as MessagePack if there is room now.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`PublishError::Full`].
    pub fn try_publish<T: Serialize + ?Sized>(&self, topic: &str, payload: &T) -> Result<(), PublishError> {
        self.submit(topic, Patience::Now, |buffer| Ok(encode::to(buffer, payload)?))
    }

    /// Publishes `payload` as MessagePack, waiting at most `timeout` for room.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`PublishError::Full`].
    pub fn publish_timeout<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        payload: &T,
        timeout: Duration,
    ) -> Result<(), PublishError> {
        self.submit(topic, Patience::For(timeout), |buffer| Ok(encode::to(buffer, payload)?))
    }

    /// [`publish`](Self::publish) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_raw(&self, topic: &str, payload: &[u8]) -> Result<(), PublishError> {
        self.submit(topic, Patience::Wait, |buffer| {
            buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// [`try_publish`](Self::try_publish) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish).
    pub fn try_publish_raw(&self, topic: &str, payload: &[u8]) -> Result<(), PublishError> {
        self.submit(topic, Patience::Now, |buffer| {
            buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// [`publish_timeout`](Self::publish_timeout) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`publish_timeout`](Self::publish_timeout).
    pub fn publish_raw_timeout(
        &self,
        topic: &str,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<(), PublishError> {
        self.submit(topic, Patience::For(timeout), |buffer| {
            buffer.extend_from_slice(payload);
            Ok(())
        })
    }

    /// Waits until somebody on this backplane subscribes to `topic` or a prefix of it; at once if somebody does. Ends
    /// the guessing about slow joiners: what is published on the topic afterwards reaches the backplane.
    ///
    /// Python's own backplane subscribes to everything itself, so behind it this only says that the link is live.
    ///
    /// # Errors
    /// [`BusError::NoSubscriber`] after `timeout`, [`BusError::Closed`], [`BusError::OnWorker`] inside of a handler.
    pub fn wait_for_subscriber(&self, topic: &str, timeout: Duration) -> Result<(), BusError> {
        if crate::shared::on_a_worker() {
            return Err(BusError::OnWorker { call: "wait_for_subscriber" });
        }
        let Some(side) = &self.shared.publish else { return Err(BusError::Closed) };
        let (reply, answer) = bounded(1);
        self.shared.worker.command(Command::AwaitSubscriber {
            slot: side.slot,
            topic: topic.as_bytes().into(),
            timeout,
            reply,
        })?;
        match answer.recv() {
            Ok(true) => Ok(()),
            Ok(false) => Err(BusError::NoSubscriber {
                topic: topic.to_owned(),
                backplane: self.shared.id.to_string(),
                timeout,
            }),
            Err(_) => Err(BusError::Closed),
        }
    }

    #[inline]
    fn submit(
        &self,
        topic: &str,
        patience: Patience,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let shared = &*self.shared;
        let worker = &*shared.worker;
        let Some(side) = &shared.publish else { return Err(PublishError::Closed) };
        let refuse = |outgoing: Outgoing, error| {
            worker.pool.give(outgoing.buffer);
            shared.counters.refused.add_shared(1);
            Err(error)
        };
        let backplane = shared.id.name();
        let outgoing = match Outgoing::encode(worker.pool.take(), topic, self.trailer, &shared.budget, write)
        {
            Ok(outgoing) => outgoing,
            Err((buffer, error)) => {
                return refuse(Outgoing { buffer, payload_length: 0, trailer: 0 }, error);
            }
        };
        // Nearly always there is room: only then is it worth asking who we are.
        let refused = match side.queue.try_send(outgoing) {
            Ok(()) => None,
            Err(TrySendError::Disconnected(outgoing)) => Some((outgoing, PublishError::Closed)),
            Err(TrySendError::Full(outgoing)) => match patience {
                Patience::Now => Some((outgoing, PublishError::Full { backplane })),
                _ if worker.is_this_thread() => Some((outgoing, PublishError::WouldDeadlock { backplane })),
                Patience::Wait => match side.queue.send(outgoing) {
                    Ok(()) => None,
                    Err(error) => Some((error.0, PublishError::Closed)),
                },
                Patience::For(timeout) => match side.queue.send_timeout(outgoing, timeout) {
                    Ok(()) => None,
                    Err(SendTimeoutError::Timeout(outgoing)) => {
                        Some((outgoing, PublishError::Full { backplane }))
                    }
                    Err(SendTimeoutError::Disconnected(outgoing)) => Some((outgoing, PublishError::Closed)),
                },
            },
        };
        if let Some((outgoing, error)) = refused {
            return refuse(outgoing, error);
        }
        shared.counters.accepted.add_shared(1);
        worker.signal(side.slot);
        Ok(())
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("backplane", &self.shared.id.name()).finish_non_exhaustive()
    }
}

//! The handle that publishes.

use crate::error::{BusError, PublishError};
use crate::message::BackplaneId;
use crate::outgoing::{Outgoing, with_payload};
use crate::shared::{BackplaneShared, PublishSide, not_taken};
use crate::worker::{Command, after, now};
use multiplane_codec::encode;
use multiplane_ring::queue::bounded;
use multiplane_ring::stream::{Refused, RoomHook};
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
    on_room: Option<RoomHook>,
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
        Self { shared, trailer: 0, on_room: None }
    }

    /// The backplane that it publishes on.
    #[must_use]
    pub fn backplane(&self) -> BackplaneId {
        self.shared.id
    }

    pub(crate) fn trailer(&self) -> u64 {
        self.trailer
    }

    /// The random id that its messages carry, if they [do](Self::with_trailer): who also subscribes knows his own again.
    #[must_use]
    pub fn trailer_id(&self) -> Option<u64> {
        (self.trailer != 0).then_some(self.trailer)
    }

    /// A publisher whose messages carry a third frame with its random id, a sequence number per topic and the send
    /// time, from which subscribers count what they [missed](crate::BackplaneStats::missed) and measure the
    /// [latency](crate::BackplaneStats::latency). Python Banyan components never see it; hand-written peers that
    /// unpack exactly two frames do. Off by default.
    #[must_use]
    pub fn with_trailer(mut self) -> Self {
        // The standard library's hash keys are the randomness at hand; 0 would mean no trailer.
        self.trailer = RandomState::new().build_hasher().finish() | 1;
        self
    }

    /// A publisher that calls `wake`, on a worker's or another publisher's thread, when there is room for many messages again
    /// after [`try_publish`](Self::try_publish) has answered [`PublishError::Full`], and when the bus closes: for a thread
    /// that waits for other things as well, such as sockets, and is woken by a descriptor. It must be quick, and may be
    /// called once too often; not any more when the publisher and its clones are dropped.
    ///
    /// ```no_run
    /// # fn example(bus: multiplane_bus::Bus) -> Result<(), Box<dyn std::error::Error>> {
    /// use multiplane_bus::PublishError;
    ///
    /// let thread = std::thread::current();
    /// let publisher = bus.publisher("BP1")?.on_room(move || thread.unpark());
    /// while let Err(PublishError::Full { .. }) = publisher.try_publish("topic", "payload") {
    ///     std::thread::park(); // Or a poll over sockets.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_room(mut self, wake: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_room = Some(Arc::new(wake));
        self
    }

    /// Publishes `payload` as MessagePack, waiting for room in the queue.
    ///
    /// # Errors
    /// [`PublishError::Encode`], [`PublishError::TooLarge`], [`PublishError::Closed`]; inside of a handler, where
    /// waiting would never end, [`PublishError::WouldDeadlock`].
    pub fn publish<T: Serialize + ?Sized>(&self, topic: &str, payload: &T) -> Result<(), PublishError> {
        self.encode(topic, payload, Patience::Wait)
    }

    /// Publishes `payload` as MessagePack if there is room now.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`PublishError::Full`].
    pub fn try_publish<T: Serialize + ?Sized>(&self, topic: &str, payload: &T) -> Result<(), PublishError> {
        self.encode(topic, payload, Patience::Now)
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
        self.encode(topic, payload, Patience::For(timeout))
    }

    /// [`publish`](Self::publish) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn publish_raw(&self, topic: &str, payload: &[u8]) -> Result<(), PublishError> {
        self.submit(topic, payload, Patience::Wait)
    }

    /// [`try_publish`](Self::try_publish) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish).
    #[inline]
    pub fn try_publish_raw(&self, topic: &str, payload: &[u8]) -> Result<(), PublishError> {
        self.submit(topic, payload, Patience::Now)
    }

    /// [`publish_timeout`](Self::publish_timeout) for a payload that is MessagePack already.
    ///
    /// # Errors
    /// As [`publish_timeout`](Self::publish_timeout).
    #[inline]
    pub fn publish_raw_timeout(
        &self,
        topic: &str,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<(), PublishError> {
        self.submit(topic, payload, Patience::For(timeout))
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
    fn encode<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        payload: &T,
        patience: Patience,
    ) -> Result<(), PublishError> {
        let encoded = with_payload(
            |buffer| Ok(encode::to(buffer, payload)?),
            |bytes| Ok(self.submit(topic, bytes, patience)),
        );
        encoded.unwrap_or_else(|error| {
            self.shared.counters.refused.add_shared(1);
            Err(error)
        })
    }

    #[inline(always)]
    fn submit(&self, topic: &str, payload: &[u8], patience: Patience) -> Result<(), PublishError> {
        if self.submit_small(topic, payload) { Ok(()) } else { self.submit_any(topic, payload, patience) }
    }

    /// Takes most messages: small ones without a trailer, when there is room.
    #[inline(never)]
    fn submit_small(&self, topic: &str, payload: &[u8]) -> bool {
        let shared = &*self.shared;
        let Some(side) = &shared.publish else { return false };
        let taken = self.trailer == 0 && side.try_push_small(topic, payload);
        if taken {
            shared.worker.signal_queued(side.slot);
        }
        taken
    }

    /// Takes any message, waits for room, or says what is wrong.
    #[inline(never)]
    fn submit_any(&self, topic: &str, payload: &[u8], patience: Patience) -> Result<(), PublishError> {
        let shared = &*self.shared;
        let sent = match &shared.publish {
            None => Err(PublishError::Closed),
            Some(side) => Outgoing::new(topic, payload, self.trailer, &shared.budget)
                .and_then(|message| self.push(side, &message, patience)),
        };
        if sent.is_err() {
            shared.counters.refused.add_shared(1);
        }
        sent
    }

    fn push(
        &self,
        side: &PublishSide,
        message: &Outgoing<'_>,
        patience: Patience,
    ) -> Result<(), PublishError> {
        let (worker, backplane) = (&*self.shared.worker, self.shared.id.name());
        let mut deadline = None;
        let mut waits = !matches!(patience, Patience::Now);
        let mut hook = self.on_room.as_ref().filter(|_| !waits);
        loop {
            match (side.try_push(message), hook.take()) {
                (Ok(()), _) => break,
                (Err(Refused::Full), Some(hook)) => {
                    side.when_room(hook);
                    continue;
                }
                (Err(Refused::Full), None) if waits => {}
                (Err(refused), _) => return Err(not_taken(refused, backplane)),
            }
            if let (Patience::For(timeout), None) = (patience, deadline) {
                deadline = Some(after(now(), timeout));
            }
            worker.signal_queued(side.slot);
            // Woken when there is room for many; at the deadline room for this one is enough.
            waits = worker
                .wait_for(|| side.wait_for_room(message, deadline))
                .ok_or(PublishError::WouldDeadlock { backplane })?;
        }
        worker.signal_queued(side.slot);
        Ok(())
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("backplane", &self.shared.id.name()).finish_non_exhaustive()
    }
}

//! A local backplane joined to a networked one.

use super::builder::Backplane;
use super::error::{LocalError, RecvTimeoutError};
use super::message::Message;
use super::publish_to::PublishTo;
use super::subscribe_to::SubscribeTo;
use crate::publisher::Publisher;
use crate::subscriber::{RecvTimeoutError as BusTimeout, Subscriber};
use crate::{Bus, PublishError};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long after its end a join may still hold its subscriptions.
const LOOK: Duration = Duration::from_secs(1);

/// Two threads that carry messages between a local backplane and a networked one, until this is dropped, or the bus or the
/// local backplane ends. See [`Backplane::join`].
#[must_use = "the join ends when this is dropped"]
pub struct Join {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    came_in: AtomicU64,
    went_out: AtomicU64,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Backplane {
    /// Joins this backplane to the networked one of that name, both ways, so that all subscribers in the process share one
    /// subscription of the network.
    ///
    /// - What comes by the network under one of these `topics` is published here, with its topic.
    /// - What is published here with a topic goes out on the network, but for what came by a network. What has no
    ///   topic stays here.
    ///
    /// A message of ours that the network brings back is left out, so nobody gets it twice; to be recognised, our messages
    /// carry the [trailer](Publisher::with_trailer).
    ///
    /// Both ways wait for room, so nothing is lost here: a local subscriber that holds this backplane holds the bus's
    /// subscription, too, and then the policy of the bus decides.
    ///
    /// # Errors
    /// [`LocalError::Join`], [`LocalError::Thread`].
    pub fn join<'t>(
        &self,
        bus: &Bus,
        backplane: &str,
        topics: impl IntoIterator<Item = &'t str>,
    ) -> Result<Join, LocalError> {
        let publisher = bus.publisher(backplane)?.with_trailer();
        let subscriber = bus.subscriber_of(backplane, topics)?;
        let join = Join { shared: Arc::default() };
        let (own, to, from) = (publisher.trailer(), self.publisher(), self.subscriber());
        let shared = join.shared.clone();
        spawn("local-join-in", move || carry_in(&subscriber, own, &to, &shared))?;
        let shared = join.shared.clone();
        spawn("local-join-out", move || carry_out(from, &publisher, &shared))?;
        Ok(join)
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), LocalError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(drop).map_err(|error| LocalError::Thread { reason: error.to_string() })
}

fn carry_in(subscriber: &Subscriber, own: u64, to: &PublishTo, shared: &Shared) {
    let mut topic: Arc<str> = "".into();
    while !shared.is_over() && !to.is_closed() {
        let message = match subscriber.recv_timeout(LOOK) {
            Ok(message) => message,
            Err(BusTimeout::Timeout) => continue,
            Err(BusTimeout::Disconnected) => return,
        };
        if message.trailer().is_some_and(|trailer| trailer.publisher == own) {
            continue;
        }
        // Topics often repeat.
        if *topic != *message.topic() {
            topic = message.topic().into();
        }
        if to.publish(Message::from_network(topic.clone(), message.payload_bytes().clone())).is_err() {
            return;
        }
        shared.came_in.fetch_add(1, Ordering::Relaxed);
    }
}

fn carry_out(mut from: SubscribeTo, publisher: &Publisher, shared: &Shared) {
    while !shared.is_over() {
        let message = match from.recv_timeout(LOOK) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Ended) => return,
        };
        let Some(topic) = message.topic().filter(|_| !message.is_from_network()) else { continue };
        match publisher.publish_raw(topic, message.payload()) {
            Ok(()) => drop(shared.went_out.fetch_add(1, Ordering::Relaxed)),
            Err(PublishError::Closed) => return,
            // Counted by the bus.
            Err(error) => tracing::warn!(%error, topic, "a message of a local backplane cannot go out"),
        }
    }
}

impl Join {
    /// Messages that came in by the network so far.
    #[must_use]
    pub fn came_in(&self) -> u64 {
        self.shared.came_in.load(Ordering::Relaxed)
    }

    /// Messages that went out to the network so far.
    #[must_use]
    pub fn went_out(&self) -> u64 {
        self.shared.went_out.load(Ordering::Relaxed)
    }
}

impl Drop for Join {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("came_in", &self.came_in()).field("went_out", &self.went_out()).finish()
    }
}

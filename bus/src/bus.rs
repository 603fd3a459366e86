//! The running component.

use crate::backplane::Backplane;
use crate::builder::Builder;
use crate::counters::BackplaneStats;
use crate::error::{BusError, HandlerError, PublishError, StartError};
use crate::events::Events;
use crate::io::zmq::Context;
use crate::message::{BackplaneId, Message};
use crate::outbox::Outbox;
use crate::publisher::Publisher;
use crate::shared::{BusShared, on_a_worker};
use crate::subscriber::{Inbox, OnFull, Subscriber};
use crate::worker::{Command, Unsent, claim_receiver, subscribe, unsubscribe};
use multiplane_codec::{EncodeError, encode};
use multiplane_core::RoutingSpec;
use multiplane_ring::queue::bounded;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// A component linked to all backplanes of a routing specification.
///
/// ```no_run
/// use multiplane_bus::{Bus, RoutingSpec};
///
/// let bus = Bus::builder("echo_server").routing(RoutingSpec::from_path("spec.csv")?).start()?;
/// bus.run(|message, outbox| {
///     outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
///     Ok(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping a bus closes it, with half a second for what still waits to be sent.
pub struct Bus {
    shared: Arc<BusShared>,
    routing: RoutingSpec,
    events: Events,
    threads: Vec<JoinHandle<()>>,
    /// Last to go: dropping it waits until libzmq has sent what it holds, or lingered long enough.
    context: Option<Context>,
    hosted: Vec<Backplane>,
    on_full: OnFull,
}

/// Ends [`Bus::run`] from another thread.
#[derive(Clone)]
pub struct StopHandle {
    shared: Arc<BusShared>,
}

/// What came of a [`Bus::broadcast`].
#[derive(Debug, Default)]
pub struct Broadcast {
    /// How many backplanes took the message.
    pub accepted: usize,
    /// Those that did not, and why.
    pub refused: Vec<(BackplaneId, PublishError)>,
}

/// What came of [`Bus::close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReport {
    /// Messages that had been accepted and could not be handed to their link in time, by backplane; empty if all were.
    pub unsent: Vec<Unsent>,
    /// The final counters.
    pub stats: Vec<BackplaneStats>,
}

impl Bus {
    /// Begins a bus; `name` is the component's, for banners and logs.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(
        shared: Arc<BusShared>,
        routing: RoutingSpec,
        events: Events,
        context: Option<Context>,
        hosted: Vec<Backplane>,
        on_full: OnFull,
    ) -> Self {
        Self { shared, routing, events, threads: Vec::new(), context, hosted, on_full }
    }

    pub(crate) fn shared(&self) -> &Arc<BusShared> {
        &self.shared
    }

    /// One more worker, which ends with the bus.
    pub(crate) fn add_thread(&mut self, thread: JoinHandle<()>) {
        self.threads.push(thread);
    }

    pub(crate) fn await_live(&self, timeout: Duration) -> Result<(), StartError> {
        if timeout.is_zero() {
            return Ok(());
        }
        let answers: Vec<_> = self
            .shared
            .workers
            .iter()
            .map(|worker| {
                let (reply, answer) = bounded(1);
                worker.command(Command::AwaitLive { timeout, reply }).ok().map(|()| answer)
            })
            .collect();
        let links: Vec<_> =
            answers.into_iter().flatten().filter_map(|answer| answer.recv().ok()).flatten().collect();
        if links.is_empty() { Ok(()) } else { Err(StartError::NotLive { waited: timeout, links }) }
    }

    /// The component's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The routing specification that it was started with.
    #[must_use]
    pub fn routing(&self) -> &RoutingSpec {
        &self.routing
    }

    /// The backplane of this name that the component [hosts](Builder::host): its ports, its counters.
    #[must_use]
    pub fn hosted(&self, backplane: &str) -> Option<&Backplane> {
        self.hosted.iter().find(|hosted| hosted.name() == backplane)
    }

    /// A handle that publishes on the backplane of this name.
    ///
    /// # Errors
    /// [`BusError::UnknownBackplane`], [`BusError::NotPublishing`].
    pub fn publisher(&self, backplane: &str) -> Result<Publisher, BusError> {
        let shared = self.shared.find(backplane)?;
        if shared.publish.is_none() {
            return Err(BusError::NotPublishing { backplane: backplane.to_owned() });
        }
        Ok(Publisher::new(shared.clone()))
    }

    /// Publishes on every backplane that has a publisher port, in the order of the routing specification, waiting for
    /// room; the payload is encoded once.
    ///
    /// # Errors
    /// When the payload cannot be encoded. What single backplanes refuse is in the [`Broadcast`].
    pub fn broadcast<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        payload: &T,
    ) -> Result<Broadcast, EncodeError> {
        let payload = encode::to_vec(payload)?;
        Ok(self.broadcast_with(|publisher| publisher.publish_raw(topic, &payload)))
    }

    /// As [`broadcast`](Self::broadcast), but never waits: a backplane without room is among the refused.
    ///
    /// # Errors
    /// When the payload cannot be encoded.
    pub fn try_broadcast<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        payload: &T,
    ) -> Result<Broadcast, EncodeError> {
        let payload = encode::to_vec(payload)?;
        Ok(self.broadcast_with(|publisher| publisher.try_publish_raw(topic, &payload)))
    }

    fn broadcast_with(&self, publish: impl Fn(&Publisher) -> Result<(), PublishError>) -> Broadcast {
        let mut broadcast = Broadcast::default();
        for shared in self.shared.backplanes.iter().filter(|shared| shared.publish.is_some()) {
            match publish(&Publisher::new(shared.clone())) {
                Ok(()) => broadcast.accepted += 1,
                Err(error) => broadcast.refused.push((shared.id, error)),
            }
        }
        broadcast
    }

    /// The inbox that gets everything the routing specification subscribes to, from all backplanes. What arrives
    /// before this call waits in the links, unless [other subscribers](Self::subscriber_of) take from them already.
    /// Once per bus, and instead of [`run`](Self::run).
    ///
    /// # Errors
    /// [`BusError::AlreadyReceiving`], [`BusError::Closed`].
    pub fn subscriber(&self) -> Result<Subscriber, BusError> {
        if self.shared.receivers.fetch_or(1, Ordering::Relaxed) & 1 == 1 {
            return Err(BusError::AlreadyReceiving);
        }
        self.attach(0)
    }

    /// A further inbox of its own, with these topics on one backplane; more can be
    /// [added](Subscriber::subscribe), also on other backplanes.
    ///
    /// # Errors
    /// [`BusError::UnknownBackplane`], [`BusError::NotSubscribing`], [`BusError::Subscription`],
    /// [`BusError::TooManySubscribers`], [`BusError::Closed`].
    pub fn subscriber_of<'t>(
        &self,
        backplane: &str,
        topics: impl IntoIterator<Item = &'t str>,
    ) -> Result<Subscriber, BusError> {
        let subscriber = self.attach(claim_receiver(&self.shared)?)?;
        for topic in topics {
            subscriber.subscribe(backplane, topic)?;
        }
        Ok(subscriber)
    }

    fn attach(&self, who: u8) -> Result<Subscriber, BusError> {
        let (inbox, sender) = Inbox::open(self.shared.budget.inbox, self.on_full);
        // Made first: if a worker is gone already, dropping it gives the number back.
        let subscriber = Subscriber::new(inbox, self.shared.clone(), who);
        for worker in &self.shared.workers {
            worker.command(Command::Attach { who, inbox: sender.clone() })?;
        }
        Ok(subscriber)
    }

    /// Subscribes the receiver of the routing specification to further topics on `backplane`.
    ///
    /// # Errors
    /// [`BusError::UnknownBackplane`], [`BusError::NotSubscribing`], [`BusError::Subscription`], [`BusError::Closed`].
    pub fn subscribe(&self, backplane: &str, topic: &str) -> Result<(), BusError> {
        subscribe(&self.shared, backplane, topic, 0)
    }

    /// Takes one subscription of the receiver of the routing specification back. One that never was is no error.
    ///
    /// # Errors
    /// [`BusError::UnknownBackplane`], [`BusError::NotSubscribing`], [`BusError::Closed`].
    pub fn unsubscribe(&self, backplane: &str, topic: &str) -> Result<(), BusError> {
        unsubscribe(&self.shared, backplane, topic, 0)
    }

    /// Calls `handler` on the worker for each message that the routing specification subscribes to, until
    /// [`Outbox::stop`] or [`StopHandle::stop`] is called. Borrowed messages, no queue, no allocation.
    ///
    /// A handler that answers with an error is counted and reported, and goes on with the next message.
    ///
    /// # Errors
    /// [`BusError::SeveralWorkers`], [`BusError::AlreadyReceiving`], [`BusError::HandlerPanicked`],
    /// [`BusError::Closed`].
    pub fn run<F>(&self, handler: F) -> Result<(), BusError>
    where
        F: FnMut(&Message<'_>, &mut Outbox<'_>) -> Result<(), HandlerError> + Send + 'static,
    {
        let workers = self.shared.workers.len();
        if workers > 1 {
            return Err(BusError::SeveralWorkers { workers });
        }
        let mut handler = Some(handler);
        self.run_all(|_| handler.take().map(|handler| Box::new(handler) as _))
    }

    /// As [`run`](Self::run) with one handler per worker: `make` is called with each worker's number. All messages of
    /// a backplane go to one handler.
    ///
    /// # Errors
    /// As [`run`](Self::run), but for [`BusError::SeveralWorkers`].
    pub fn run_each<F>(&self, mut make: impl FnMut(usize) -> F) -> Result<(), BusError>
    where
        F: FnMut(&Message<'_>, &mut Outbox<'_>) -> Result<(), HandlerError> + Send + 'static,
    {
        self.run_all(|worker| Some(Box::new(make(worker)) as _))
    }

    fn run_all(&self, mut make: impl FnMut(usize) -> Option<crate::worker::Handler>) -> Result<(), BusError> {
        if on_a_worker() {
            return Err(BusError::OnWorker { call: "run" });
        }
        if self.shared.receivers.fetch_or(1, Ordering::Relaxed) & 1 == 1 {
            return Err(BusError::AlreadyReceiving);
        }
        let workers = &self.shared.workers;
        let (ended, end) = bounded(workers.len());
        for worker in workers {
            if let Some(handler) = make(worker.index) {
                worker.command(Command::Handle { handler, ended: ended.clone() })?;
            }
        }
        drop(ended);
        if self.shared.stopping.load(Ordering::SeqCst) {
            self.stop_handle().stop();
        }
        // The first that ends, ends all.
        let mut outcome = end.recv().unwrap_or(Err(BusError::Closed));
        workers.iter().for_each(|worker| drop(worker.command(Command::Stop)));
        for other in end {
            outcome = outcome.and(other);
        }
        self.shared.receivers.fetch_and(!1, Ordering::Relaxed);
        outcome
    }

    /// Something that ends [`run`](Self::run) from another thread, say on Ctrl-C.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { shared: self.shared.clone() }
    }

    /// The link events since the start.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What was counted so far, one entry per backplane in the order of the routing specification.
    #[must_use]
    pub fn stats(&self) -> Vec<BackplaneStats> {
        let snapshot = |shared: &Arc<crate::shared::BackplaneShared>| {
            let publish = shared.publish.as_ref();
            let links =
                (publish.map(|side| side.state()), shared.subscribe.as_ref().map(|side| side.state()));
            let enqueued = || publish.map_or(0, |side| side.enqueued());
            shared.counters.snapshot(shared.id, links, enqueued)
        };
        self.shared.backplanes.iter().map(snapshot).collect()
    }

    /// The banner: every link with its address and topics.
    #[must_use]
    pub fn banner(&self) -> String {
        let stars = "*".repeat(60);
        let mut text = format!("\n{stars}\n\n");
        for route in self.routing.routes() {
            let _ = writeln!(text, "{} using {} at {}", self.name(), route.name, route.host);
            match route.subscriber_port {
                None => drop(writeln!(text, "    Subscriber Port = none: receives nothing")),
                Some(port) => {
                    let _ = writeln!(text, "    Subscriber Port = {port}");
                    for topic in &route.topics {
                        let _ = match topic.as_str() {
                            "" => writeln!(text, "        Subscribed to every topic"),
                            topic => writeln!(text, "        Subscribed to topic: {topic}"),
                        };
                    }
                }
            }
            let _ = match route.publisher_port {
                None => writeln!(text, "    Publisher  Port = none: publishes nothing"),
                Some(port) => writeln!(text, "    Publisher  Port = {port}"),
            };
        }
        let _ = write!(text, "\n{stars}");
        text
    }

    /// Takes no more messages, hands what waits to the links for at most `deadline`, and ends all threads in that time.
    #[must_use = "the report says what could not be sent"]
    pub fn close(mut self, deadline: Duration) -> CloseReport {
        self.shut_down(deadline);
        let stats = self.stats();
        let unsent = stats
            .iter()
            .filter(|stats| stats.dropped.unsent > 0)
            .map(|stats| Unsent { backplane: stats.backplane, messages: stats.dropped.unsent })
            .collect();
        CloseReport { unsent, stats }
    }

    fn shut_down(&mut self, deadline: Duration) {
        if self.shared.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        for worker in &self.shared.workers {
            let _ = worker.command(Command::Close { deadline });
        }
        if on_a_worker() {
            // A handler dropped the bus: its own thread cannot be waited for, and ends by itself.
            return;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked: this is a bug in Multiplane");
            }
        }
        self.context = None;
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let closed = self.shared.closed.load(Ordering::SeqCst);
        self.shut_down(self.shared.budget.close_deadline);
        // Who closes gets a report instead.
        let lost = if closed { Vec::new() } else { self.stats() };
        for stats in lost.iter().filter(|stats| stats.dropped.unsent > 0) {
            let (backplane, messages) = (stats.backplane, stats.dropped.unsent);
            tracing::warn!(%backplane, messages, "the bus was dropped before all was sent");
        }
    }
}

impl StopHandle {
    /// Ends [`Bus::run`], also one that begins later.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for worker in &self.shared.workers {
            let _ = worker.command(Command::Stop);
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").field("bus", &self.shared.name).finish()
    }
}

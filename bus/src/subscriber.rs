//! The handle that receives into a queue.

use crate::error::BusError;
use crate::message::OwnedMessage;
use crate::shared::{BackplaneShared, BusShared, WorkerShared};
use crate::worker::{self, Command};
use multiplane_ring::queue::{Receiver, Sender, TryIter, bounded};
pub use multiplane_ring::queue::{RecvError, RecvTimeoutError, TryRecvError};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What happens to a message for which an inbox has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It waits, and with it everything behind it on that backplane, until the inbox is half empty. The default:
    /// nothing is lost here, and the backplane feels the back-pressure.
    #[default]
    Block,
    /// The new message is lost, and counted.
    DropNewest,
    /// The oldest message of the inbox is lost, and counted.
    DropOldest,
}

/// The queue between the workers and a [`Subscriber`], as both see it.
pub(crate) struct Inbox {
    queue: Receiver<OwnedMessage>,
    on_full: OnFull,
    capacity: usize,
    /// One bit per worker that waits for room.
    blocked: AtomicU64,
    /// The subscriber is gone.
    abandoned: AtomicBool,
    /// Wakes a subscriber that waits elsewhere.
    ready: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// The subscriber has found the inbox empty and wants to be woken.
    armed: AtomicBool,
}

/// A worker's end of an [`Inbox`]. When the last is gone, the subscriber hears that the bus is closed.
#[derive(Clone)]
pub(crate) struct InboxSender {
    sender: Sender<OwnedMessage>,
    inbox: Arc<Inbox>,
    /// Dropped after `sender`, so that whoever is woken finds the end.
    _end: Waking,
}

/// Wakes, when it is dropped, a subscriber that waits elsewhere.
#[derive(Clone)]
pub(crate) struct Waking(Arc<Inbox>);

impl Drop for Waking {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// What a worker hears when it puts a message into an inbox.
pub(crate) enum Put {
    /// It is in.
    Delivered,
    /// It is lost.
    DroppedNewest,
    /// It has to wait, and comes back.
    Blocked(OwnedMessage),
    /// Nobody will ever take it.
    Abandoned,
}

impl Inbox {
    pub(crate) fn open(capacity: usize, on_full: OnFull) -> (Arc<Self>, InboxSender) {
        let capacity = capacity.max(1);
        let (sender, queue) = bounded(capacity);
        let inbox = Arc::new(Self {
            queue,
            on_full,
            capacity,
            blocked: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            ready: OnceLock::new(),
            armed: AtomicBool::new(false),
        });
        (inbox.clone(), InboxSender { sender, inbox: inbox.clone(), _end: Waking(inbox) })
    }

    /// After putting a message in: wakes a subscriber that waits elsewhere.
    fn wake(&self) {
        if let Some(ready) = self.ready.get() {
            fence(Ordering::SeqCst);
            if self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::Relaxed) {
                ready();
            }
        }
    }

    /// The next message; where there is none, the next to come wakes.
    fn take(&self) -> Result<OwnedMessage, TryRecvError> {
        let taken = self.queue.try_recv();
        if taken.is_ok() || self.ready.get().is_none() {
            return taken;
        }
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        // Whoever put one in before the mark could be seen wakes nobody, so look once more.
        self.queue.try_recv()
    }

    /// After taking: wakes the workers that wait, once there is room for a good batch.
    fn made_room(&self, workers: &[Arc<WorkerShared>]) {
        if self.on_full != OnFull::Block {
            return;
        }
        fence(Ordering::SeqCst);
        if self.blocked.load(Ordering::Relaxed) == 0 || self.queue.len() > self.capacity / 2 {
            return;
        }
        let blocked = self.blocked.swap(0, Ordering::Relaxed);
        for worker in workers.iter().filter(|worker| blocked & (1 << worker.index) != 0) {
            worker.signal(worker.retry_mark());
        }
    }
}

impl InboxSender {
    /// Puts a message in for worker number `worker`. What has to make way is counted with the backplane it came by.
    pub(crate) fn put(
        &self,
        message: OwnedMessage,
        worker: usize,
        backplanes: &[Arc<BackplaneShared>],
    ) -> Put {
        let put = self.put_or_drop(message, worker, backplanes);
        self.inbox.wake();
        put
    }

    fn put_or_drop(&self, message: OwnedMessage, worker: usize, backplanes: &[Arc<BackplaneShared>]) -> Put {
        let inbox = &*self.inbox;
        if inbox.abandoned.load(Ordering::Relaxed) {
            return Put::Abandoned;
        }
        let mut message = match self.sender.try_send(message) {
            Ok(()) => return Put::Delivered,
            Err(refused) => refused.into_inner(),
        };
        match inbox.on_full {
            OnFull::DropNewest => Put::DroppedNewest,
            OnFull::DropOldest => {
                loop {
                    // The owner may have emptied the queue meanwhile; then nothing has to go.
                    if let Ok(oldest) = inbox.queue.try_recv() {
                        let from = backplanes.get(oldest.backplane().index());
                        from.iter().for_each(|backplane| backplane.counters.displaced.add_shared(1));
                    }
                    match self.sender.try_send(message) {
                        Ok(()) => return Put::Delivered,
                        Err(refused) => message = refused.into_inner(),
                    }
                }
            }
            OnFull::Block => {
                inbox.blocked.fetch_or(1 << worker, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                // Whoever made room before the bit could be seen wakes nobody, so look once more.
                if inbox.queue.len() > inbox.capacity / 2 {
                    return Put::Blocked(message);
                }
                match self.sender.try_send(message) {
                    Ok(()) => Put::Delivered,
                    Err(refused) => Put::Blocked(refused.into_inner()),
                }
            }
        }
    }
}

/// Receives messages in a bounded queue, from all backplanes of a bus. `Send + Sync`; several threads may share it, and
/// then each message goes to one of them.
///
/// Iterating ends when the bus is closed and everything in the queue has been taken.
pub struct Subscriber {
    inbox: Arc<Inbox>,
    bus: Arc<BusShared>,
    /// Its bit in `BusShared::receivers`; 0 is the receiver of the routing specification.
    who: u8,
}

impl Subscriber {
    pub(crate) fn new(inbox: Arc<Inbox>, bus: Arc<BusShared>, who: u8) -> Self {
        Self { inbox, bus, who }
    }

    /// The next message, waiting for it.
    ///
    /// # Errors
    /// [`RecvError`] when the bus is closed and the queue is empty.
    pub fn recv(&self) -> Result<OwnedMessage, RecvError> {
        self.took(self.inbox.queue.recv())
    }

    /// The next message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], or [`TryRecvError::Disconnected`] when the bus is closed and the queue is empty.
    pub fn try_recv(&self) -> Result<OwnedMessage, TryRecvError> {
        self.took(self.inbox.take())
    }

    /// Calls `wake`, on a worker's thread, for the first message after [`try_recv`](Self::try_recv) has found none, and
    /// when the bus closes: for a thread that waits for other things as well, such as sockets, and is woken by a
    /// descriptor. It must be quick, and may be called once too often. Set it once and then take until there is none; a
    /// second one is ignored.
    ///
    /// ```no_run
    /// # fn example(bus: multiplane_bus::Bus) -> Result<(), Box<dyn std::error::Error>> {
    /// let messages = bus.subscriber()?;
    /// let thread = std::thread::current();
    /// messages.on_ready(move || thread.unpark());
    /// loop {
    ///     while let Ok(message) = messages.try_recv() {
    ///         println!("{}", message.topic());
    ///     }
    ///     std::thread::park(); // Or a poll over sockets.
    /// }
    /// # }
    /// ```
    pub fn on_ready(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.inbox.ready.set(Box::new(wake));
        // What a worker puts in before it gets the command may still miss the function; what was put in then wakes now.
        for worker in &self.bus.workers {
            let _ = worker.command(Command::Wake { inbox: Waking(self.inbox.clone()) });
        }
    }

    /// The next message, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or [`RecvTimeoutError::Disconnected`] when the bus is closed and the queue is
    /// empty.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<OwnedMessage, RecvTimeoutError> {
        self.took(self.inbox.queue.recv_timeout(timeout))
    }

    /// Everything that is in the queue now, without waiting.
    pub fn drain(&self) -> Drain<'_> {
        Drain { messages: self.inbox.queue.try_iter(), subscriber: self }
    }

    /// Messages in the queue now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inbox.queue.len()
    }

    /// Whether the queue is empty now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbox.queue.is_empty()
    }

    /// Subscribes to all topics on `backplane` that begin with `topic`; an empty one means every topic. A repeat counts
    /// and needs as many [`unsubscribe`](Self::unsubscribe)s.
    ///
    /// # Errors
    /// [`BusError::UnknownBackplane`], [`BusError::NotSubscribing`], [`BusError::Subscription`], [`BusError::Closed`].
    pub fn subscribe(&self, backplane: &str, topic: &str) -> Result<(), BusError> {
        worker::subscribe(&self.bus, backplane, topic, self.who)
    }

    /// Takes one [`subscribe`](Self::subscribe) back. One that never was is no error.
    ///
    /// # Errors
    /// [`BusError::UnknownBackplane`], [`BusError::NotSubscribing`], [`BusError::Closed`].
    pub fn unsubscribe(&self, backplane: &str, topic: &str) -> Result<(), BusError> {
        worker::unsubscribe(&self.bus, backplane, topic, self.who)
    }

    fn took<E>(&self, message: Result<OwnedMessage, E>) -> Result<OwnedMessage, E> {
        if message.is_ok() {
            self.inbox.made_room(&self.bus.workers);
        }
        message
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.inbox.abandoned.store(true, Ordering::Relaxed);
        for worker in &self.bus.workers {
            let _ = worker.command(Command::Detach { who: self.who });
        }
        // Only now may somebody else have the number: every worker hears of the end before the new beginning.
        self.bus.receivers.fetch_and(!(1 << self.who), Ordering::Relaxed);
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("queued", &self.len()).finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Subscriber {
    type Item = OwnedMessage;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        Iter { subscriber: self }
    }
}

/// Waits for each message; ends when the bus is closed.
#[derive(Debug)]
pub struct Iter<'a> {
    subscriber: &'a Subscriber,
}

impl Iterator for Iter<'_> {
    type Item = OwnedMessage;

    fn next(&mut self) -> Option<OwnedMessage> {
        self.subscriber.recv().ok()
    }
}

/// What was in the queue; see [`Subscriber::drain`].
pub struct Drain<'a> {
    messages: TryIter<'a, OwnedMessage>,
    subscriber: &'a Subscriber,
}

impl Iterator for Drain<'_> {
    type Item = OwnedMessage;

    fn next(&mut self) -> Option<OwnedMessage> {
        self.messages.next()
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        self.subscriber.inbox.made_room(&self.subscriber.bus.workers);
    }
}

impl fmt::Debug for Drain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drain")
    }
}

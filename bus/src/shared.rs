//! What the handles of a bus and its workers share.

use crate::counters::Counters;
use crate::error::{BusError, PublishError};
use crate::message::BackplaneId;
use crate::worker::Command;
use multiplane_core::{Budget, LinkState};
use multiplane_ring::queue::Sender;
use multiplane_ring::{BufferPool, ReadySet, Wake};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// A message on its way out: one buffer with the payload first, so that a large payload can be handed on without a
/// copy, and the topic behind it.
pub(crate) struct Outgoing {
    pub(crate) buffer: Vec<u8>,
    pub(crate) payload_length: usize,
    /// Adds a trailer with this publisher; 0 adds none.
    pub(crate) trailer: u64,
}

impl Outgoing {
    /// `write` appends the payload to an empty buffer.
    pub(crate) fn encode(
        mut buffer: Vec<u8>,
        topic: &str,
        trailer: u64,
        budget: &Budget,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), PublishError>,
    ) -> Result<Self, (Vec<u8>, PublishError)> {
        let over = |what, length, limit| {
            if length > limit { Err(PublishError::TooLarge { what, length, limit }) } else { Ok(()) }
        };
        buffer.clear();
        let checked = over("the topic", topic.len(), budget.topic_bytes)
            .and_then(|()| write(&mut buffer))
            .and_then(|()| over("the message", buffer.len() + topic.len(), budget.message_bytes));
        match checked {
            Err(error) => Err((buffer, error)),
            Ok(()) => {
                let payload_length = buffer.len();
                buffer.extend_from_slice(topic.as_bytes());
                Ok(Self { buffer, payload_length, trailer })
            }
        }
    }

    pub(crate) fn topic(&self) -> &[u8] {
        &self.buffer[self.payload_length..]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[..self.payload_length]
    }
}

/// One worker, as the handles see it.
pub(crate) struct WorkerShared {
    pub(crate) index: usize,
    /// Publish queues with something in them, then [`retry_mark`](Self::retry_mark) and
    /// [`command_mark`](Self::command_mark).
    pub(crate) ready: ReadySet,
    pub(crate) wake: Wake,
    pub(crate) pool: BufferPool,
    pub(crate) commands: Sender<Command>,
    /// How many publisher links this worker owns.
    pub(crate) publishers: usize,
}

thread_local! {
    /// The worker that this thread is, by the address of its shared part; 0 elsewhere.
    static THIS_WORKER: Cell<usize> = const { Cell::new(0) };
}

impl WorkerShared {
    pub(crate) fn retry_mark(&self) -> usize {
        self.publishers
    }

    pub(crate) fn command_mark(&self) -> usize {
        self.publishers + 1
    }

    pub(crate) fn signal(&self, mark: usize) {
        self.ready.mark(mark);
        self.wake.wake();
    }

    pub(crate) fn command(&self, command: Command) -> Result<(), BusError> {
        // On the worker itself waiting for room would never end; its queue of commands is far longer than any handler
        // can reasonably fill.
        let sent = if self.is_this_thread() {
            self.commands.try_send(command).is_ok()
        } else {
            self.commands.send(command).is_ok()
        };
        self.signal(self.command_mark());
        if sent { Ok(()) } else { Err(BusError::Closed) }
    }

    pub(crate) fn enter_thread(&self) {
        THIS_WORKER.set(std::ptr::from_ref(self).addr());
    }

    pub(crate) fn is_this_thread(&self) -> bool {
        THIS_WORKER.get() == std::ptr::from_ref(self).addr()
    }
}

/// Whether this thread is a worker of any bus.
pub(crate) fn on_a_worker() -> bool {
    THIS_WORKER.get() != 0
}

/// The publishing side of one backplane.
pub(crate) struct PublishSide {
    pub(crate) queue: Sender<Outgoing>,
    pub(crate) slot: usize,
    pub(crate) endpoint: String,
    state: AtomicU8,
}

/// The receiving side of one backplane.
pub(crate) struct SubscribeSide {
    pub(crate) slot: usize,
    pub(crate) endpoint: String,
    state: AtomicU8,
}

macro_rules! state {
    ($($side:ty),+) => {$(
        impl $side {
            pub(crate) fn state(&self) -> LinkState {
                match self.state.load(Ordering::Relaxed) {
                    0 => LinkState::Connecting,
                    1 => LinkState::Live,
                    2 => LinkState::Lost,
                    _ => LinkState::Closed,
                }
            }

            pub(crate) fn set_state(&self, state: LinkState) {
                self.state.store(state as u8, Ordering::Relaxed);
            }
        }
    )+};
}
state!(PublishSide, SubscribeSide);

impl PublishSide {
    pub(crate) fn new(queue: Sender<Outgoing>, slot: usize, endpoint: String) -> Self {
        Self { queue, slot, endpoint, state: AtomicU8::new(0) }
    }
}

impl SubscribeSide {
    pub(crate) fn new(slot: usize, endpoint: String) -> Self {
        Self { slot, endpoint, state: AtomicU8::new(0) }
    }
}

/// One backplane of a bus.
pub(crate) struct BackplaneShared {
    pub(crate) id: BackplaneId,
    pub(crate) worker: Arc<WorkerShared>,
    pub(crate) counters: Counters,
    pub(crate) publish: Option<PublishSide>,
    pub(crate) subscribe: Option<SubscribeSide>,
    pub(crate) budget: Arc<Budget>,
}

/// The whole bus.
pub(crate) struct BusShared {
    pub(crate) name: String,
    pub(crate) backplanes: Vec<Arc<BackplaneShared>>,
    pub(crate) workers: Vec<Arc<WorkerShared>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) closed: AtomicBool,
    /// `run` is to end, or not even to begin.
    pub(crate) stopping: AtomicBool,
    /// Bit 0: the receiver of the routing specification's topics; the others: further subscribers.
    pub(crate) receivers: AtomicU64,
}

impl BusShared {
    pub(crate) fn find(&self, name: &str) -> Result<&Arc<BackplaneShared>, BusError> {
        self.backplanes.iter().find(|backplane| backplane.id == *name).ok_or_else(|| {
            BusError::UnknownBackplane {
                name: name.to_owned(),
                known: self.backplanes.iter().map(|b| b.id.name()).collect::<Vec<_>>().join(", "),
            }
        })
    }
}

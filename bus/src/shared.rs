//! What the handles of a bus and its workers share.

use crate::counters::Counters;
use crate::error::{BusError, PublishError};
use crate::message::BackplaneId;
use crate::outgoing::{Outgoing, Small};
use crate::worker::{Command, now};
use multiplane_core::{Budget, LinkState};
use multiplane_ring::queue::Sender;
use multiplane_ring::stream::{Refused, RoomHook, StreamSender};
use multiplane_ring::{ReadySet, Wake};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One worker, as the handles see it.
pub(crate) struct WorkerShared {
    pub(crate) index: usize,
    /// Publish queues with something in them, then [`retry_mark`](Self::retry_mark) and
    /// [`command_mark`](Self::command_mark).
    pub(crate) ready: ReadySet,
    pub(crate) wake: Wake,
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
        self.wake.wake_marked();
    }

    /// Says that something was put into the publish queue of a link.
    #[inline]
    pub(crate) fn signal_queued(&self, slot: usize) {
        self.ready.mark_appended(slot);
        self.wake.wake_marked();
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
        THIS_WORKER.set(self.address());
    }

    pub(crate) fn is_this_thread(&self) -> bool {
        THIS_WORKER.get() == self.address()
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Waits for this worker to do something; `None` if that would never end, because it waits for this very thread,
    /// itself or by others.
    pub(crate) fn wait_for<R>(&self, wait: impl FnOnce() -> R) -> Option<R> {
        let (me, mut last) = (THIS_WORKER.get(), self.address());
        if me == 0 {
            return Some(wait());
        }
        let mut waits = waits();
        while last != me
            && let Some(&next) = waits.get(&last)
        {
            last = next;
        }
        if last == me {
            return None;
        }
        waits.insert(me, self.address());
        drop(waits);
        let waited = wait();
        self::waits().remove(&me);
        Some(waited)
    }
}

/// Which worker of any bus waits for which, by address; never in a circle.
static WAITS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

fn waits() -> MutexGuard<'static, BTreeMap<usize, usize>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this thread is a worker of any bus.
pub(crate) fn on_a_worker() -> bool {
    THIS_WORKER.get() != 0
}

/// Why a publish queue has not taken a message.
#[cold]
pub(crate) fn not_taken(refused: Refused, backplane: &'static str) -> PublishError {
    match refused {
        Refused::Full => PublishError::Full { backplane },
        Refused::Closed => PublishError::Closed,
    }
}

/// The publishing side of one backplane.
pub(crate) struct PublishSide {
    queue: StreamSender,
    small_topic_limit: usize,
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
    pub(crate) fn new(queue: StreamSender, slot: usize, endpoint: String, budget: &Budget) -> Self {
        let small_topic_limit = Small::topic_limit(budget);
        Self { queue, small_topic_limit, slot, endpoint, state: AtomicU8::new(0) }
    }

    /// Puts a message into the queue if it is [small](Small) and there is room now.
    #[inline(always)]
    pub(crate) fn try_push_small(&self, topic: &str, payload: &[u8]) -> bool {
        Small::of(topic, payload, self.small_topic_limit).is_some_and(
            #[inline(always)]
            |message| {
                let sent = self.queue.try_send(
                    message.length(),
                    #[inline(always)]
                    |place| message.write(place),
                );
                sent.is_ok()
            },
        )
    }

    /// Puts a message into the queue if there is room now.
    pub(crate) fn try_push(&self, message: &Outgoing<'_>) -> Result<(), Refused> {
        if message.length() <= self.queue.inline_limit() {
            return self.queue.try_send(message.length(), |place| message.write(place));
        }
        let mut buffer = Vec::with_capacity(message.length());
        message.append_to(&mut buffer);
        self.queue.try_send_buffer(buffer).map_err(|(_, refused)| refused)
    }

    /// How many messages the queue ever took.
    pub(crate) fn enqueued(&self) -> u64 {
        self.queue.appended()
    }

    /// Waits until there is room, also for `message`, or the bus is closed; `false` when it was `deadline` first.
    pub(crate) fn wait_for_room(&self, message: &Outgoing<'_>, deadline: Option<Instant>) -> bool {
        self.queue.wait_for_room(message.length(), deadline, now)
    }

    /// Has `hook` called when there is room; whoever asks tries once more then.
    pub(crate) fn when_room(&self, hook: &RoomHook) {
        self.queue.when_room(hook);
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

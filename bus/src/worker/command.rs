//! What handles ask of a worker.

use crate::error::{BusError, DeadLink};
use crate::message::Message;
use crate::outbox::Outbox;
use crate::shared::{BusShared, SubscribeSide, on_a_worker};
use crate::subscriber::{InboxSender, Waking};
use crate::{BackplaneId, HandlerError};
use multiplane_core::SubscriptionError;
use multiplane_ring::queue::{Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A user's function, called for each message.
pub(crate) type Handler = Box<dyn FnMut(&Message<'_>, &mut Outbox<'_>) -> Result<(), HandlerError> + Send>;

/// How a handler ended; `Ok` when it was asked to.
pub(crate) type Ended = Result<(), BusError>;

pub(crate) enum Command {
    /// Gives the messages of receiver `who` to an inbox.
    Attach {
        who: u8,
        inbox: InboxSender,
    },
    /// Gives the messages of the routing specification to a handler, and says when that ended.
    Handle {
        handler: Handler,
        ended: Sender<Ended>,
    },
    /// Ends the handler.
    Stop,
    /// An inbox is to wake its subscriber from now on, and once now.
    Wake {
        inbox: Waking,
    },
    /// Receiver `who` is gone, and its subscriptions with it.
    Detach {
        who: u8,
    },
    Subscribe {
        slot: usize,
        who: u8,
        topic: Box<[u8]>,
        reply: Sender<Result<(), SubscriptionError>>,
    },
    Unsubscribe {
        slot: usize,
        who: u8,
        topic: Box<[u8]>,
        reply: Sender<Result<(), SubscriptionError>>,
    },
    /// Answers when all links of the worker are live, or with those that are not after `timeout`.
    AwaitLive {
        timeout: Duration,
        reply: Sender<Vec<DeadLink>>,
    },
    AwaitSubscriber {
        slot: usize,
        topic: Box<[u8]>,
        timeout: Duration,
        reply: Sender<bool>,
    },
    /// Flushes for at most `deadline`, then ends the worker.
    Close {
        deadline: Duration,
    },
}

/// What could not be sent when a bus closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// On which backplane.
    pub backplane: BackplaneId,
    /// How many messages.
    pub messages: u64,
}

/// Subscribes receiver `who`.
pub(crate) fn subscribe(bus: &BusShared, backplane: &str, topic: &str, who: u8) -> Result<(), BusError> {
    change(bus, backplane, topic, |slot, topic, reply| Command::Subscribe { slot, who, topic, reply })
}

/// Takes one subscription of receiver `who` back.
pub(crate) fn unsubscribe(bus: &BusShared, backplane: &str, topic: &str, who: u8) -> Result<(), BusError> {
    change(bus, backplane, topic, |slot, topic, reply| Command::Unsubscribe { slot, who, topic, reply })
}

fn change(
    bus: &BusShared,
    backplane: &str,
    topic: &str,
    command: impl FnOnce(usize, Box<[u8]>, Sender<Result<(), SubscriptionError>>) -> Command,
) -> Result<(), BusError> {
    let shared = bus.find(backplane)?;
    let Some(SubscribeSide { slot, .. }) = shared.subscribe else {
        return Err(BusError::NotSubscribing { backplane: backplane.to_owned() });
    };
    let refused = |reason| BusError::Subscription { backplane: backplane.to_owned(), reason };
    let limit = bus.budget.subscription_topic_bytes;
    if topic.len() > limit {
        return Err(refused(SubscriptionError::TooLong { length: topic.len(), limit }));
    }
    let (reply, answer) = bounded(1);
    shared.worker.command(command(slot, topic.as_bytes().into(), reply))?;
    if on_a_worker() {
        // The answer would come from this very thread, or from one that may wait for this one.
        return Ok(());
    }
    answer.recv().map_err(|_| BusError::Closed)?.map_err(refused)
}

/// A free bit for a new receiver.
pub(crate) fn claim_receiver(bus: &Arc<BusShared>) -> Result<u8, BusError> {
    let mut taken = bus.receivers.load(Ordering::Relaxed);
    loop {
        let who = (!taken & !1).trailing_zeros();
        if who >= 64 {
            return Err(BusError::TooManySubscribers { limit: 63 });
        }
        match bus.receivers.compare_exchange_weak(
            taken,
            taken | 1 << who,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return Ok(who as u8),
            Err(now) => taken = now,
        }
    }
}

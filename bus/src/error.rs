//! What can go wrong, whose fault it is, and the cure.

use multiplane_codec::EncodeError;
use std::fmt;
use std::time::Duration;

/// What a handler answers with when it could not handle a message.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// The bus could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Some links were not live in time. Everything has been shut down again.
    #[error("not live within {waited:?}: {}", list(links))]
    NotLive {
        /// How long it was waited for.
        waited: Duration,
        /// Each link that was not live.
        links: Vec<DeadLink>,
    },
    /// The bounds make no sense.
    #[error(transparent)]
    Budget(#[from] multiplane_core::BudgetError),
    /// A backplane that the component hosts could not start.
    #[error(transparent)]
    Host(#[from] crate::BackplaneError),
    /// A backplane that the component hosts does not fit to the routing specification.
    #[error(transparent)]
    Routing(#[from] multiplane_core::RoutingError),
    /// Neither a routing specification nor a backplane to host was given.
    #[error(
        "no backplane to link to: give the builder a routing specification with `.routing(..)`, or `.host(..)` one"
    )]
    NoRouting,
    /// More backplanes than the budget allows.
    #[error("{count} backplanes are more than the limit of {limit}: raise `Budget::backplanes`")]
    TooManyBackplanes {
        /// In the routing specification.
        count: usize,
        /// `Budget::backplanes`.
        limit: usize,
    },
    /// No such processor core.
    #[error("cannot pin worker {worker}: this process may not run on core {core} (it may on {allowed:?})")]
    Pin {
        /// Which worker.
        worker: usize,
        /// Where it should run.
        core: usize,
        /// Where it could.
        allowed: Vec<usize>,
    },
    /// The transport refused a link, or the system a thread or a descriptor.
    #[error("cannot open {what}: {reason}")]
    Open {
        /// Which link or resource.
        what: String,
        /// The system's answer.
        reason: String,
    },
}

/// A link that is not live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLink {
    /// The backplane's name.
    pub backplane: String,
    /// Which of its two links.
    pub direction: crate::Direction,
    /// Where it should lead.
    pub endpoint: String,
    /// Attempts to connect.
    pub attempts: u32,
}

impl fmt::Display for DeadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.endpoint.rsplit(':').next().unwrap_or_default();
        let flag = if self.direction == crate::Direction::Publish { "-p" } else { "-s" };
        write!(
            f,
            "{} {} link to {} ({} attempts): is a backplane running there? start one with `multiplane backplane \
             -n {} {flag} {port}`, or correct the address in the routing specification",
            self.backplane, self.direction, self.endpoint, self.attempts, self.backplane
        )
    }
}

fn list(links: &[DeadLink]) -> String {
    links.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Something was asked of a running bus that it cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// No backplane has this name.
    #[error("no backplane is named {name:?}; this bus has {known}")]
    UnknownBackplane {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The routing specification gives no publisher port.
    #[error(
        "backplane {backplane} has no publisher port in the routing specification, so nothing can be published"
    )]
    NotPublishing {
        /// Its name.
        backplane: String,
    },
    /// The routing specification gives no subscriber port.
    #[error(
        "backplane {backplane} has no subscriber port in the routing specification, so nothing can be received"
    )]
    NotSubscribing {
        /// Its name.
        backplane: String,
    },
    /// The subscription was not taken.
    #[error("backplane {backplane}: {reason}")]
    Subscription {
        /// Its name.
        backplane: String,
        /// What is wrong with it.
        reason: multiplane_core::SubscriptionError,
    },
    /// Only one receiver gets what the routing specification subscribes to.
    #[error(
        "the messages of the routing specification go to one receiver, and there is one already: use `subscriber_of`"
    )]
    AlreadyReceiving,
    /// Too many inboxes.
    #[error("at most {limit} subscribers fit one bus; drop one")]
    TooManySubscribers {
        /// How many fit.
        limit: usize,
    },
    /// One handler cannot run on several threads.
    #[error("this bus has {workers} workers: give each a handler of its own with `run_each`")]
    SeveralWorkers {
        /// How many.
        workers: usize,
    },
    /// A handler panicked; it gets no more messages.
    #[error("the handler panicked: {message}")]
    HandlerPanicked {
        /// What the panic said.
        message: String,
    },
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
    /// Nobody subscribed in time.
    #[error("nobody subscribed to {topic:?} on {backplane} within {timeout:?}")]
    NoSubscriber {
        /// The topic.
        topic: String,
        /// The backplane's name.
        backplane: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The call would wait for the thread that it is made on.
    #[error(
        "{call} waits for the worker, so it cannot be called in a handler: call it before `run`, or on another thread"
    )]
    OnWorker {
        /// The method.
        call: &'static str,
    },
}

/// A message was not taken; it is still the caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The publish queue is full, and the call does not wait, or not any longer.
    #[error("the publish queue of {backplane} is full")]
    Full {
        /// The backplane's name.
        backplane: &'static str,
    },
    /// A handler called a waiting `publish` while the queue was full; it runs on the thread that empties that queue, or on
    /// one for which that thread waits in the same way.
    #[error(
        "the publish queue of {backplane} is full, and waiting for its worker would never end: publish through the handler's outbox"
    )]
    WouldDeadlock {
        /// The backplane's name.
        backplane: &'static str,
    },
    /// The payload cannot be written as MessagePack.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Topic or message over the limit.
    #[error("{what} of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// Topic or message.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The bound in the budget.
        limit: usize,
    },
    /// The handle belongs to another bus.
    #[error("the outbox of this bus has no publisher link to {backplane}")]
    NotHere {
        /// The backplane's name.
        backplane: &'static str,
    },
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

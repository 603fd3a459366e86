//! The backplane itself.

use super::error::LocalError;
use super::message::Message;
use super::publish_to::PublishTo;
use super::registry::{self, Found};
use super::subscribe_to::SubscribeTo;
use multiplane_ring::Wait;
use multiplane_ring::broadcast::{Carried, OnLag, Options, Sender, broadcast};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Messages that a ring holds unless it is told otherwise.
const CAPACITY: usize = 1024;
/// Bytes that a ring holds unless it is told otherwise.
const BYTES: usize = 8 * 1024 * 1024;

/// A named in-process backplane; what attaches to it by name is a [`PublishTo`] or a [`SubscribeTo`].
///
/// Dropping it gives the name back at once. Its subscribers get what it still has and then hear the end; its publishers
/// hear that it is closed.
pub struct Backplane<T: Carried = Message> {
    name: Arc<str>,
    sender: Sender<T>,
}

/// How a [`Backplane`] is to be; plain values until [`start`](Self::start).
pub struct Builder<T = Message> {
    name: Arc<str>,
    options: Options,
    carries: PhantomData<fn(T)>,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Messages that were published.
    pub published: u64,
    /// Subscribers that are attached now.
    pub subscribers: usize,
}

impl Backplane {
    /// A backplane of this name with the default bounds.
    ///
    /// # Errors
    /// [`LocalError::Taken`].
    pub fn new(name: &str) -> Result<Self, LocalError> {
        Self::builder(name).start()
    }

    /// Begins a backplane of this name.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        let options =
            Options { slots: CAPACITY, bytes: BYTES, on_lag: OnLag::default(), wait: Wait::default() };
        Builder { name: name.into(), options, carries: PhantomData }
    }
}

impl<T> Builder<T> {
    /// How many messages it holds: so far a subscriber may be behind. Rounded up to a power of two. 1024 by default.
    #[must_use]
    pub fn capacity(mut self, messages: usize) -> Self {
        self.options.slots = messages;
        self
    }

    /// How many bytes of payload it holds, besides one message of any size. 8 MiB by default.
    #[must_use]
    pub fn bytes(mut self, limit: usize) -> Self {
        self.options.bytes = limit;
        self
    }

    /// What happens when a subscriber is a whole ring behind. [`OnLag::Block`] by default.
    #[must_use]
    pub fn on_lag(mut self, on_lag: OnLag) -> Self {
        self.options.on_lag = on_lag;
        self
    }

    /// How subscribers wait for messages, and publishers for room. [`Wait::Block`] by default: then a subscriber that
    /// gets very many messages waits up to 20 microseconds for others to come with the next, which is several times as
    /// fast. With [`Wait::Spin`] it does not.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.options.wait = wait;
        self
    }

    /// The backplane carries values of this type instead of [`Message`]s. Its handles are then found with
    /// [`PublishTo::carrying`] and [`SubscribeTo::carrying`].
    ///
    /// ```
    /// use multiplane_bus::local::{Backplane, Carried, SubscribeTo};
    ///
    /// #[derive(Clone)]
    /// struct Tick(u64);
    /// impl Carried for Tick {}
    ///
    /// let ticks = Backplane::builder("TICKS").carrying::<Tick>().start()?;
    /// let mut subscriber = SubscribeTo::<Tick>::carrying("TICKS")?;
    /// ticks.publisher().publish(Tick(1))?;
    /// assert_eq!(subscriber.recv()?.0, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn carrying<U: Carried>(self) -> Builder<U> {
        Builder { name: self.name, options: self.options, carries: PhantomData }
    }
}

impl<T: Carried> Builder<T> {
    /// Takes the name; from now on handles find it.
    ///
    /// # Errors
    /// [`LocalError::Taken`], [`LocalError::Zero`].
    pub fn start(self) -> Result<Backplane<T>, LocalError> {
        let zero = |bound| Err(LocalError::Zero { name: self.name.to_string(), bound });
        if self.options.slots == 0 {
            return zero("capacity");
        } else if self.options.bytes == 0 {
            return zero("bytes");
        }
        let sender = broadcast(self.options);
        registry::register(&self.name, &sender)?;
        Ok(Backplane { name: self.name, sender })
    }
}

impl<T: Carried> Backplane<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A handle that publishes on it.
    #[must_use]
    pub fn publisher(&self) -> PublishTo<T> {
        PublishTo::from_found(self.found())
    }

    /// A subscriber that gets everything from now on.
    #[must_use]
    pub fn subscriber(&self) -> SubscribeTo<T> {
        SubscribeTo::from_found(&self.found())
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { published: self.sender.accepted(), subscribers: self.sender.receivers() }
    }

    fn found(&self) -> Found<T> {
        Found { name: self.name.clone(), sender: self.sender.clone() }
    }
}

impl<T: Carried> Drop for Backplane<T> {
    fn drop(&mut self) {
        registry::deregister(&self.name);
        self.sender.close();
    }
}

impl<T: Carried> fmt::Debug for Backplane<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backplane").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("options", &self.options).finish()
    }
}

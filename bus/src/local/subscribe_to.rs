//! The handle that receives.

use super::error::{Ended, LocalError, RecvTimeoutError, TryRecvError};
use super::message::Message;
use super::registry::{self, Found};
use crate::worker::{after, now};
use multiplane_ring::broadcast::{Carried, Nothing, Receiver};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Receives everything that is published on a local backplane after it attached, in order. Dropping it detaches it.
///
/// It has three ways to give messages out: one by one ([`recv`](Self::recv) and its kin), what is there as an iterator
/// ([`drain`](Self::drain)), and what is there in place, which is the fastest ([`for_each`](Self::for_each)).
pub struct SubscribeTo<T: Carried = Message> {
    name: Arc<str>,
    receiver: Receiver<T>,
}

impl SubscribeTo {
    /// A subscriber of the backplane of this name.
    ///
    /// # Errors
    /// [`LocalError::Unknown`], [`LocalError::Carries`].
    pub fn new(name: &str) -> Result<Self, LocalError> {
        Self::carrying(name)
    }

    /// As [`new`](Self::new), for a backplane that may be created only within `timeout`.
    ///
    /// # Errors
    /// [`LocalError::NotInTime`], [`LocalError::Carries`].
    pub fn wait(name: &str, timeout: Duration) -> Result<Self, LocalError> {
        Self::wait_carrying(name, timeout)
    }
}

impl<T: Carried> SubscribeTo<T> {
    pub(super) fn from_found(found: &Found<T>) -> Self {
        Self { name: found.name.clone(), receiver: found.sender.attach() }
    }

    /// A subscriber of the backplane of this name that carries values of the type `T`.
    ///
    /// # Errors
    /// [`LocalError::Unknown`], [`LocalError::Carries`].
    pub fn carrying(name: &str) -> Result<Self, LocalError> {
        registry::find(name).map(|found| Self::from_found(&found))
    }

    /// As [`carrying`](Self::carrying), for a backplane that may be created only within `timeout`.
    ///
    /// # Errors
    /// [`LocalError::NotInTime`], [`LocalError::Carries`].
    pub fn wait_carrying(name: &str, timeout: Duration) -> Result<Self, LocalError> {
        registry::wait(name, timeout).map(|found| Self::from_found(&found))
    }

    /// The backplane's name.
    #[must_use]
    pub fn backplane(&self) -> &str {
        &self.name
    }

    /// Shows what is there now to `see`, in place and without a clone; how many messages that were. Never waits.
    ///
    /// Under [`OnLag::Block`](super::OnLag::Block) publishers cannot use the places of these messages until `see` has
    /// seen them and perhaps 64 more, so it should not dawdle.
    ///
    /// # Errors
    /// [`TryRecvError`].
    #[inline]
    pub fn try_for_each(&mut self, see: impl FnMut(&T)) -> Result<usize, TryRecvError> {
        Ok(self.receiver.take(usize::MAX, see)?)
    }

    /// As [`try_for_each`](Self::try_for_each), but waits until something is there: call it in a loop.
    ///
    /// # Errors
    /// [`Ended`].
    #[inline]
    pub fn for_each(&mut self, mut see: impl FnMut(&T)) -> Result<usize, Ended> {
        loop {
            match self.receiver.take(usize::MAX, &mut see) {
                Ok(count) => return Ok(count),
                Err(Nothing::Ended) => return Err(Ended),
                Err(Nothing::Yet) => self.receiver.wait(None, now),
            };
        }
    }

    /// Has `hook` called, on the thread of whoever publishes, once for each [`arm`](Self::arm): for a thread that waits
    /// for many things at once, say in `mio`. The hook should only wake that thread.
    ///
    /// ```
    /// # use multiplane_bus::local::{Backplane, SubscribeTo, TryRecvError};
    /// # fn serve(waker: std::sync::Arc<mio::Waker>, mut poll: mio::Poll) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut subscriber = SubscribeTo::new("TIME")?;
    /// subscriber.on_ready(move || drop(waker.wake()));
    /// let mut events = mio::Events::with_capacity(64);
    /// loop {
    ///     match subscriber.try_for_each(|message| println!("{message:?}")) {
    ///         Ok(_) => continue,
    ///         Err(TryRecvError::Ended) => return Ok(()),
    ///         Err(TryRecvError::Empty) if !subscriber.arm() => continue,
    ///         Err(TryRecvError::Empty) => poll.poll(&mut events, None)?,
    ///     }
    /// }
    /// # }
    /// ```
    pub fn on_ready(&mut self, hook: impl Fn() + Send + Sync + 'static) {
        self.receiver.set_hook(hook);
    }

    /// Asks for one call of the hook when there is a message or the end. `false` if there is already: then no call
    /// will come, and the message is to be taken at once.
    #[must_use = "`false`: there is something to take, and the hook will not be called"]
    pub fn arm(&mut self) -> bool {
        self.receiver.arm()
    }

    /// Messages taken so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.receiver.received()
    }

    /// Messages that it missed because it lagged, up to the last one it gave out: what was published since it attached
    /// and is not among the [`received`](Self::received). Always 0 under [`OnLag::Block`](super::OnLag::Block).
    ///
    /// It only changes between two calls that give messages out: the ones missed come before the first of the next.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.receiver.missed()
    }

    /// Messages that wait for it now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Whether no message waits for it now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

impl<T: Carried> SubscribeTo<T> {
    /// The next message, waiting for it.
    ///
    /// # Errors
    /// [`Ended`] when the backplane is gone and everything has been taken.
    pub fn recv(&mut self) -> Result<T, Ended> {
        loop {
            match self.take() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Ended) => return Err(Ended),
                Err(TryRecvError::Empty) => self.receiver.wait(None, now),
            };
        }
    }

    /// The next message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.take()
    }

    /// The next message, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let deadline = after(now(), timeout);
        loop {
            match self.take() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Ended) => return Err(RecvTimeoutError::Ended),
                Err(TryRecvError::Empty) if !self.receiver.wait(Some(deadline), now) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => {}
            }
        }
    }

    /// What is there now, without waiting.
    pub fn drain(&mut self) -> Drain<'_, T> {
        Drain { subscriber: self }
    }

    fn take(&mut self) -> Result<T, TryRecvError> {
        let mut taken = None;
        self.receiver.take(1, |message| taken = Some(message.clone()))?;
        taken.ok_or(TryRecvError::Empty)
    }
}

impl From<Nothing> for TryRecvError {
    fn from(nothing: Nothing) -> Self {
        match nothing {
            Nothing::Yet => Self::Empty,
            Nothing::Ended => Self::Ended,
        }
    }
}

/// What is there; see [`SubscribeTo::drain`].
#[derive(Debug)]
pub struct Drain<'a, T: Carried> {
    subscriber: &'a mut SubscribeTo<T>,
}

impl<T: Carried> Iterator for Drain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.subscriber.try_recv().ok()
    }
}

/// Waits for each message; ends with the backplane.
#[derive(Debug)]
pub struct Iter<'a, T: Carried> {
    subscriber: &'a mut SubscribeTo<T>,
}

impl<T: Carried> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.subscriber.recv().ok()
    }
}

impl<'a, T: Carried> IntoIterator for &'a mut SubscribeTo<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        Iter { subscriber: self }
    }
}

impl<T: Carried> fmt::Debug for SubscribeTo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeTo").field("backplane", &self.name).field("waiting", &self.len()).finish()
    }
}

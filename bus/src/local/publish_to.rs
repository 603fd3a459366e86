//! The handle that publishes.

use super::error::{LocalError, PublishError};
use super::message::Message;
use super::registry::{self, Found};
use crate::worker::{after, now};
use multiplane_ring::broadcast::{Carried, Refused, Sender};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Publishes on a local backplane, from any thread: `Clone + Send + Sync`, lock-free, bounded.
///
/// Messages of one handle used by one thread arrive in the order of the calls. `publish` waits for room, `try_publish`
/// never waits, `publish_timeout` waits so long. What is published while nobody subscribes is gone.
pub struct PublishTo<T: Carried = Message> {
    name: Arc<str>,
    sender: Sender<T>,
}

impl PublishTo {
    /// A publisher to the backplane of this name.
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

impl<T: Carried> PublishTo<T> {
    pub(super) fn from_found(found: Found<T>) -> Self {
        Self { name: found.name, sender: found.sender }
    }

    /// A publisher to the backplane of this name that carries values of the type `T`.
    ///
    /// # Errors
    /// [`LocalError::Unknown`], [`LocalError::Carries`].
    pub fn carrying(name: &str) -> Result<Self, LocalError> {
        registry::find(name).map(Self::from_found)
    }

    /// As [`carrying`](Self::carrying), for a backplane that may be created only within `timeout`.
    ///
    /// # Errors
    /// [`LocalError::NotInTime`], [`LocalError::Carries`].
    pub fn wait_carrying(name: &str, timeout: Duration) -> Result<Self, LocalError> {
        registry::wait(name, timeout).map(Self::from_found)
    }

    /// The backplane's name.
    #[must_use]
    pub fn backplane(&self) -> &str {
        &self.name
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Publishes `message`. Under [`OnLag::Block`](super::OnLag::Block) it waits while the slowest subscriber is a whole
    /// ring behind: do not subscribe and publish on one thread, or use [`try_publish`](Self::try_publish) there.
    ///
    /// # Errors
    /// [`PublishError::Closed`].
    #[inline]
    pub fn publish(&self, message: impl Into<T>) -> Result<(), PublishError<T>> {
        Ok(self.sender.send(message.into(), None, now)?)
    }

    /// Publishes `message` if there is room now.
    ///
    /// # Errors
    /// [`PublishError::Full`], [`PublishError::Closed`].
    #[inline]
    pub fn try_publish(&self, message: impl Into<T>) -> Result<(), PublishError<T>> {
        Ok(self.sender.try_send(message.into())?)
    }

    /// Publishes `message`, waiting at most `timeout` for room.
    ///
    /// # Errors
    /// [`PublishError::Full`], [`PublishError::Closed`].
    pub fn publish_timeout(&self, message: impl Into<T>, timeout: Duration) -> Result<(), PublishError<T>> {
        Ok(self.sender.send(message.into(), Some(after(now(), timeout)), now)?)
    }
}

impl<T> From<Refused<T>> for PublishError<T> {
    fn from(refused: Refused<T>) -> Self {
        match refused {
            Refused::Full(message) => Self::Full(message),
            Refused::Closed(message) => Self::Closed(message),
        }
    }
}

impl<T: Carried> Clone for PublishTo<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), sender: self.sender.clone() }
    }
}

impl<T: Carried> fmt::Debug for PublishTo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishTo").field("backplane", &self.name).finish_non_exhaustive()
    }
}

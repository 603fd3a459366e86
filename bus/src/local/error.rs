//! What can go wrong in process.

use std::fmt;
use std::time::Duration;

/// A name does not lead where it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is a backplane of this name already.
    #[error("the local backplane {name:?} exists already: use it, drop it first, or choose another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// No backplane has this name.
    #[error("no local backplane is named {name:?}; {known}: create it first, or use `wait`")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Known,
    },
    /// No backplane of this name was created in time.
    #[error("no local backplane named {name:?} was created within {timeout:?}; {known}")]
    NotInTime {
        /// The name asked for.
        name: String,
        /// How long it was waited for.
        timeout: Duration,
        /// The names there are.
        known: Known,
    },
    /// The backplane carries something else.
    #[error("the local backplane {name:?} carries {carries}, not {asked}")]
    Carries {
        /// The name.
        name: String,
        /// The type it was created for.
        carries: &'static str,
        /// The type asked for.
        asked: &'static str,
    },
    /// The bus cannot be joined.
    #[error(transparent)]
    Join(#[from] crate::BusError),
    /// The system has no thread left.
    #[error("cannot start a thread: {reason}")]
    Thread {
        /// The system's answer.
        reason: String,
    },
    /// A bound of zero would let nothing pass.
    #[error("local backplane {name:?}: `{bound}` is zero, so nothing could pass; set it to 1 or more")]
    Zero {
        /// The backplane.
        name: String,
        /// The method of the builder.
        bound: &'static str,
    },
}

/// The names there are, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(pub(super) Vec<String>);

impl Known {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there are none");
        }
        write!(f, "there are {}", self.0.join(", "))
    }
}

/// A message was not taken; here it is again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PublishError<T> {
    /// The slowest subscriber is a whole ring behind, and the call does not wait, or not any longer.
    Full(T),
    /// The backplane is gone.
    Closed(T),
}

impl<T> PublishError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        let (Self::Full(message) | Self::Closed(message)) = self;
        message
    }
}

impl<T> fmt::Display for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the local backplane is full: its slowest subscriber holds it",
            Self::Closed(_) => "the local backplane is closed",
        })
    }
}

impl<T> fmt::Debug for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> std::error::Error for PublishError<T> {}

/// The backplane is gone, and everything that it still had has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the local backplane has ended")]
pub struct Ended;

/// Why there is no message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryRecvError {
    /// There will be.
    #[error("no message is there yet")]
    Empty,
    /// The backplane is gone, and everything that it still had has been taken.
    #[error("the local backplane has ended")]
    Ended,
}

/// Why no message came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecvTimeoutError {
    /// There may be one later.
    #[error("no message came in time")]
    Timeout,
    /// The backplane is gone, and everything that it still had has been taken.
    #[error("the local backplane has ended")]
    Ended,
}

//! The two ends of a system, as the harness sees them.

use crate::BenchError;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The end that publishes.
pub trait Sender {
    /// Publishes, waiting for room as long as it takes.
    ///
    /// # Errors
    /// When the way is closed.
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError>;

    /// Sends what is held back to be sent together; for those that do so.
    ///
    /// # Errors
    /// When the way is closed.
    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }
}

/// The end that receives, and answers in ping-pong.
pub trait Receiver {
    /// Gives each message to `listener`, and publishes what that answers, until it is [over](Until). A receiver that
    /// is to speak first publishes `opening` again and again until it has heard something.
    ///
    /// # Errors
    /// When the way is closed.
    fn receive<L: Listener>(
        self,
        listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError>;
}

/// What happens to a message that arrives.
pub trait Listener: Send + 'static {
    /// Looks at a payload; what is returned is published.
    fn hear(&mut self, payload: &[u8]) -> Option<&[u8]>;
}

/// When a receiver is done.
#[derive(Default)]
pub struct Until {
    over: AtomicBool,
    heard: AtomicBool,
    arrived: AtomicU64,
    stop: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Until {
    /// Whether it is.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// It is: calls what was left with [`then`](Self::then).
    pub fn end(&self) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        self.over.store(true, Ordering::Release);
        if let Some(stop) = stop.take() {
            stop();
        }
    }

    /// Calls `stop` when it is over, for receivers that cannot look by themselves.
    pub fn then(&self, stop: impl FnOnce() + Send + 'static) {
        let mut slot = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over() { stop() } else { *slot = Some(Box::new(stop)) }
    }

    /// Whether anything has arrived.
    #[must_use]
    pub fn heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// Notes that something has.
    pub fn hears(&self) {
        if !self.heard.load(Ordering::Relaxed) {
            self.heard.store(true, Ordering::Release);
        }
    }

    /// Messages that have arrived, for those who watch.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Notes how many have; a plain store.
    pub fn set_arrived(&self, arrived: u64) {
        self.arrived.store(arrived, Ordering::Relaxed);
    }
}

impl fmt::Debug for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Until").field("over", &self.over()).field("arrived", &self.arrived()).finish()
    }
}

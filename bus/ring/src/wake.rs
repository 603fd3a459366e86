use crate::atomic::{AtomicBool, Ordering, fence, in_sequence};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Whether a worker sleeps: the part of [`Wake`] that needs no file descriptor.
#[derive(Debug, Default)]
pub struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// Awake.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The owner says that it is about to sleep; it must look for work once more after this call.
    pub fn prepare(&self) {
        self.0.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake again.
    pub fn finish(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Called by another thread after it made work visible; true for exactly one caller per sleep, who has to wake the
    /// owner.
    #[must_use]
    pub fn should_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.should_wake_marked()
    }

    /// [`should_wake`](Self::should_wake) for who has just marked a [`ReadySet`](crate::ReadySet), which orders as much as
    /// a fence: no more than a load when the owner is awake.
    #[inline]
    #[must_use]
    pub fn should_wake_marked(&self) -> bool {
        in_sequence();
        self.0.load(Ordering::SeqCst) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// Wakes one worker that sleeps in `poll`, at the price of a system call only when it does sleep. The descriptor is
/// never read, so it is to be watched edge-triggered.
#[derive(Debug)]
pub struct Wake {
    flag: SleepFlag,
    event: OwnedFd,
}

impl Wake {
    /// Opens the event descriptor.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { flag: SleepFlag::new(), event })
    }

    /// The descriptor to watch.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Called by any thread after it made work visible.
    pub fn wake(&self) {
        if self.flag.should_wake() {
            self.wake_always();
        }
    }

    /// [`wake`](Self::wake) for who has just marked a [`ReadySet`](crate::ReadySet).
    #[inline]
    pub fn wake_marked(&self) {
        if self.flag.should_wake_marked() {
            self.wake_always();
        }
    }

    /// Signals the descriptor, asleep or not: for rare calls and for owners that do not announce their sleep.
    #[cold]
    pub fn wake_always(&self) {
        // The only failure is a full counter, and then the owner is being woken already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Called by the owner before it sleeps. It must look for work once more after this, and then sleep or
    /// [`finish`](Self::finish).
    pub fn prepare(&self) {
        self.flag.prepare();
    }

    /// Called by the owner when it is awake.
    pub fn finish(&self) {
        self.flag.finish();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_sleep_needs_one_wake() {
        let flag = SleepFlag::new();
        assert!(!flag.should_wake());
        flag.prepare();
        assert!(flag.should_wake());
        assert!(!flag.should_wake());
    }

    #[test]
    fn only_a_sleeper_is_signalled() {
        let wake = Wake::new().unwrap();
        let signalled = |wake: &Wake| rustix::io::read(wake.fd(), &mut [0u8; 8]).is_ok();
        wake.wake();
        assert!(!signalled(&wake));
        wake.prepare();
        wake.wake();
        wake.wake();
        assert!(signalled(&wake));
        assert!(!signalled(&wake));
    }
}

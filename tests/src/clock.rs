//! The only place of the rig that looks at the clock.
#![allow(clippy::disallowed_methods)] // Deadlines, and measurements that tests print, need a clock; nothing else does.

use std::time::{Duration, Instant};

/// So long may anything take: far longer than it does, so that a loaded machine fails no test and nothing hangs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The present moment, for measurements that are printed and for deadlines.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds. For what tells nobody when it happens (a counter, a port): looks every millisecond.
///
/// # Panics
/// When it does not hold within [`DEADLINE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + DEADLINE;
    while !condition() {
        assert!(now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets `window` pass, because something is measured over it. Not for waiting until something has happened.
pub fn measure_over(window: Duration) {
    std::thread::sleep(window);
}

/// Keeps the processor busy, as a slow handler does.
pub fn compute_for(duration: Duration) {
    let end = now() + duration;
    while now() < end {
        std::hint::spin_loop();
    }
}

//! The one place that reads the clock.

use std::time::Instant;

#[allow(
    clippy::disallowed_methods,
    reason = "a command is where time enters; everything below takes it as an argument"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

//! The clocks. Plain nanoseconds, because they cross process borders: the monotonic clock is one for the whole machine.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock.
#[must_use]
pub fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

/// Processor time that all threads of this process have used, in the kernel and outside, in nanoseconds.
#[must_use]
pub fn cpu() -> u64 {
    nanos(ClockId::ProcessCPUTime)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

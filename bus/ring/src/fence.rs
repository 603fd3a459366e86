//! The two fences of "I did something, does anybody sleep?" and "I am about to sleep, did anybody do something?".
//!
//! Somebody does something for each message, and sleeps rarely. So where Linux can, with `membarrier`, the one who sleeps
//! makes every running thread of the process pass a full fence, and the others only keep the compiler from
//! reordering: a fence is the price of a message, half of what publishing one costs. Elsewhere, and under loom, which
//! does not know `membarrier`, both are sequentially consistent fences.

use crate::atomic::{Ordering, fence};

#[cfg(all(target_os = "linux", not(loom), not(miri)))]
mod asymmetric {
    use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering};

    static ONCE: Once = Once::new();
    static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);

    pub(super) fn register() {
        ONCE.call_once(|| {
            let is_available = membarrier_query().contains_command(MembarrierCommand::PrivateExpedited)
                && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
            IS_AVAILABLE.store(is_available, Ordering::Relaxed);
        });
    }

    /// All threads that share something agree, because it was [registered](register) before that was made.
    #[inline]
    pub(super) fn is_available() -> bool {
        IS_AVAILABLE.load(Ordering::Relaxed)
    }

    pub(super) fn fence_everywhere() {
        // Without this fence wake-ups are lost in silence.
        membarrier(MembarrierCommand::PrivateExpedited).expect("the kernel has promised membarrier");
    }
}

/// To be called before anything is made whose users call [`light`] and [`heavy`].
pub(crate) fn prepare() {
    #[cfg(all(target_os = "linux", not(loom), not(miri)))]
    asymmetric::register();
}

/// Between doing something and looking for sleepers.
#[inline]
pub(crate) fn light() {
    #[cfg(all(target_os = "linux", not(loom), not(miri)))]
    if asymmetric::is_available() {
        return std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
    fence(Ordering::SeqCst);
}

/// Between saying that one sleeps and looking once more.
pub(crate) fn heavy() {
    #[cfg(all(target_os = "linux", not(loom), not(miri)))]
    if asymmetric::is_available() {
        return asymmetric::fence_everywhere();
    }
    fence(Ordering::SeqCst);
}

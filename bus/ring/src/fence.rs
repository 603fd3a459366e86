//! The fences of those who look whether somebody sleeps, and of those who are about to.

use crate::atomic::{Ordering, fence};

/// Between making something happen and looking for sleepers.
#[inline]
pub(crate) fn light() {
    fence(Ordering::SeqCst);
}

/// Between saying that one sleeps and looking once more.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
}

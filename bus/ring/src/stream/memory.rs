//! The bytes of a [stream](super): written by whoever claimed them, read by the one consumer once they are committed.
//!
//! The only `unsafe` of the crate. Its contract is the protocol of the module above: a range has one owner at a time,
//! which is the producer from its claim to its commit, and the consumer from there to its release.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// A fixed piece of memory that many threads share, each its own part of it.
pub(super) struct Memory {
    bytes: NonNull<[u8]>,
    /// Loom follows who touches which byte.
    #[cfg(loom)]
    touched: Vec<loom::cell::UnsafeCell<()>>,
}

// SAFETY: the bytes are plain data behind a pointer that never changes; who may touch which of them, and when, is what
// the contracts of `write` and `slice_mut` say.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroed, so that every byte is initialised from the start; the system hands out pages when they are touched.
    pub(super) fn new(length: usize) -> Self {
        let bytes = Box::into_raw(vec![0u8; length].into_boxed_slice());
        Self {
            // SAFETY: `Box::into_raw` never returns null.
            bytes: unsafe { NonNull::new_unchecked(bytes) },
            #[cfg(loom)]
            touched: (0..length).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }
    }

    #[inline]
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// These bytes, to read and to change.
    ///
    /// # Safety
    /// Nobody else touches them as long as the reference lives, and what others did to them before happens before it.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice_mut(&self, at: usize, length: usize) -> &mut [u8] {
        if at.checked_add(length).is_none_or(|end| end > self.bytes.len()) {
            outside();
        }
        #[cfg(loom)]
        self.touched[at..at + length].iter().for_each(|byte| byte.with_mut(|_| ()));
        // SAFETY: within the one allocation, as just checked; initialised, aligned as bytes are, and by the contract not
        // aliased.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr().cast::<u8>().add(at), length) }
    }
}

/// Apart, so that the check takes no more than a comparison.
#[cold]
fn outside() -> ! {
    panic!("outside of the memory of a stream")
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it came from `Box::into_raw` in `new` and is given back once.
        drop(unsafe { Box::from_raw(self.bytes.as_ptr()) });
    }
}

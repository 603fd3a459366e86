//! Counts what is allocated, per thread.
#![allow(unsafe_code)] // A counting allocator cannot be written without.
#![allow(unreachable_pub, dead_code, reason = "each program uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is handed to the system allocator unchanged; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that this thread holds: what it took, without what it gave back.
pub fn live() -> isize {
    LIVE.get()
}

/// Runs `work`; the most that it held at once, above what was held before, must not pass `limit` bytes.
pub fn within<T>(limit: usize, what: &str, work: impl FnOnce() -> T) -> T {
    measured(limit, what, work).0
}

/// As [`within`], and says how much it was.
pub fn measured<T>(limit: usize, what: &str, work: impl FnOnce() -> T) -> (T, isize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    let used = PEAK.get() - before;
    assert!(used <= limit as isize, "{what} allocated {used} bytes, more than {limit}");
    (result, used)
}

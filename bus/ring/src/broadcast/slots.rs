//! The places of a [ring](super): each holds the message of one turn, or nothing.
//!
//! All `unsafe` of the ring is here. Its contract is the protocol of the module above: a place belongs to the publisher
//! that claimed its turn until that is published; then everybody may read it; and to whoever takes the message out
//! once nobody reads it any longer.
#![allow(unsafe_code)]

use crate::atomic::{AtomicU64, Ordering, UnsafeCell};
use std::mem::MaybeUninit;

/// On a cache line of its own, if it is not larger.
#[repr(align(64))]
struct Slot<T> {
    /// One more than the number of the message that was last published here; 0 if it is retired, or was never.
    turn: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

pub(super) struct Slots<T> {
    slots: Box<[Slot<T>]>,
}

// SAFETY: a value is put in by one thread, read by reference by others and taken out by any: `T: Send + Sync` is what that
// needs. Who may do so, and when, is what the contracts below say.
unsafe impl<T: Send + Sync> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// So many, a power of two.
    pub(super) fn new(count: usize) -> Self {
        assert!(count.is_power_of_two(), "places are found with a mask");
        let slot = |_| Slot { turn: AtomicU64::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) };
        Self { slots: (0..count).map(slot).collect() }
    }

    pub(super) fn count(&self) -> u64 {
        self.slots.len() as u64
    }

    #[inline]
    fn slot(&self, number: u64) -> &Slot<T> {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }

    /// Whether message `number` was published, and no later one in its place. If so, what its publisher did before
    /// happens before what the caller does next.
    #[inline]
    pub(super) fn is_published(&self, number: u64) -> bool {
        self.slot(number).turn.load(Ordering::Acquire) == number + 1
    }

    /// Says of message `number` that it is no longer published. Who sees that sees also why: that it was lapped.
    #[inline]
    pub(super) fn retire(&self, number: u64) {
        self.slot(number).turn.store(0, Ordering::Release);
    }

    /// Publishes message `number`.
    ///
    /// # Safety
    /// The caller is the only one that ever claims this number, the place is empty, and that the former message was
    /// taken out, if there was one, happens before.
    #[inline]
    pub(super) unsafe fn put(&self, number: u64, message: T) {
        let slot = self.slot(number);
        // SAFETY: until the turn is stored nobody else touches an empty place that is claimed.
        slot.value.with_mut(|value| unsafe { (*value).write(message) });
        slot.turn.store(number + 1, Ordering::Release);
    }

    /// Shows message `number` to `see`.
    ///
    /// # Safety
    /// [`is_published`](Self::is_published) has said so, and the message is not taken out before `see` has returned.
    #[inline]
    pub(super) unsafe fn see<R>(&self, number: u64, see: impl FnOnce(&T) -> R) -> R {
        // SAFETY: it was published, so it is initialised; by the contract nobody takes it out or writes there meanwhile.
        self.slot(number).value.with(|value| see(unsafe { (*value).assume_init_ref() }))
    }

    /// Takes message `number` out; the place is empty then.
    ///
    /// # Safety
    /// It was [published](Self::is_published), nobody has taken it out before, and that all who have seen it
    /// were done with it happens before.
    #[inline]
    pub(super) unsafe fn take(&self, number: u64) -> T {
        // SAFETY: initialised, as it was published and not taken; read once, so it has one owner.
        self.slot(number).value.with_mut(|value| unsafe { (*value).assume_init_read() })
    }
}

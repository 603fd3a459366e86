//! The end that receives.

use super::event::Hook;
use super::members::Cursor;
use super::{CLOSED, Carried, Nothing, OnLag, Pause, Shared};
use crate::Wait;
use crate::atomic::{Ordering, yield_now};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Copies that a receiver takes at once, under [`OnLag::Skip`].
const AHEAD: usize = 32;

/// Who had so many messages since it waited last is in the midst of more.
const MANY: u64 = 64;

/// So long a message may wait for others, where many come.
const LINGER: Duration = Duration::from_micros(20);

/// Gets everything that is published after it was attached, in order.
pub struct Receiver<T: Carried> {
    shared: Arc<Shared<T>>,
    cursor: Arc<Cursor>,
    /// The number of the next message in the ring; as the cursor says, but while it reads.
    next: u64,
    /// Copies of what is before `next` and was not given out yet.
    ahead: VecDeque<T>,
    /// As `next` was when it waited last.
    waited: u64,
    missed: u64,
    hook: Option<Hook>,
}

impl<T: Carried> Receiver<T> {
    pub(super) fn attach(shared: Arc<Shared<T>>) -> Self {
        let mut members = shared.members();
        // Whatever is published after this call has this number or a later one.
        let next = shared.tail();
        let cursor = members.attach(next);
        drop(members);
        let ahead = match shared.options.on_lag {
            OnLag::Block => VecDeque::new(),
            OnLag::Skip => VecDeque::with_capacity(AHEAD),
        };
        Self { shared, cursor, next, ahead, waited: next, missed: 0, hook: None }
    }

    /// Shows what is there, at most so many, to `see`; how many there were. Under [`OnLag::Block`] it sees them in
    /// place, and publishers wait for it if they need the room.
    ///
    /// # Errors
    /// [`Nothing`].
    #[inline]
    pub fn take(&mut self, most: usize, see: impl FnMut(&T)) -> Result<usize, Nothing> {
        let count = match self.shared.options.on_lag {
            OnLag::Block => self.take_in_place(most, see),
            OnLag::Skip => self.take_copies(most, see),
        };
        if count == 0 { Err(self.nothing()) } else { Ok(count) }
    }

    #[inline]
    #[allow(unsafe_code)]
    fn take_in_place(&mut self, most: usize, mut see: impl FnMut(&T)) -> usize {
        let (shared, begin) = (&*self.shared, self.next);
        let most = shared.slots.count().min(most as u64);
        // Tells also when `see` panics.
        let mut reading = InPlace { shared, cursor: &self.cursor, next: &mut self.next, told: begin };
        // Counted by itself: a compiler that knows the next number to be equal to the turn that it has loaded may take
        // that for it, and then the processor waits for each place before it fetches the next.
        for count in 0..most {
            let number = begin + count;
            if !shared.slots.is_published(number) {
                return count as usize;
            }
            *reading.next = number + 1;
            // SAFETY: it is published, and the cursor has not passed it: that is told below.
            unsafe { shared.slots.see(number, &mut see) };
            if (number + 1) & shared.tell_mask == 0 {
                reading.tell();
            }
        }
        most as usize
    }

    fn take_copies(&mut self, most: usize, mut see: impl FnMut(&T)) -> usize {
        for count in 0..most {
            if self.ahead.is_empty() {
                self.copy();
            }
            let Some(message) = self.ahead.pop_front() else { return count };
            see(&message);
        }
        most
    }

    /// Copies the next messages. Publishers that need the room wait meanwhile.
    #[allow(unsafe_code)]
    fn copy(&mut self) {
        if self.cursor.is_lapped() {
            self.rejoin();
        } else if !self.shared.slots.is_published(self.next) {
            return;
        } else if !self.cursor.begin(self.next) {
            self.rejoin();
        }
        let copying = Copying(self);
        let receiver = &mut *copying.0;
        let mut large = false;
        while !large && receiver.ahead.len() < AHEAD && receiver.shared.slots.is_published(receiver.next) {
            // SAFETY: it is published, and a cursor that reads is not lapped.
            let message = unsafe { receiver.shared.slots.see(receiver.next, T::clone) };
            // What waits here is in no books: many small ones or a large one.
            large = receiver.shared.is_large(message.bytes());
            receiver.ahead.push_back(message);
            receiver.next += 1;
        }
    }

    /// Comes back after it was lapped, reading.
    #[cold]
    fn rejoin(&mut self) {
        let next = self.shared.members().rejoin(&self.cursor, self.next);
        self.missed += next - self.next;
        self.next = next;
    }

    #[cold]
    fn nothing(&self) -> Nothing {
        if self.has_ended() { Nothing::Ended } else { Nothing::Yet }
    }

    fn has_ended(&self) -> bool {
        // The flag first: `tail` is busy.
        self.shared.closed.load(Ordering::Acquire)
            && self.shared.claims.tail.load(Ordering::Acquire) == self.next | CLOSED
    }

    /// Whether there is something to take, or the end. Looks at the slot first: if its message is gone because this receiver
    /// was lapped, the cursor says so.
    fn is_ready(&self) -> bool {
        self.shared.slots.is_published(self.next) || self.cursor.is_lapped() || self.has_ended()
    }

    /// Waits until there is something to take or the end is known; `false` when it was `deadline` first.
    pub fn wait(&mut self, deadline: Option<Instant>, now: impl Fn() -> Instant) -> bool {
        if !self.ahead.is_empty() {
            return true;
        }
        let handled = self.next - self.waited;
        self.waited = self.next;
        self.linger(handled, &now);
        let mut pause = Pause::after(handled, self.shared.options.wait);
        while !self.is_ready() {
            if !pause.again(&now) {
                return self.shared.news.wait(0, || self.is_ready(), deadline, now);
            }
        }
        true
    }

    /// Lets messages come together for a moment, if many came since it waited last. To read each place while its publisher
    /// is about to write the next costs both of them far more than to read many at once: the processors take
    /// the same memory from each other, again and again.
    fn linger(&self, handled: u64, now: impl Fn() -> Instant) {
        if handled < MANY || self.shared.options.wait != Wait::Block {
            return;
        }
        let enough = self.next + (2 * handled).min(self.shared.slots.count() / 2);
        let until = now() + LINGER;
        while !self.shared.slots.is_published(enough) && now() < until {
            yield_now();
        }
    }

    /// What [`arm`](Self::arm) asks to be called.
    pub fn set_hook(&mut self, hook: impl Fn() + Send + Sync + 'static) {
        self.hook = Some(Arc::new(hook));
    }

    /// Asks for one call of the hook when there is something to take or the end is known. `false` if that is so
    /// already: then the hook will not be called for it.
    pub fn arm(&mut self) -> bool {
        let Some(hook) = &self.hook else { return self.ahead.is_empty() && !self.is_ready() };
        self.ahead.is_empty() && self.shared.news.arm(self.who(), hook, || self.is_ready())
    }

    /// A number that no other receiver of the ring has.
    fn who(&self) -> usize {
        Arc::as_ptr(&self.cursor) as usize
    }

    /// Messages taken so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.next - self.ahead.len() as u64 - self.cursor.since() - self.missed
    }

    /// Messages that came after it was attached and that it will never get, as far as it has got.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Messages that wait for it, the missed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.shared.tail() - self.next) as usize + self.ahead.len()
    }

    /// Whether nothing waits for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Carried> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.hook.is_some() {
            self.shared.news.disarm(self.who());
        }
        self.shared.members().detach(&self.cursor);
        self.shared.room.happened();
    }
}

impl<T: Carried> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("received", &self.received())
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// While a receiver reads in place; when that ends, also by a panic, it tells how far it has got.
struct InPlace<'a, T: Carried> {
    shared: &'a Shared<T>,
    cursor: &'a Cursor,
    next: &'a mut u64,
    /// As the cursor says.
    told: u64,
}

impl<T: Carried> InPlace<'_, T> {
    #[inline]
    fn tell(&mut self) {
        if self.told != *self.next {
            self.cursor.set(*self.next);
            self.shared.room.has_risen(self.told, *self.next);
            self.told = *self.next;
        }
    }
}

impl<T: Carried> Drop for InPlace<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.tell();
    }
}

/// While a receiver copies; when that ends, also by a panic, its cursor says so. Nobody waits for that.
struct Copying<'a, T: Carried>(&'a mut Receiver<T>);

impl<T: Carried> Drop for Copying<'_, T> {
    fn drop(&mut self) {
        self.0.cursor.set(self.0.next);
    }
}

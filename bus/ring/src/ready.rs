use crate::atomic::{AtomicU64, Ordering, fence, in_sequence};
use crossbeam_utils::CachePadded;

/// A bounded set of small numbers that many threads mark and one thread takes: which links have something to send.
///
/// One word holds 64 links, so an idle link costs its busy neighbours nothing.
#[derive(Debug)]
pub struct ReadySet {
    words: Box<[CachePadded<AtomicU64>]>,
}

impl ReadySet {
    /// A set of the numbers below `size`, all unmarked.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { words: (0..size.div_ceil(64).max(1)).map(|_| CachePadded::new(AtomicU64::new(0))).collect() }
    }

    /// Marks `number`. What the caller wrote before is visible to whoever takes the mark. A number outside of the set
    /// is ignored.
    #[inline(never)]
    pub fn mark(&self, number: usize) {
        if let Some(word) = self.words.get(number / 64) {
            word.fetch_or(1 << (number % 64), Ordering::SeqCst);
        }
    }

    /// As [`mark`](Self::mark), for who has just appended to a [stream](crate::stream): only a look when the mark stands
    /// already. Whoever takes it then looks into the stream after this call began, for the end of an append, this look,
    /// the taking and that look are all in one sequence.
    #[inline]
    pub fn mark_appended(&self, number: usize) {
        in_sequence();
        if let Some(word) = self.words.get(number / 64)
            && word.load(Ordering::SeqCst) >> (number % 64) & 1 == 0
        {
            self.mark(number);
        }
    }

    /// Whether nothing is marked. A worker asks this between [`Wake::prepare`](crate::Wake::prepare) and its sleep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::SeqCst) == 0)
    }

    /// Takes all marks, calling `visit` once for each marked number in rising order.
    pub fn take(&self, mut visit: impl FnMut(usize)) {
        for (index, word) in self.words.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            while bits != 0 {
                visit(index * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_taken_once_in_order() {
        let set = ReadySet::new(130);
        for number in [129, 0, 64, 0, 63] {
            set.mark(number);
        }
        let mut taken = Vec::new();
        set.take(|number| taken.push(number));
        assert_eq!(taken, [0, 63, 64, 129]);
        assert!(set.is_empty());
        set.mark(9_999);
        assert!(set.is_empty());
    }
}

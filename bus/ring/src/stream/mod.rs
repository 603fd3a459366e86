//! A bounded lock-free queue of bytes: many threads append records, one consumer takes them as long contiguous slices
//! and writes those to a socket as they are.
//!
//! It replaces a queue of buffers, because a record is copied once and costs no allocation, and because the consumer
//! gets thousands of records as one slice.
//!
//! # How
//! The memory is a ring of blocks. Positions count up for ever; a producer *claims* the next bytes by moving `tail`, copies
//! its record there, and *commits* them by adding their number to the `committed` count of the block. A record never
//! crosses the border of a block: what is left of the block is claimed and committed with it, and `end` says where the
//! records stop.
//!
//! The consumer loads `committed` of a block first and `tail` second. When as many bytes are claimed in the block as are
//! committed, then all that is claimed is written; when they differ, some producer is between the two, and what was
//! known before is all there is (that producer will signal the consumer after its commit, so nobody spins). A block that
//! is claimed to its border and committed in full is readable to its `end`. So under load with several producers the
//! consumer takes whole blocks, and with a pause anywhere it takes everything.
//!
//! A block is given back as a whole: its counts are reset, then `limit` moves on by a block, and only then may a producer
//! claim the same memory for the next lap.
//!
//! The number of records travels in the same word as the committed bytes, so that it costs nothing to know how many were
//! ever appended. An append is two locked instructions, the claim and the commit.
//!
//! Records over a quarter of a block travel beside the ring as buffers, their place in the order held by a small record.

mod memory;

use crate::atomic::{
    AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, fence, yield_now,
};
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use memory::Memory;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What holds the place of a record that travels beside the ring. Its bytes mean nothing.
const PLACEHOLDER: u64 = 8;

/// A record, in the count of what is committed...
const RECORD: u64 = 1 << 30;

/// ... and the bytes there.
const BYTES: u64 = RECORD - 1;

/// In `tail`, once the consumer is gone: beyond every limit.
const CLOSED: u64 = 1 << 63;

/// How much a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of a block; a power of two, at least 64 and at most 512 MiB.
    pub block_bytes: usize,
    /// Blocks; at least 2, a power of two.
    pub blocks: usize,
    /// Records that may wait beside the ring.
    pub large_records: usize,
    /// Bytes that may wait beside the ring, besides one record of any size.
    pub large_bytes: usize,
}

impl Capacity {
    /// At least `bytes` in four blocks, and as many again beside the ring.
    #[must_use]
    pub fn of_bytes(bytes: usize) -> Self {
        let block_bytes = (bytes / 4).next_power_of_two().max(64);
        Self { block_bytes, blocks: 4, large_records: 1024, large_bytes: bytes }
    }

    fn rounded(self) -> Self {
        Self {
            block_bytes: self.block_bytes.clamp(64, 1 << 29).next_power_of_two(),
            blocks: self.blocks.next_power_of_two().max(2),
            large_records: self.large_records.max(1),
            large_bytes: self.large_bytes,
        }
    }
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now.
    Full,
    /// The consumer is gone.
    Closed,
}

type Hook = dyn Fn() + Send + Sync;

/// Called when there is room again, as long as whoever asked keeps it.
pub type RoomHook = Arc<Hook>;

struct Block {
    /// Bytes of this lap that are written, and above them how many records that are.
    committed: CachePadded<AtomicU64>,
    /// Where the records of this lap stop.
    end: AtomicU64,
}

struct Shared {
    capacity: Capacity,
    block_bytes: u64,
    /// `block_bytes` is 2 to the power of this.
    block_shift: u32,
    memory: Memory,
    blocks: Box<[Block]>,
    tail: CachePadded<AtomicU64>,
    /// Up to where may be claimed; 0 once the consumer is gone.
    limit: CachePadded<AtomicU64>,
    /// Twice the records of the laps that were given back; odd while some are on their way here.
    released: AtomicU64,
    closed: AtomicBool,
    /// By the position of the placeholder; in no order.
    large: ArrayQueue<(u64, Vec<u8>)>,
    large_records: AtomicUsize,
    large_bytes: AtomicUsize,
    /// Producers that wait, and hooks.
    waiting: AtomicUsize,
    room: Condvar,
    hooks: Mutex<Vec<Weak<Hook>>>,
}

/// Commits when it ends, whatever happens before: a hole would stop the queue for ever.
struct Commit<'a> {
    shared: &'a Shared,
    place: usize,
    written: u64,
}

impl Drop for Commit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.commit(self.place, self.written);
    }
}

impl Shared {
    #[inline]
    fn place(&self, position: u64) -> usize {
        position as usize & (self.memory.length() - 1)
    }

    /// The block that has this place.
    #[inline]
    fn block(&self, place: usize) -> &Block {
        &self.blocks[place >> self.block_shift]
    }

    /// Claims `length` bytes for a record, at most a block; the position where they begin.
    #[inline]
    fn claim(&self, length: u64) -> Result<u64, Refused> {
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            let offset = tail & (self.block_bytes - 1);
            let crosses = offset + length > self.block_bytes;
            let start = if crosses { tail + self.block_bytes - offset } else { tail };
            // Acquire: what the consumer did in the last lap happens before what is written in this one.
            if start + length > self.limit.load(Ordering::Acquire) {
                return Err(self.refusal());
            }
            match self.tail.compare_exchange_weak(tail, start + length, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    if crosses {
                        self.fill_up(tail, offset);
                    }
                    return Ok(start);
                }
                Err(moved) => tail = moved,
            }
        }
    }

    /// What is left of the block after `tail` was claimed together with a record of the next one.
    #[cold]
    fn fill_up(&self, tail: u64, offset: u64) {
        let place = self.place(tail);
        self.block(place).end.store(offset, Ordering::Relaxed);
        self.commit(place, self.block_bytes - offset);
    }

    #[cold]
    fn refusal(&self) -> Refused {
        if self.closed.load(Ordering::Relaxed) { Refused::Closed } else { Refused::Full }
    }

    /// Says that so many claimed bytes of the block of `place`, and records, are written. In sequence with a look at a
    /// [`ReadySet`](crate::ReadySet).
    #[inline]
    fn commit(&self, place: usize, written: u64) {
        self.block(place).committed.fetch_add(written, Ordering::SeqCst);
    }

    /// Claims, writes, commits.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn append(&self, length: usize, write: impl FnOnce(&mut [u8])) -> Result<(), Refused> {
        let place = self.place(self.claim(length as u64)?);
        // SAFETY: these bytes were claimed by this call alone and are not committed before `record` is gone, so neither
        // another producer nor the consumer touches them. `claim` has seen the `limit` by which the consumer gave them
        // back.
        let record = unsafe { self.memory.slice_mut(place, length) };
        let commit = Commit { shared: self, place, written: length as u64 + RECORD };
        write(record);
        drop(commit);
        Ok(())
    }

    fn reserve_large(&self, length: usize) -> bool {
        let (limit, records) = (self.capacity.large_bytes, self.capacity.large_records);
        if self.large_records.fetch_add(1, Ordering::AcqRel) >= records {
            self.large_records.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        let before = self.large_bytes.fetch_add(length, Ordering::AcqRel);
        if before > 0 && before.saturating_add(length) > limit {
            self.release_large(length);
            return false;
        }
        true
    }

    fn release_large(&self, length: usize) {
        self.large_bytes.fetch_sub(length, Ordering::AcqRel);
        self.large_records.fetch_sub(1, Ordering::AcqRel);
    }

    fn append_large(&self, buffer: Vec<u8>) -> Result<(), (Vec<u8>, Refused)> {
        let length = buffer.len();
        let claimed = if self.reserve_large(length) {
            self.claim(PLACEHOLDER).inspect_err(|_| self.release_large(length))
        } else {
            Err(self.refusal())
        };
        match claimed {
            Ok(start) => {
                // Before the commit: whoever sees the placeholder finds the buffer. There is room, for it was reserved.
                let pushed = self.large.push((start, buffer));
                debug_assert!(pushed.is_ok(), "reserved");
                self.commit(self.place(start), PLACEHOLDER + RECORD);
                Ok(())
            }
            Err(refused) => {
                // What was reserved for a moment may have hidden from the consumer that others have room.
                self.made_room();
                Err((buffer, refused))
            }
        }
    }

    /// Gives the block at `begin` to the producers for its next lap.
    fn release(&self, begin: u64) {
        let block = self.block(self.place(begin));
        let released = self.released.load(Ordering::Relaxed);
        let records = block.committed.load(Ordering::Relaxed) / RECORD;
        // Whoever counts meanwhile counts again.
        self.released.store(released + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        block.end.store(self.block_bytes, Ordering::Relaxed);
        block.committed.store(0, Ordering::Relaxed);
        self.released.store(released + 2 * records, Ordering::Release);
        let blocks = self.blocks.len() as u64 + 1;
        self.limit.store(begin + blocks * self.block_bytes, Ordering::Release);
        self.made_room();
    }

    fn appended(&self) -> u64 {
        loop {
            let released = self.released.load(Ordering::Acquire);
            let records = |block: &Block| block.committed.load(Ordering::Relaxed) / RECORD;
            let held: u64 = self.blocks.iter().map(records).sum();
            fence(Ordering::Acquire);
            if released.is_multiple_of(2) && released == self.released.load(Ordering::Relaxed) {
                return released / 2 + held;
            }
            yield_now();
        }
    }

    /// Wakes the producers that wait, once there is room for a good batch.
    fn made_room(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 && self.has_room() {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let hooks = std::mem::take(&mut *self.lock());
        self.waiting.fetch_sub(hooks.len(), Ordering::Relaxed);
        self.room.notify_all();
        hooks.iter().filter_map(Weak::upgrade).for_each(|hook| hook());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Hook>>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for many records.
    fn has_room(&self) -> bool {
        let room = self.limit.load(Ordering::Relaxed).saturating_sub(self.tail.load(Ordering::Relaxed));
        let large = self.large_bytes.load(Ordering::Relaxed);
        let records = self.large_records.load(Ordering::Relaxed);
        room >= self.memory.length() as u64 / 2
            && large <= self.capacity.large_bytes / 2
            && records <= self.capacity.large_records / 2
    }

    /// Whether a record of `length` bytes fits beside the ring.
    fn has_room_beside(&self, length: usize) -> bool {
        let large = self.large_bytes.load(Ordering::Relaxed);
        large == 0 || large.saturating_add(length) <= self.capacity.large_bytes
    }
}

/// Where producers append. `Sync`: one is shared by all threads.
pub struct StreamSender {
    shared: Arc<Shared>,
}

/// Where the one consumer takes.
pub struct StreamReceiver {
    shared: Arc<Shared>,
    /// Where the next record begins.
    head: u64,
    /// Where the block of the head begins; the head may stand at its very end.
    begin: u64,
    /// All before this is known to be committed.
    known: u64,
    /// How far the last `peek` showed: nobody may advance beyond it.
    shown: u64,
    /// Records beside the ring whose placeholder lies ahead, by its position.
    ahead: BTreeMap<u64, Vec<u8>>,
    /// The large record at the head, and how much of it is taken.
    large: Option<(Vec<u8>, usize)>,
}

/// A stream that holds as much as `capacity` says, its numbers rounded up where they must be powers of two.
#[must_use]
pub fn stream(capacity: Capacity) -> (StreamSender, StreamReceiver) {
    let capacity = capacity.rounded();
    let block_bytes = capacity.block_bytes as u64;
    let memory = Memory::new(capacity.block_bytes * capacity.blocks);
    let block = || Block { committed: CachePadded::new(AtomicU64::new(0)), end: AtomicU64::new(block_bytes) };
    let shared = Arc::new(Shared {
        capacity,
        block_bytes,
        block_shift: block_bytes.trailing_zeros(),
        blocks: (0..capacity.blocks).map(|_| block()).collect(),
        tail: CachePadded::new(AtomicU64::new(0)),
        limit: CachePadded::new(AtomicU64::new(memory.length() as u64)),
        memory,
        released: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        large: ArrayQueue::new(capacity.large_records),
        large_records: AtomicUsize::new(0),
        large_bytes: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        room: Condvar::new(),
        hooks: Mutex::new(Vec::new()),
    });
    let receiver = StreamReceiver {
        shared: shared.clone(),
        head: 0,
        begin: 0,
        known: 0,
        shown: 0,
        ahead: BTreeMap::new(),
        large: None,
    };
    (StreamSender { shared }, receiver)
}

impl StreamSender {
    /// The longest record that [`try_send`](Self::try_send) takes; longer ones are for
    /// [`try_send_buffer`](Self::try_send_buffer).
    #[must_use]
    pub fn inline_limit(&self) -> usize {
        self.shared.capacity.block_bytes / 4
    }

    /// Appends one record of `length` bytes, at most [`inline_limit`](Self::inline_limit). `write` gets their place, which
    /// holds anything before.
    ///
    /// # Errors
    /// [`Refused`]; a longer record is refused as [`Refused::Full`], for it never fits.
    #[inline(always)]
    pub fn try_send(&self, length: usize, write: impl FnOnce(&mut [u8])) -> Result<(), Refused> {
        if length > self.inline_limit() {
            return Err(Refused::Full);
        }
        self.shared.append(length, write)
    }

    /// Appends one record of any size, without a copy.
    ///
    /// # Errors
    /// The record, and why.
    pub fn try_send_buffer(&self, record: Vec<u8>) -> Result<(), (Vec<u8>, Refused)> {
        self.shared.append_large(record)
    }

    /// How many records were ever taken from producers.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.shared.appended()
    }

    /// Waits until there is room for many records, and for one of `length` bytes, or the consumer is gone, or `deadline`;
    /// `false` when that was it. There may be none any more when the caller comes: it tries again.
    #[must_use]
    pub fn wait_for_room(&self, length: usize, deadline: Option<Instant>, now: impl Fn() -> Instant) -> bool {
        let shared = &*self.shared;
        let fits = || length <= self.inline_limit() || shared.has_room_beside(length);
        let mut guard = shared.lock();
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut in_time = true;
        while in_time && !(shared.has_room() && fits()) && !shared.closed.load(Ordering::Relaxed) {
            match deadline.map(|deadline| deadline.saturating_duration_since(now())) {
                Some(Duration::ZERO) => in_time = false,
                Some(left) => {
                    let waited = shared.room.wait_timeout(guard, left);
                    guard = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => guard = shared.room.wait(guard).unwrap_or_else(PoisonError::into_inner),
            }
        }
        shared.waiting.fetch_sub(1, Ordering::Relaxed);
        in_time
    }

    /// Calls `hook` once, on the thread of whoever makes room, when there is some for many or the consumer goes; not if it
    /// has been dropped. To be called after a refusal, and then the record is to be tried once more: whoever made room before
    /// may not have seen the hook.
    pub fn when_room(&self, hook: &RoomHook) {
        let hook = Arc::downgrade(hook);
        let mut hooks = self.shared.lock();
        let before = hooks.len();
        hooks.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&hook));
        hooks.push(hook);
        // Wraps around where there are fewer.
        self.shared.waiting.fetch_add(hooks.len().wrapping_sub(before), Ordering::Relaxed);
        drop(hooks);
        fence(Ordering::SeqCst);
    }
}

impl StreamReceiver {
    /// The next records, whole ones in one slice; `None` when there are none now. To be called again after
    /// [`advance`](Self::advance): there may be more.
    #[inline]
    pub fn peek(&mut self) -> Option<&mut [u8]> {
        if self.large.is_some() {
            return self.peek_large();
        }
        let end = self.readable()?;
        if !self.shared.large.is_empty() {
            while let Some((position, record)) = self.shared.large.pop() {
                self.ahead.insert(position, record);
            }
        }
        self.slice_to(end)
    }

    #[inline]
    #[allow(unsafe_code)]
    fn slice_to(&mut self, mut end: u64) -> Option<&mut [u8]> {
        if let Some(&position) = self.ahead.keys().next()
            && position < end
        {
            if position == self.head {
                self.large = self.ahead.remove(&position).map(|record| (record, 0));
                return self.peek_large();
            }
            end = position;
        }
        self.shown = end;
        let length = (end - self.head) as usize;
        // SAFETY: all of it is committed and not given back, so only this consumer touches it, and `&mut self` keeps it
        // from doing so twice. `readable` has acquired the commits.
        Some(unsafe { self.shared.memory.slice_mut(self.shared.place(self.head), length) })
    }

    fn peek_large(&mut self) -> Option<&mut [u8]> {
        self.large.as_mut().map(|(record, taken)| &mut record[*taken..])
    }

    /// To where the block of the head is readable, beyond the head.
    #[inline]
    fn readable(&mut self) -> Option<u64> {
        let block_bytes = self.shared.block_bytes;
        loop {
            let (block, begin) = (self.shared.block(self.shared.place(self.begin)), self.begin);
            // In this order: see the module.
            let committed = block.committed.load(Ordering::Acquire) & BYTES;
            if committed == block_bytes {
                let end = begin + block.end.load(Ordering::Relaxed);
                if self.head < end {
                    return Some(end);
                }
                self.begin = begin + block_bytes;
                (self.head, self.known) = (self.begin, self.begin);
                self.shared.release(begin);
                continue;
            }
            let claimed = self.shared.tail.load(Ordering::Acquire).min(begin + block_bytes) - begin;
            if committed == claimed {
                self.known = begin + committed;
            }
            return Some(self.known).filter(|known| *known > self.head);
        }
    }

    /// Gives the first `bytes` of what [`peek`](Self::peek) showed back to the producers.
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        let Some((record, taken)) = &mut self.large else {
            self.head = self.shown.min(self.head + bytes as u64);
            return;
        };
        *taken += bytes;
        if *taken >= record.len() {
            self.shared.release_large(record.len());
            self.head += PLACEHOLDER;
            self.shown = self.head;
            self.large = None;
            self.shared.made_room();
        }
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        let shared = &*self.shared;
        shared.closed.store(true, Ordering::SeqCst);
        shared.limit.store(0, Ordering::Release);
        // Nobody claims any more. Whoever has claimed is about to commit, and then all that was taken is counted.
        let claimed = shared.tail.swap(CLOSED, Ordering::AcqRel) - self.begin;
        let committed = |block: &Block| block.committed.load(Ordering::Acquire) & BYTES;
        while shared.blocks.iter().map(committed).sum::<u64>() < claimed {
            yield_now();
        }
        shared.wake();
    }
}

impl fmt::Debug for StreamSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReceiver").field("head", &self.head).finish_non_exhaustive()
    }
}

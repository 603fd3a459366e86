//! The memory that bytes are read into, and shared from.

use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What one read may bring: enough to make system calls cheap, and little enough to be routed and written while it is
/// still in the processor's second-level cache.
pub(super) const CHUNK: usize = 256 * 1024;

/// Reads land on the border of a page: the kernel copies to some other places many times more slowly.
const PAGE: usize = 4096;

/// A read offers at least so much room.
const ROOM: usize = CHUNK / 2;

/// An unfinished message of fewer bytes does not keep its chunk when others have their turn.
const KEEP: usize = 16 * 1024;

/// Chunks kept for use again: 8 MiB. They take turns in last-in, first-out order, so few of them are in use.
const POOLED: usize = 32;

/// Chunks that are read into no more, for use again as soon as nobody shares them.
#[derive(Default)]
pub(super) struct Pool(Vec<Arc<Chunk>>);

impl Pool {
    /// A chunk of our own with room for `capacity` bytes from the border of a page on.
    fn take(&mut self, capacity: usize) -> Arc<Chunk> {
        let is_free = |chunk: &Arc<Chunk>| Arc::strong_count(chunk) == 1;
        match self.0.iter().rposition(is_free) {
            Some(free) if capacity <= CHUNK => self.0.swap_remove(free),
            _ => Arc::new(Chunk { bytes: vec![0; capacity.max(CHUNK) + 2 * PAGE] }),
        }
    }

    /// One that is not read into any more. Those that others share longest make way.
    fn put(&mut self, chunk: Arc<Chunk>) {
        if chunk.size() > CHUNK + 2 * PAGE {
            return;
        }
        if self.0.len() < POOLED {
            self.0.push(chunk);
        } else if let Some(shared) = self.0.iter_mut().find(|chunk| Arc::strong_count(chunk) > 1) {
            *shared = chunk;
        }
    }
}

/// Bytes that several may share, and nobody changes while they do.
pub(super) struct Chunk {
    bytes: Vec<u8>,
}

impl Chunk {
    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Where `length` bytes must begin that are to end at the border of a page.
    fn place(&self, length: usize) -> usize {
        let border = self.bytes.as_ptr().addr().wrapping_neg() % PAGE;
        border + length.wrapping_neg() % PAGE
    }
}

/// A part of a chunk.
#[derive(Clone)]
pub(super) struct Slice {
    chunk: Arc<Chunk>,
    start: usize,
    end: usize,
}

impl Slice {
    /// Memory of its own.
    pub(super) fn own(bytes: Vec<u8>) -> Self {
        Self { start: 0, end: bytes.len(), chunk: Arc::new(Chunk { bytes }) }
    }

    /// Bytes of the memory that it keeps alive.
    pub(super) fn keeps(&self) -> usize {
        self.chunk.size()
    }

    pub(super) fn is_beside(&self, other: &Slice) -> bool {
        Arc::ptr_eq(&self.chunk, &other.chunk)
    }

    /// Leaves its first bytes out.
    pub(super) fn advance(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Takes its first bytes off.
    pub(super) fn split_to(&mut self, n: usize) -> Self {
        let middle = (self.start + n).min(self.end);
        let first = Self { chunk: self.chunk.clone(), start: self.start, end: middle };
        self.start = middle;
        first
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk.bytes[self.start..self.end]
    }
}

/// Whole messages one behind the other, on their way into queues.
pub(super) struct Run<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) messages: usize,
    /// Where in a chunk they are, if they are in one, or in a copy of them all made by the first who needs one.
    home: Option<Slice>,
}

impl Run<'_> {
    /// Without its first bytes, which were so many messages.
    pub(super) fn advance(&mut self, bytes: usize, messages: usize) {
        self.bytes = &self.bytes[bytes..];
        self.messages -= messages;
        if let Some(home) = &mut self.home {
            home.advance(bytes);
        }
    }

    /// The same, to be changed.
    pub(super) fn part(&self, bytes: Range<usize>, messages: usize) -> Self {
        let home = self.home.as_ref().map(|home| {
            let mut part = home.clone();
            part.end = part.start + bytes.end;
            part.start += bytes.start;
            part
        });
        Self { bytes: &self.bytes[bytes], messages, home }
    }

    /// Whether they are in a chunk.
    pub(super) fn is_shareable(&self) -> bool {
        self.home.is_some()
    }

    /// A reference to them.
    pub(super) fn share(&mut self) -> Slice {
        self.home.get_or_insert_with(|| Slice::own(self.bytes.to_vec())).clone()
    }
}

/// Where the bytes that are being handled are: in a chunk, or with somebody who lends them.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    chunk: Option<(&'a Arc<Chunk>, usize)>,
}

impl<'a> Source<'a> {
    pub(super) fn lent(bytes: &'a [u8]) -> Self {
        Self { bytes, chunk: None }
    }

    pub(super) fn run(&self, range: Range<usize>, messages: usize) -> Run<'a> {
        let home = self.chunk.map(|(chunk, at)| Slice {
            chunk: chunk.clone(),
            start: at + range.start,
            end: at + range.end,
        });
        Run { bytes: &self.bytes[range], messages, home }
    }
}

/// What a connection has read and not handled yet.
#[derive(Default)]
pub(super) struct Input {
    chunk: Option<Arc<Chunk>>,
    start: usize,
    end: usize,
    /// A little that is left, instead of a chunk.
    rest: Vec<u8>,
}

impl Input {
    pub(super) fn source(&self) -> Source<'_> {
        Source { bytes: self, chunk: self.chunk.as_ref().map(|chunk| (chunk, self.start)) }
    }

    /// The first bytes are done with.
    pub(super) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Reads once, at most `most` bytes: how many came, and whether that was all there was room for. `expected` bytes
    /// will be needed in one piece.
    pub(super) fn read(
        &mut self,
        stream: &mut impl Read,
        pool: &mut Pool,
        most: usize,
        expected: usize,
    ) -> io::Result<(usize, bool)> {
        self.make_room(pool, expected);
        let Some(chunk) = self.chunk.as_mut().and_then(Arc::get_mut) else { return Ok((0, false)) };
        let room = &mut chunk.bytes[self.end..];
        let length = room.len().min(most).min(2 * CHUNK);
        let room = &mut room[..length];
        let n = loop {
            match stream.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += n;
        Ok((n, n == length))
    }

    /// Makes the end of what is there the border of a page in a chunk of our own, with room behind it.
    fn make_room(&mut self, pool: &mut Pool, expected: usize) {
        let left = self.len();
        if let Some(chunk) = self.chunk.as_mut().and_then(Arc::get_mut) {
            let size = chunk.size();
            let holds_all = expected > ROOM && self.start.saturating_add(expected) <= size;
            if left > 0 && (size - self.end >= ROOM || holds_all) {
                return;
            }
            let start = chunk.place(left);
            if start + left + ROOM <= size || start.saturating_add(expected) <= size && expected > ROOM {
                chunk.bytes.copy_within(self.start..self.end, start);
                (self.start, self.end) = (start, start + left);
                return;
            }
        }
        // Grows as fast as the bytes really come: a length alone is only a claim.
        let mut chunk = pool.take((2 * left).min(expected).max(left + ROOM));
        if let Some(fresh) = Arc::get_mut(&mut chunk) {
            let start = fresh.place(left);
            fresh.bytes[start..start + left].copy_from_slice(self);
            (self.start, self.end) = (start, start + left);
        }
        self.rest.clear();
        if let Some(old) = self.chunk.replace(chunk) {
            pool.put(old);
        }
    }

    /// Others have their turn: keeps only the memory that it needs.
    pub(super) fn rest(&mut self, pool: &mut Pool) {
        if self.len() >= KEEP {
            return;
        }
        if let Some(chunk) = self.chunk.take() {
            self.rest.extend_from_slice(&chunk.bytes[self.start..self.end]);
            (self.start, self.end) = (0, self.rest.len());
            self.rest.shrink_to(KEEP / 16);
            pool.put(chunk);
        }
    }

    /// Bytes of memory that it keeps.
    pub(super) fn keeps(&self) -> usize {
        self.chunk.as_ref().map_or(self.rest.capacity(), |chunk| chunk.size())
    }
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk.as_ref().map_or(&self.rest, |chunk| &chunk.bytes)[self.start..self.end]
    }
}

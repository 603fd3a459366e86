use crossbeam_queue::ArrayQueue;

/// Byte buffers that go round between publishing threads and a worker, so that a publish allocates nothing once the
/// buffers are warm. Lock-free; holds at most `count` buffers of at most `max_capacity` bytes each.
#[derive(Debug)]
pub struct BufferPool {
    free: ArrayQueue<Vec<u8>>,
    max_capacity: usize,
}

impl BufferPool {
    /// An empty pool.
    #[must_use]
    pub fn new(count: usize, max_capacity: usize) -> Self {
        Self { free: ArrayQueue::new(count.max(1)), max_capacity }
    }

    /// An empty buffer, used before if one is at hand.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    /// Gives a buffer back. One that grew beyond the pool's limit is freed instead, so that a single large message does
    /// not stay in memory for ever.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= self.max_capacity {
            buffer.clear();
            drop(self.free.push(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_with_its_memory() {
        let pool = BufferPool::new(1, 64);
        let mut buffer = pool.take();
        buffer.extend_from_slice(&[1; 40]);
        let capacity = buffer.capacity();
        pool.give(buffer);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.capacity(), capacity);
    }

    #[test]
    fn an_oversized_buffer_is_not_kept() {
        let pool = BufferPool::new(1, 64);
        pool.give(Vec::with_capacity(65));
        assert_eq!(pool.take().capacity(), 0);
    }
}

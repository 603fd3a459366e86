//! What waits to be written to one connection.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Runs of messages below this many bytes are copied behind each other: fewer pieces to write, and a slow reader never
/// keeps more than eight times its bytes alive, for shared runs come from chunks of 64 KiB.
const SHARE_FROM: usize = 8 * 1024;

/// A copied piece is closed at this size, so that it can be dropped by itself.
const PIECE: usize = 16 * 1024;

/// Pieces given to one `writev`.
const GATHER: usize = 64;

struct Piece {
    bytes: Bytes,
    messages: usize,
}

/// A bounded queue of bytes that knows how many messages they are. Pieces end at borders of messages.
pub(super) struct SendQueue {
    pieces: VecDeque<Piece>,
    /// The last piece, still growing.
    tail: BytesMut,
    tail_messages: usize,
    /// How much of the first piece is written.
    written: usize,
    bytes: usize,
    messages: usize,
    max_bytes: usize,
    max_messages: usize,
}

impl SendQueue {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: BytesMut::new(),
            tail_messages: 0,
            written: 0,
            bytes: 0,
            messages: 0,
            max_bytes,
            max_messages,
        }
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether so much more fits. An empty queue takes a message of any size.
    pub(super) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.messages == 0
            || (self.messages + messages <= self.max_messages && self.bytes + bytes <= self.max_bytes)
    }

    /// Whether it has come down far enough for those who were held back.
    pub(super) fn is_half_empty(&self) -> bool {
        self.messages <= self.max_messages / 2 && self.bytes <= self.max_bytes / 2
    }

    /// Appends a run of whole messages.
    pub(super) fn push(&mut self, run: &Bytes, messages: usize) {
        self.bytes += run.len();
        self.messages += messages;
        if run.len() < SHARE_FROM {
            self.tail.extend_from_slice(run);
            self.tail_messages += messages;
            if self.tail.len() >= PIECE {
                self.close_tail();
            }
        } else {
            self.close_tail();
            self.pieces.push_back(Piece { bytes: run.clone(), messages });
        }
    }

    /// Appends frames that are no messages.
    pub(super) fn push_control(&mut self, frames: &[u8]) {
        self.bytes += frames.len();
        self.tail.extend_from_slice(frames);
        if self.tail.len() >= PIECE {
            self.close_tail();
        }
    }

    /// Drops the oldest piece that is not half written; how many messages that were, `None` when there is none.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let first = usize::from(self.written > 0);
        if self.pieces.len() <= first {
            self.close_tail();
        }
        let dropped = self.pieces.remove(first)?;
        self.bytes -= dropped.bytes.len();
        self.messages -= dropped.messages;
        Some(dropped.messages)
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let bytes = self.tail.split().freeze();
            self.pieces.push_back(Piece { bytes, messages: std::mem::take(&mut self.tail_messages) });
        }
    }

    /// Writes until all is written or `stream` takes no more; how many messages went, and whether it may take more.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<(usize, bool)> {
        self.close_tail();
        let mut sent = 0;
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let count = self.pieces.len().min(GATHER);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(&piece.bytes);
            }
            slices[0] = IoSlice::new(&self.pieces[0].bytes[self.written..]);
            let written = match stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((sent, false)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sent += self.advance(written);
        }
        Ok((sent, true))
    }

    fn advance(&mut self, written: usize) -> usize {
        self.bytes -= written;
        self.written += written;
        let mut sent = 0;
        while let Some(piece) = self.pieces.front()
            && self.written >= piece.bytes.len()
        {
            self.written -= piece.bytes.len();
            sent += piece.messages;
            self.pieces.pop_front();
        }
        self.messages -= sent;
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and no more than it is told to.
    struct Trickle {
        got: Vec<u8>,
        room: usize,
    }

    impl Write for Trickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room).min(7);
            self.room -= n;
            self.got.extend_from_slice(&bytes[..n]);
            if n == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_goes_in_comes_out_in_order_however_it_is_written() {
        let mut queue = SendQueue::new(1_000_000, usize::MAX);
        let mut expected = Vec::new();
        let mut messages = 0;
        for n in 0..300usize {
            let run = Bytes::from(vec![n as u8; n * 40]);
            expected.extend_from_slice(&run);
            queue.push(&run, n);
            messages += n;
            if n % 10 == 0 {
                queue.push_control(b"ctl");
                expected.extend_from_slice(b"ctl");
            }
        }
        assert_eq!((queue.bytes(), queue.messages()), (expected.len(), messages));
        let mut stream = Trickle { got: Vec::new(), room: 0 };
        let mut sent = 0;
        while queue.bytes() > 0 {
            stream.room = 1000;
            sent += queue.write_to(&mut stream).unwrap().0;
        }
        assert!(stream.got == expected);
        assert_eq!((sent, queue.messages()), (messages, 0));
    }

    #[test]
    fn the_oldest_goes_first_but_never_half_of_a_message() {
        let mut queue = SendQueue::new(10, usize::MAX);
        for n in 0..3u8 {
            queue.push(&Bytes::from(vec![n; SHARE_FROM]), 1);
        }
        let mut stream = Trickle { got: Vec::new(), room: 10 };
        assert!(!queue.write_to(&mut stream).unwrap().1);
        assert_eq!(queue.drop_oldest(), Some(1));
        stream.room = usize::MAX;
        queue.write_to(&mut stream).unwrap();
        let expected: Vec<u8> = [[0; SHARE_FROM], [2; SHARE_FROM]].concat();
        assert!(stream.got == expected, "the one in the middle went");
        assert_eq!(queue.drop_oldest(), None);
    }

    #[test]
    fn room_is_counted_in_messages_and_in_bytes() {
        let mut queue = SendQueue::new(2, 100);
        assert!(queue.has_room(1, 1_000_000), "a message of any size fits when there is nothing else");
        queue.push(&Bytes::from_static(&[0; 60]), 1);
        assert!(queue.has_room(1, 40) && !queue.has_room(1, 41) && !queue.has_room(2, 1));
        assert!(!queue.is_half_empty());
    }
}

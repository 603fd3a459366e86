//! What waits to be written to one connection.

use bytes::{Buf, Bytes, BytesMut};
use multiplane_codec::zmtp::frame::{self, Found};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Runs of messages below this many bytes are copied behind each other: fewer pieces to write.
const SHARE_FROM: usize = 8 * 1024;

/// Runs of so many are shared even with a slow reader. They come from chunks of 64 KiB, or of twice that when a message
/// was cut, so a reader keeps at most four times its bytes alive.
const ALWAYS_SHARE_FROM: usize = 32 * 1024;

/// A copied piece is closed at this size.
const PIECE: usize = 16 * 1024;

/// Pieces given to one `writev`.
const GATHER: usize = 64;

/// Whole messages, or whole commands (then `messages` is 0).
struct Piece {
    bytes: Bytes,
    messages: usize,
}

/// A bounded queue of bytes that knows how many messages they are.
pub(super) struct SendQueue {
    pieces: VecDeque<Piece>,
    /// The last piece, still growing.
    tail: BytesMut,
    tail_messages: usize,
    /// How much of the first piece is written.
    written: usize,
    bytes: usize,
    /// Those of `bytes` that are commands.
    control: usize,
    messages: usize,
    /// Messages written since somebody asked.
    sent: usize,
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
            control: 0,
            messages: 0,
            sent: 0,
            max_bytes,
            max_messages,
        }
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of commands that wait.
    pub(super) fn control(&self) -> usize {
        self.control
    }

    /// How many messages were written since the last call.
    pub(super) fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent)
    }

    /// Whether so much more fits. An empty queue takes one message of any size.
    pub(super) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.messages == 0 && messages == 1
            || self.messages + messages <= self.max_messages && self.bytes + bytes <= self.max_bytes
    }

    /// Whether it has come down far enough for those who were held back.
    pub(super) fn is_half_empty(&self) -> bool {
        self.messages <= self.max_messages / 2 && self.bytes <= self.max_bytes / 2
    }

    /// Appends a run of whole messages.
    pub(super) fn push(&mut self, run: &Bytes, messages: usize) {
        if self.tail_messages == 0 {
            self.close_tail();
        }
        // A slow reader must not keep whole chunks alive for the little that it gets of each.
        let is_slow = self.bytes > self.max_bytes / 8;
        self.bytes += run.len();
        self.messages += messages;
        if run.len() < if is_slow { ALWAYS_SHARE_FROM } else { SHARE_FROM } {
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

    /// Appends whole frames that are no messages. They are never dropped.
    pub(super) fn push_control(&mut self, frames: &[u8]) {
        if self.tail_messages > 0 {
            self.close_tail();
        }
        self.bytes += frames.len();
        self.control += frames.len();
        self.tail.extend_from_slice(frames);
        if self.tail.len() >= PIECE {
            self.close_tail();
        }
    }

    /// Drops the oldest message that is not half written; how many that were, `None` when there is none.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        self.split_half_written();
        let begun = usize::from(self.written > 0);
        let waiting = (begun..self.pieces.len()).find(|&n| self.pieces[n].messages > 0);
        let at = waiting.unwrap_or_else(|| {
            self.close_tail();
            self.pieces.len().saturating_sub(1).max(begun)
        });
        let piece = self.pieces.get_mut(at)?;
        let (bytes, messages) = match frame::find(&piece.bytes, usize::MAX) {
            Ok(Found::Message { total, .. }) if piece.messages > 1 => (total, 1),
            _ => (piece.bytes.len(), piece.messages),
        };
        if messages == 0 {
            return None;
        }
        piece.bytes.advance(bytes);
        piece.messages -= messages;
        if piece.messages == 0 {
            self.pieces.remove(at);
        }
        self.bytes -= bytes;
        self.messages -= messages;
        Some(messages)
    }

    /// Makes the message that is half written a piece of its own; those before it are sent.
    fn split_half_written(&mut self) {
        let Some(first) = self.pieces.front_mut() else { return };
        while self.written > 0 && first.messages > 1 {
            let Ok(Found::Message { total, .. }) = frame::find(&first.bytes, usize::MAX) else { return };
            if total > self.written {
                let half = first.bytes.split_to(total);
                first.messages -= 1;
                return self.pieces.push_front(Piece { bytes: half, messages: 1 });
            }
            first.bytes.advance(total);
            first.messages -= 1;
            self.written -= total;
            self.messages -= 1;
            self.sent += 1;
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let bytes = self.tail.split().freeze();
            self.pieces.push_back(Piece { bytes, messages: std::mem::take(&mut self.tail_messages) });
        }
    }

    /// Writes until all is written or `stream` takes no more; whether it may take more.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        self.close_tail();
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let count = self.pieces.len().min(GATHER);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(&piece.bytes);
            }
            slices[0] = IoSlice::new(&self.pieces[0].bytes[self.written..]);
            match stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, written: usize) {
        self.bytes -= written;
        self.written += written;
        while let Some(piece) = self.pieces.front()
            && self.written >= piece.bytes.len()
        {
            self.written -= piece.bytes.len();
            if piece.messages == 0 {
                self.control -= piece.bytes.len();
            }
            self.messages -= piece.messages;
            self.sent += piece.messages;
            self.pieces.pop_front();
        }
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

    /// Messages of one frame with `n` bytes of `n` each.
    fn messages(numbers: impl IntoIterator<Item = u8>) -> Bytes {
        let mut run = Vec::new();
        numbers.into_iter().for_each(|n| frame::write(&mut run, 0, &vec![n; usize::from(n)]));
        run.into()
    }

    #[test]
    fn what_goes_in_comes_out_in_order_however_it_is_written() {
        let mut queue = SendQueue::new(1_000_000, usize::MAX);
        let mut expected = Vec::new();
        let (mut messages, mut control) = (0, 0);
        for n in 1..300usize {
            let run = Bytes::from(vec![n as u8; n * 40]);
            expected.extend_from_slice(&run);
            queue.push(&run, n);
            messages += n;
            if n % 10 == 0 {
                queue.push_control(b"ctl");
                control += 3;
                expected.extend_from_slice(b"ctl");
            }
        }
        assert_eq!((queue.bytes, queue.control(), queue.messages()), (expected.len(), control, messages));
        let mut stream = Trickle { got: Vec::new(), room: 0 };
        while queue.bytes > 0 {
            stream.room = 1000;
            queue.write_to(&mut stream).unwrap();
        }
        assert!(stream.got == expected);
        assert_eq!((queue.take_sent(), queue.messages(), queue.control()), (messages, 0, 0));
    }

    #[test]
    fn the_oldest_goes_first_one_by_one_but_no_command_and_never_half_of_a_message() {
        // Copied ones and shared ones, in one piece or several.
        for (first, second) in [(1..4, 4..6), (1..2, 2..6), (1..255, 255..255), (1..120, 120..250)] {
            let all = first.clone().chain(second.clone()).count();
            for written in 0..100 {
                let mut queue = SendQueue::new(1000, usize::MAX);
                queue.push_control(b"ready");
                queue.push(&messages(first.clone()), first.len());
                queue.push_control(b"pong");
                if !second.is_empty() {
                    queue.push(&messages(second.clone()), second.len());
                }
                let mut stream = Trickle { got: Vec::new(), room: written };
                let complete = queue.write_to(&mut stream).unwrap();
                let mut dropped = 0;
                while dropped < 2 {
                    let Some(more) = queue.drop_oldest() else { break };
                    assert_eq!(more, 1);
                    dropped += 1;
                }
                stream.room = usize::MAX;
                queue.write_to(&mut stream).unwrap();
                // Those that had begun to be written stay; the next ones are gone.
                let mut expected = b"ready".to_vec();
                let (mut at, mut gone) = (5, 0);
                for n in first.clone().chain(second.clone()) {
                    if Some(n) == first.clone().last().map(|last| last + 1) {
                        expected.extend_from_slice(b"pong");
                        at += 4;
                    }
                    if at >= written && gone < dropped {
                        gone += 1;
                    } else {
                        expected.extend_from_slice(&messages([n]));
                    }
                    at += 2 + usize::from(n);
                }
                if second.is_empty() {
                    expected.extend_from_slice(b"pong");
                }
                assert!(stream.got == expected, "{first:?} {second:?} after {written}: {:?}", stream.got);
                assert_eq!(queue.take_sent() + dropped, all, "{complete}");
                assert_eq!((queue.bytes, queue.messages(), queue.control()), (0, 0, 0));
                assert_eq!(queue.drop_oldest(), None);
            }
        }
    }

    #[test]
    fn room_is_counted_in_messages_and_in_bytes() {
        let mut queue = SendQueue::new(2, 100);
        assert!(queue.has_room(1, 1_000_000), "a message of any size fits when there is nothing else");
        assert!(!queue.has_room(3, 3), "but not more messages than may wait");
        queue.push(&Bytes::from_static(&[0; 60]), 1);
        assert!(queue.has_room(1, 40) && !queue.has_room(1, 41) && !queue.has_room(2, 1));
        assert!(!queue.is_half_empty());
    }

    #[test]
    fn what_was_sent_before_an_error_is_counted() {
        struct Breaks(usize);
        impl Write for Breaks {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let n = self.0.min(bytes.len());
                self.0 -= n;
                if n == 0 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(n) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut queue = SendQueue::new(10, usize::MAX);
        for n in 0..3u8 {
            queue.push(&Bytes::from(vec![n; SHARE_FROM]), 1);
        }
        assert!(queue.write_to(&mut Breaks(2 * SHARE_FROM + 1)).is_err());
        assert_eq!((queue.take_sent(), queue.messages()), (2, 1));
    }
}

//! What waits to be written to one connection.

use super::chunk::{Run, Slice};
use multiplane_codec::zmtp::frame::{self, Found};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Runs of messages below this many bytes are copied behind each other: fewer pieces to write.
const SHARE_FROM: usize = 4 * 1024;

/// A copied piece is closed at this size.
const PIECE: usize = 16 * 1024;

/// Pieces given to one `writev`.
const GATHER: usize = 64;

/// Whole messages, or whole commands (then `messages` is 0).
struct Piece {
    bytes: Slice,
    messages: usize,
    /// Memory that goes when this piece goes: the last one of a chunk has all of it.
    keeps: usize,
    /// It may wait as it is.
    settled: bool,
}

/// A bounded queue of bytes that knows how many messages they are.
pub(super) struct SendQueue {
    pieces: VecDeque<Piece>,
    /// The last piece, still growing.
    tail: Vec<u8>,
    tail_messages: usize,
    /// How much of the first piece is written.
    written: usize,
    bytes: usize,
    /// Bytes of memory that the pieces keep alive, whoever else does.
    kept: usize,
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
            tail: Vec::new(),
            tail_messages: 0,
            written: 0,
            bytes: 0,
            kept: 0,
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

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory that are kept for those that wait.
    pub(super) fn memory(&self) -> usize {
        self.kept + self.tail.len()
    }

    /// Whether so much more fits. An empty queue takes one message of any size.
    pub(super) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.messages == 0 && messages == 1
            || self.messages + messages <= self.max_messages
                && self.memory().max(self.bytes) + bytes <= self.max_bytes
    }

    /// Whether it has come down far enough for those who were held back.
    pub(super) fn is_half_empty(&self) -> bool {
        self.messages <= self.max_messages / 2 && self.memory().max(self.bytes) <= self.max_bytes / 2
    }

    /// Appends a run of whole messages.
    pub(super) fn push(&mut self, run: &mut Run<'_>) {
        if self.tail_messages == 0 {
            self.close_tail();
        }
        self.bytes += run.bytes.len();
        self.messages += run.messages;
        if run.bytes.len() < SHARE_FROM {
            self.tail.extend_from_slice(run.bytes);
            self.tail_messages += run.messages;
            if self.tail.len() >= PIECE {
                self.close_tail();
            }
        } else {
            self.close_tail();
            let mut bytes = run.share();
            let is_beside = self.pieces.back().is_some_and(|last| last.bytes.is_beside(&bytes));
            if !is_beside && self.memory() + bytes.keeps() > self.max_bytes {
                bytes = Slice::own(run.bytes.to_vec());
            }
            self.push_piece(bytes, run.messages);
        }
    }

    fn push_piece(&mut self, bytes: Slice, messages: usize) {
        let keeps = match self.pieces.back_mut() {
            Some(last) if last.bytes.is_beside(&bytes) => std::mem::take(&mut last.keeps),
            _ => {
                self.kept += bytes.keeps();
                bytes.keeps()
            }
        };
        self.pieces.push_back(Piece { bytes, messages, keeps, settled: false });
    }

    /// Writes a run past an empty queue, and appends what is left of it, all of it after an error; whether `stream` may take
    /// more.
    pub(super) fn write_through(&mut self, stream: &mut impl Write, run: &mut Run<'_>) -> io::Result<bool> {
        let written = match stream.write(run.bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                self.push(run);
                return Err(error);
            }
        };
        if written == run.bytes.len() {
            self.sent += run.messages;
            return Ok(true);
        }
        self.push(run);
        self.advance(written);
        Ok(false)
    }

    /// What could not be written now may wait long, and must not keep chunks alive for the little that it is of them:
    /// it gets memory of its own.
    pub(super) fn settle(&mut self) {
        let mut end = self.pieces.len();
        while end > 0 && !self.pieces[end - 1].settled {
            let last = &self.pieces[end - 1].bytes;
            let (mut start, mut bytes, size) = (end - 1, last.len(), last.keeps());
            while start > 0 && self.pieces[start - 1].bytes.is_beside(&self.pieces[end - 1].bytes) {
                start -= 1;
                bytes += self.pieces[start].bytes.len();
            }
            for piece in self.pieces.range_mut(start..end) {
                piece.settled = true;
                if 2 * bytes < size {
                    self.kept -= piece.keeps;
                    piece.bytes = Slice::own(piece.bytes.to_vec());
                    piece.keeps = piece.bytes.keeps();
                    self.kept += piece.keeps;
                }
            }
            end = start;
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
        self.count_written();
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
            self.remove(at);
        }
        self.bytes -= bytes;
        self.messages -= messages;
        Some(messages)
    }

    fn remove(&mut self, at: usize) {
        let Some(piece) = self.pieces.remove(at) else { return };
        match at.checked_sub(1).and_then(|before| self.pieces.get_mut(before)) {
            Some(before) if before.bytes.is_beside(&piece.bytes) => before.keeps += piece.keeps,
            _ => self.kept -= piece.keeps,
        }
    }

    /// Makes the message that is half written a piece of its own; those before it are sent.
    pub(super) fn count_written(&mut self) {
        if self.pieces.is_empty() {
            self.close_tail();
        }
        let Some(first) = self.pieces.front_mut() else { return };
        while self.written > 0 && first.messages > 1 {
            let Ok(Found::Message { total, .. }) = frame::find(&first.bytes, usize::MAX) else { return };
            if total > self.written {
                let half = first.bytes.split_to(total);
                first.messages -= 1;
                return self.pieces.push_front(Piece { bytes: half, messages: 1, keeps: 0, settled: true });
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
            let mut bytes = std::mem::take(&mut self.tail);
            bytes.shrink_to(2 * bytes.len());
            let messages = std::mem::take(&mut self.tail_messages);
            self.push_piece(Slice::own(bytes), messages);
        }
    }

    /// Writes until all is written or `stream` takes no more; whether it may take more.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        while self.bytes > 0 {
            let written = if self.pieces.is_empty() {
                stream.write(&self.tail[self.written..])
            } else {
                let mut slices = [IoSlice::new(&[]); GATHER];
                let pieces = self.pieces.iter().map(|piece| &*piece.bytes).chain([&*self.tail]);
                let count =
                    slices.iter_mut().zip(pieces).map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count();
                slices[0] = IoSlice::new(&self.pieces[0].bytes[self.written..]);
                stream.write_vectored(&slices[..count])
            };
            match written {
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
            self.kept -= piece.keeps;
            self.gone(piece.messages, piece.bytes.len());
            self.pieces.pop_front();
        }
        if self.bytes == 0 && self.written > 0 {
            self.gone(self.tail_messages, self.tail.len());
            self.written = 0;
            self.tail_messages = 0;
            // Kept for the next ones, unless it is much for somebody who may get nothing for days.
            self.tail.clear();
            self.tail.shrink_to(PIECE);
        }
    }

    /// So many messages, or so many bytes of commands, are written.
    fn gone(&mut self, messages: usize, bytes: usize) {
        if messages == 0 {
            self.control -= bytes;
        }
        self.messages -= messages;
        self.sent += messages;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::native::chunk::{Input, Pool, Source};

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

    impl SendQueue {
        fn push_all(&mut self, run: &[u8], messages: usize) {
            self.push(&mut Source::lent(run).run(0..run.len(), messages));
        }
    }

    /// Messages of one frame with `n` bytes of `n` each.
    fn messages(numbers: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut run = Vec::new();
        numbers.into_iter().for_each(|n| frame::write(&mut run, 0, &vec![n; usize::from(n)]));
        run
    }

    #[test]
    fn what_goes_in_comes_out_in_order_however_it_is_written() {
        let mut queue = SendQueue::new(1_000_000, usize::MAX);
        let mut expected = Vec::new();
        let (mut messages, mut control) = (0, 0);
        for n in 1..300usize {
            let run = vec![n as u8; n * 40];
            expected.extend_from_slice(&run);
            queue.push_all(&run, n);
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
                queue.push_all(&messages(first.clone()), first.len());
                queue.push_control(b"pong");
                if !second.is_empty() {
                    queue.push_all(&messages(second.clone()), second.len());
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
        queue.push_all(&[0; 60], 1);
        assert!(queue.has_room(1, 40) && !queue.has_room(1, 41) && !queue.has_room(2, 1));
        assert!(!queue.is_half_empty());
    }

    /// Reads `runs` into one chunk.
    fn chunk(runs: &[Vec<u8>]) -> Input {
        let (mut input, bytes) = (Input::default(), runs.concat());
        let mut read = 0;
        while read < bytes.len() {
            read += input.read(&mut &bytes[read..], &mut Pool::default(), usize::MAX, bytes.len()).unwrap().0;
        }
        input
    }

    /// Whatever is shared, copied, dropped and written: the order stays, and the books of memory are right.
    #[test]
    fn memory_is_counted_once_for_all_pieces_of_a_chunk() {
        let mut seed = 7u64;
        let mut below = move |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n
        };
        let mut queue = SendQueue::new(usize::MAX, 2 << 20);
        let (mut stream, mut next, mut dropped) = (Trickle { got: Vec::new(), room: 0 }, 0u8, 0);
        let (mut pushed, mut sent) = (0, 0);
        for _ in 0..500 {
            let runs: Vec<Vec<u8>> = (0..1 + below(5))
                .map(|_| {
                    next = next.wrapping_add(1);
                    let mut run = Vec::new();
                    let size = [10, 3000, 9000, 70_000][below(4)];
                    (0..1 + below(2)).for_each(|_| frame::write(&mut run, 0, &vec![next; size]));
                    run
                })
                .collect();
            let (input, mut at) = (chunk(&runs), 0);
            for run in &runs {
                let range = at..at + run.len();
                at += run.len();
                let messages = 1 + usize::from(frame::find(run, usize::MAX).unwrap() != whole(run));
                if below(3) > 0 && queue.has_room(messages, run.len()) {
                    queue.push(&mut input.source().run(range, messages));
                    pushed += messages;
                }
                assert!(queue.memory() <= queue.max_bytes, "{}", queue.memory());
            }
            drop(input);
            match below(4) {
                0 => queue.settle(),
                1 => dropped += queue.drop_oldest().unwrap_or(0),
                2 => stream.room = below(300_000),
                _ => {}
            }
            queue.write_to(&mut stream).unwrap();
            sent += queue.take_sent();
            let mut kept = 0;
            for (n, piece) in queue.pieces.iter().enumerate() {
                let begins = n == 0 || !queue.pieces[n - 1].bytes.is_beside(&piece.bytes);
                kept += if begins { piece.bytes.keeps() } else { 0 };
            }
            assert_eq!(queue.kept, kept);
            let waiting: usize = queue.pieces.iter().map(|piece| piece.bytes.len()).sum();
            assert_eq!(queue.bytes + queue.written, waiting + queue.tail.len());
            assert_eq!(pushed, sent + dropped + queue.messages());
        }
        assert!(sent > 200 && dropped > 50, "{sent} {dropped}");
        // Whole messages, in order.
        let mut rest = &stream.got[..];
        while let Ok(Found::Message { topic, total, .. }) = frame::find(rest, usize::MAX) {
            assert!(rest[topic..total].iter().all(|byte| *byte == rest[topic]));
            rest = &rest[total..];
        }
        assert!(rest.len() < 70_010);
    }

    fn whole(run: &[u8]) -> Found {
        let first = frame::Header::parse(run, usize::MAX).unwrap().unwrap();
        Found::Message { topic: first.header, topic_length: first.body, total: run.len() }
    }

    /// What waits gets memory of its own when it is little of its chunk, and stays where it is when it is much.
    #[test]
    fn a_little_of_a_chunk_does_not_keep_it() {
        let (mut little, mut much) =
            (SendQueue::new(usize::MAX, usize::MAX), SendQueue::new(usize::MAX, usize::MAX));
        let runs: Vec<Vec<u8>> = (0..20).map(|_| messages([200; 50])).collect();
        let input = chunk(&runs);
        let length = runs[0].len();
        for n in 0..runs.len() {
            let mut run = input.source().run(n * length..(n + 1) * length, 50);
            if n % 5 == 0 {
                little.push(&mut run);
            }
            much.push(&mut run);
        }
        let shared = input.keeps();
        assert_eq!((little.kept, much.kept), (shared, shared));
        little.settle();
        much.settle();
        assert_eq!((little.kept, much.kept), (4 * length, shared));
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
            queue.push_all(&vec![n; SHARE_FROM], 1);
        }
        assert!(queue.write_to(&mut Breaks(2 * SHARE_FROM + 1)).is_err());
        assert_eq!((queue.take_sent(), queue.messages()), (2, 1));
        let mut past = SendQueue::new(10, usize::MAX);
        assert!(past.write_through(&mut Breaks(0), &mut Source::lent(&[0; 100]).run(0..100, 3)).is_err());
        assert_eq!((past.take_sent(), past.messages()), (0, 3), "whoever disconnects counts them as lost");
    }
}

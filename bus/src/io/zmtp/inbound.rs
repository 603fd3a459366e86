use multiplane_codec::zmtp::frame::{self, Pair};
use std::io::{self, Read};
use std::ops::Range;

/// What a buffer holds when nothing large is on its way: reads under load are this long.
const NORMAL: usize = 128 * 1024;

/// What an idle link keeps.
const SMALL: usize = 8 * 1024;

/// A read is worth its call from so many bytes on; when less room is left, what is unhandled moves to the front.
const WORTH_A_READ: usize = 16 * 1024;

/// Bytes that have been read. Initialised once, so that no read has to zero what it will overwrite.
pub(crate) struct Inbound {
    bytes: Vec<u8>,
    /// What is not handled yet.
    at: usize,
    filled: usize,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is more than before; perhaps more can be read.
    More,
    /// There is more than before, and that was all.
    All,
    /// Nothing came.
    Nothing,
    /// The peer has closed.
    End,
}

impl Inbound {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; SMALL], at: 0, filled: 0 }
    }

    /// One that is not read into.
    pub(crate) fn empty() -> Self {
        Self { bytes: Vec::new(), at: 0, filled: 0 }
    }

    /// Takes over what another has read.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.bytes.truncate(self.filled - self.at);
        self.bytes.extend_from_slice(bytes);
        (self.at, self.filled) = (0, self.bytes.len());
    }

    /// Takes a [`consume`](Self::consume) back.
    pub(crate) fn unread(&mut self, bytes: usize) {
        self.at = self.at.saturating_sub(bytes);
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.at..self.filled).unwrap_or_default()
    }

    /// As [`bytes`](Self::bytes), to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.at..self.filled).unwrap_or_default()
    }

    /// A part of [`bytes`](Self::bytes), by where it lies in the whole buffer.
    #[inline]
    pub(crate) fn part(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Where the unhandled bytes begin in the whole buffer.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.filled);
    }

    /// What is not handled yet, message by message.
    #[inline]
    pub(crate) fn pairs(&mut self, limit: usize) -> Pairs<'_> {
        Pairs { bytes: self.bytes.get(..self.filled).unwrap_or_default(), at: &mut self.at, limit }
    }

    /// A new connection: nothing of the old one counts.
    pub(crate) fn clear(&mut self) {
        (self.at, self.filled) = (0, 0);
    }

    /// Reads once. The buffer grows with what has come, never with what is announced.
    pub(crate) fn read_from(&mut self, stream: &mut impl Read) -> io::Result<Filled> {
        self.make_room();
        let room = &mut self.bytes[self.filled..];
        let asked = room.len();
        loop {
            match stream.read(room) {
                Ok(0) => return Ok(Filled::End),
                Ok(read) => {
                    self.filled += read;
                    return Ok(if read < asked { Filled::All } else { Filled::More });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Filled::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn make_room(&mut self) {
        if self.at == self.filled {
            // Nothing is waiting: a buffer that grew for one large message becomes normal again.
            let was_full = self.filled == self.bytes.len();
            (self.at, self.filled) = (0, 0);
            if self.bytes.len() > NORMAL || was_full && self.bytes.len() < NORMAL {
                self.bytes = vec![0; NORMAL];
            }
            return;
        }
        let room = self.bytes.len() - self.filled;
        if room >= WORTH_A_READ {
            return;
        }
        self.bytes.copy_within(self.at..self.filled, 0);
        (self.at, self.filled) = (0, self.filled - self.at);
        if self.bytes.len() - self.filled < WORTH_A_READ {
            let length = (self.bytes.len() * 2).max(NORMAL);
            self.bytes.resize(length, 0);
        }
    }
}

/// The next messages, as long as they are plain ones: of two frames, and whole.
pub(crate) struct Pairs<'a> {
    bytes: &'a [u8],
    at: &'a mut usize,
    limit: usize,
}

impl<'a> Pairs<'a> {
    /// The next one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Pair<'a>> {
        frame::pair(self.bytes.get(*self.at..)?, self.limit)
    }

    /// It is handled.
    #[inline]
    pub(crate) fn take(&mut self, pair: Pair<'a>) {
        *self.at += pair.total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what is asked for, up to `left` bytes that count up.
    struct Counting {
        next: u8,
        left: usize,
        most: usize,
    }

    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = buffer.len().min(self.left).min(self.most);
            if read == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            for byte in &mut buffer[..read] {
                *byte = self.next;
                self.next = self.next.wrapping_add(1);
            }
            self.left -= read;
            Ok(read)
        }
    }

    #[test]
    fn what_is_read_is_handled_in_order_however_it_comes() {
        for (most, handle) in [(1, 1), (7, 3), (5000, 100), (1 << 20, 1 << 20), (1 << 20, 999)] {
            let all = 3_000_000 / if most < 10 { 100 } else { 1 };
            let mut stream = Counting { next: 0, left: all, most };
            let (mut inbound, mut next, mut seen) = (Inbound::new(), 0u8, 0);
            loop {
                let filled = inbound.read_from(&mut stream).unwrap();
                while inbound.bytes().len() >= handle
                    || (filled == Filled::Nothing && !inbound.bytes().is_empty())
                {
                    let part = &inbound.bytes()[..handle.min(inbound.bytes().len())];
                    for byte in part {
                        assert_eq!(*byte, next);
                        next = next.wrapping_add(1);
                    }
                    let length = part.len();
                    seen += length;
                    inbound.consume(length);
                }
                if filled == Filled::Nothing && stream.left == 0 {
                    break;
                }
            }
            assert_eq!(seen, all);
            assert!(inbound.bytes.len() <= 4 << 20, "{}", inbound.bytes.len());
        }
    }

    #[test]
    fn a_large_message_does_not_leave_a_large_buffer() {
        let mut stream = Counting { next: 0, left: 10 << 20, most: usize::MAX };
        let mut inbound = Inbound::new();
        while inbound.read_from(&mut stream).unwrap() != Filled::Nothing {}
        assert_eq!(inbound.bytes().len(), 10 << 20);
        inbound.consume(10 << 20);
        assert_eq!(inbound.read_from(&mut stream).unwrap(), Filled::Nothing);
        assert!(inbound.bytes.len() <= NORMAL);
    }
}

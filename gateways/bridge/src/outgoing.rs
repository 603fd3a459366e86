//! What waits to be written to one peer.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Pieces written by one system call.
const GATHER: usize = 64;
/// What a piece costs besides its bytes: so a bound in bytes also bounds the number of empty ones.
const OVERHEAD: usize = 64;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes, besides one piece of any size. A piece counts as 64 more than it has.
    pub bytes: usize,
}

/// The bounded queue of one peer: pieces of whole messages, shared by reference with the queues of all others.
///
/// The books close: messages pushed = written + dropped + those that wait.
#[derive(Debug)]
pub struct Outgoing {
    pieces: VecDeque<Piece>,
    bounds: Bounds,
    bytes: usize,
    messages: u64,
    /// Some of the first piece is written: it must go whole now.
    begun: bool,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    messages: u32,
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "nothing is lost in silence"]
pub struct Lost {
    /// Messages.
    pub messages: u64,
}

/// What [`Outgoing::flush`] achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Bytes that the system took.
    pub bytes: u64,
    /// Messages that it has taken whole.
    pub messages: u64,
    /// The socket is full: go on when it is writable.
    pub blocked: bool,
}

impl Outgoing {
    /// An empty one.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { pieces: VecDeque::new(), bounds, bytes: 0, messages: 0, begun: false }
    }

    /// Whether so many more bytes have room.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.pieces.is_empty() || self.bytes + bytes + OVERHEAD <= self.bounds.bytes
    }

    /// Queues a piece that holds so many messages, whether there is room or not.
    pub fn push(&mut self, bytes: Bytes, messages: u32) {
        self.bytes += bytes.len() + OVERHEAD;
        self.messages += u64::from(messages);
        self.pieces.push_back(Piece { bytes, messages });
    }

    /// Queues a piece if it has room.
    pub fn push_or_drop(&mut self, bytes: Bytes, messages: u32) -> Lost {
        if !self.has_room(bytes.len()) {
            return Lost { messages: u64::from(messages) };
        }
        self.push(bytes, messages);
        Lost::default()
    }

    /// Drops the oldest pieces until this one has room, and queues it. One that is partly written stays.
    pub fn push_dropping_oldest(&mut self, bytes: Bytes, messages: u32) -> Lost {
        let mut lost = 0;
        let kept = usize::from(self.begun);
        while !self.has_room(bytes.len()) {
            let Some(oldest) = self.pieces.remove(kept) else { break };
            self.forget(&oldest);
            lost += u64::from(oldest.messages);
        }
        if self.has_room(bytes.len()) || self.pieces.len() == kept {
            self.push(bytes, messages);
        } else {
            lost += u64::from(messages);
        }
        Lost { messages: lost }
    }

    /// Writes what the peer takes now.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn flush(&mut self, mut peer: impl Write) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let mut offered = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(&piece.bytes);
                offered += 1;
            }
            match peer.write_vectored(&slices[..offered]) {
                // Nothing but empty pieces.
                Ok(0) if self.pieces.iter().take(offered).all(|piece| piece.bytes.is_empty()) => {
                    self.written(0, &mut flushed);
                }
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written(written, &mut flushed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    flushed.blocked = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    fn written(&mut self, mut count: usize, flushed: &mut Flushed) {
        flushed.bytes += count as u64;
        self.begun |= count > 0;
        while let Some(first) = self.pieces.front_mut() {
            if first.bytes.len() > count {
                first.bytes.advance(count);
                self.bytes -= count;
                return;
            }
            count -= first.bytes.len();
            flushed.messages += u64::from(first.messages);
            if let Some(first) = self.pieces.pop_front() {
                self.forget(&first);
            }
            self.begun = count > 0;
        }
    }

    fn forget(&mut self, piece: &Piece) {
        self.bytes -= piece.bytes.len() + OVERHEAD;
        self.messages -= u64::from(piece.messages);
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Messages that wait.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes that wait, with what their pieces cost.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and then no more.
    struct Peer {
        took: Vec<u8>,
        room: usize,
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let took = bytes.len().min(self.room);
            self.room -= took;
            self.took.extend_from_slice(&bytes[..took]);
            Ok(took)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            self.write(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue(pieces: usize) -> Outgoing {
        Outgoing::new(Bounds { bytes: pieces * (4 + OVERHEAD) })
    }

    #[test]
    fn everything_goes_in_order_however_little_the_peer_takes() {
        let mut outgoing = queue(1000);
        let mut expected = Vec::new();
        for n in 0..200u8 {
            let piece = vec![n; usize::from(n % 5)];
            expected.extend_from_slice(&piece);
            outgoing.push(piece.into(), 2);
        }
        let mut peer = Peer { took: Vec::new(), room: 0 };
        let (mut messages, mut bytes) = (0, 0);
        while !outgoing.is_empty() {
            peer.room = 3;
            let flushed = outgoing.flush(&mut peer).unwrap();
            messages += flushed.messages;
            bytes += flushed.bytes;
        }
        assert_eq!(peer.took, expected);
        assert_eq!((messages, bytes as usize), (400, expected.len()));
        assert_eq!((outgoing.messages(), outgoing.bytes()), (0, 0));
    }

    #[test]
    fn the_oldest_goes_but_never_the_one_that_is_begun() {
        let mut outgoing = queue(3);
        let mut peer = Peer { took: Vec::new(), room: 1 };
        assert_eq!(outgoing.push_dropping_oldest("aaaa".into(), 1), Lost::default());
        assert!(outgoing.flush(&mut peer).unwrap().blocked);
        let mut lost = 0;
        for piece in ["bbbb", "cccc", "dddd", "eeee"] {
            lost += outgoing.push_dropping_oldest(piece.into(), 1).messages;
        }
        peer.room = 1000;
        let flushed = outgoing.flush(&mut peer).unwrap();
        assert_eq!(peer.took, b"aaaaddddeeee");
        assert_eq!((lost, flushed.messages), (2, 3));
    }

    #[test]
    fn one_piece_of_any_size_has_room() {
        let mut outgoing = queue(2);
        let huge = Bytes::from(vec![0; 10_000]);
        assert_eq!(outgoing.push_dropping_oldest("aaaa".into(), 1).messages, 0);
        assert_eq!(outgoing.push_dropping_oldest(huge.clone(), 1).messages, 1);
        assert_eq!(outgoing.push_or_drop("bbbb".into(), 7).messages, 7);
        assert_eq!(outgoing.push_dropping_oldest("bbbb".into(), 1).messages, 1);
        assert_eq!(outgoing.messages(), 1);
    }

    #[test]
    fn empty_pieces_are_bounded_and_leave() {
        let mut outgoing = queue(2);
        let lost: u64 = (0..10).map(|_| outgoing.push_or_drop(Bytes::new(), 1).messages).sum();
        assert_eq!(lost, 8);
        let flushed = outgoing.flush(Peer { took: Vec::new(), room: 1 }).unwrap();
        assert_eq!((flushed.messages, outgoing.is_empty()), (2, true));
    }
}

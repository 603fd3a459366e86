//! Where messages come from on their way out, and how far each is.

use crate::outgoing::{self, Outgoing};
use multiplane_ring::stream::StreamReceiver;

/// Messages as frames, one behind the other.
pub(super) trait Frames {
    /// The next ones; `None` when there are none now.
    fn peek(&mut self) -> Option<&mut [u8]>;

    /// The first `bytes` of what was shown are done with.
    fn advance(&mut self, bytes: usize);
}

impl Frames for StreamReceiver {
    #[inline]
    fn peek(&mut self) -> Option<&mut [u8]> {
        StreamReceiver::peek(self)
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        StreamReceiver::advance(self, bytes);
    }
}

/// What handlers published in this turn.
#[derive(Default)]
pub(super) struct Outbound {
    bytes: Vec<u8>,
    at: usize,
}

/// What an outbox keeps of its memory when it is empty.
const KEPT: usize = 256 * 1024;

impl Outbound {
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn length(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn push(&mut self, message: &Outgoing<'_>) {
        message.append_to(&mut self.bytes);
    }
}

impl Frames for Outbound {
    fn peek(&mut self) -> Option<&mut [u8]> {
        self.bytes.get_mut(self.at..).filter(|bytes| !bytes.is_empty())
    }

    fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.at = 0;
        }
    }
}

/// A source of messages, of which the first are on their way.
pub(super) struct Source<F> {
    pub(super) frames: F,
    /// Bytes at the beginning that may pass, whole messages.
    pub(super) cleared: usize,
    /// How many messages those are.
    pub(super) messages: u64,
    /// Bytes of the first one that are written.
    pub(super) written: usize,
}

impl<F: Frames> Source<F> {
    pub(super) fn new(frames: F) -> Self {
        Self { frames, cleared: 0, messages: 0, written: 0 }
    }

    /// Whether a message is half written.
    pub(super) fn is_midway(&self) -> bool {
        self.written > 0
    }

    pub(super) fn is_empty(&mut self) -> bool {
        self.frames.peek().is_none()
    }

    /// `bytes` more of what is cleared are written; how many messages are whole with that.
    pub(super) fn settle(&mut self, bytes: usize) -> u64 {
        self.written += bytes;
        let (mut whole, mut messages) = (0, 0);
        if self.written >= self.cleared {
            (whole, messages) = (self.cleared, self.messages);
        } else {
            let frames = self.frames.peek().map_or(&[][..], |frames| frames);
            while let Some(found) = frames.get(whole..).and_then(outgoing::find)
                && whole + found.total <= self.written
            {
                whole += found.total;
                messages += 1;
            }
        }
        if whole > 0 {
            self.frames.advance(whole);
        }
        self.cleared -= whole;
        self.messages -= messages;
        self.written -= whole;
        messages
    }
}

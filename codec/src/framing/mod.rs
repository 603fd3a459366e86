//! Messages on a byte stream: where one ends and the next begins.
//!
//! Both decoders are pushed: [`feed`](length_prefix::Decoder::feed) them chunks as they arrive, however they
//! were split, then take every complete message. What they hold is at most one message at its limit plus the
//! chunk that was fed last, as long as the messages are taken between chunks.

pub mod length_prefix;
pub mod lines;

/// Why a message could not be framed, or found in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The message to send is longer than its length field can say. Nothing was written.
    #[error(
        "a message of {length} bytes cannot be sent: its length field ends at {limit}; use a wider one or send less"
    )]
    TooLongToSend {
        /// Bytes of the message.
        length: usize,
        /// Most bytes that the width allows.
        limit: usize,
    },
    /// The peer announces a message past the limit. The stream is lost: close it.
    #[error(
        "the peer announces a message of {length} bytes, past the limit of {limit}; close the connection, or raise the limit"
    )]
    TooLong {
        /// Bytes announced.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A line past the limit. It is skipped; decoding goes on with the next line.
    #[error(
        "the peer sent a line longer than the limit of {limit} bytes, which was skipped; shorten it or raise the limit"
    )]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// The text to send as one line would be several. Nothing was written.
    #[error(
        "the text has a newline at byte {at}, so it cannot be sent as one line; send it as several or escape it"
    )]
    NewlineInside {
        /// Where.
        at: usize,
    },
}

/// Bytes received and not yet taken.
#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    taken: usize,
}

impl Backlog {
    fn feed(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(chunk);
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Takes the next `count` bytes, or all there are.
    fn take(&mut self, count: usize) -> &[u8] {
        let start = self.taken;
        self.taken = start.saturating_add(count).min(self.bytes.len());
        &self.bytes[start..self.taken]
    }
}

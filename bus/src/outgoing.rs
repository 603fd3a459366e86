//! A message on its way out, as the frames of ZMTP (RFC 37, "Framing"): encoded where it is published, so that nobody
//! on its way has to do more than copy bytes.

use crate::error::PublishError;
use multiplane_codec::zmtp::frame::{Header, LONG, MORE};
use multiplane_core::{Budget, Trailer};
use std::cell::Cell;

/// The longest header of a frame.
const HEADER: usize = 9;

/// What a scratch buffer may keep from one message to the next.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `then` with what `write` appends to an empty buffer, which is used again.
#[inline]
pub(crate) fn with_payload<R>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), PublishError>,
    then: impl FnOnce(&[u8]) -> Result<R, PublishError>,
) -> Result<R, PublishError> {
    // Taken out, for encoding runs code of the user's, who may publish as well.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let done = write(&mut buffer).and_then(|()| then(&buffer));
    if buffer.capacity() <= SCRATCH {
        BUFFER.set(buffer);
    }
    done
}

/// The frames of one message.
pub(crate) struct Outgoing<'a> {
    topic_header: ([u8; HEADER], usize),
    topic: &'a [u8],
    payload_header: ([u8; HEADER], usize),
    payload: &'a [u8],
    /// The header and a trailer that waits for its number.
    trailer: Option<[u8; 2 + Trailer::LENGTH]>,
}

impl<'a> Outgoing<'a> {
    /// `trailer`: the publisher that a trailer names; 0 for none.
    #[inline]
    pub(crate) fn new(
        topic: &'a str,
        payload: &'a [u8],
        trailer: u64,
        budget: &Budget,
    ) -> Result<Self, PublishError> {
        check("the topic", topic.len(), budget.topic_bytes)?;
        let more = if trailer == 0 { 0 } else { MORE };
        let message = Self {
            topic_header: header(MORE, topic.len()),
            topic: topic.as_bytes(),
            payload_header: header(more, payload.len()),
            payload,
            trailer: (trailer != 0).then(|| {
                let mut frame = [0; 2 + Trailer::LENGTH];
                frame[1] = Trailer::LENGTH as u8;
                let unnumbered = Trailer { publisher: trailer, sequence: 0, sent_at: 0 };
                frame[2..].copy_from_slice(&unnumbered.encode());
                frame
            }),
        };
        // As whoever receives it counts.
        check("the message", message.length(), budget.message_bytes)?;
        Ok(message)
    }

    /// All bytes, in their order.
    #[inline]
    pub(crate) fn parts(&self) -> [&[u8]; 5] {
        let trailer = self.trailer.as_ref().map_or(&[][..], |frame| frame);
        let cut = |header: &'_ ([u8; HEADER], usize)| header.1;
        [
            &self.topic_header.0[..cut(&self.topic_header)],
            self.topic,
            &self.payload_header.0[..cut(&self.payload_header)],
            self.payload,
            trailer,
        ]
    }

    /// How many bytes that are.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

#[inline]
fn check(what: &'static str, length: usize, limit: usize) -> Result<(), PublishError> {
    if length > limit { Err(PublishError::TooLarge { what, length, limit }) } else { Ok(()) }
}

#[inline]
fn header(flags: u8, length: usize) -> ([u8; HEADER], usize) {
    let mut header = [0; HEADER];
    if length <= 255 {
        (header[0], header[1]) = (flags, length as u8);
        return (header, 2);
    }
    header[0] = flags | LONG;
    header[1..].copy_from_slice(&(length as u64).to_be_bytes());
    (header, HEADER)
}

/// Where the parts of a message of ours are.
pub(crate) struct Found {
    pub(crate) topic: std::ops::Range<usize>,
    pub(crate) payload: std::ops::Range<usize>,
    /// Where the trailer begins, if there is one.
    pub(crate) trailer: Option<usize>,
    pub(crate) total: usize,
}

/// Finds the first message of `frames`, which [`Outgoing`] has made.
#[inline]
pub(crate) fn find(frames: &[u8]) -> Option<Found> {
    let first = Header::parse(frames, usize::MAX).ok()??;
    let second = Header::parse(frames.get(first.total()..)?, usize::MAX).ok()??;
    let payload = first.total() + second.header;
    let end = payload + second.body;
    let trailer = second.has_more().then_some(end + 2);
    let total = trailer.map_or(end, |trailer| trailer + Trailer::LENGTH);
    (total <= frames.len()).then(|| Found {
        topic: first.header..first.total(),
        payload: payload..end,
        trailer,
        total,
    })
}

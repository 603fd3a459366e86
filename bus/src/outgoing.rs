//! A message on its way out, as the frames of ZMTP (RFC 37, "Framing"): encoded where it is published, so that nobody
//! on its way has to do more than copy bytes.

use crate::error::PublishError;
use multiplane_codec::zmtp::frame::{Header, LONG, MORE, repeats};
use multiplane_core::{Budget, Trailer};
use std::cell::Cell;

/// The header of a long frame, and of a short one.
const HEADER: usize = 9;
const SHORT: usize = 2;

/// The longest body of a short frame.
const MOST_SHORT: usize = 255;

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

/// The most usual message, which takes the least to write: two short frames.
pub(crate) struct Small<'a> {
    topic: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Small<'a> {
    /// From here on a topic is too long for one, or not allowed.
    pub(crate) fn topic_limit(budget: &Budget) -> usize {
        let longest = 2 * (SHORT + MOST_SHORT);
        if budget.message_bytes < longest { 0 } else { budget.topic_bytes.min(MOST_SHORT) + 1 }
    }

    /// If it is one; `limit` as above.
    #[inline(always)]
    pub(crate) fn of(topic: &'a str, payload: &'a [u8], limit: usize) -> Option<Self> {
        let small = topic.len() < limit && payload.len() <= MOST_SHORT;
        small.then_some(Self { topic: topic.as_bytes(), payload })
    }

    /// Bytes of both frames.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        2 * SHORT + self.topic.len() + self.payload.len()
    }

    /// Writes the frames to `place`, which is as [long](Self::length) as they are.
    #[inline(always)]
    pub(crate) fn write(&self, place: &mut [u8]) {
        let rest = put(place, &[MORE, self.topic.len() as u8]);
        let rest = put(rest, self.topic);
        let rest = put(rest, &[0, self.payload.len() as u8]);
        put(rest, self.payload);
    }
}

/// Any message, to be written as frames.
pub(crate) struct Outgoing<'a> {
    topic: &'a [u8],
    payload: &'a [u8],
    /// The publisher that a trailer names; 0 for none.
    trailer: u64,
    length: usize,
}

impl<'a> Outgoing<'a> {
    /// `trailer`: the publisher that a trailer names; 0 for none.
    pub(crate) fn new(
        topic: &'a str,
        payload: &'a [u8],
        trailer: u64,
        budget: &Budget,
    ) -> Result<Self, PublishError> {
        check("the topic", topic.len(), budget.topic_bytes)?;
        let trailing = if trailer == 0 { 0 } else { SHORT + Trailer::LENGTH };
        let length = frame(topic.len()) + frame(payload.len()) + trailing;
        // As whoever receives it counts.
        check("the message", length, budget.message_bytes)?;
        Ok(Self { topic: topic.as_bytes(), payload, trailer, length })
    }

    /// Bytes of all frames.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Writes the frames to `place`, which is as [long](Self::length) as they are.
    pub(crate) fn write(&self, place: &mut [u8]) {
        let mut rest = place;
        self.each_part(|part| rest = put(std::mem::take(&mut rest), part));
    }

    /// Appends the frames.
    pub(crate) fn append_to(&self, buffer: &mut Vec<u8>) {
        self.each_part(|part| buffer.extend_from_slice(part));
    }

    #[inline]
    fn each_part(&self, mut put: impl FnMut(&[u8])) {
        header(MORE, self.topic.len(), &mut put);
        put(self.topic);
        header(if self.trailer == 0 { 0 } else { MORE }, self.payload.len(), &mut put);
        put(self.payload);
        if self.trailer != 0 {
            header(0, Trailer::LENGTH, &mut put);
            put(&Trailer { publisher: self.trailer, sequence: 0, sent_at: 0 }.encode());
        }
    }
}

#[inline]
fn check(what: &'static str, length: usize, limit: usize) -> Result<(), PublishError> {
    if length > limit { Err(PublishError::TooLarge { what, length, limit }) } else { Ok(()) }
}

/// Bytes of a frame.
#[inline]
fn frame(body: usize) -> usize {
    if body <= MOST_SHORT { SHORT + body } else { HEADER.saturating_add(body) }
}

#[inline]
fn header(flags: u8, body: usize, put: &mut impl FnMut(&[u8])) {
    if body <= MOST_SHORT {
        put(&[flags, body as u8]);
    } else {
        let mut header = [flags | LONG; HEADER];
        header[1..].copy_from_slice(&(body as u64).to_be_bytes());
        put(&header);
    }
}

/// Writes `part` to the beginning of `place`; what is behind. For most topics that takes no call.
#[inline(always)]
fn put<'a>(place: &'a mut [u8], part: &[u8]) -> &'a mut [u8] {
    let Some((place, behind)) = place.split_at_mut_checked(part.len()) else {
        // What could panic would cost each message something.
        debug_assert!(false, "the place is as long as the message");
        return &mut [];
    };
    match part.len() {
        0..8 | 33.. => place.copy_from_slice(part),
        17..33 => copy_ends::<16>(place, part),
        8..17 => copy_ends::<8>(place, part),
    }
    behind
}

/// Copies what is as long as two pieces at most.
#[inline(always)]
fn copy_ends<const PIECE: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<PIECE>(), from.last_chunk::<PIECE>()) {
        if let Some(place) = to.first_chunk_mut() {
            *place = *first;
        }
        if let Some(place) = to.last_chunk_mut() {
            *place = *last;
        }
    }
}

/// Where the parts of a message of ours are.
pub(crate) struct Found {
    pub(crate) topic: std::ops::Range<usize>,
    pub(crate) payload: std::ops::Range<usize>,
    /// Where the trailer begins, if there is one.
    pub(crate) trailer: Option<usize>,
    pub(crate) total: usize,
}

impl Found {
    /// How many messages at the beginning of `frames`, this one and those behind it, have its topic and no trailer; and
    /// their bytes. Topics come in runs, and this costs a fraction of finding each.
    #[inline]
    pub(crate) fn run(&self, frames: &[u8]) -> (u64, usize) {
        let rest = frames.get(self.total..).unwrap_or_default();
        let first = frames.get(..self.topic.end).unwrap_or_default();
        let (messages, bytes) = repeats(rest, first, usize::MAX, (usize::MAX, usize::MAX));
        (1 + messages as u64, self.total + bytes)
    }
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

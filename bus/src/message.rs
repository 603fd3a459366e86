//! What arrives: borrowed in a handler, owned in an inbox.

use bytes::{Bytes, BytesMut};
use multiplane_codec::{DecodeError, Limits, View, decode};
use multiplane_core::Trailer;
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Names one backplane of one [`Bus`](crate::Bus): as small as a number, prints as the name.
///
/// ```
/// # fn handle(message: &multiplane_bus::Message<'_>) {
/// if message.backplane() == "BP1" {
///     println!("from {}", message.backplane());
/// }
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct BackplaneId {
    name: &'static str,
    index: u16,
}

impl BackplaneId {
    /// Names live as long as the process; each distinct one is kept once, and a bus has few.
    pub(crate) fn intern(name: &str, index: u16) -> Self {
        static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_with(HashSet::new);
        let name = match names.get(name) {
            Some(name) => name,
            None => {
                let name: &'static str = Box::leak(name.into());
                names.insert(name);
                name
            }
        };
        Self { name, index }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.index)
    }

    /// The name in the routing specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl fmt::Display for BackplaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl fmt::Debug for BackplaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackplaneId({:?})", self.name)
    }
}

impl PartialEq for BackplaneId {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.name == other.name
    }
}

impl Eq for BackplaneId {}

impl PartialEq<str> for BackplaneId {
    fn eq(&self, other: &str) -> bool {
        self.name == other
    }
}

impl PartialEq<&str> for BackplaneId {
    fn eq(&self, other: &&str) -> bool {
        self.name == *other
    }
}

/// A message while it is being handled: everything in it is borrowed from the receive buffer.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    backplane: BackplaneId,
    topic: &'a str,
    payload: &'a [u8],
    trailer: Option<Trailer>,
}

impl<'a> Message<'a> {
    pub(crate) fn new(
        backplane: BackplaneId,
        topic: &'a str,
        payload: &'a [u8],
        trailer: Option<Trailer>,
    ) -> Self {
        Self { backplane, topic, payload, trailer }
    }

    /// Becomes the next message, ...
    #[inline]
    pub(crate) fn set_topic(&mut self, topic: &'a str) {
        self.topic = topic;
    }

    /// ... of the same topic if that is not set as well.
    #[inline]
    pub(crate) fn set_payload(&mut self, payload: &'a [u8]) {
        self.payload = payload;
    }

    /// The backplane that it came by.
    #[must_use]
    pub fn backplane(&self) -> BackplaneId {
        self.backplane
    }

    /// Its whole topic, of which a subscription is a prefix.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The payload as it came.
    #[must_use]
    pub fn payload_bytes(&self) -> &'a [u8] {
        self.payload
    }

    /// A checked view of the payload, without a copy.
    ///
    /// # Errors
    /// When the payload is not exactly one MessagePack value within the default [`Limits`].
    pub fn payload(&self) -> Result<View<'a>, DecodeError> {
        View::parse(self.payload, &Limits::default())
    }

    /// The payload as a type of yours. `&str` and `&[u8]` fields borrow from the receive buffer.
    ///
    /// # Errors
    /// When the payload is not MessagePack or has another shape.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        decode(self.payload, &Limits::default())
    }

    /// Publisher, sequence number and send time, if the publisher adds them.
    #[must_use]
    pub fn trailer(&self) -> Option<Trailer> {
        self.trailer
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("backplane", &self.backplane.name)
            .field("topic", &self.topic)
            .field("payload_length", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A message that may be kept: what a [`Subscriber`](crate::Subscriber) hands out. Cheap to clone.
///
/// A large payload shares the receive buffer. Small messages are copied side by side into chunks of 16 KiB, so keeping
/// one of them keeps at most that much memory.
#[derive(Clone)]
pub struct OwnedMessage {
    backplane: BackplaneId,
    topic: Bytes,
    payload: Bytes,
    trailer: Option<Trailer>,
}

impl OwnedMessage {
    /// The same message, borrowed.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        Message::new(self.backplane, self.topic(), &self.payload, self.trailer)
    }

    /// The backplane that it came by.
    #[must_use]
    pub fn backplane(&self) -> BackplaneId {
        self.backplane
    }

    /// Its whole topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        // Checked when it arrived; messages with other topics never get this far.
        std::str::from_utf8(&self.topic).unwrap_or_default()
    }

    /// The payload as it came.
    #[must_use]
    pub fn payload_bytes(&self) -> &Bytes {
        &self.payload
    }

    /// A checked view of the payload, without a copy.
    ///
    /// # Errors
    /// When the payload is not exactly one MessagePack value within the default [`Limits`].
    pub fn payload(&self) -> Result<View<'_>, DecodeError> {
        self.as_message().payload()
    }

    /// The payload as a type of yours.
    ///
    /// # Errors
    /// When the payload is not MessagePack or has another shape.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        decode(&self.payload, &Limits::default())
    }

    /// Publisher, sequence number and send time, if the publisher adds them.
    #[must_use]
    pub fn trailer(&self) -> Option<Trailer> {
        self.trailer
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_message().fmt(f)
    }
}

/// Copies small messages side by side, so that keeping a message costs an allocation per chunk and not per message.
pub(crate) struct Arena {
    chunk: BytesMut,
    chunk_bytes: usize,
    copy_below: usize,
}

impl Arena {
    pub(crate) fn new(chunk_bytes: usize, copy_below: usize) -> Self {
        Self { chunk: BytesMut::new(), chunk_bytes, copy_below }
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.chunk.capacity() < bytes.len() {
            self.chunk = BytesMut::with_capacity(self.chunk_bytes.max(bytes.len()));
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }

    /// Copies `message` if it is small. A large one answers with what is missing: its payload.
    pub(crate) fn keep(&mut self, message: &Message<'_>) -> Result<OwnedMessage, Headless> {
        let (backplane, trailer) = (message.backplane, message.trailer);
        let topic = self.copy(message.topic.as_bytes());
        if message.payload.len() < self.copy_below {
            Ok(OwnedMessage { backplane, topic, payload: self.copy(message.payload), trailer })
        } else {
            Err(Headless(OwnedMessage { backplane, topic, payload: Bytes::new(), trailer }))
        }
    }
}

/// A message whose payload is still in the receive buffer.
pub(crate) struct Headless(OwnedMessage);

impl Headless {
    pub(crate) fn with_payload(self, payload: Bytes) -> OwnedMessage {
        OwnedMessage { payload, ..self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_share_a_chunk_and_large_ones_their_buffer() {
        let id = BackplaneId::intern("A", 0);
        let mut arena = Arena::new(1024, 100);
        let small = Message::new(id, "t", b"payload", None);
        let mut keep = |message| arena.keep(message).unwrap_or_else(|part| part.with_payload(Bytes::new()));
        let (first, second) = (keep(&small), keep(&small));
        assert_eq!((first.topic(), &first.payload[..]), ("t", &b"payload"[..]));
        assert_eq!(second.topic.as_ptr(), first.payload.as_ptr().wrapping_add(7));
        let large = Bytes::from(vec![1; 100]);
        assert!(arena.keep(&Message::new(id, "t", &large, None)).is_err(), "not copied");
    }

    #[test]
    fn a_topic_longer_than_a_chunk_is_kept_whole() {
        let topic = "x".repeat(5000);
        let message = Message::new(BackplaneId::intern("A", 0), &topic, b"", None);
        assert_eq!(Arena::new(1024, 100).keep(&message).ok().unwrap().topic(), topic);
    }

    #[test]
    fn a_name_is_kept_once() {
        let (first, second) = (BackplaneId::intern("B", 0), BackplaneId::intern("B", 1));
        assert!(std::ptr::eq(first.name(), second.name()));
        assert_ne!(first, second);
        assert_eq!(first, "B");
    }
}

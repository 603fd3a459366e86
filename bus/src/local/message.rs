//! What a local backplane carries by default.

use bytes::Bytes;
use multiplane_ring::broadcast::Carried;
use std::fmt;
use std::sync::Arc;

/// A payload, and perhaps a topic. Cheap to clone: both are shared.
///
/// Within the process a payload is enough. Only what has a topic can travel on over a network.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    topic: Option<Arc<str>>,
    payload: Bytes,
    from_network: bool,
}

impl Message {
    /// A message with a topic.
    #[must_use]
    pub fn on(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self { topic: Some(topic.into()), payload: payload.into(), from_network: false }
    }

    pub(super) fn from_network(topic: Arc<str>, payload: Bytes) -> Self {
        Self { topic: Some(topic), payload, from_network: true }
    }

    /// Whether it came by a networked backplane that the local one is [joined](super::Backplane::join) to.
    #[must_use]
    pub fn is_from_network(&self) -> bool {
        self.from_network
    }

    /// Its topic, if it has one.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Its payload, to share.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Its payload.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }
}

impl<P: Into<Bytes>> From<P> for Message {
    fn from(payload: P) -> Self {
        Self { topic: None, payload: payload.into(), from_network: false }
    }
}

impl Carried for Message {
    #[inline]
    fn bytes(&self) -> usize {
        self.payload.len()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_length", &self.payload.len())
            .finish()
    }
}

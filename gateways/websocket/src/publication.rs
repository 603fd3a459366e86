//! A message of a client on its way to the bus.

use bytes::Bytes;
use std::ops::Range;

/// A message on its way to the bus.
pub(crate) struct Publication<'p> {
    pub(crate) topic: &'p str,
    pub(crate) payload: &'p [u8],
    /// The backplanes that it still goes to.
    pub(crate) to: Range<usize>,
    pub(crate) tag: Option<&'p [u8]>,
}

/// The same, while a backplane has no room for it.
#[derive(Debug)]
pub(crate) struct Held {
    topic: String,
    payload: Bytes,
    to: Range<usize>,
    tag: Option<Vec<u8>>,
}

impl Publication<'_> {
    pub(crate) fn hold(self) -> Held {
        let payload = Bytes::copy_from_slice(self.payload);
        Held { topic: self.topic.to_owned(), payload, to: self.to, tag: self.tag.map(<[u8]>::to_vec) }
    }
}

impl Held {
    pub(crate) fn again(&self) -> Publication<'_> {
        Publication {
            topic: &self.topic,
            payload: &self.payload,
            to: self.to.clone(),
            tag: self.tag.as_deref(),
        }
    }
}

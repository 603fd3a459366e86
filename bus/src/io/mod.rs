//! The transports behind a worker. Everything that knows libzmq is in [`zmq`]; nothing above sees its types.

pub(crate) mod zmq;

/// A subscription that our backplanes always hold upstream. It is not UTF-8, so no message ever matches it, and it
/// sorts last, so whoever receives it has received all others: the publisher's table is complete.
pub(crate) const SYNC_MARKER: &[u8] = &[0xff];

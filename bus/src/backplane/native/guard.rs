//! What ends a component written in Python, and passes only where nobody minds.

use super::forwarder::Forwarder;
use multiplane_codec::msgpack::{PythonRefuses, accepted_by_python};
use multiplane_codec::zmtp::frame::Header;
use std::io::{Read, Write};
use std::time::Instant;

/// Why a message is stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Harm {
    #[error("it has only one frame")]
    OneFrame,
    #[error("its topic is not UTF-8")]
    Topic,
    #[error("its payload: {0}")]
    Payload(#[from] PythonRefuses),
}

impl<S: Read + Write> Forwarder<S> {
    /// A message that the guard does not let pass.
    pub(super) fn stop(&mut self, id: u32, length: usize, reason: &Harm, now: Instant) {
        self.counters.received.add(1);
        self.counters.received_bytes.add(length as u64);
        self.counters.guarded.add(1);
        let publisher = self.peers.get(id).map_or("this process", |peer| &peer.address);
        self.guard_complaint.complain(now, |before| {
            tracing::warn!(backplane = self.name, publisher, %reason, before, "stopped a message that would end Python components");
        });
    }
}

/// Judges the topic and the payload of a whole message; receivers ignore the frames behind them.
pub(super) fn check(message: &[u8]) -> Result<(), Harm> {
    let (topic, has_more, rest) = frame(message).ok_or(Harm::OneFrame)?;
    if !has_more {
        return Err(Harm::OneFrame);
    }
    if std::str::from_utf8(topic).is_err() {
        return Err(Harm::Topic);
    }
    let (payload, ..) = frame(rest).ok_or(Harm::OneFrame)?;
    Ok(accepted_by_python(payload)?)
}

/// The first frame, whether more follow, and what follows.
fn frame(bytes: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let header = Header::parse(bytes, usize::MAX).ok()??;
    let (frame, rest) = bytes.split_at_checked(header.total())?;
    Some((&frame[header.header..], header.has_more(), rest))
}

//! What a server counts.

use crate::count::Count;

/// What a [`StreamServer`](super::StreamServer) counted since it started.
///
/// A message goes as one copy to each client that subscribes. The books close:
/// `copies == sent + dropped + lost + queued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Clients connected now.
    pub clients: u64,
    /// Clients that ever connected.
    pub accepted: u64,
    /// Those turned away: no descriptor left, too many, or no such backplane; the log says which.
    pub turned_away: u64,
    /// Bytes that clients sent.
    pub received_bytes: u64,
    /// Messages published for them.
    pub published: u64,
    /// Clients cut off for a line that was too long.
    pub cut_off: u64,
    /// Clients disconnected for being idle.
    pub idle: u64,
    /// Clients disconnected for being slow, by [`OnSlow::Disconnect`](crate::OnSlow::Disconnect).
    pub slow: u64,
    /// Messages that the server itself missed, because the backplane skips who lags.
    pub missed: u64,
    /// Copies of messages for clients.
    pub copies: u64,
    /// Copies that the system took.
    pub sent: u64,
    /// Bytes that the system took.
    pub sent_bytes: u64,
    /// Copies that a slow client lost.
    pub dropped: u64,
    /// Copies that still waited when their client went away, or at the end.
    pub lost: u64,
    /// Copies that wait now.
    pub queued: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) clients: Count,
    pub(super) accepted: Count,
    pub(super) turned_away: Count,
    pub(super) received_bytes: Count,
    pub(super) published: Count,
    pub(super) cut_off: Count,
    pub(super) idle: Count,
    pub(super) slow: Count,
    pub(super) missed: Count,
    pub(super) queued: Count,
    pub(super) sent: Count,
    pub(super) sent_bytes: Count,
    pub(super) dropped: Count,
    pub(super) lost: Count,
}

impl Counters {
    pub(super) fn read(&self) -> ServerStats {
        let (sent, dropped) = (self.sent.get(), self.dropped.get());
        let (lost, queued) = (self.lost.get(), self.queued.get());
        ServerStats {
            clients: self.clients.get(),
            accepted: self.accepted.get(),
            turned_away: self.turned_away.get(),
            received_bytes: self.received_bytes.get(),
            published: self.published.get(),
            cut_off: self.cut_off.get(),
            idle: self.idle.get(),
            slow: self.slow.get(),
            missed: self.missed.get(),
            copies: sent + dropped + lost + queued,
            sent,
            sent_bytes: self.sent_bytes.get(),
            dropped,
            lost,
            queued,
        }
    }
}

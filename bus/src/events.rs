//! What happens to links, told to whoever asks.

use crate::message::BackplaneId;
use multiplane_ring::queue::{Receiver, Sender, TrySendError, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which of the two links to a backplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To its publisher port: what the component publishes goes out here.
    Publish,
    /// To its subscriber port: what the component receives comes in here.
    Subscribe,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Direction::Publish => "publisher",
            Direction::Subscribe => "subscriber",
        })
    }
}

/// What a connection runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP.
    Tcp,
    /// A Unix socket, to which native ends on the same host move where the backplane
    /// [offers one](crate::BackplaneBuilder::unix_shortcut).
    Unix,
    /// TCP, sealed by CURVE; see [`Builder::curve`](crate::Builder::curve).
    Curve,
    /// None: the component hosts the backplane.
    Hosted,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "tcp",
            Transport::Unix => "unix",
            Transport::Curve => "tcp with curve",
            Transport::Hosted => "hosted",
        })
    }
}

/// A link came up or went down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The link is live: for a publisher's link all subscriptions are known, for a subscriber's link all its own are
    /// on their way.
    LinkUp {
        /// Which backplane.
        backplane: BackplaneId,
        /// Which of its links.
        direction: Direction,
        /// What it runs on now.
        transport: Transport,
        /// How long it had been down or connecting.
        after: Duration,
    },
    /// The link is lost; the worker keeps trying.
    LinkDown {
        /// Which backplane.
        backplane: BackplaneId,
        /// Which of its links.
        direction: Direction,
        /// How long it had been live.
        was_up: Duration,
    },
}

/// The link events of a bus. Holds the newest 1024; what had to make way is counted.
#[derive(Clone, Debug)]
pub struct Events {
    receiver: Receiver<LinkEvent>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// The next event, waiting at most `timeout`; `None` when there was none in that time or the bus is closed.
    #[must_use]
    pub fn recv_timeout(&self, timeout: Duration) -> Option<LinkEvent> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// The next event if there is one.
    #[must_use]
    pub fn try_recv(&self) -> Option<LinkEvent> {
        self.receiver.try_recv().ok()
    }

    /// Events that were never read and made way for newer ones.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The workers' end.
#[derive(Clone)]
pub(crate) struct EventSink {
    sender: Sender<LinkEvent>,
    oldest: Receiver<LinkEvent>,
    lost: Arc<AtomicU64>,
}

impl EventSink {
    pub(crate) fn new(capacity: usize) -> (Self, Events) {
        let (sender, receiver) = bounded(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        (Self { sender, oldest: receiver.clone(), lost: lost.clone() }, Events { receiver, lost })
    }

    pub(crate) fn send(&self, mut event: LinkEvent) {
        while let Err(TrySendError::Full(again)) = self.sender.try_send(event) {
            event = again;
            if self.oldest.try_recv().is_ok() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_way_and_are_counted() {
        let (sink, events) = EventSink::new(2);
        let backplane = BackplaneId::intern("E", 0);
        let up = |seconds| LinkEvent::LinkUp {
            backplane,
            direction: Direction::Publish,
            transport: Transport::Tcp,
            after: Duration::from_secs(seconds),
        };
        for seconds in 0..3 {
            sink.send(up(seconds));
        }
        assert_eq!(events.lost(), 1);
        assert_eq!(events.try_recv(), Some(up(1)));
        assert_eq!(events.try_recv(), Some(up(2)));
        assert_eq!(events.try_recv(), None);
    }
}

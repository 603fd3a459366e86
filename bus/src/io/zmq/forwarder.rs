use super::{Context, Monitor, SocketError, common, descriptor, options, set_family, wire_prefix};
use crate::io::SYNC_MARKER;
use multiplane_core::Budget;
use std::os::fd::RawFd;

/// The two bound sockets of a backplane: `XSUB` for publishers, `XPUB` for subscribers.
pub(crate) struct Forwarder {
    publishers: zmq::Socket,
    subscribers: zmq::Socket,
    /// The topic frame of a message that is half-way: received, and not yet accepted by the subscribers' side.
    held: Option<zmq::Message>,
    subscriptions: usize,
}

/// What became of one message.
pub(crate) enum Forwarded {
    /// It went to every subscriber that wants it.
    Sent {
        /// Bytes of all its frames.
        bytes: u64,
    },
    /// At least one subscriber that wants it had no room and lost it.
    Dropped {
        /// Bytes of all its frames.
        bytes: u64,
    },
    /// At least one subscriber that wants it has no room, and it waits.
    Blocked,
    /// There is none.
    Empty,
}

/// What one look at the subscribers' wishes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionFlow {
    /// A change went on to the publishers.
    Moved,
    /// There is none.
    Empty,
}

/// The monitors of the publishers' and the subscribers' side.
pub(crate) struct Monitors {
    pub(crate) publishers: Monitor,
    pub(crate) subscribers: Monitor,
}

/// Which port could not be bound, and why.
pub(crate) struct BindError {
    pub(crate) port: u16,
    pub(crate) error: SocketError,
}

impl Forwarder {
    /// Binds both ports; 0 means any free one. The subscribers' side comes first, so that after a restart those who
    /// listen are back before those who talk.
    pub(crate) fn bind(
        context: &Context,
        host: &str,
        ports: (u16, u16),
        budget: &Budget,
    ) -> Result<(Self, Monitors), BindError> {
        let (subscriber_port, publisher_port) = ports;
        let side = |kind, port: u16| {
            let endpoint = format!("tcp://{host}:{port}");
            let bound = (|| {
                let mut socket = context.0.socket(kind)?;
                common(&socket, budget)?;
                set_family(&socket, &endpoint)?;
                if kind == zmq::XPUB {
                    socket.set_rcvhwm(0)?;
                    // What comes in here is subscriptions only. A longer one than any of ours would be kept as a
                    // deep tree, on which libzmq recurses.
                    socket.set_maxmsgsize(budget.subscription_topic_bytes as i64 + 64)?;
                    options::set_xpub_nodrop(&mut socket, true)?;
                } else {
                    socket.set_sndhwm(0)?;
                }
                let monitor = Monitor::new(context, &socket)?;
                socket.bind(&endpoint)?;
                Ok((socket, monitor))
            })();
            bound.map_err(|error| BindError { port, error })
        };
        let (subscribers, on_subscribers) = side(zmq::XPUB, subscriber_port)?;
        let (publishers, on_publishers) = side(zmq::XSUB, publisher_port)?;
        let forwarder = Self { publishers, subscribers, held: None, subscriptions: 0 };
        forwarder.send_upstream(true, SYNC_MARKER);
        Ok((forwarder, Monitors { publishers: on_publishers, subscribers: on_subscribers }))
    }

    /// The ports that are bound: subscribers', publishers'.
    pub(crate) fn ports(&self) -> Result<(u16, u16), SocketError> {
        let port = |socket: &zmq::Socket| -> Result<u16, SocketError> {
            let endpoint = socket.get_last_endpoint()?.unwrap_or_default();
            endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).ok_or(zmq::Error::EINVAL.into())
        };
        Ok((port(&self.subscribers)?, port(&self.publishers)?))
    }

    /// The descriptors to poll: publishers' side, subscribers' side.
    pub(crate) fn fds(&self) -> Result<(RawFd, RawFd), SocketError> {
        Ok((descriptor(&self.publishers)?, descriptor(&self.subscribers)?))
    }

    /// Lets libzmq do what is due on both sides.
    pub(crate) fn touch(&self) {
        let _ = self.publishers.get_events();
        let _ = self.subscribers.get_events();
    }

    /// Distinct prefixes that somebody wants.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// How long closing may take to flush what libzmq holds for subscribers.
    pub(crate) fn set_linger(&self, linger: std::time::Duration) {
        let _ = self.subscribers.set_linger(super::millis(linger));
    }

    /// Moves one message from the publishers to the subscribers, all frames as they are. With `drop_when_full` a full
    /// subscriber loses it and the others get it; otherwise it waits for all of them.
    pub(crate) fn forward(&mut self, drop_when_full: bool) -> Forwarded {
        let topic = match self.held.take() {
            Some(topic) => topic,
            None => match self.publishers.recv_msg(zmq::DONTWAIT) {
                Ok(topic) => topic,
                Err(_) => return Forwarded::Empty,
            },
        };
        let mut more = topic.get_more();
        let on_the_wire = |frame: &zmq::Message| frame.len() as u64 + if frame.len() > 255 { 9 } else { 2 };
        let mut bytes = on_the_wire(&topic);
        let flags = |more| if more { zmq::DONTWAIT | zmq::SNDMORE } else { zmq::DONTWAIT };
        let mut lossless = true;
        // A refused message would be gone, so the topic goes as a copy; short ones need no memory of their own.
        if self.subscribers.send(&topic[..], flags(more)).is_err() {
            if !drop_when_full {
                self.held = Some(topic);
                return Forwarded::Blocked;
            }
            lossless = false;
            // Once more, and libzmq leaves out those who have no room.
            let _ = options::set_xpub_nodrop(&mut self.subscribers, false);
            let _ = self.subscribers.send(&topic[..], flags(more));
        }
        while more {
            let Ok(frame) = self.publishers.recv_msg(zmq::DONTWAIT) else { break };
            more = frame.get_more();
            bytes += on_the_wire(&frame);
            let _ = self.subscribers.send(frame, flags(more));
        }
        if lossless {
            return Forwarded::Sent { bytes };
        }
        let _ = options::set_xpub_nodrop(&mut self.subscribers, true);
        Forwarded::Dropped { bytes }
    }

    /// Moves one change of the subscribers' wishes to the publishers.
    pub(crate) fn forward_subscription(&mut self) -> SubscriptionFlow {
        let Ok(message) = self.subscribers.recv_msg(zmq::DONTWAIT) else { return SubscriptionFlow::Empty };
        match message.split_first() {
            Some((1, topic)) => {
                self.subscriptions += 1;
                self.send_upstream(true, topic);
            }
            Some((0, topic)) => {
                self.subscriptions = self.subscriptions.saturating_sub(1);
                self.send_upstream(false, topic);
            }
            // A subscriber that sends data: nobody receives on that way.
            _ => {}
        }
        SubscriptionFlow::Moved
    }

    fn send_upstream(&self, subscribe: bool, topic: &[u8]) {
        let prefix = wire_prefix(topic);
        let mut message = Vec::with_capacity(prefix.len() + 1);
        message.push(u8::from(subscribe));
        message.extend_from_slice(prefix);
        // No high-water mark limits this direction, so it cannot be refused.
        let _ = self.publishers.send(message, zmq::DONTWAIT);
    }
}

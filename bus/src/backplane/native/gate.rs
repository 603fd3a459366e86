//! Who may come in by CURVE, and what may pass.

use super::connection::Side;
use super::forwarder::Forwarder;
use crate::backplane::{Counters, Security};
use crate::curve::{AllowList, Client};
use crate::io::curve::{Denied, Gate, Role, Tunnel, wish};
use crate::worker::{RateLimit, now};
use multiplane_codec::zmtp::SocketType;
use multiplane_codec::zmtp::curve::{Opened, PublicKey};
use multiplane_codec::zmtp::frame::{COMMAND, MORE};
use std::io::{Read, Write};
use std::sync::Arc;

/// Characters of a topic in the log.
const SHOWN: usize = 64;

impl<S: Read + Write> Forwarder<S> {
    /// What stands before a connection that came in by this side.
    pub(super) fn tunnel(&self, security: &Security, side: Side) -> Tunnel {
        let gate = Gatekeeper {
            backplane: self.name.clone(),
            allow: security.allow.clone(),
            side,
            client: None,
            inside: None,
            counters: self.counters.clone(),
            complaint: RateLimit::new(),
        };
        let (kind, limit) = match side {
            Side::Publisher => (SocketType::XSub, self.budget.message_bytes),
            Side::Subscriber => (SocketType::XPub, self.budget.subscription_topic_bytes + 64),
        };
        let role = Role::Server { ours: security.keys.clone(), gate: Box::new(gate) };
        Tunnel::new(role, kind, limit)
    }
}

/// Of one connection.
struct Gatekeeper {
    backplane: String,
    allow: Arc<AllowList>,
    side: Side,
    client: Option<Arc<Client>>,
    /// In a message of which more frames follow: whether they may pass.
    inside: Option<bool>,
    counters: Arc<Counters>,
    complaint: RateLimit,
}

impl Gate for Gatekeeper {
    fn admit(&mut self, key: &PublicKey) -> Result<(), Denied> {
        let Some(client) = self.allow.get(key) else {
            return Err(Denied(format!("the key {key} is not on the allow-list")));
        };
        let (rights, what) = match self.side {
            Side::Publisher => (&client.publish, "publish"),
            Side::Subscriber => (&client.subscribe, "subscribe to"),
        };
        if rights.is_empty() {
            return Err(Denied(format!("{:?} ({key}) may {what} nothing here", client.name)));
        }
        self.client = Some(client.clone());
        Ok(())
    }

    fn lets_pass(&mut self, frame: &Opened<'_>) -> bool {
        match self.side {
            Side::Subscriber => wish(frame).is_none_or(|topic| self.has_right(topic)),
            Side::Publisher if frame.flags & COMMAND != 0 => true,
            Side::Publisher => {
                let passes = self.inside.unwrap_or_else(|| self.has_right(frame.body));
                self.inside = (frame.flags & MORE != 0).then_some(passes);
                passes
            }
        }
    }

    fn lost(&mut self, messages: u64) {
        // A publisher of ZMTP 3.0 hears of subscriptions by messages, which are no copies.
        if self.side == Side::Subscriber {
            self.counters.forwarded.take_back(messages);
            self.counters.lost.add(messages);
        }
    }
}

impl Gatekeeper {
    /// Whether the client may publish this topic, or subscribe to topics that begin so.
    fn has_right(&mut self, topic: &[u8]) -> bool {
        let Some(client) = &self.client else { return false };
        let rights = match self.side {
            Side::Publisher => &client.publish,
            Side::Subscriber => &client.subscribe,
        };
        if rights.iter().any(|prefix| topic.starts_with(prefix.as_bytes())) {
            return true;
        }
        self.counters.denied.add(1);
        let (backplane, name) = (&self.backplane, &client.name);
        let what = match self.side {
            Side::Publisher => "denied: a message to whose topic its publisher has no right",
            Side::Subscriber => "denied: a subscription to which its subscriber has no right",
        };
        self.complaint.complain(now(), |before| {
            let topic = String::from_utf8_lossy(&topic[..topic.len().min(SHOWN)]);
            tracing::warn!(backplane, key = ?name, ?topic, before, "{what}");
        });
        false
    }
}

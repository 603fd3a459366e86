//! The life of a link, told to everybody who should hear of it.

use crate::error::DeadLink;
use crate::events::{Direction, EventSink, LinkEvent, Transport};
use crate::shared::BackplaneShared;
use multiplane_core::{LinkLife, LinkState, Transition};
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Life {
    life: LinkLife,
    shared: Arc<BackplaneShared>,
    direction: Direction,
    /// Of the last connection.
    transport: Transport,
    events: EventSink,
}

impl Life {
    pub(crate) fn new(
        shared: Arc<BackplaneShared>,
        direction: Direction,
        events: EventSink,
        now: Instant,
    ) -> Self {
        let (life, transport) = (LinkLife::new(now), Transport::Tcp);
        Self { life, shared, direction, transport, events }
    }

    pub(super) fn is_live(&self) -> bool {
        self.life.state() == LinkState::Live
    }

    pub(super) fn state(&self) -> LinkState {
        self.life.state()
    }

    /// When the present state began: a moment that is not to come.
    pub(super) fn since(&self) -> Instant {
        self.life.since()
    }

    pub(super) fn connected(&mut self, transport: Transport, now: Instant) {
        self.transport = transport;
        let transition = self.life.handle_connected(now);
        self.tell(transition);
    }

    pub(super) fn disconnected(&mut self, now: Instant) {
        let transition = self.life.handle_disconnected(now);
        self.tell(transition);
    }

    pub(super) fn retried(&mut self, now: Instant) {
        let transition = self.life.handle_retry(now);
        self.tell(transition);
    }

    pub(super) fn closed(&mut self, now: Instant) {
        self.life.handle_closed(now);
        self.publish_state();
    }

    pub(super) fn handshake_failed(&self, reason: &str) {
        let (backplane, direction) = (self.shared.id, self.direction);
        tracing::warn!(
            %backplane, %direction, endpoint = self.endpoint(), reason,
            "the peer does not speak ZMTP, or is no backplane: are publisher and subscriber port swapped?"
        );
    }

    /// What to say of a link that is not live.
    pub(super) fn dead(&self) -> DeadLink {
        DeadLink {
            backplane: self.shared.id.to_string(),
            direction: self.direction,
            endpoint: self.endpoint().to_owned(),
            attempts: self.life.attempts(),
        }
    }

    fn endpoint(&self) -> &str {
        match self.direction {
            Direction::Publish => self.shared.publish.as_ref().map_or("", |side| &side.endpoint),
            Direction::Subscribe => self.shared.subscribe.as_ref().map_or("", |side| &side.endpoint),
        }
    }

    fn publish_state(&self) {
        let state = self.life.state();
        match self.direction {
            Direction::Publish => self.shared.publish.iter().for_each(|side| side.set_state(state)),
            Direction::Subscribe => self.shared.subscribe.iter().for_each(|side| side.set_state(state)),
        }
    }

    fn tell(&self, transition: Option<Transition>) {
        let (backplane, direction, transport) = (self.shared.id, self.direction, self.transport);
        let event = match transition {
            None => return,
            Some(Transition::Up { after }) => {
                tracing::info!(%backplane, %direction, %transport, endpoint = self.endpoint(), ?after, "link up");
                LinkEvent::LinkUp { backplane, direction, transport, after }
            }
            Some(Transition::Down { was_up }) => {
                tracing::warn!(%backplane, %direction, endpoint = self.endpoint(), ?was_up, "link down");
                LinkEvent::LinkDown { backplane, direction, was_up }
            }
        };
        self.publish_state();
        self.events.send(event);
    }
}

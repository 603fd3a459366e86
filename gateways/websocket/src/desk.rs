//! What all connections share: the bus, the books, and the answers to what clients ask.

use crate::config::{Config, allows};
use crate::connection::{Close, Connection, Phase};
use crate::http::Gate;
use crate::interest::{Interest, Wish};
use crate::publication::{Held, Publication};
use crate::report::{Event, Stats};
use crate::session::{Kind, Session, Watch};
use crate::translate::{self, First, Form, Reply, Request};
use crate::view::{Before, Board, FIRST};
use multiplane_bridge::{Outgoing, RateLimit, Setup};
use multiplane_bus::{Bus, PublishError, Publisher, Subscriber};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::CloseCode;

/// Prefixes of one client.
const PREFIXES: usize = 1000;
/// Clients that may watch.
const WATCHERS: usize = 16;
/// What begins so is the bus's own.
pub(crate) const OWN: &str = "_bus.";

/// What all connections share.
pub(crate) struct Desk {
    pub(crate) config: Config,
    pub(crate) gate: Gate,
    pub(crate) stats: Stats,
    pub(crate) board: Board,
    pub(crate) interest: Interest,
    pub(crate) watchers: usize,
    pub(crate) tell: Box<dyn FnMut(&Event<'_>) + Send>,
    pub(crate) complaints: Complaints,
    backplanes: Vec<Backplane>,
    /// The one inbox of the gateway; `None` if no backplane has a subscriber port.
    pub(crate) inbox: Option<Subscriber>,
    /// How many sessions want a prefix on a backplane: the bus hears of the first and the last.
    wanted: HashMap<(usize, String), usize>,
    /// JSON as MessagePack.
    buffer: Vec<u8>,
    welcome: Vec<u8>,
}

/// One each, so that a frequent mishap does not hide a rare one.
#[derive(Default)]
pub(crate) struct Complaints {
    pub(crate) refused: RateLimit,
    pub(crate) unpublished: RateLimit,
    pub(crate) undecodable: RateLimit,
    pub(crate) slow: RateLimit,
    pub(crate) full: RateLimit,
}

struct Backplane {
    name: String,
    publisher: Option<Publisher>,
    subscribes: bool,
}

impl Desk {
    pub(crate) fn new(
        bus: &Bus,
        config: Config,
        gate: Gate,
        tell: Box<dyn FnMut(&Event<'_>) + Send>,
        setup: &Setup,
    ) -> Result<Self, multiplane_bus::BusError> {
        let mut backplanes = Vec::new();
        let mut inbox = None;
        for route in bus.routing().routes() {
            let publisher = route.publisher_port.map(|_| {
                let waker = setup.waker.clone();
                // The only failure is that it is being woken already.
                Ok(bus.publisher(&route.name)?.on_room(move || drop(waker.wake())))
            });
            let publisher = publisher.transpose()?;
            let subscribes = route.subscriber_port.is_some();
            if subscribes && inbox.is_none() {
                inbox = Some(bus.subscriber_of(&route.name, [])?);
            }
            backplanes.push(Backplane { name: route.name.clone(), publisher, subscribes });
        }
        // Names of backplanes are short.
        let welcome = translate::welcome(bus.name(), bus.routing(), gate.token).unwrap_or_default();
        Ok(Self {
            config,
            gate,
            stats: Stats::default(),
            board: Board::new(bus.routing(), setup.now),
            interest: Interest::default(),
            watchers: 0,
            tell,
            complaints: Complaints::default(),
            backplanes,
            inbox,
            wanted: HashMap::new(),
            buffer: Vec::new(),
            welcome,
        })
    }

    /// Tells that somebody was not let in, or was sent away.
    pub(crate) fn refuse(&mut self, peer: SocketAddr, why: &str, now: Instant) {
        let tell = &mut self.tell;
        self.complaints.refused.complain(now, |before| {
            tracing::warn!(%peer, why, before, "refused");
            tell(&Event::Refused { peer, why, before });
        });
    }

    /// Which backplane has this name.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.backplanes.iter().position(|one| one.name == name)
    }

    /// Does what a client's message says.
    pub(crate) fn hear(
        &mut self,
        key: usize,
        connection: &mut Connection,
        form: Form,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Close> {
        let Phase::Open { session, held, .. } = &mut connection.phase else { return Ok(()) };
        let outgoing = &mut connection.outgoing;
        let mut buffer = std::mem::take(&mut self.buffer);
        let heard = match session {
            None => self.begin(key, connection.peer, form, body, &mut buffer, outgoing, now).map(
                |(begun, waiting)| {
                    *session = Some(Box::new(begun));
                    *held = waiting;
                },
            ),
            Some(session) => {
                self.hear_more(key, session, form, body, &mut buffer, outgoing, now).map(|waiting| {
                    *held = waiting;
                })
            }
        };
        self.buffer = buffer;
        // A large message must not be paid for forever.
        self.buffer.shrink_to(64 * 1024);
        heard
    }

    /// The first message.
    #[allow(clippy::too_many_arguments, reason = "they are parts of one connection, borrowed apart")]
    fn begin(
        &mut self,
        key: usize,
        peer: SocketAddr,
        form: Form,
        body: &[u8],
        buffer: &mut Vec<u8>,
        outgoing: &mut Outgoing,
        now: Instant,
    ) -> Result<(Session, Option<Held>), Close> {
        let policy = |reason: &str| (CloseCode::Policy, reason.to_owned());
        let message = translate::body_of(form, body, buffer).map_err(|error| (CloseCode::Invalid, error))?;
        let first = translate::first(&message).ok_or_else(|| {
            policy("the first message is {\"id\": \"to_...\"} of a Banyan client, or a map with `op`")
        })?;
        let given = match &first {
            First::Banyan { token, .. } => *token,
            First::Enveloped => match translate::parse(&message).0 {
                Ok(Request::Hello { token }) => token,
                _ => None,
            },
        };
        if let Some(token) = &self.config.token
            && !given.is_some_and(|given| token.matches(given))
        {
            return Err(policy(
                "the first message must bring the token: {\"op\":\"hello\",\"token\":\"...\"}",
            ));
        }
        let mut session = match first {
            First::Banyan { id, .. } => {
                let from = translate::reports_of(id, self.config.compat)
                    .ok_or_else(|| policy("an id begins with `to_`, and replies come from `from_`"))?;
                if id.starts_with(OWN) || from.starts_with(OWN) {
                    return Err(policy("topics that begin with `_bus.` are the bus's own"));
                }
                if !self.config.ids.is_empty() && !self.config.ids.iter().any(|known| known == id) {
                    return Err(policy("this gateway does not know that id"));
                }
                if !allows(&self.config.publish, id) {
                    return Err(policy("clients of this gateway may not publish on that topic"));
                }
                let hears =
                    allows(&self.config.banyan_topics, &from) && allows(&self.config.subscribe, &from);
                let from = Some(from).filter(|_| hears && self.inbox.is_some());
                if let Some(from) = &from {
                    self.want(from, None).map_err(|reason| policy(&reason))?;
                    self.interest.add_exact(from, Wish { session: key, backplane: None, pace: None });
                }
                Session::new(Kind::Banyan { to: id.to_owned(), from }, form, self.config.queue)
            }
            First::Enveloped => {
                outgoing.push(form.frame_of(&self.welcome), 0);
                Session::new(Kind::Enveloped { prefixes: Vec::new() }, form, self.config.queue)
            }
        };
        self.stats.sessions += 1;
        (self.tell)(&Event::Connected { peer, kind: session.name() });
        let held = match session.kind {
            Kind::Banyan { .. } => None,
            Kind::Enveloped { .. } => self.obey(key, &mut session, &message, form, outgoing, now),
        };
        Ok((session, held))
    }

    #[allow(clippy::too_many_arguments, reason = "they are parts of one connection, borrowed apart")]
    fn hear_more(
        &mut self,
        key: usize,
        session: &mut Session,
        form: Form,
        body: &[u8],
        buffer: &mut Vec<u8>,
        outgoing: &mut Outgoing,
        now: Instant,
    ) -> Result<Option<Held>, Close> {
        if let Kind::Banyan { to, .. } = &session.kind {
            let packed =
                translate::packed(form, body, buffer).map_err(|error| (CloseCode::Invalid, error))?;
            let to_all = 0..self.backplanes.len();
            let publication = Publication { topic: to, payload: packed, to: to_all, tag: None };
            return Ok(self.publish(publication, session.form, outgoing, now));
        }
        Ok(match translate::body_of(form, body, buffer) {
            Ok(message) => self.obey(key, session, &message, form, outgoing, now),
            Err(error) => {
                self.stats.unreadable += 1;
                answer(session.form, translate::error(&error, None), outgoing);
                None
            }
        })
    }

    /// Does what a message with an envelope asks, and answers. What came in one form is answered in the client's own.
    fn obey(
        &mut self,
        key: usize,
        session: &mut Session,
        message: &multiplane_codec::View<'_>,
        form: Form,
        outgoing: &mut Outgoing,
        now: Instant,
    ) -> Option<Held> {
        let (request, tag) = translate::parse(message);
        let done = match request {
            Err(reason) => {
                self.stats.unreadable += 1;
                Err(reason.into_owned())
            }
            Ok(Request::Hello { .. }) => Ok(()),
            Ok(Request::Subscribe { topic, backplane, pace }) => {
                self.subscribe(key, session, topic, backplane, pace)
            }
            Ok(Request::Unsubscribe { topic, backplane }) => self.unsubscribe(key, session, topic, backplane),
            Ok(Request::Watch { every }) => self.watch(session, every, now),
            Ok(Request::Publish { topic, backplane, payload }) => {
                match self.checked(topic, backplane, form, &payload) {
                    Ok((to, payload)) => {
                        let publication = Publication { topic, payload: &payload, to, tag };
                        return self.publish(publication, session.form, outgoing, now);
                    }
                    Err(reason) => {
                        self.stats.refused += 1;
                        Err(reason)
                    }
                }
            }
        };
        match done {
            Ok(()) => tag.into_iter().for_each(|tag| answer(session.form, translate::ok(tag), outgoing)),
            Err(reason) => answer(session.form, translate::error(&reason, tag), outgoing),
        }
        None
    }

    fn checked<'p>(
        &self,
        topic: &str,
        backplane: Option<&str>,
        form: Form,
        payload: &multiplane_codec::View<'p>,
    ) -> Result<(Range<usize>, std::borrow::Cow<'p, [u8]>), String> {
        if topic.starts_with(OWN) {
            return Err("topics that begin with `_bus.` are the bus's own; take another".to_owned());
        }
        if !allows(&self.config.publish, topic) {
            return Err(format!(
                "clients of this gateway may not publish on {topic:?}; they may on what begins with {}",
                self.config.publish.join(", ")
            ));
        }
        let to = match backplane {
            None => 0..self.backplanes.len(),
            Some(name) => {
                let n = self.known(name)?;
                if self.backplanes.get(n).is_some_and(|one| one.publisher.is_none()) {
                    return Err(format!(
                        "the gateway only receives from {name}; publish on another backplane"
                    ));
                }
                n..n + 1
            }
        };
        Ok((to, translate::payload_of(form, payload)?))
    }

    fn known(&self, name: &str) -> Result<usize, String> {
        self.place(name).ok_or_else(|| {
            let names: Vec<&str> = self.backplanes.iter().map(|one| one.name.as_str()).collect();
            format!("there is no backplane {name:?}; there is {}", names.join(", "))
        })
    }

    /// Publishes on all backplanes that the message still goes to; gives back what one has no room for.
    pub(crate) fn publish(
        &mut self,
        mut publication: Publication<'_>,
        form: Form,
        outgoing: &mut Outgoing,
        now: Instant,
    ) -> Option<Held> {
        let mut refused = None;
        while let Some(n) = publication.to.next() {
            let place = self.backplanes.get(n);
            let Some(publisher) = place.and_then(|place| place.publisher.as_ref()) else { continue };
            match publisher.try_publish_raw(publication.topic, publication.payload) {
                Ok(()) => {}
                Err(PublishError::Full { .. }) => {
                    publication.to.start = n;
                    return Some(publication.hold());
                }
                Err(error) => {
                    let topic = publication.topic;
                    self.complaints.unpublished.complain(now, |before| {
                        tracing::warn!(topic, %error, before, "the bus refused a client's message");
                    });
                    refused = Some(error.to_string());
                }
            }
        }
        match refused {
            Some(reason) => {
                self.stats.refused += 1;
                // A Banyan client knows no answers.
                if let Some(tag) = publication.tag {
                    answer(form, translate::error(&reason, Some(tag)), outgoing);
                }
            }
            None => {
                self.stats.from_clients += 1;
                publication.tag.iter().for_each(|tag| answer(form, translate::ok(tag), outgoing));
            }
        }
        None
    }

    fn subscribe(
        &mut self,
        key: usize,
        session: &mut Session,
        topic: &str,
        backplane: Option<&str>,
        pace: Option<Duration>,
    ) -> Result<(), String> {
        let Kind::Enveloped { prefixes } = &mut session.kind else { return Ok(()) };
        let backplane = backplane.map(|name| self.known(name)).transpose()?;
        let is_new = !prefixes.iter().any(|(known, on)| known == topic && *on == backplane);
        if is_new {
            if !allows(&self.config.subscribe, topic) {
                return Err(format!(
                    "clients of this gateway may not get {topic:?}; they may get what begins with {}",
                    self.config.subscribe.join(", ")
                ));
            }
            if prefixes.len() >= PREFIXES {
                return Err(format!("a client may subscribe to {PREFIXES} topics; an empty one means all"));
            }
            self.want(topic, backplane)?;
            prefixes.push((topic.to_owned(), backplane));
        }
        self.interest.add(topic, Wish { session: key, backplane, pace });
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        key: usize,
        session: &mut Session,
        topic: &str,
        backplane: Option<&str>,
    ) -> Result<(), String> {
        let Kind::Enveloped { prefixes } = &mut session.kind else { return Ok(()) };
        let backplane = backplane.map(|name| self.known(name)).transpose()?;
        if !self.interest.remove(topic, key, backplane) {
            return Err(format!(
                "there is no subscription of {topic:?} there; unsubscribe as it was subscribed"
            ));
        }
        prefixes.retain(|(known, on)| known != topic || *on != backplane);
        self.want_no_more(topic, backplane);
        Ok(())
    }

    fn watch(&mut self, session: &mut Session, every: Option<Duration>, now: Instant) -> Result<(), String> {
        match (every, session.watch.is_some()) {
            (None, true) => self.watch_no_more(session),
            (None, false) => {}
            (Some(every), was) => {
                if !was {
                    if self.watchers >= WATCHERS {
                        return Err(format!(
                            "{WATCHERS} clients watch already; come again when one has gone"
                        ));
                    }
                    let topics = self.watched();
                    for (n, topic) in topics.iter().enumerate() {
                        if let Err(reason) = self.want(topic, None) {
                            topics[..n].iter().for_each(|topic| self.want_no_more(topic, None));
                            return Err(reason);
                        }
                    }
                    self.watchers += 1;
                }
                session.watch = Some(Watch { every, next: now + every.min(FIRST), before: Before::new(now) });
            }
        }
        Ok(())
    }

    fn watch_no_more(&mut self, session: &mut Session) {
        session.watch = None;
        self.watchers -= 1;
        for topic in self.watched() {
            self.want_no_more(&topic, None);
        }
        if self.watchers == 0 {
            self.board.clear();
        }
    }

    /// The topics that are listened to while somebody watches.
    fn watched(&self) -> Vec<String> {
        match self.config.watched() {
            [] => vec![String::new()],
            some => some.to_vec(),
        }
    }

    /// Whether those who watch see this topic.
    pub(crate) fn is_watched(&self, topic: &str) -> bool {
        self.watchers > 0 && allows(self.config.watched(), topic)
    }

    /// One more wants the prefix, on one backplane or all.
    fn want(&mut self, prefix: &str, backplane: Option<usize>) -> Result<(), String> {
        let Some(inbox) = &self.inbox else {
            return Err(
                "the gateway receives from no backplane; its routing has no subscriber port".to_owned()
            );
        };
        let places = backplane.map_or(0..self.backplanes.len(), |one| one..one + 1);
        for n in places.clone() {
            let Some(place) = self.backplanes.get(n) else { continue };
            if !place.subscribes && backplane.is_some() {
                return Err(format!(
                    "the gateway only publishes on {}; subscribe on another backplane",
                    place.name
                ));
            }
            let count = self.wanted.entry((n, prefix.to_owned())).or_default();
            if place.subscribes
                && *count == 0
                && let Err(error) = inbox.subscribe(&place.name, prefix)
            {
                self.wanted.remove(&(n, prefix.to_owned()));
                (places.start..n).for_each(|n| self.release(n, prefix));
                return Err(error.to_string());
            }
            *count += 1;
        }
        Ok(())
    }

    fn want_no_more(&mut self, prefix: &str, backplane: Option<usize>) {
        backplane.map_or(0..self.backplanes.len(), |one| one..one + 1).for_each(|n| self.release(n, prefix));
    }

    fn release(&mut self, n: usize, prefix: &str) {
        let key = (n, prefix.to_owned());
        let Some(count) = self.wanted.get_mut(&key) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.wanted.remove(&key);
        if let (Some(inbox), Some(place)) =
            (&self.inbox, self.backplanes.get(n).filter(|place| place.subscribes))
        {
            // The bus has ended, and the turn finds that out by itself.
            let _ = inbox.unsubscribe(&place.name, prefix);
        }
    }

    /// A session is over.
    pub(crate) fn leave(&mut self, key: usize, mut session: Session) {
        self.stats.unsent += session.queued();
        if session.watch.is_some() {
            self.watch_no_more(&mut session);
        }
        match session.kind {
            Kind::Banyan { from: None, .. } => {}
            Kind::Banyan { from: Some(from), .. } => {
                self.interest.remove_exact(&from, key);
                self.want_no_more(&from, None);
            }
            Kind::Enveloped { prefixes } => {
                for (prefix, backplane) in prefixes {
                    self.interest.remove(&prefix, key, backplane);
                    self.want_no_more(&prefix, backplane);
                }
            }
        }
        self.interest.forget(key);
    }
}

/// Answers go before messages that wait.
fn answer(form: Form, reply: Reply, outgoing: &mut Outgoing) {
    match reply {
        Ok(reply) => outgoing.push(form.frame_of(&reply), 0),
        Err(error) => tracing::error!(%error, "an answer has no form"),
    }
}

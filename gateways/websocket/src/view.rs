//! What passes, for those who watch.

use crate::report::Stats;
use crate::translate::raw;
use multiplane_bus::{Direction, LinkEvent, LinkState, OwnedMessage, RoutingSpec, Transport};
use multiplane_codec::encode::Writer;
use multiplane_codec::msgpack::json;
use multiplane_codec::{EncodeError, Limits, View};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Topics that are shown, and clients.
const TOPICS: usize = 1000;
pub(crate) const CLIENTS: usize = 100;
/// Topics that are counted as left out.
const LEFT_OUT: usize = 65_536;
/// Bytes of JSON of a last value, and of a payload that is kept for it.
const SHOWN: usize = 1024;
const KEPT: usize = 16 * 1024;

/// What has passed since somebody began to watch, and how the links are.
#[derive(Debug)]
pub(crate) struct Board {
    topics: Vec<Topic>,
    places: HashMap<(usize, String), usize>,
    left_out: HashSet<u64>,
    hasher: RandomState,
    names: Vec<String>,
    backplanes: Vec<Total>,
    links: Vec<Link>,
    begun: Instant,
}

#[derive(Debug)]
struct Topic {
    backplane: usize,
    name: String,
    total: Total,
    at: Instant,
    /// The last payload, if it is not too long, and its length.
    last: Vec<u8>,
    length: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    messages: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Link {
    backplane: String,
    address: String,
    direction: Direction,
    transport: Option<Transport>,
    up: bool,
    since: Instant,
}

/// What a client's last view said, so that the next one can say how fast things go.
#[derive(Debug)]
pub(crate) struct Before {
    at: Instant,
    topics: Vec<Total>,
    backplanes: Vec<Total>,
    dropped: HashMap<SocketAddr, u64>,
}

/// A client, as a view shows it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: SocketAddr,
    pub(crate) kind: &'static str,
    pub(crate) topics: usize,
    pub(crate) queued: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) conflated: u64,
}

impl Before {
    /// Nothing was shown yet: rates are those since now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, topics: Vec::new(), backplanes: Vec::new(), dropped: HashMap::new() }
    }
}

impl Board {
    pub(crate) fn new(routing: &RoutingSpec, now: Instant) -> Self {
        let mut links = Vec::new();
        for route in routing.routes() {
            let host =
                if route.host.contains(':') { format!("[{}]", route.host) } else { route.host.clone() };
            for (direction, port) in
                [(Direction::Publish, route.publisher_port), (Direction::Subscribe, route.subscriber_port)]
            {
                links.extend(port.map(|port| Link {
                    backplane: route.name.clone(),
                    address: format!("tcp://{host}:{port}"),
                    direction,
                    transport: None,
                    up: false,
                    since: now,
                }));
            }
        }
        Self {
            topics: Vec::new(),
            places: HashMap::new(),
            left_out: HashSet::new(),
            hasher: RandomState::new(),
            names: routing.routes().iter().map(|route| route.name.clone()).collect(),
            backplanes: vec![Total::default(); routing.routes().len()],
            links,
            begun: now,
        }
    }

    /// A link has changed.
    pub(crate) fn link(&mut self, event: &LinkEvent, now: Instant) {
        let (backplane, direction, up, on) = match event {
            LinkEvent::LinkUp { backplane, direction, transport, .. } => {
                (backplane, direction, true, Some(*transport))
            }
            LinkEvent::LinkDown { backplane, direction, .. } => (backplane, direction, false, None),
            _ => return,
        };
        let is_it = |link: &&mut Link| link.backplane == backplane.name() && link.direction == *direction;
        if let Some(link) = self.links.iter_mut().find(is_it) {
            (link.up, link.transport, link.since) = (up, on, now);
        }
    }

    /// Events may have been lost: the state itself counts.
    pub(crate) fn correct(&mut self, backplane: &str, direction: Direction, state: LinkState, now: Instant) {
        let up = state == LinkState::Live;
        let is_it = |link: &&mut Link| link.backplane == backplane && link.direction == direction;
        if let Some(link) = self.links.iter_mut().find(is_it).filter(|link| link.up != up) {
            (link.up, link.since) = (up, now);
        }
    }

    /// A message has passed.
    pub(crate) fn count(&mut self, backplane: usize, message: &OwnedMessage, now: Instant) {
        let payload = message.payload_bytes();
        let bytes = (message.topic().len() + payload.len()) as u64;
        if let Some(total) = self.backplanes.get_mut(backplane) {
            total.add(bytes);
        }
        let key = (backplane, message.topic().to_owned());
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.topics.len() < TOPICS => {
                let (name, place) = (key.1.clone(), self.topics.len());
                self.places.insert(key, place);
                self.topics.push(Topic {
                    backplane,
                    name,
                    total: Total::default(),
                    at: now,
                    last: Vec::new(),
                    length: 0,
                });
                place
            }
            None => {
                if self.left_out.len() < LEFT_OUT {
                    self.left_out.insert(self.hasher.hash_one(&key));
                }
                return;
            }
        };
        let Some(topic) = self.topics.get_mut(place) else { return };
        topic.total.add(bytes);
        (topic.at, topic.length) = (now, payload.len());
        topic.last.clear();
        if payload.len() <= KEPT {
            topic.last.extend_from_slice(payload);
        }
    }

    /// Nobody watches any more.
    pub(crate) fn clear(&mut self) {
        (self.topics, self.places, self.left_out) = Default::default();
        self.backplanes.fill(Total::default());
    }

    /// A view as MessagePack, of what happened since `before`; gateway's own drops are `lost`.
    pub(crate) fn view(
        &self,
        before: &mut Before,
        (rows, rows_left_out): (&[Row], usize),
        (stats, lost): (&Stats, u64),
        now: Instant,
    ) -> Result<Vec<u8>, EncodeError> {
        let seconds = (now - before.at).as_secs_f64().max(1e-3);
        before.at = now;
        let mut out = Vec::with_capacity(256 + self.topics.len() * 160);
        let mut writer = Writer::new(&mut out);
        writer.map(9).str("op")?.str("view")?.str("seconds")?.f64(seconds);
        writer.str("links")?.array(self.links.len() as u32);
        self.links.iter().try_for_each(|link| link.write(&mut writer, now))?;
        writer.str("topics_left_out")?.uint(self.left_out.len() as u64);
        writer.str("topics")?.array(self.topics.len() as u32);
        before.topics.resize(self.topics.len(), Total::default());
        for (topic, before) in self.topics.iter().zip(&mut before.topics) {
            topic.write(&mut out, &self.names[topic.backplane], before, seconds, now)?;
        }
        let mut writer = Writer::new(&mut out);
        writer.str("backplanes")?.array(self.backplanes.len() as u32);
        before.backplanes.resize(self.backplanes.len(), Total::default());
        let totals = self.backplanes.iter().zip(&mut before.backplanes);
        for (name, (total, before)) in self.names.iter().zip(totals) {
            writer.map(4).str("name")?.str(name)?;
            total.write_rates(before, seconds, &mut writer)?;
            writer.str("received")?.uint(total.messages);
        }
        writer.str("clients_left_out")?.uint(rows_left_out as u64);
        writer.str("clients")?.array(rows.len() as u32);
        let dropped = std::mem::take(&mut before.dropped);
        for row in rows {
            let slow = dropped.get(&row.peer).is_some_and(|before| *before < row.dropped);
            row.write(slow, &mut writer)?;
            before.dropped.insert(row.peer, row.dropped);
        }
        writer.str("gateway")?.map(5).str("published")?.uint(stats.from_clients);
        writer.str("refused")?.uint(stats.refused + stats.unreadable);
        writer.str("undecodable")?.uint(stats.undecodable).str("dropped")?.uint(lost);
        writer.str("uptime_s")?.f64((now - self.begun).as_secs_f64());
        Ok(out)
    }
}

impl Total {
    fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn write_rates(
        &self,
        before: &mut Total,
        seconds: f64,
        writer: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        // Counting may have begun anew.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now) as f64 / seconds;
        writer.str("rate")?.f64(since(self.messages, before.messages));
        writer.str("bytes_per_s")?.f64(since(self.bytes, before.bytes));
        *before = *self;
        Ok(())
    }
}

impl Link {
    fn write(&self, writer: &mut Writer<'_>, now: Instant) -> Result<(), EncodeError> {
        let detail = match self.transport {
            Some(transport) if self.up => transport.to_string(),
            _ if self.up => "connected".to_owned(),
            _ => "trying to connect".to_owned(),
        };
        writer.map(6).str("backplane")?.str(&self.backplane)?.str("address")?.str(&self.address)?;
        writer.str("side")?.str(&self.direction.to_string())?;
        writer.str("state")?.str(if self.up { "up" } else { "down" })?;
        writer.str("since_s")?.f64((now - self.since).as_secs_f64()).str("detail")?.str(&detail)?;
        Ok(())
    }
}

impl Topic {
    fn write(
        &self,
        out: &mut Vec<u8>,
        backplane: &str,
        before: &mut Total,
        seconds: f64,
        now: Instant,
    ) -> Result<(), EncodeError> {
        let kept = self.last.len() == self.length;
        let mut text = Vec::new();
        let has_form = |view: &View<'_>| kept && json::from_msgpack_tagged(*view, &mut text).is_ok();
        let view = View::parse(&self.last, &Limits::default()).ok().filter(has_form);
        if view.is_none() {
            raw(&self.last, &mut text);
        }
        let cut = text.len() > SHOWN || !kept;
        let mut writer = Writer::new(out);
        writer
            .map(if cut { 9 } else { 8 })
            .str("backplane")?
            .str(backplane)?
            .str("topic")?
            .str(&self.name)?;
        self.total.write_rates(before, seconds, &mut writer)?;
        writer.str("count")?.uint(self.total.messages);
        writer.str("age_s")?.f64(now.saturating_duration_since(self.at).as_secs_f64());
        writer.str("raw")?.bool(kept && view.is_none());
        if cut {
            writer.str("cut")?.bool(true);
        }
        writer.str("last")?;
        match view {
            _ if !kept => writer.str(&format!("{} bytes …", self.length)).map(|_| ()),
            _ if cut => writer.str(&beginning(&text)).map(|_| ()),
            Some(view) => {
                out.extend_from_slice(view.bytes());
                Ok(())
            }
            None => writer.bin(&self.last).map(|_| ()),
        }
    }
}

/// The first kilobyte of a text, with a sign that more follows.
fn beginning(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let end = (0..=SHOWN.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

impl Row {
    fn write(&self, slow: bool, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.map(8).str("peer")?.str(&self.peer.to_string())?.str("kind")?.str(self.kind)?;
        writer.str("topics")?.uint(self.topics as u64).str("queued")?.uint(self.queued);
        writer.str("sent")?.uint(self.sent).str("dropped")?.uint(self.dropped);
        writer.str("conflated")?.uint(self.conflated).str("slow")?.bool(slow);
        Ok(())
    }
}

/// The first view comes after this time at most, so that rates have something to stand on.
pub(crate) const FIRST: Duration = Duration::from_millis(100);

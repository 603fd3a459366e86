//! What one client wants, and what waits for it.

use crate::translate::{Form, dropped};
use bytes::Bytes;
use multiplane_bridge::Outgoing;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Bytes that are handed to the socket's queue before the system has taken them: what is behind may still make way.
const AHEAD: usize = 64 * 1024;
/// Bytes that wait for one client besides one message of any size.
const BYTES: usize = 4 * 1024 * 1024;
/// Topics of one client whose messages wait for their time.
const PACED: usize = 10_000;

/// Which kind of client it is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Publishes on the one topic and hears the other, if any.
    Banyan { to: String, from: Option<String> },
    /// Says what it wants: prefixes of topics, each on one backplane or all.
    Enveloped { prefixes: Vec<(String, Option<usize>)> },
}

/// A client whose first message was accepted.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    pub(crate) watch: Option<Watch>,
    pub(crate) dropped: u64,
    pub(crate) conflated: u64,
    told: u64,
    waiting: VecDeque<Bytes>,
    bytes: usize,
    queue: usize,
    paced: Paced,
    /// The newest view that was not sent yet.
    view: Option<Bytes>,
}

/// A client that watches.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) every: Duration,
    pub(crate) next: Instant,
    pub(crate) before: crate::view::Before,
}

/// Messages of which only the newest of each topic counts.
#[derive(Debug, Default)]
struct Paced {
    topics: HashMap<(usize, String), Slot>,
    /// When each slot with a message is due, in order; the number keeps apart what is due at the same time.
    due: BTreeMap<(Instant, u64), (usize, String)>,
    count: u64,
}

#[derive(Debug)]
struct Slot {
    frame: Option<Bytes>,
    /// No message of the topic before then.
    next: Instant,
    pace: Duration,
}

impl Session {
    pub(crate) fn new(kind: Kind, form: Form, queue: usize) -> Self {
        Self {
            kind,
            form,
            watch: None,
            dropped: 0,
            conflated: 0,
            told: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            queue,
            paced: Paced::default(),
            view: None,
        }
    }

    pub(crate) fn is_banyan(&self) -> bool {
        matches!(self.kind, Kind::Banyan { .. })
    }

    /// What a view calls it.
    pub(crate) fn name(&self) -> &'static str {
        match (&self.kind, self.form) {
            (Kind::Banyan { .. }, _) => "banyan",
            (_, Form::Json) => "json",
            (_, Form::Msgpack) => "msgpack",
        }
    }

    /// How many topics it wants.
    pub(crate) fn topics(&self) -> usize {
        match &self.kind {
            Kind::Banyan { from, .. } => usize::from(from.is_some()),
            Kind::Enveloped { prefixes } => prefixes.len(),
        }
    }

    /// A message for it; the oldest make way where there is no room. Says how many.
    pub(crate) fn offer(&mut self, frame: Bytes) -> u64 {
        let before = self.dropped;
        self.bytes += frame.len();
        self.waiting.push_back(frame);
        while self.waiting.len() > self.queue || self.bytes > BYTES && self.waiting.len() > 1 {
            if let Some(oldest) = self.waiting.pop_front() {
                self.bytes -= oldest.len();
                self.dropped += 1;
            }
        }
        self.dropped - before
    }

    /// A message that newer ones of its topic may replace. Says how many were dropped and how many replaced.
    pub(crate) fn offer_paced(
        &mut self,
        (backplane, topic): (usize, &str),
        pace: Duration,
        frame: Bytes,
        now: Instant,
    ) -> (u64, u64) {
        let key = (backplane, topic.to_owned());
        let paced = &mut self.paced;
        if paced.topics.len() >= PACED && !paced.topics.contains_key(&key) {
            paced.topics.retain(|_, slot| slot.frame.is_some() || slot.next > now);
            if paced.topics.len() >= PACED {
                self.dropped += 1;
                return (1, 0);
            }
        }
        let slot = paced.topics.entry(key.clone()).or_insert(Slot { frame: None, next: now, pace });
        slot.pace = pace;
        if slot.frame.replace(frame).is_some() {
            self.conflated += 1;
            return (0, 1);
        }
        paced.count += 1;
        paced.due.insert((slot.next.max(now), paced.count), key);
        (0, 0)
    }

    pub(crate) fn show(&mut self, view: Bytes) {
        self.view = Some(view);
    }

    /// Hands on what has its time and its room.
    pub(crate) fn pump(&mut self, outgoing: &mut Outgoing, now: Instant) {
        while outgoing.bytes() < AHEAD {
            let Some((frame, messages)) = self.next(now) else { return };
            if messages > 0 && self.told < self.dropped && matches!(self.kind, Kind::Enveloped { .. }) {
                self.told = self.dropped;
                // Four short values always have a form.
                if let Ok(notice) = dropped(self.dropped) {
                    outgoing.push(self.form.frame_of(&notice), 0);
                }
            }
            outgoing.push(frame, messages);
        }
    }

    /// Views first: they are few, and nobody needs an old one.
    fn next(&mut self, now: Instant) -> Option<(Bytes, u32)> {
        if let Some(view) = self.view.take() {
            return Some((view, 0));
        }
        if let Some(frame) = self.paced.next(now) {
            return Some((frame, 1));
        }
        let frame = self.waiting.pop_front()?;
        self.bytes -= frame.len();
        Some((frame, 1))
    }

    /// When there will be something that is not yet.
    pub(crate) fn due(&self) -> Option<Instant> {
        let paced = self.paced.due.keys().next().map(|(due, _)| *due);
        paced.into_iter().chain(self.watch.as_ref().map(|watch| watch.next)).min()
    }

    /// Messages that wait.
    pub(crate) fn queued(&self) -> u64 {
        (self.waiting.len() + self.paced.due.len()) as u64
    }
}

impl Paced {
    fn next(&mut self, now: Instant) -> Option<Bytes> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let slot = self.topics.get_mut(&first.remove())?;
        slot.next = now + slot.pace;
        slot.frame.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use multiplane_bridge::Bounds;

    fn session(queue: usize) -> Session {
        Session::new(Kind::Enveloped { prefixes: Vec::new() }, Form::Json, queue)
    }

    /// What the system has taken, frame by frame; a notice is shown by its count.
    fn taken(session: &mut Session, now: Instant) -> Vec<String> {
        let mut outgoing = Outgoing::new(Bounds { bytes: usize::MAX });
        session.pump(&mut outgoing, now);
        let mut bytes = Vec::new();
        outgoing.flush(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let [_, length, body @ ..] = rest {
            let (body, behind) = body.split_at(usize::from(*length));
            frames.push(String::from_utf8(body.to_vec()).unwrap());
            rest = behind;
        }
        frames
    }

    fn frame(text: &str) -> Bytes {
        Form::Json.frame(text.as_bytes())
    }

    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_oldest_make_way_and_the_client_hears_of_it() {
        let mut session = session(3);
        let lost: u64 = ["a", "b", "c", "d", "e"].into_iter().map(|text| session.offer(frame(text))).sum();
        assert_eq!((lost, session.queued(), session.dropped), (2, 3, 2));
        let now = start();
        assert_eq!(taken(&mut session, now), [r#"{"op":"dropped","count":2}"#, "c", "d", "e"]);
        session.offer(frame("f"));
        assert_eq!(taken(&mut session, now), ["f"]);
        assert_eq!((session.bytes, session.queued()), (0, 0));
    }

    #[test]
    fn one_message_of_any_size_has_room_and_bytes_are_bounded() {
        let mut session = session(1000);
        let half = Bytes::from(vec![0; BYTES / 2]);
        assert_eq!(session.offer(Bytes::from(vec![0; 2 * BYTES])), 0);
        assert_eq!(session.offer(half.clone()), 1);
        assert_eq!(session.offer(half.clone()), 0);
        assert_eq!(session.offer(half), 1);
    }

    #[test]
    fn the_newest_of_a_topic_counts() {
        let (mut session, now) = (session(10), start());
        let second = Duration::from_secs(1);
        let offer =
            |session: &mut Session, topic, text, at| session.offer_paced((0, topic), second, frame(text), at);
        assert_eq!(offer(&mut session, "t", "1", now), (0, 0));
        assert_eq!(offer(&mut session, "u", "2", now), (0, 0));
        assert_eq!(offer(&mut session, "t", "3", now), (0, 1));
        assert_eq!(taken(&mut session, now), ["3", "2"]);
        for text in ["4", "5", "6"] {
            offer(&mut session, "t", text, now + second / 2);
        }
        assert_eq!(session.due(), Some(now + second));
        assert!(taken(&mut session, now + second / 2).is_empty());
        assert_eq!(taken(&mut session, now + second), ["6"]);
        assert_eq!((session.conflated, session.queued(), session.due()), (3, 0, None));
    }

    #[test]
    fn topics_that_wait_are_bounded() {
        let (mut session, now) = (session(10), start());
        for n in 0..PACED + 5 {
            session.offer_paced((0, &n.to_string()), Duration::ZERO, frame("x"), now);
        }
        assert_eq!((session.dropped, session.queued()), (5, PACED as u64));
        // No more is handed on at once than may be out of reach.
        assert!((900..1000).contains(&taken(&mut session, now).len()));
    }
}

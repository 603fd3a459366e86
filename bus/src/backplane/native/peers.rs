//! All connections, by small numbers that are used again.

use super::chunk::Run;
use super::connection::{Connection, Side};
use crate::backplane::{OnSlow, SLOW_SHOWN, SlowSubscriber};
use multiplane_codec::zmtp::frame::{self, Found};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Instant;

pub(super) struct Peers<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    /// Who may have something to be written.
    dirty: Vec<u32>,
    /// Who may have something left to read or to parse.
    hot: Vec<u32>,
    /// Publishers past their handshake.
    publishers: Vec<u32>,
    subscribers: usize,
    /// Handshakes under way, in the order of their deadlines; some are over since.
    shaking: VecDeque<(Instant, u32)>,
}

struct Slot<S> {
    connection: Option<Box<Connection<S>>>,
    // Whether it is in the list of that name. They belong to the slot, for a connection that ends stays in the list,
    // and the next one in its place must not come there twice.
    dirty: bool,
    hot: bool,
}

impl<S: Read + Write> Peers<S> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            hot: Vec::new(),
            publishers: Vec::new(),
            subscribers: 0,
            shaking: VecDeque::new(),
        }
    }

    /// What the next connection will be called.
    pub(super) fn next_id(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.slots.len() as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Connection<S>> {
        self.slots.get(id as usize)?.connection.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Connection<S>> {
        self.slots.get_mut(id as usize)?.connection.as_deref_mut()
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|&id| self.get(id).is_some()).collect()
    }

    pub(super) fn insert(&mut self, connection: Connection<S>) {
        let id = self.next_id();
        if self.free.pop().is_none() {
            self.slots.push(Slot { connection: None, dirty: false, hot: false });
        }
        self.shaking.push_back((connection.deadline, id));
        self.slots[id as usize].connection = Some(Box::new(connection));
        self.mark_dirty(id);
        self.mark_hot(id);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Box<Connection<S>>> {
        let connection = self.slots.get_mut(id as usize)?.connection.take()?;
        self.free.push(id);
        if connection.peer().is_some() && !connection.joint {
            match connection.side {
                Side::Publisher => self.publishers.retain(|&publisher| publisher != id),
                Side::Subscriber => self.subscribers -= 1,
            }
        }
        Some(connection)
    }

    /// The handshake of a connection is done.
    pub(super) fn established(&mut self, id: u32) {
        match self.get(id).map(|connection| connection.side) {
            Some(Side::Publisher) => self.publishers.push(id),
            Some(Side::Subscriber) => self.subscribers += 1,
            None => {}
        }
    }

    pub(super) fn established_on(&self, side: Side) -> usize {
        match side {
            Side::Publisher => self.publishers.len(),
            Side::Subscriber => self.subscribers,
        }
    }

    /// Appends a frame to what goes to each publisher: the one for its minor version.
    pub(super) fn tell_publishers(&mut self, frames: [&[u8]; 2]) {
        for n in 0..self.publishers.len() {
            let id = self.publishers[n];
            if let Some(peer) = self.get_mut(id)
                && let Some(theirs) = peer.peer()
            {
                peer.queue.push_control(frames[usize::from(theirs.minor.min(1))]);
                self.mark_dirty(id);
            }
        }
    }

    /// Those that are furthest behind.
    pub(super) fn slow_subscribers(&self) -> Vec<SlowSubscriber> {
        let all = self.slots.iter().filter_map(|slot| slot.connection.as_deref());
        let mut slow: Vec<_> =
            all.filter(|peer| !peer.joint && (peer.queue.messages() > 0 || peer.dropped > 0)).collect();
        slow.sort_by_key(|peer| std::cmp::Reverse((peer.queue.bytes(), peer.dropped)));
        slow.truncate(SLOW_SHOWN);
        let shown = |peer: &Connection<S>| SlowSubscriber {
            address: peer.address.clone(),
            topics: peer.topics.clone(),
            queued: peer.queue.messages() as u64,
            queued_bytes: peer.queue.bytes() as u64,
            dropped: peer.dropped,
            holds: peer.holds,
        };
        slow.into_iter().map(shown).collect()
    }

    pub(super) fn mark_dirty(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize)
            && !std::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    pub(super) fn take_dirty(&mut self) -> Option<u32> {
        let id = self.dirty.pop()?;
        self.slots[id as usize].dirty = false;
        Some(id)
    }

    pub(super) fn mark_hot(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize)
            && !std::mem::replace(&mut slot.hot, true)
        {
            self.hot.push(id);
        }
    }

    pub(super) fn hot(&self) -> &[u32] {
        &self.hot
    }

    /// Moves all that are hot to `serving`.
    pub(super) fn take_hot(&mut self, serving: &mut Vec<u32>) {
        serving.append(&mut self.hot);
        for &id in &*serving {
            self.slots[id as usize].hot = false;
        }
    }

    /// When the first handshake must be done.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.shaking.front().map(|&(deadline, _)| deadline)
    }

    /// A connection whose handshake is late.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<u32> {
        while let Some(&(deadline, id)) = self.shaking.front()
            && (deadline <= now || self.is_over(deadline, id))
        {
            self.shaking.pop_front();
            if !self.is_over(deadline, id) {
                return Some(id);
            }
        }
        None
    }

    /// Whether the handshake that had this deadline is done, or its connection gone.
    fn is_over(&self, deadline: Instant, id: u32) -> bool {
        self.get(id).is_none_or(|peer| peer.peer().is_some() || peer.deadline != deadline)
    }
}

impl<S: Read + Write> Connection<S> {
    /// Names one that is too slow: at once, and then once a second.
    pub(super) fn complain_of_slowness(&mut self, backplane: &str, now: Instant) {
        if self.joint {
            return;
        }
        let (subscriber, topics, dropped) = (&self.address, &self.topics, self.dropped);
        let queued = self.queue.messages();
        let what =
            if self.holds { "too slow: all publishers wait for it" } else { "too slow: loses messages" };
        self.complaint.complain(now, |_| {
            tracing::warn!(backplane, subscriber, topics, queued, dropped, "{what}");
        });
    }

    /// Takes a run that there is no room for, or a part of it.
    pub(super) fn overrun(&mut self, policy: OnSlow, run: &mut Run<'_>) {
        match policy {
            OnSlow::Block => {
                self.queue.push(run);
                self.holds = true;
            }
            OnSlow::DropNewest => self.push_what_fits(run),
            OnSlow::DropOldest => self.make_room_and_push(run),
            OnSlow::Disconnect => self.dropped += run.messages as u64,
        }
    }

    /// Queues the first messages of a run that have room, and counts the others as dropped.
    fn push_what_fits(&mut self, run: &Run<'_>) {
        let mut at = 0;
        for pushed in 0..run.messages {
            let Ok(Found::Message { total, .. }) = frame::find(&run.bytes[at..], usize::MAX) else { return };
            if !self.queue.has_room(1, total) {
                self.dropped += (run.messages - pushed) as u64;
                return;
            }
            self.queue.push(&mut run.part(at..at + total, 1));
            at += total;
        }
    }

    /// Drops the oldest, in the queue and then in the run, until the rest has room, and queues that.
    fn make_room_and_push(&mut self, run: &Run<'_>) {
        let mut run = run.part(0..run.bytes.len(), run.messages);
        while !self.queue.has_room(run.messages, run.bytes.len()) {
            if let Some(dropped) = self.queue.drop_oldest() {
                self.dropped += dropped as u64;
                continue;
            }
            self.dropped += 1;
            match frame::find(run.bytes, usize::MAX) {
                Ok(Found::Message { total, .. }) if run.messages > 1 => run.advance(total, 1),
                _ => return,
            }
        }
        self.queue.push(&mut run);
    }
}

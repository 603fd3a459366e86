//! What becomes of a message that arrives: it is counted, answered, or the answer that was waited for.

use super::{Answer, tell};
use crate::contender::{Listener, Until};
use crate::load::Load;
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::{BenchError, clock};
use std::sync::Arc;

/// Counts, and tells who waits for it how far it has got.
pub(super) struct Counting {
    pub(super) tally: Tally,
    credit_every: Option<u64>,
    /// By publisher: the number up to which it was told.
    told: Vec<u64>,
    topics: usize,
    /// By publisher and topic: whether it was heard.
    heard: Vec<bool>,
    until: Arc<Until>,
}

impl Counting {
    pub(super) fn new(tally: Tally, topics: usize, credit_every: Option<u64>, until: Arc<Until>) -> Self {
        let publishers = tally.publishers();
        let (told, heard) = (vec![0; publishers], vec![false; publishers * topics]);
        Self { tally, credit_every, told, topics, heard, until }
    }

    #[inline(never)]
    fn give_credit(&mut self, every: u64, stamp: &Stamp) {
        // By number, not by count: a lost message must not be waited for.
        let below = stamp.sequence + 1;
        if let Some(told) =
            self.told.get_mut(usize::from(stamp.publisher)).filter(|told| below >= **told + every)
        {
            *told = below;
            tell(&Answer::Credit { publisher: stamp.publisher, below });
        }
    }

    #[cold]
    fn hear_probe(&mut self, payload: &[u8]) {
        let probe = Stamp::read(payload).filter(Stamp::is_probe);
        let which = probe.map(|probe| usize::from(probe.publisher) * self.topics + probe.due as usize);
        if let Some(heard) = which.and_then(|which| self.heard.get_mut(which)) {
            if std::mem::replace(heard, true) {
                return;
            }
            if self.heard.iter().all(|heard| *heard) && !self.until.heard() {
                self.until.hears();
                tell(&Answer::Heard);
            }
        }
    }
}

impl Listener for Counting {
    #[inline]
    fn hear(&mut self, payload: &[u8]) -> Option<&[u8]> {
        let Some(stamp) = self.tally.note(payload) else {
            self.hear_probe(payload);
            return None;
        };
        self.until.set_arrived(self.tally.arrived());
        if let Some(every) = self.credit_every {
            self.give_credit(every, &stamp);
        }
        None
    }
}

/// Sends back what it gets.
pub(super) struct Echoing {
    answer: Vec<u8>,
    until: Arc<Until>,
}

impl Echoing {
    pub(super) fn new(until: Arc<Until>) -> Self {
        Self { answer: Vec::new(), until }
    }
}

impl Listener for Echoing {
    fn hear(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.until.hears();
        self.answer.clear();
        self.answer.extend_from_slice(payload);
        Some(&self.answer)
    }
}

/// Sends the next message when the last has come back, for as long as asked.
pub(super) struct Pinging {
    pub(super) tally: Tally,
    pub(super) sent: u64,
    message: Vec<u8>,
    nanos: u64,
    end: Option<u64>,
    until: Arc<Until>,
}

impl Pinging {
    pub(super) fn new(load: &Load, until: Arc<Until>) -> Result<Self, BenchError> {
        let tally = Tally::new(1, load.size, true)?;
        Ok(Self { tally, sent: 0, message: vec![7; load.size], nanos: load.nanos, end: None, until })
    }
}

impl Listener for Pinging {
    fn hear(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.until.hears();
        // The opening may have been repeated: only its first answer begins.
        if self.tally.note(payload).is_none() && self.end.is_some() {
            return None;
        }
        self.until.set_arrived(self.tally.arrived());
        let now = clock::now();
        if now >= *self.end.get_or_insert(now + self.nanos) {
            self.until.end();
            return None;
        }
        Stamp { publisher: 0, sequence: self.sent, due: now }.write(&mut self.message);
        self.sent += 1;
        Some(&self.message)
    }
}

//! crossbeam-channel: a bounded channel to each subscriber, one message or 64 at a time.

use super::{Counter, Note, Payloads, QUEUE, check, listen};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};
use crossbeam_channel as channel;
use std::sync::Arc;

const BATCH: usize = 64;

pub(crate) static SINGLE: System = System {
    name: "crossbeam",
    lossless: Lossless::BackPressure,
    check,
    parts: Parts::Threads(|_, role| role.broadcast(single)),
};

/// A batch is shared by reference as well.
pub(crate) static BATCHED: System =
    System { name: "crossbeam-batched", parts: Parts::Threads(|_, role| role.broadcast(batched)), ..SINGLE };

fn single(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let mut ways = Vec::new();
    for counter in counters {
        let (way, notes) = channel::bounded(QUEUE);
        listen(counter, notes)?;
        ways.push(way);
    }
    Ok(Single { ways, payloads: Payloads::new() })
}

fn batched(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let mut ways = Vec::new();
    for counter in counters {
        let (way, batches) = channel::bounded::<Arc<Vec<Note>>>(QUEUE / BATCH);
        listen(counter, batches.into_iter().flat_map(Batch::new))?;
        ways.push(way);
    }
    Ok(Batched { ways, batch: Vec::with_capacity(BATCH), payloads: Payloads::new() })
}

struct Single {
    ways: Vec<channel::Sender<Note>>,
    payloads: Payloads,
}

impl Sender for Single {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        let Some(note) = self.payloads.note(payload) else { return Ok(()) };
        let send = |way: &channel::Sender<Note>| way.send(note.clone());
        self.ways.iter().try_for_each(send).map_err(BenchError::doing("publishing"))
    }
}

struct Batched {
    ways: Vec<channel::Sender<Arc<Vec<Note>>>>,
    batch: Vec<Note>,
    payloads: Payloads,
}

impl Sender for Batched {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        self.batch.extend(self.payloads.note(payload));
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = Arc::new(std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH)));
        let send = |way: &channel::Sender<_>| way.send(batch.clone());
        self.ways.iter().try_for_each(send).map_err(BenchError::doing("publishing"))
    }
}

/// The notes of a shared batch, one after the other.
struct Batch {
    notes: Arc<Vec<Note>>,
    next: usize,
}

impl Batch {
    fn new(notes: Arc<Vec<Note>>) -> Self {
        Batch { notes, next: 0 }
    }
}

impl Iterator for Batch {
    type Item = Note;

    #[inline]
    fn next(&mut self) -> Option<Note> {
        self.next += 1;
        self.notes.get(self.next - 1).cloned()
    }
}

//! flume: a bounded channel to each subscriber.

use super::{Counter, Note, Payloads, QUEUE, check, listen};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};

pub(crate) static FLUME: System = System {
    name: "flume",
    lossless: Lossless::BackPressure,
    check,
    parts: Parts::Threads(|_, role| role.broadcast(channels)),
};

fn channels(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let mut ways = Vec::new();
    for counter in counters {
        let (way, notes) = flume::bounded(QUEUE);
        listen(counter, notes)?;
        ways.push(way);
    }
    Ok(Channels { ways, payloads: Payloads::new() })
}

struct Channels {
    ways: Vec<flume::Sender<Note>>,
    payloads: Payloads,
}

impl Sender for Channels {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        let Some(note) = self.payloads.note(payload) else { return Ok(()) };
        let send = |way: &flume::Sender<Note>| way.send(note.clone());
        self.ways.iter().try_for_each(send).map_err(BenchError::doing("publishing"))
    }
}

//! The `bus` crate: one ring, one writer, a reader for each subscriber.

use super::{Counter, Note, Payloads, QUEUE, check, listen};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};

pub(crate) static BUS: System = System {
    name: "bus-crate",
    lossless: Lossless::BackPressure,
    check,
    parts: Parts::Threads(|_, role| role.broadcast(ring)),
};

fn ring(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let mut ring = bus::Bus::new(QUEUE);
    for counter in counters {
        listen(counter, ring.add_rx())?;
    }
    Ok(Ring { ring, payloads: Payloads::new() })
}

struct Ring {
    ring: bus::Bus<Note>,
    payloads: Payloads,
}

impl Sender for Ring {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        if let Some(note) = self.payloads.note(payload) {
            self.ring.broadcast(note);
        }
        Ok(())
    }
}

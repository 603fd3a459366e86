//! A local backplane: one ring, read in place. Subscribers sleep when nothing comes.

use super::{Counter, Note, Payloads, QUEUE, check};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};
use multiplane_bus::local::{Backplane, Carried, PublishTo};

pub(crate) static LOCAL: System = System {
    name: "multiplane-local",
    lossless: Lossless::BackPressure,
    check,
    parts: Parts::Threads(|_, role| role.broadcast(ring)),
};

impl Carried for Note {
    #[inline]
    fn bytes(&self) -> usize {
        self.payload.len()
    }
}

fn ring(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let backplane = Backplane::builder("bench").capacity(QUEUE).carrying().start();
    let backplane: Backplane<Note> = backplane.map_err(BenchError::doing("creating a local backplane"))?;
    for mut counter in counters {
        let mut subscriber = backplane.subscriber();
        let run =
            move || while subscriber.for_each(|note| counter.hear(note.stamp, note.payload.len())).is_ok() {};
        let started = std::thread::Builder::new().name("subscriber".to_owned()).spawn(run);
        started.map_err(BenchError::doing("starting a subscriber"))?;
    }
    Ok(Ring { publisher: backplane.publisher(), payloads: Payloads::new(), _backplane: backplane })
}

struct Ring {
    publisher: PublishTo<Note>,
    payloads: Payloads,
    _backplane: Backplane<Note>,
}

impl Sender for Ring {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        let Some(note) = self.payloads.note(payload) else { return Ok(()) };
        self.publisher.publish(note).map_err(BenchError::doing("publishing"))
    }
}

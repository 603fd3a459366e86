//! The `disruptor` crate: one ring, one writer, a spinning thread for each subscriber that reads in place.

use super::{Counter, Note, Payloads, QUEUE, check};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};
use crate::stamp::Stamp;
use bytes::Bytes;
use disruptor::{BusySpinWithSpinLoopHint, Producer, build_single_producer};

pub(crate) static DISRUPTOR: System = System {
    name: "disruptor",
    lossless: Lossless::BackPressure,
    check,
    parts: Parts::Threads(|_, role| role.broadcast(ring)),
};

fn ring(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let empty = || Note { stamp: Stamp::probe(0, 0), payload: Bytes::new() };
    let ring = build_single_producer(QUEUE, empty, BusySpinWithSpinLoopHint).with_multi_consumer();
    let ring = counters.into_iter().fold(ring, |ring, mut counter| {
        ring.handle_events_with(move |note: &Note, _, _| counter.hear(note.stamp, note.payload.len()))
    });
    Ok(Ring { producer: ring.build(), payloads: Payloads::new() })
}

struct Ring<P> {
    producer: P,
    payloads: Payloads,
}

impl<P: Producer<Note>> Sender for Ring<P> {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        if let Some(note) = self.payloads.note(payload) {
            self.producer.publish(|slot| *slot = note);
        }
        Ok(())
    }
}

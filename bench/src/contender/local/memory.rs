//! Copies of the bytes, one for each subscriber, by one thread: the limit of the machine for whoever copies a message.

use super::{Counter, check};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};
use crate::stamp::Stamp;

/// Copies go round through so many bytes for each subscriber: more than the near caches hold.
const ROUND: usize = 4 * 1024 * 1024;

pub(crate) static BASE: System = System {
    name: "base-memory",
    lossless: Lossless::BackPressure,
    check,
    parts: Parts::Threads(|_, role| role.broadcast(|counters| Ok(Copies::new(counters)))),
};

struct Copies {
    rooms: Vec<(Counter, Vec<u8>)>,
    at: usize,
}

impl Copies {
    fn new(counters: Vec<Counter>) -> Self {
        let rooms = counters.into_iter().map(|counter| (counter, vec![1; ROUND])).collect();
        Copies { rooms, at: 0 }
    }
}

impl Sender for Copies {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        if self.at + payload.len() > ROUND {
            self.at = 0;
        }
        for (counter, room) in &mut self.rooms {
            if room.len() < payload.len() {
                room.resize(payload.len(), 0);
            }
            let copy = &mut room[self.at..self.at + payload.len()];
            copy.copy_from_slice(payload);
            // What is counted is read from the copy.
            if let Some(stamp) = Stamp::read(std::hint::black_box(copy)) {
                counter.hear(stamp, copy.len());
            }
        }
        self.at += payload.len();
        Ok(())
    }
}

//! tokio's broadcast channel: one ring whose writer overwrites what slow subscribers have not read. Here it looks at
//! the length of the longest queue in time, and waits: that is its credit.

use super::{Counter, Note, Payloads, check, listen};
use crate::BenchError;
use crate::contender::{Lossless, Parts, Sender, System};
use tokio::sync::broadcast::{self, error::RecvError};

/// As many as the window of credit elsewhere.
const QUEUE: usize = 16_384;
const LOOK_EVERY: usize = QUEUE / 8;

pub(crate) static TOKIO: System = System {
    name: "tokio-broadcast",
    lossless: Lossless::Credit(QUEUE),
    check,
    parts: Parts::Threads(|_, role| role.broadcast(ring)),
};

fn ring(counters: Vec<Counter>) -> Result<impl Sender, BenchError> {
    let (way, _) = broadcast::channel(QUEUE);
    for counter in counters {
        listen(counter, Notes(way.subscribe()))?;
    }
    Ok(Ring { way, until_look: 0, payloads: Payloads::new() })
}

struct Notes(broadcast::Receiver<Note>);

impl Iterator for Notes {
    type Item = Note;

    #[inline]
    fn next(&mut self) -> Option<Note> {
        loop {
            match self.0.blocking_recv() {
                Ok(note) => return Some(note),
                // The numbers of the messages tell what is lost.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

struct Ring {
    way: broadcast::Sender<Note>,
    until_look: usize,
    payloads: Payloads,
}

impl Sender for Ring {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        if self.until_look == 0 {
            while self.way.len() > QUEUE - LOOK_EVERY {
                std::thread::yield_now();
            }
            self.until_look = LOOK_EVERY;
        }
        self.until_look -= 1;
        let Some(note) = self.payloads.note(payload) else { return Ok(()) };
        self.way.send(note).map_err(|_| BenchError::failed("publishing", "no subscriber is left"))?;
        Ok(())
    }
}

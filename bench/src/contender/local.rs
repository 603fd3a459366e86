//! Broadcast inside of one process: one thread publishes, the others get everything, and share each payload by reference.
//!
//! A message is its stamp and one of a thousand payloads made beforehand, so that what is measured is handing over, not
//! allocating. A file below is one way to hand over: given the subscribers' [`Counter`]s it answers with what the
//! publisher sends into. When that is dropped, each counter hears what is still on the way and is dropped as well.

#[cfg(feature = "local-peers")]
pub(super) mod bus;
pub(super) mod crossbeam;
#[cfg(feature = "local-peers")]
pub(super) mod disruptor;
pub(super) mod eventfd;
#[cfg(feature = "local-peers")]
pub(super) mod flume;
pub(super) mod memory;
pub(super) mod multiplane;
#[cfg(feature = "local-peers")]
pub(super) mod tokio;

use crate::role::LocalCounter as Counter;
use crate::scenario::Scenario;
use crate::stamp::Stamp;
use bytes::Bytes;

/// How many messages may be on the way to a subscriber.
pub(super) const QUEUE: usize = 1024;

const PAYLOADS: usize = 1000;

/// A message inside of a process.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) stamp: Stamp,
    pub(super) payload: Bytes,
}

/// Payloads to share.
pub(super) struct Payloads {
    payloads: Vec<Bytes>,
    next: usize,
}

impl Payloads {
    pub(super) fn new() -> Self {
        Payloads { payloads: Vec::new(), next: 0 }
    }

    /// What the harness wants to send, as a message that shares its payload.
    #[inline]
    pub(super) fn note(&mut self, payload: &[u8]) -> Option<Note> {
        let stamp = Stamp::read(payload)?;
        self.next += 1;
        if self.next >= self.payloads.len() {
            self.next = 0;
            if self.payloads.len() < PAYLOADS {
                self.payloads.push(Bytes::copy_from_slice(payload));
                self.next = self.payloads.len() - 1;
            }
        }
        Some(Note { stamp, payload: self.payloads.get(self.next)?.clone() })
    }
}

/// For those who only hand over.
pub(super) fn check(scenario: Scenario) -> Result<(), &'static str> {
    match scenario {
        Scenario::Local(_) => Ok(()),
        _ => Err("it hands over inside of a process; use local:N"),
    }
}

/// Lets a counter hear, on a thread of its own, what comes by.
pub(super) fn listen(
    mut counter: Counter,
    notes: impl IntoIterator<Item = Note> + Send + 'static,
) -> Result<(), crate::BenchError> {
    let run = move || notes.into_iter().for_each(|note| counter.hear(note.stamp, note.payload.len()));
    let started = std::thread::Builder::new().name("subscriber".to_owned()).spawn(run);
    started.map_err(crate::BenchError::doing("starting a subscriber"))?;
    Ok(())
}

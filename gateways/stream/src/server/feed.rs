//! What one backplane gives to all clients that subscribe to it.

use bytes::{BufMut, Bytes, BytesMut};
use mio::Waker;
use multiplane_bus::local::{LocalError, SubscribeTo, TryRecvError};
use std::sync::Arc;

/// Messages from this size on are shared by reference; smaller ones are copied side by side, once for all clients.
const SHARED: usize = 4 * 1024;
/// Most bytes of small messages in one piece: what a slow client loses at a time.
const PIECE: usize = 16 * 1024;

/// One subscription for all of its clients.
#[derive(Debug)]
pub(super) struct Feed {
    subscription: SubscribeTo,
    /// Who gets it.
    pub(super) clients: Vec<usize>,
    batch: Batch,
    missed: u64,
    pub(super) ended: bool,
}

/// Some messages as pieces that all queues share.
#[derive(Debug, Default)]
struct Batch {
    pieces: Vec<(Bytes, u32)>,
    small: BytesMut,
    messages: u32,
}

impl Feed {
    /// Subscribes; `waker` is called when something comes after [`sleeps`](Self::sleeps).
    pub(super) fn new(backplane: &str, waker: Arc<Waker>) -> Result<Self, LocalError> {
        let mut subscription = SubscribeTo::new(backplane)?;
        subscription.on_ready(move || drop(waker.wake()));
        let batch = Batch::default();
        Ok(Self { subscription, clients: Vec::new(), batch, missed: 0, ended: false })
    }

    pub(super) fn backplane(&self) -> &str {
        self.subscription.backplane()
    }

    /// Takes what was published; `true` if that was anything.
    pub(super) fn take(&mut self) -> bool {
        let batch = &mut self.batch;
        match self.subscription.try_for_each(|message| batch.add(message.payload())) {
            Ok(count) => {
                batch.seal();
                count > 0
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Ended) => {
                self.ended = true;
                false
            }
        }
    }

    /// The pieces taken.
    pub(super) fn pieces(&mut self) -> Vec<(Bytes, u32)> {
        std::mem::take(&mut self.batch.pieces)
    }

    /// Gives the memory of the pieces back, to be used again.
    pub(super) fn keep(&mut self, mut pieces: Vec<(Bytes, u32)>) {
        pieces.clear();
        self.batch.pieces = pieces;
    }

    /// Messages missed since this was last asked.
    pub(super) fn missed(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.missed, self.subscription.missed());
        self.missed - before
    }

    /// Whether nothing is there, so that the waker will be called when there is.
    pub(super) fn sleeps(&mut self) -> bool {
        self.ended || self.subscription.arm()
    }
}

impl Batch {
    fn add(&mut self, payload: &Bytes) {
        if payload.len() >= SHARED {
            self.seal();
            self.pieces.push((payload.clone(), 1));
            return;
        }
        if self.small.len() + payload.len() > PIECE {
            self.seal();
        }
        self.small.put_slice(payload);
        self.messages += 1;
    }

    fn seal(&mut self) {
        if self.messages > 0 {
            self.pieces.push((self.small.split().freeze(), std::mem::take(&mut self.messages)));
            self.small.reserve(PIECE);
        }
    }
}

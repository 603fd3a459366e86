//! What the bus has for devices: framed on the bus's own threads, where a message is still borrowed, and gathered into
//! pieces until the gateway's thread takes them.

use crate::report::Stats;
use crate::translate::to_device;
use mio::Waker;
use multiplane_bus::{BackplaneId, Bus, CloseReport, Message, Outbox, StopHandle};
use multiplane_codec::framing::FramingError;
use multiplane_codec::framing::length_prefix::Width;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages are gathered up to so many bytes, to be written together.
const PIECE: usize = 16 * 1024;
/// A full queue loses a whole piece, which is no more than this part of it.
const PART: usize = 16;

/// Messages that are written together.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) frames: Vec<u8>,
    pub(crate) messages: u32,
}

/// What goes to the devices of one place.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The backplanes, ...
    pub(crate) backplanes: Vec<String>,
    /// ... what the topics begin with, ...
    pub(crate) to: Vec<String>,
    /// ... and the topic of what comes from there, which does not go back.
    pub(crate) from: String,
}

/// The one bounded queue on the way to the devices of one place, until a connection takes from it.
#[derive(Debug)]
pub(crate) struct Lane {
    wanted: Wanted,
    width: Width,
    /// Messages at most, and in one piece.
    bound: usize,
    most: u32,
    waker: Arc<Waker>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    messages: usize,
    displaced: u64,
    oversize: u64,
    /// One of those that are too long.
    example: Option<(String, FramingError)>,
    /// The gateway has found it empty and wants to be woken.
    armed: bool,
}

impl Lane {
    pub(crate) fn new(wanted: Wanted, width: Width, bound: usize, waker: Arc<Waker>) -> Self {
        let most = u32::try_from(bound / PART).unwrap_or(u32::MAX).max(1);
        Self { wanted, width, bound, most, waker, queue: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self, backplane: &str, topic: &str) -> bool {
        let Wanted { backplanes, to, from } = &self.wanted;
        topic != from
            && to.iter().any(|prefix| topic.starts_with(prefix))
            && backplanes.iter().any(|name| name == backplane)
    }

    /// Queues a message; the oldest make way where there is no room.
    fn put(&self, topic: &str, payload: &[u8]) {
        let mut queue = self.lock();
        queue.put(self, topic, payload);
        let armed = std::mem::take(&mut queue.armed);
        drop(queue);
        if armed {
            // The only failure is that it is being woken already.
            let _ = self.waker.wake();
        }
    }

    /// The oldest piece; where there is none, the next message wakes the gateway. What was counted here is added to `stats`;
    /// with one of the messages that were too long, if there were any.
    pub(crate) fn take(&self, stats: &mut Stats) -> (Option<Piece>, Option<(String, FramingError)>) {
        let mut queue = self.lock();
        stats.displaced += std::mem::take(&mut queue.displaced);
        stats.oversize += std::mem::take(&mut queue.oversize);
        let piece = queue.pieces.pop_front();
        queue.messages -= piece.as_ref().map_or(0, |piece| piece.messages as usize);
        queue.armed = piece.is_none();
        (piece, queue.example.take())
    }

    /// Messages that wait.
    pub(crate) fn messages(&self) -> usize {
        self.lock().messages
    }
}

impl Queue {
    fn put(&mut self, lane: &Lane, topic: &str, payload: &[u8]) {
        let open = |piece: &&mut Piece| piece.frames.len() < PIECE && piece.messages < lane.most;
        let framed = match self.pieces.back_mut().filter(open) {
            Some(piece) => piece.add(lane.width, payload),
            None => {
                let mut piece = Piece::default();
                let framed = piece.add(lane.width, payload);
                self.pieces.extend(framed.is_ok().then_some(piece));
                framed
            }
        };
        if let Err(error) = framed {
            self.oversize += 1;
            self.example.get_or_insert_with(|| (topic.to_owned(), error));
            return;
        }
        self.messages += 1;
        while self.messages > lane.bound
            && let Some(oldest) = self.pieces.pop_front()
        {
            self.messages -= oldest.messages as usize;
            self.displaced += u64::from(oldest.messages);
        }
    }
}

impl Piece {
    fn add(&mut self, width: Width, payload: &[u8]) -> Result<(), FramingError> {
        to_device(width, payload, &mut self.frames)?;
        self.messages += 1;
        Ok(())
    }
}

/// Puts the messages of one worker into the lanes that want them.
struct Router {
    lanes: Arc<[Lane]>,
    /// For whom the last topic was: topics come in runs.
    last: Option<BackplaneId>,
    topic: String,
    wanting: Vec<usize>,
}

impl Router {
    fn handle(&mut self, message: &Message<'_>) {
        let (backplane, topic) = (message.backplane(), message.topic());
        if self.last != Some(backplane) || self.topic != topic {
            self.last = Some(backplane);
            self.topic.clear();
            self.topic.push_str(topic);
            let lanes = self.lanes.iter().enumerate();
            let wanting = lanes.filter(|(_, lane)| lane.wants(backplane.name(), topic)).map(|(n, _)| n);
            self.wanting.clear();
            self.wanting.extend(wanting);
        }
        for &n in &self.wanting {
            self.lanes[n].put(topic, message.payload_bytes());
        }
    }
}

/// The bus, handing out what it has on its own threads; another one only waits for the end of that.
#[derive(Debug)]
pub(crate) struct Intake {
    stop: StopHandle,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Bus>>,
}

impl Intake {
    /// Begins to fill `lanes` with what the bus is subscribed to.
    pub(crate) fn start(bus: Bus, lanes: Arc<[Lane]>, waker: Arc<Waker>) -> io::Result<Self> {
        let (stop, ended) = (bus.stop_handle(), Arc::new(AtomicBool::new(false)));
        let end = ended.clone();
        let thread = std::thread::Builder::new().name("tcp-intake".to_owned()).spawn(move || {
            let outcome = bus.run_each(|_| {
                let wanting = Vec::with_capacity(lanes.len());
                let mut router = Router { lanes: lanes.clone(), last: None, topic: String::new(), wanting };
                move |message: &Message<'_>, _: &mut Outbox<'_>| {
                    router.handle(message);
                    Ok(())
                }
            });
            if let Err(error) = outcome {
                tracing::error!(%error, "the bus hands out no more");
            }
            end.store(true, Ordering::Release);
            let _ = waker.wake();
            bus
        })?;
        Ok(Self { stop, ended, thread: Some(thread) })
    }

    /// Whether the bus has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The bus, when it fills the lanes no more.
    fn end(&mut self) -> Option<Bus> {
        self.stop.stop();
        self.thread.take()?.join().ok()
    }

    /// Fills the lanes no more, and closes the bus.
    pub(crate) fn close(mut self, deadline: Duration) -> CloseReport {
        match self.end() {
            Some(bus) => bus.close(deadline),
            // A panic has told what it was.
            None => CloseReport { unsent: Vec::new(), stats: Vec::new() },
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};

    fn lane(bound: usize) -> Lane {
        let poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let wanted = Wanted { backplanes: vec![], to: vec![], from: String::new() };
        Lane::new(wanted, Width::One, bound, waker)
    }

    /// What is taken until nothing is left: the payloads, each a byte.
    fn drain(lane: &Lane, stats: &mut Stats) -> Vec<u8> {
        let pieces = std::iter::from_fn(|| lane.take(stats).0);
        pieces.flat_map(|piece| piece.frames.chunks(2).map(|frame| frame[1]).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_full_queue_keeps_the_newest_in_order_and_counts_the_others() {
        for bound in [1, 2, 15, 16, 17, 64, 100] {
            let (lane, mut stats) = (lane(bound), Stats::default());
            for sent in 0..200u8 {
                lane.put("figura", &[sent]);
                assert!(lane.messages() <= bound);
            }
            let taken = drain(&lane, &mut stats);
            let oldest = 200 - taken.len();
            assert_eq!(taken, (oldest as u8..200).collect::<Vec<_>>());
            assert_eq!(stats.displaced, oldest as u64);
            assert!(taken.len() + bound / PART >= bound, "{} of {bound}", taken.len());
            assert_eq!((lane.messages(), drain(&lane, &mut stats).len()), (0, 0));
        }
    }

    #[test]
    fn what_is_too_long_takes_no_place_and_is_counted() {
        let (lane, mut stats) = (lane(100), Stats::default());
        for payload in [&[1][..], &[0; 256], &[0; 300], &[2]] {
            lane.put("figura", payload);
        }
        let (piece, example) = lane.take(&mut stats);
        assert_eq!(piece.map(|piece| (piece.frames, piece.messages)), Some((vec![1, 1, 1, 2], 2)));
        assert_eq!(example.map(|(topic, _)| topic).as_deref(), Some("figura"));
        assert_eq!((stats.oversize, stats.displaced), (2, 0));
    }
}

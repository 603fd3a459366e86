//! Several workers as one backplane.
//!
//! Each worker has a thread, a poll and a [`Forwarder`] of its own, and connections are dealt out in turn. From each
//! worker to each other one leads a *joint*, a connection inside of the process: there it is one more subscriber, here one
//! more publisher, whose messages go to our own subscribers and never on to other joints. Wishes do not go by the joints,
//! where messages may be waiting, but into a mailbox that is emptied before anything is forwarded: whoever knows that a
//! wish was heard by one worker finds it known to all.

use super::connection::{Connection, Side};
use super::forwarder::Forwarder;
use super::queue::SendQueue;
use crate::backplane::Shared;
use mio::net::{TcpStream, UnixStream};
use multiplane_core::Subscriptions;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that may wait before a joint: enough to work in large pieces.
const JOINT_BYTES: usize = 4 << 20;

/// With so many wishes waiting somewhere, subscribers are not heard before they are fewer.
const MOST_WISHES: usize = 64 * 1024;

/// A connection of either kind.
pub(super) enum Stream {
    Tcp(TcpStream),
    Joint(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Joint(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Joint(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Joint(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that another worker is to serve.
pub(super) type Newcomer = (TcpStream, SocketAddr, Side);

/// What a subscriber of another worker began or ended to want.
struct Wish {
    worker: usize,
    subscribe: bool,
    topic: Vec<u8>,
}

/// What waits for one worker.
struct Mailbox {
    shared: Arc<Shared>,
    wishes: Mutex<Vec<Wish>>,
    has_wishes: AtomicBool,
    is_full: AtomicBool,
    newcomers: Mutex<Vec<Newcomer>>,
}

/// One worker's view of all.
pub(super) struct Team {
    me: usize,
    mailboxes: Arc<[Mailbox]>,
    /// Connections of all workers.
    places: Arc<AtomicUsize>,
    /// What our own subscribers want.
    own: Subscriptions<u32>,
    /// Our ends of the joints that lead from here, by worker.
    joints: Vec<Option<u32>>,
    /// Whose turn it is to get the next subscriber, the next publisher.
    turns: [usize; 2],
    /// Nothing goes by the joints any more.
    parted: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// One for each worker.
    pub(super) fn form(workers: &[Arc<Shared>], subscriptions: usize) -> Vec<Self> {
        let mailbox = |shared: &Arc<Shared>| Mailbox {
            shared: shared.clone(),
            wishes: Mutex::default(),
            has_wishes: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            newcomers: Mutex::default(),
        };
        let mailboxes: Arc<[Mailbox]> = workers.iter().map(mailbox).collect();
        let places = Arc::new(AtomicUsize::new(0));
        let team = |me| Self {
            me,
            mailboxes: mailboxes.clone(),
            places: places.clone(),
            own: Subscriptions::with_limit(subscriptions),
            joints: vec![None; workers.len()],
            turns: [0, 0],
            parted: false,
        };
        (0..workers.len()).map(team).collect()
    }

    pub(super) fn workers(&self) -> usize {
        self.mailboxes.len()
    }

    pub(super) fn connections(&self) -> usize {
        self.places.load(Ordering::Relaxed)
    }

    pub(super) fn has_left(&self) {
        self.places.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection, and gives it to the worker whose turn it is; it comes back if that is ourselves.
    pub(super) fn deal(&mut self, newcomer: Newcomer) -> Option<Newcomer> {
        self.places.fetch_add(1, Ordering::Relaxed);
        let turn = &mut self.turns[usize::from(newcomer.2 == Side::Publisher)];
        let worker = std::mem::replace(turn, (*turn + 1) % self.mailboxes.len());
        if worker == self.me {
            return Some(newcomer);
        }
        let mailbox = &self.mailboxes[worker];
        locked(&mailbox.newcomers).push(newcomer);
        mailbox.shared.wake.wake_always();
        None
    }

    /// The connections that we were given.
    pub(super) fn newcomers(&self) -> Vec<Newcomer> {
        std::mem::take(&mut *locked(&self.mailboxes[self.me].newcomers))
    }

    /// An own subscriber began to want a topic.
    pub(super) fn subscribed(&mut self, topic: &[u8], id: u32) -> Result<(), String> {
        if self.own.add(topic, id).map_err(|error| error.to_string())? {
            self.tell(true, topic);
        }
        Ok(())
    }

    /// An own subscriber ended to want a topic.
    pub(super) fn unsubscribed(&mut self, topic: &[u8], id: u32) {
        if self.own.remove(topic, id) {
            self.tell(false, topic);
        }
    }

    /// An own subscriber is gone.
    pub(super) fn gone(&mut self, id: u32) {
        for topic in self.own.remove_all(id) {
            self.tell(false, &topic);
        }
    }

    fn tell(&self, subscribe: bool, topic: &[u8]) {
        for (worker, mailbox) in self.mailboxes.iter().enumerate() {
            if worker != self.me {
                let mut wishes = locked(&mailbox.wishes);
                wishes.push(Wish { worker: self.me, subscribe, topic: topic.to_vec() });
                mailbox.is_full.store(wishes.len() >= MOST_WISHES, Ordering::Relaxed);
                if !mailbox.has_wishes.swap(true, Ordering::Release) {
                    mailbox.shared.wake.wake_always();
                }
            }
        }
    }

    /// Whether more wishes must wait.
    pub(super) fn is_full(&self) -> bool {
        self.mailboxes.iter().any(|mailbox| mailbox.is_full.load(Ordering::Relaxed))
    }

    fn wishes(&self) -> Vec<Wish> {
        let mailbox = &self.mailboxes[self.me];
        if !mailbox.has_wishes.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut wishes = locked(&mailbox.wishes);
        mailbox.has_wishes.store(false, Ordering::Relaxed);
        mailbox.is_full.store(false, Ordering::Relaxed);
        std::mem::take(&mut *wishes)
    }
}

impl<S: Read + Write> Forwarder<S> {
    /// Becomes one of several. What they all want together has to fit.
    pub(super) fn join(&mut self, team: Team) {
        self.wanted = Subscriptions::with_limit(self.budget.subscriptions.saturating_mul(team.workers()));
        self.team = Some(team);
    }

    /// Takes in one end of a joint, under the name that `next_id` told: to `worker` for a subscriber, from it for a
    /// publisher.
    pub(super) fn connect_joint(&mut self, stream: S, side: Side, worker: usize, now: Instant) {
        let id = self.next_id();
        let bytes = self.budget.subscriber_queue_bytes.min(JOINT_BYTES);
        let queue = SendQueue::new(usize::MAX, bytes);
        self.peers.insert(Connection::joint(stream, format!("worker {worker}"), side, queue, now));
        if let (Side::Subscriber, Some(team)) = (side, &mut self.team) {
            team.joints[worker] = Some(id);
        }
    }

    /// Hears what subscribers of other workers want.
    pub(super) fn hear_others(&mut self) {
        let Some(team) = &self.team else { return };
        for Wish { worker, subscribe, topic } in team.wishes() {
            let Some(joint) = self.team.as_ref().and_then(|team| team.joints[worker]) else { continue };
            self.router.forget();
            let news = if subscribe {
                self.wanted.add(&topic, joint).unwrap_or_else(|error| {
                    tracing::error!(backplane = self.name, %error, "a subscription is not known to all workers");
                    false
                })
            } else {
                self.wanted.remove(&topic, joint)
            };
            if news {
                self.tell_publishers(subscribe, &topic);
            } else {
                self.show();
            }
        }
    }

    /// Whether something is on its way by a joint, or may still come by one when there is an end to that.
    pub(super) fn waits_for_joints(&self) -> bool {
        let Some(team) = &self.team else { return false };
        team.joints
            .iter()
            .flatten()
            .any(|&id| self.peers.get(id).is_some_and(|joint| joint.queue.bytes() > 0))
            || team.parted && self.hears_joints()
    }

    /// Whether other workers may still send something.
    pub(super) fn hears_joints(&self) -> bool {
        let is_joint = |id: &u32| self.is_incoming_joint(*id);
        self.team.is_some() && self.peers.ids().iter().any(is_joint)
    }

    pub(super) fn is_incoming_joint(&self, id: u32) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.joint && peer.side == Side::Publisher)
    }

    /// Sends nothing more to other workers, and so takes nothing more from publishers; whether that is news.
    pub(super) fn part(&mut self, now: Instant) -> bool {
        let Some(team) = &mut self.team else { return false };
        if std::mem::replace(&mut team.parted, true) {
            return false;
        }
        let joints = std::mem::take(&mut team.joints);
        team.joints = vec![None; joints.len()];
        self.hold();
        joints.into_iter().flatten().for_each(|id| self.disconnect(id, now, ""));
        true
    }
}

//! Several workers as one backplane.
//!
//! Each worker has a thread, a poll and a [`Forwarder`] of its own, and connections are dealt out in turn. From each
//! worker to each other one leads a *joint*, a connection inside of the process: there it is one more subscriber, here one
//! more publisher, whose messages go to our own subscribers and never on to other joints. Wishes do not go by the joints,
//! where messages may be waiting, but into a mailbox that is emptied before anything is forwarded: whoever knows that a
//! wish was heard by one worker finds it known to all.

use super::connection::{Connection, Newcomer, Side};
use super::forwarder::Forwarder;
use super::queue::SendQueue;
use crate::backplane::Shared;
use crate::io::Socket;
use multiplane_core::{SubscriptionError, Subscriptions};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that may wait before a joint: enough to work in large pieces.
const JOINT_BYTES: usize = 4 << 20;

/// With so many wishes waiting somewhere, subscribers are not heard before they are fewer.
const MOST_WISHES: usize = 64 * 1024;

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
    newcomers: Mutex<Vec<Newcomer<Socket>>>,
}

/// What all workers have together, for the bounds of the whole.
#[derive(Default)]
struct Totals {
    connections: AtomicUsize,
    /// Pairs of a subscriber and a prefix.
    subscriptions: AtomicUsize,
    /// As [`Forwarder::unfinished`].
    unfinished: Arc<AtomicUsize>,
}

/// One worker's view of all.
pub(super) struct Team {
    me: usize,
    mailboxes: Arc<[Mailbox]>,
    totals: Arc<Totals>,
    /// Subscriptions that all workers may have.
    most: usize,
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
        let totals = Arc::<Totals>::default();
        let team = |me| Self {
            me,
            mailboxes: mailboxes.clone(),
            totals: totals.clone(),
            most: subscriptions,
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
        self.totals.connections.load(Ordering::Relaxed)
    }

    pub(super) fn has_come(&self) {
        self.totals.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn has_left(&self) {
        self.totals.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection, and gives it to the worker whose turn it is; it comes back if that is ourselves.
    pub(super) fn deal(&mut self, newcomer: Newcomer<Socket>) -> Option<Newcomer<Socket>> {
        self.has_come();
        let turn = &mut self.turns[usize::from(newcomer.side == Side::Publisher)];
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
    pub(super) fn newcomers(&self) -> Vec<Newcomer<Socket>> {
        std::mem::take(&mut *locked(&self.mailboxes[self.me].newcomers))
    }

    /// An own subscriber began to want a topic.
    pub(super) fn subscribed(&mut self, topic: &[u8], id: u32) -> Result<(), SubscriptionError> {
        let subscriptions = &self.totals.subscriptions;
        let added = if subscriptions.fetch_add(1, Ordering::Relaxed) < self.most {
            self.own.add(topic, id)
        } else {
            Err(SubscriptionError::Full { limit: self.most })
        };
        match added {
            Ok(true) => self.tell(true, topic),
            Ok(false) => {}
            Err(_) => drop(subscriptions.fetch_sub(1, Ordering::Relaxed)),
        }
        added.map(|_| ())
    }

    /// An own subscriber ended to want a topic.
    pub(super) fn unsubscribed(&mut self, topic: &[u8], id: u32) {
        let before = self.own.held_by(id);
        let is_last = self.own.remove(topic, id);
        self.totals.subscriptions.fetch_sub(before - self.own.held_by(id), Ordering::Relaxed);
        if is_last {
            self.tell(false, topic);
        }
    }

    /// An own subscriber is gone.
    pub(super) fn gone(&mut self, id: u32) {
        self.totals.subscriptions.fetch_sub(self.own.held_by(id), Ordering::Relaxed);
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

    #[cfg(test)]
    pub(super) fn has_wishes(&self) -> bool {
        self.mailboxes[self.me].has_wishes.load(Ordering::Acquire)
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
    /// Becomes one of several. What they count together keeps the bounds; the table only has to hold all of it, also while
    /// what one has dropped and another has taken are both in there.
    pub(super) fn join(&mut self, team: Team) {
        let all = self.budget.subscriptions.saturating_mul(2 * team.workers());
        self.wanted = Subscriptions::with_limit(all);
        self.unfinished = team.totals.unfinished.clone();
        self.team = Some(team);
    }

    /// Takes in one end of a joint, under the name that `next_id` told: to `worker` for a subscriber, from it for a
    /// publisher.
    pub(super) fn connect_joint(&mut self, stream: S, side: Side, worker: usize, now: Instant) {
        let id = self.next_id();
        let bytes = self.budget.subscriber_queue_bytes.min(JOINT_BYTES);
        let queue = SendQueue::new(usize::MAX, bytes);
        let address = format!("worker {worker}");
        let newcomer = Newcomer { stream, address, side, is_here: true, offer: None, place: None };
        self.peers.insert(Connection::joint(newcomer, queue, now));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::native::forwarder::Readiness;
    use crate::backplane::{Backplane, OnSlow};
    use multiplane_codec::zmtp::{Handshake, SocketType, command, frame};
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::io;
    use std::rc::Rc;

    const READABLE: Readiness = Readiness { readable: true, writable: false, ended: false };

    #[derive(Clone, Default)]
    struct Pipe(Rc<RefCell<VecDeque<u8>>>);

    impl Pipe {
        fn put(&self, bytes: &[u8]) {
            self.0.borrow_mut().extend(bytes);
        }

        fn take(&self) -> Vec<u8> {
            self.0.borrow_mut().drain(..).collect()
        }
    }

    /// One end of a connection in memory.
    #[derive(Clone, Default)]
    struct End {
        input: Pipe,
        output: Pipe,
        /// What others do right before the next read.
        meanwhile: Rc<RefCell<Option<Deed>>>,
    }

    type Deed = Box<dyn FnOnce()>;

    impl Read for End {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if let Some(meanwhile) = self.meanwhile.take() {
                meanwhile();
            }
            match self.input.0.borrow_mut().read(buffer)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }
    }

    impl Write for End {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.output.put(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Worker {
        forwarder: RefCell<Forwarder<End>>,
        shared: Arc<Shared>,
        now: Instant,
    }

    impl Worker {
        /// Takes a peer in, and shakes hands with it.
        fn meet(&self, kind: SocketType, side: Side) -> (u32, End) {
            let (end, id) = (End::default(), self.forwarder.borrow().next_id());
            let (stream, address) = (end.clone(), "a test".to_owned());
            let newcomer = Newcomer { stream, address, side, is_here: true, offer: None, place: None };
            self.forwarder.borrow_mut().connect(newcomer, self.now);
            let (mut handshake, hello) = Handshake::start(kind);
            end.input.put(&hello);
            while handshake.peer().is_none() {
                let mut answer = Vec::new();
                handshake.handle(&end.output.take(), &mut answer).unwrap();
                end.input.put(&answer);
                self.serve(id);
            }
            end.output.take();
            (id, end)
        }

        fn serve(&self, id: u32) {
            self.forwarder.borrow_mut().ready(id, READABLE);
            self.forwarder.borrow_mut().turn(self.now);
        }
    }

    /// Two, with the ends of the joint from the second to the first: `0` is its name at both.
    fn two() -> [Rc<Worker>; 2] {
        let (builder, now) = (Backplane::builder("BP1").on_slow(OnSlow::Block), crate::worker::now());
        let shared = [builder.open().unwrap(), builder.open().unwrap()];
        let mut teams = Team::form(&shared, 1_000_000).into_iter();
        let workers = shared.map(|shared| {
            let mut forwarder = Forwarder::new(&builder, shared.counters.clone());
            forwarder.join(teams.next().unwrap());
            Rc::new(Worker { forwarder: RefCell::new(forwarder), shared, now })
        });
        let there = End::default();
        let here = End { input: there.output.clone(), output: there.input.clone(), ..End::default() };
        workers[0].forwarder.borrow_mut().connect_joint(here, Side::Publisher, 1, now);
        workers[1].forwarder.borrow_mut().connect_joint(there, Side::Subscriber, 0, now);
        workers
    }

    fn wish(topic: &[u8]) -> Vec<u8> {
        let mut frames = Vec::new();
        command::write_subscription(&mut frames, 1, true, topic);
        frames
    }

    /// A publisher that knows that one worker has heard a wish may publish before the other one begins its next turn.
    #[test]
    fn a_wish_that_comes_during_a_turn_counts_for_what_is_read_after_it() {
        let [first, second] = two();
        let (publisher, says) = second.meet(SocketType::Pub, Side::Publisher);
        let (subscriber, wants) = first.meet(SocketType::Sub, Side::Subscriber);
        let (elsewhere, asked, told) = (first.clone(), wants.clone(), says.clone());
        let mut message = Vec::new();
        frame::write(&mut message, frame::MORE, b"n");
        frame::write(&mut message, 0, b"payload");
        let sent = message.clone();
        *says.meanwhile.borrow_mut() = Some(Box::new(move || {
            asked.input.put(&wish(b"n"));
            elsewhere.serve(subscriber);
            told.input.put(&sent);
        }));
        second.serve(publisher);
        let counters = &second.shared.counters;
        assert_eq!((counters.received.get(), counters.unwanted.get()), (1, 0));
        first.serve(0);
        assert_eq!(wants.output.take(), message);
    }

    /// Wishes that another worker has not heard are few, and are all known to it in the end.
    #[test]
    fn a_worker_that_hears_nothing_makes_subscribers_wait() {
        let [first, second] = two();
        let (subscriber, wants) = first.meet(SocketType::Sub, Side::Subscriber);
        let all = 3 * MOST_WISHES;
        (0..all).for_each(|n| wants.input.put(&wish(format!("topic {n}").as_bytes())));
        let waiting = |worker: usize| {
            let first = first.forwarder.borrow();
            locked(&first.team.as_ref().unwrap().mailboxes[worker].wishes).len()
        };
        (0..1000).for_each(|_| first.serve(subscriber));
        assert!((MOST_WISHES..2 * MOST_WISHES).contains(&waiting(1)), "{} wait", waiting(1));
        assert!(first.forwarder.borrow().has_work(), "the subscriber is not forgotten");
        while second.forwarder.borrow().wanted.len() < all {
            second.forwarder.borrow_mut().turn(second.now);
            first.serve(subscriber);
        }
        second.forwarder.borrow_mut().turn(second.now);
        assert_eq!((waiting(0), waiting(1)), (0, 0));
    }
}

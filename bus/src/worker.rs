//! The worker: a thread that owns links and waits for all of them in one `zmq::poll`.
//!
//! One turn: take what handles ask for, send what waits, receive from each link that has something, up to its budget,
//! and poll. When anything is left over, the poll only looks; otherwise it sleeps until a descriptor fires. The only
//! place of the bus that reads the clock, once a turn.
//!
//! The descriptors of all links are gathered behind one `epoll` descriptor, and that is what `zmq::poll` waits for: a
//! turn costs the same whether one link is idle or hundreds are.

mod command;
mod life;
mod log;
mod publishing;
mod receiving;
#[cfg(test)]
mod simulation;
mod source;
mod synchronising;

pub use command::Unsent;
pub(crate) use command::{Command, Handler, claim_receiver, subscribe, unsubscribe};
pub(crate) use life::Life;
pub(crate) use log::RateLimit;
pub(crate) use publishing::PublisherLink;
pub(crate) use receiving::SubscriberLink;

use crate::error::{BusError, DeadLink};
use crate::io::Outlet;
use crate::message::{Arena, Message};
use crate::outbox::Outbox;
use crate::shared::{BusShared, WorkerShared};
use command::Ended;
use mio::unix::SourceFd;
use mio::{Registry, Token};
use multiplane_core::Budget;
use multiplane_ring::Wait;
use multiplane_ring::queue::{Receiver, Sender};
use receiving::{Arrival, Inboxes, MAIN};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zmq::{POLLIN, PollItem};

/// A handler at work, and where to say that it ended.
struct Running {
    handler: Handler,
    ended: Sender<Ended>,
}

/// Somebody who waits until all links are live.
struct LiveWaiter {
    deadline: Instant,
    reply: Sender<Vec<DeadLink>>,
}

// What a descriptor is for, in the last two bits of its token.
const RECEIVE: usize = 0;
const RECEIVE_MONITOR: usize = 1;
const SEND: usize = 2;
const SEND_MONITOR: usize = 3;

/// All descriptors of a worker, and those that fired.
pub(crate) struct Gathered {
    poll: mio::Poll,
    events: mio::Events,
}

pub(crate) struct Worker {
    shared: Arc<WorkerShared>,
    bus: Arc<BusShared>,
    publishers: Vec<PublisherLink>,
    subscribers: Vec<SubscriberLink>,
    commands: Receiver<Command>,
    handler: Option<Running>,
    inboxes: Inboxes,
    arena: Arena,
    wait: Wait,
    /// How many messages of a link are handled in a turn: few for a slow handler, so that the turns stay short and the
    /// links are looked after.
    batch: usize,
    /// An outbox has a backlog: the handler gets nothing until it is gone.
    held: bool,
    live_waiters: Vec<LiveWaiter>,
    closing: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<WorkerShared>,
        bus: Arc<BusShared>,
        links: (Vec<PublisherLink>, Vec<SubscriberLink>),
        commands: Receiver<Command>,
        wait: Wait,
    ) -> Self {
        let budget: &Budget = &bus.budget;
        Self {
            arena: Arena::new(budget.arena_chunk_bytes, budget.copy_below_bytes),
            inboxes: Inboxes { senders: Vec::new(), bus: bus.clone() },
            shared,
            bus,
            publishers: links.0,
            subscribers: links.1,
            commands,
            handler: None,
            wait,
            batch: 1,
            held: false,
            live_waiters: Vec::new(),
            closing: None,
        }
    }

    /// Runs until it is told to close.
    pub(crate) fn run(mut self, mut gathered: Gathered) {
        self.shared.enter_thread();
        let mut now = self::now();
        let mut next_tick = now;
        let mut last_work = now;
        // A descriptor only fires for somebody who has found its socket empty before.
        loop {
            self.take_marks(now);
            let mut busy = self.flush(now);
            if self.drain(now) {
                busy = true;
                self.adapt_batch(now);
            }
            if now >= next_tick {
                next_tick = after(now, self.bus.budget.tick);
                self.tick(now);
            }
            let deadline = self.handle_time(gathered.poll.registry(), now).min(next_tick);
            if self.is_done(now) {
                break;
            }
            if busy {
                last_work = now;
            }
            let spinning = matches!(self.wait, Wait::Spin { before_block } if now.saturating_duration_since(last_work) < before_block);
            let sleep = if busy || spinning || self.has_more() {
                Duration::ZERO
            } else {
                deadline.saturating_duration_since(now)
            };
            if let Err(error) = self.poll(&mut gathered, sleep) {
                tracing::error!(%error, "the worker cannot wait for its links and ends");
                break;
            }
            now = self::now();
            self.take_signals(&gathered, now);
        }
        self.close(now);
    }

    /// Gathers all descriptors: the wake-up, and those of the links; a native link adds its own when it has one.
    /// Edge-triggered, so none is reported twice for the same reason, and the wake-up need not even be read.
    pub(crate) fn gather(&self) -> std::io::Result<Gathered> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry();
        let wake = self.shared.wake.fd().as_raw_fd();
        registry.register(&mut SourceFd(&wake), Token(usize::MAX), mio::Interest::READABLE)?;
        for (n, link) in self.subscribers.iter().enumerate() {
            link.inlet.register(registry, (token(n, RECEIVE), token(n, RECEIVE_MONITOR)))?;
        }
        for (n, link) in self.publishers.iter().enumerate() {
            link.outlet.register(registry, (token(n, SEND), token(n, SEND_MONITOR)))?;
        }
        Ok(Gathered { poll, events: mio::Events::with_capacity(256) })
    }

    fn poll(&self, gathered: &mut Gathered, sleep: Duration) -> std::io::Result<()> {
        self.shared.wake.prepare();
        let sleep = if self.shared.ready.is_empty() { sleep } else { Duration::ZERO };
        let polled = poll(&mut [PollItem::from_fd(gathered.poll.as_raw_fd(), POLLIN)], sleep);
        self.shared.wake.finish();
        gathered.events.clear();
        match polled {
            Ok(true) => gathered.poll.poll(&mut gathered.events, Some(Duration::ZERO)),
            Ok(false) => Ok(()),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }

    /// Remembers which links have something, and hears what became of their connections.
    fn take_signals(&mut self, gathered: &Gathered, now: Instant) {
        let registry = gathered.poll.registry();
        for event in &gathered.events {
            let Token(number) = event.token();
            let (n, what) = (number / 4, number % 4);
            match what {
                RECEIVE | RECEIVE_MONITOR => {
                    let Some(link) = self.subscribers.get_mut(n) else { continue };
                    link.inlet.ready(event.into());
                    link.hot |= what == RECEIVE;
                    if what == RECEIVE_MONITOR || event.is_writable() || !link.life.is_live() {
                        link.handle_signals(registry, token(n, RECEIVE), now);
                        link.due = now;
                    }
                    if event.is_read_closed() || !self.may_drain(n) {
                        self.subscribers[n].look(now);
                    }
                }
                // Also the wake-up, which is no link's: what it is for stands in the ready set.
                _ => {
                    let Some(link) = self.publishers.get_mut(n) else { continue };
                    link.outlet.ready(event.into());
                    (link.pending, link.blocked) = (true, false);
                    if what == SEND_MONITOR || !link.life().is_live() {
                        link.handle_signals(registry, token(n, SEND), now);
                        link.due = now;
                    }
                }
            }
        }
    }

    fn take_marks(&mut self, now: Instant) {
        let (mut retry, mut command) = (false, false);
        let (publishers, shared) = (&mut self.publishers, &self.shared);
        shared.ready.take(|mark| match publishers.get_mut(mark) {
            Some(link) => link.pending = true,
            None if mark == shared.retry_mark() => retry = true,
            None => command = true,
        });
        if retry {
            self.subscribers.iter_mut().for_each(|link| link.retry(&self.inboxes));
            // Or a name has been resolved.
            self.publishers.iter_mut().map(|link| &mut link.due).for_each(|due| *due = now);
            self.subscribers.iter_mut().map(|link| &mut link.due).for_each(|due| *due = now);
        }
        if command {
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command, now);
            }
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Attach { who, inbox } => {
                let who = usize::from(who);
                if self.inboxes.senders.len() <= who {
                    self.inboxes.senders.resize_with(who + 1, || None);
                }
                self.inboxes.senders[who] = Some(inbox);
            }
            Command::Wake { inbox } => drop(inbox),
            Command::Detach { who } => {
                self.subscribers.iter_mut().for_each(|link| link.detach(who));
                if let Some(sender) = self.inboxes.senders.get_mut(usize::from(who)) {
                    *sender = None;
                }
            }
            Command::Handle { handler, ended } => self.handler = Some(Running { handler, ended }),
            Command::Stop => self.end_handler(Ok(())),
            Command::Subscribe { slot, who, topic, reply } => {
                let _ = reply.send(self.subscribers[slot].subscribe(who, &topic));
            }
            Command::Unsubscribe { slot, who, topic, reply } => {
                self.subscribers[slot].unsubscribe(who, &topic);
                let _ = reply.send(Ok(()));
            }
            Command::AwaitLive { timeout, reply } => {
                self.live_waiters.push(LiveWaiter { deadline: after(now, timeout), reply });
            }
            Command::AwaitSubscriber { slot, topic, timeout, reply } => {
                self.publishers[slot].await_subscriber(topic, after(now, timeout), reply);
            }
            Command::Close { deadline } => {
                self.closing = Some(after(now, deadline));
                self.end_handler(Ok(()));
            }
        }
    }

    fn end_handler(&mut self, ended: Ended) {
        if let Some(running) = self.handler.take() {
            let _ = running.ended.send(ended);
        }
    }

    /// Sends what waits; whether anything was sent.
    fn flush(&mut self, now: Instant) -> bool {
        let mut sent = false;
        for link in self.publishers.iter_mut().filter(|link| link.pending && !link.blocked) {
            sent |= link.flush(now);
        }
        self.held = self.held && self.publishers.iter().any(PublisherLink::has_backlog);
        sent
    }

    /// Receives from every link that has something; whether anything came.
    fn drain(&mut self, now: Instant) -> bool {
        let mut received = false;
        for slot in 0..self.subscribers.len() {
            if self.may_drain(slot) {
                received |= self.drain_link(slot, now);
            }
        }
        received
    }

    /// Doubles the batch while turns are short, and cuts it when one took too long of the time between two ticks.
    fn adapt_batch(&mut self, began: Instant) {
        let took = now().saturating_duration_since(began);
        if took > self.bus.budget.tick / 4 {
            self.batch = (self.batch / 4).max(1);
        } else if took < self.bus.budget.tick / 16 {
            self.batch = self.batch.saturating_mul(2).min(self.bus.budget.drain_batch);
        }
    }

    /// Whether a link has something and everybody who gets it is ready.
    fn may_drain(&self, slot: usize) -> bool {
        let link = &self.subscribers[slot];
        if !link.hot || link.is_stashed() || self.closing.is_some() {
            return false;
        }
        let main_is_ready = match &self.handler {
            Some(_) => !self.held,
            // While nobody has come for the messages of the routing specification, they wait in the link, unless that
            // would keep others waiting, too.
            None => self.inboxes.senders.first().is_some_and(Option::is_some) || !link.listens_only(MAIN),
        };
        main_is_ready || !link.listens(MAIN)
    }

    fn drain_link(&mut self, slot: usize, now: Instant) -> bool {
        let mut received = 0;
        while received < self.batch {
            received += match self.subscribers[slot].receive(now) {
                Arrival::Empty => return received > 0,
                Arrival::Nobody => 1,
                Arrival::For(receivers) => self.deliver(slot, receivers, self.batch - received, now),
            };
            if !self.may_drain(slot) {
                break;
            }
        }
        true
    }

    /// Gives the message that was received last to its receivers, and perhaps some more that came behind it: at most
    /// `most` in all; how many it were.
    fn deliver(&mut self, slot: usize, receivers: u64, most: usize, now: Instant) -> usize {
        let (main, others) = (receivers & 1 << MAIN, receivers & !(1 << MAIN));
        if main == 0 || self.handler.is_none() {
            self.subscribers[slot].put(&mut self.arena, receivers, &self.inboxes);
            return 1;
        }
        if others == 0 {
            return self.handle(slot, most, now);
        }
        self.handle(slot, 1, now);
        self.subscribers[slot].put(&mut self.arena, others, &self.inboxes);
        1
    }

    /// Calls the handler with the message that was received last, and with those behind it that also go to it alone: at
    /// most `most` in all; how many it were.
    fn handle(&mut self, slot: usize, most: usize, now: Instant) -> usize {
        let Some(running) = &mut self.handler else { return 1 };
        let link = &mut self.subscribers[slot];
        let mut stop = false;
        let mut outbox = Outbox {
            links: &mut self.publishers,
            bus: &self.bus,
            worker: self.shared.index,
            now,
            stop: &mut stop,
            held: &mut self.held,
        };
        let handle = |message: &Message<'_>| match (running.handler)(message, &mut outbox) {
            Ok(()) if *outbox.stop || *outbox.held => ControlFlow::Break(None),
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Some(error)),
        };
        // A panic of the user's ends the user's handler, not the links of everybody else.
        let (handled, outcome) = match catch_unwind(AssertUnwindSafe(|| link.hand_out(most, handle))) {
            Ok(handled) => handled,
            Err(panic) => {
                link.shared().counters.delivered.add(1);
                link.shared().counters.handler_errors.add(1);
                self.end_handler(Err(BusError::HandlerPanicked { message: panic_message(&*panic) }));
                return most;
            }
        };
        if let ControlFlow::Break(Some(error)) = outcome {
            link.handler_failed(&*error, now);
        }
        if stop {
            self.end_handler(Ok(()));
        }
        handled
    }

    /// A few times a second: asks peers that are silent for a sign of life, and, as a safety net under the edge-triggered
    /// descriptors of libzmq, looks at all its sockets.
    fn tick(&mut self, now: Instant) {
        for slot in 0..self.subscribers.len() {
            let held = self.subscribers[slot].hot;
            let link = &mut self.subscribers[slot];
            let is_silent = link.keep_alive(held, now);
            link.hot |= link.inlet.touch();
            if is_silent {
                // A publisher link that never pauses cannot tell silence from being held back; its neighbour can.
                let backplane = link.shared();
                let neighbours = self.publishers.iter_mut().filter(|link| link.is_of(backplane));
                neighbours.for_each(|link| link.give_up(now));
            }
        }
        for link in &mut self.publishers {
            link.keep_alive(now);
            if matches!(link.outlet, Outlet::Libzmq(_)) {
                (link.pending, link.blocked) = (true, false);
            }
        }
    }

    /// Does what is due; when something is due next.
    fn handle_time(&mut self, registry: &Registry, now: Instant) -> Instant {
        let mut next = self.closing.unwrap_or(after(now, self.bus.budget.tick));
        for (n, link) in self.publishers.iter_mut().enumerate() {
            if now >= link.due {
                link.handle_time(registry, token(n, SEND), now);
            }
            next = next.min(link.due);
        }
        for (n, link) in self.subscribers.iter_mut().enumerate() {
            if now >= link.due {
                link.handle_time(registry, token(n, RECEIVE), now);
            }
            next = next.min(link.due);
        }
        let dead = || {
            let publishers = self.publishers.iter().map(PublisherLink::life);
            let lives = publishers.chain(self.subscribers.iter().map(|link| &link.life));
            lives.filter(|life| !life.is_live()).map(Life::dead).collect::<Vec<_>>()
        };
        if !self.live_waiters.is_empty() {
            let dead = dead();
            self.live_waiters.retain(|waiter| {
                let waits = !dead.is_empty() && now < waiter.deadline;
                if !waits {
                    let _ = waiter.reply.send(dead.clone());
                }
                waits
            });
        }
        self.live_waiters.iter().map(|waiter| waiter.deadline).fold(next, Instant::min)
    }

    /// Whether there is something that needs no signal to go on.
    fn has_more(&self) -> bool {
        self.publishers.iter().any(|link| link.pending && !link.blocked && !link.is_synchronising())
            || (0..self.subscribers.len()).any(|slot| self.may_drain(slot))
    }

    /// Whether the worker was told to close and everything is sent, or it is time.
    fn is_done(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.closing else { return false };
        now >= deadline || self.publishers.iter_mut().all(PublisherLink::is_drained)
    }

    fn close(mut self, now: Instant) {
        let deadline = self.closing.unwrap_or(now);
        self.end_handler(Err(BusError::Closed));
        for link in self.publishers {
            link.close(now, deadline);
        }
        for link in self.subscribers {
            link.close(now);
        }
    }
}

fn token(link: usize, what: usize) -> Token {
    Token(4 * link + what)
}

/// The present moment. Everything else in this crate takes it as an argument.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// `now + wait`, where a wait for ever is one of years.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(Duration::from_secs(100 * 365 * 24 * 3600))
}

/// Waits until one of `items` is ready, at most `sleep`; whether one is.
pub(crate) fn poll(items: &mut [PollItem<'_>], sleep: Duration) -> Result<bool, zmq::Error> {
    // Rounded up: a sleep that ends just before a deadline would turn into a spin.
    match zmq::poll(items, sleep.as_micros().div_ceil(1000) as i64) {
        Ok(ready) => Ok(ready > 0),
        Err(zmq::Error::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until there is something to read, at most `sleep`.
pub(crate) fn wait_readable(fd: std::os::fd::RawFd, sleep: Duration) {
    // Whatever the outcome, the caller looks for itself.
    let _ = poll(&mut [PollItem::from_fd(fd, POLLIN)], sleep);
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

//! The backplane on libzmq: a thread between an `XSUB` and an `XPUB` socket.
//!
//! Not `zmq_proxy`, because that counts nothing, and hands on subscriptions that libzmq 4.3.4 writes wrongly. What
//! libzmq drops it drops in silence: while a subscriber is full only the first message that it loses can be seen, so
//! `dropped` is a lower bound here. The native engine knows each one, and is the default.

use super::{BackplaneBuilder, BackplaneError, OnSlow, Shared};
use crate::counters::Count;
use crate::io::Signal;
use crate::io::zmq::{BindError, Context, Forwarded, Forwarder, Monitor, SubscriptionFlow};
use crate::worker::{RateLimit, after, now, poll};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use zmq::{POLLIN, PollItem};

/// Subscription changes handled before messages have their turn again.
const SUBSCRIPTION_BATCH: usize = 4096;

pub(super) struct Forwarding {
    shared: Arc<Shared>,
    forwarder: Forwarder,
    publishers: Connections,
    subscribers: Connections,
    /// Dropped last: that waits until what is queued is sent.
    context: Context,
    name: String,
    drop_when_full: bool,
    batch: usize,
    tick: Duration,
    complaint: RateLimit,
}

/// Counts who is connected to one side.
struct Connections {
    monitor: Monitor,
    count: u64,
    /// Connections that never got through the handshake are reported as disconnected, too.
    failed: u64,
}

impl Connections {
    fn new(monitor: Monitor) -> Self {
        Self { monitor, count: 0, failed: 0 }
    }

    fn update(&mut self, shown: &Count) {
        while let Some(signal) = self.monitor.next() {
            match signal {
                Signal::Connected => self.count += 1,
                Signal::HandshakeFailed(_) => self.failed += 1,
                Signal::Disconnected if self.failed > 0 => self.failed -= 1,
                Signal::Disconnected => self.count = self.count.saturating_sub(1),
                Signal::Retried => {}
            }
        }
        shown.set(self.count);
    }
}

/// What a turn left behind.
#[derive(PartialEq)]
enum Turn {
    /// There may be more.
    More,
    /// Nothing to do.
    Idle,
    /// A subscriber has no room, and everybody waits for it.
    Blocked,
}

impl Forwarding {
    /// Binds both ports; also says which.
    pub(super) fn bind(
        shared: Arc<Shared>,
        builder: &BackplaneBuilder,
    ) -> Result<(Self, (u16, u16)), BackplaneError> {
        let context = Context::new();
        let host = builder.host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let bound = Forwarder::bind(&context, &host, builder.ports, &builder.budget);
        let (forwarder, monitors) =
            bound.map_err(|BindError { port, error }| builder.refused(port, &error.into()))?;
        let ports = forwarder.ports().map_err(|error| builder.refused(0, &error.into()))?;
        let forwarding = Self {
            shared,
            forwarder,
            publishers: Connections::new(monitors.publishers),
            subscribers: Connections::new(monitors.subscribers),
            context,
            name: builder.name.clone(),
            drop_when_full: builder.on_slow != Some(OnSlow::Block),
            batch: builder.budget.drain_batch,
            tick: builder.budget.tick,
            complaint: RateLimit::new(),
        };
        Ok((forwarding, ports))
    }

    pub(super) fn run(mut self) {
        let fds = match self.forwarder.fds() {
            Ok(fds) => fds,
            Err(error) => return tracing::error!(backplane = self.name, %error, "the backplane cannot poll"),
        };
        let item = |fd| PollItem::from_fd(fd, POLLIN);
        // The publishers' socket comes last, to be left out while nothing is taken from it.
        let wake = self.shared.wake.fd().as_raw_fd();
        let monitors = [self.publishers.monitor.fd(), self.subscribers.monitor.fd()];
        let mut items = [item(wake), item(monitors[0]), item(monitors[1]), item(fds.1), item(fds.0)];
        let mut next_tick = now();
        // A descriptor only fires for somebody who has found its socket empty before.
        self.count_connections();
        loop {
            let now = now();
            if now >= next_tick {
                next_tick = after(now, self.tick);
                self.forwarder.touch();
            }
            let turn = self.turn(now);
            if self.shared.closing.load(Relaxed) != 0 {
                return self.close(now);
            }
            let sleep =
                if turn == Turn::More { Duration::ZERO } else { next_tick.saturating_duration_since(now) };
            let polled = if turn == Turn::Blocked { &mut items[..4] } else { &mut items[..] };
            if let Err(error) = poll(polled, sleep) {
                return tracing::error!(backplane = self.name, %error, "the backplane cannot poll and ends");
            }
            if items[1].is_readable() || items[2].is_readable() {
                self.count_connections();
            }
        }
    }

    fn count_connections(&mut self) {
        self.publishers.update(&self.shared.counters.publishers);
        self.subscribers.update(&self.shared.counters.subscribers);
    }

    /// Moves wishes upstream and messages downstream.
    fn turn(&mut self, now: Instant) -> Turn {
        let mut turn = self.forward(now);
        loop {
            // Forwarding may swallow the signal for a wish, and taking a wish the one for room: so both are looked at
            // until neither has anything.
            let mut moved = false;
            for _ in 0..SUBSCRIPTION_BATCH {
                if self.forwarder.forward_subscription() == SubscriptionFlow::Empty {
                    break;
                }
                moved = true;
            }
            self.shared.counters.subscriptions.set(self.forwarder.subscriptions() as u64);
            if turn != Turn::Blocked {
                return if moved { Turn::More } else { turn };
            }
            turn = self.forward(now);
            if turn == Turn::Blocked && !moved {
                return turn;
            }
        }
    }

    fn forward(&mut self, now: Instant) -> Turn {
        let counters = &self.shared.counters;
        let (mut forwarded, mut dropped, mut bytes) = (0, 0, 0);
        let mut turn = Turn::More;
        for _ in 0..self.batch {
            match self.forwarder.forward(self.drop_when_full) {
                Forwarded::Sent { bytes: more } => {
                    forwarded += 1;
                    bytes += more;
                }
                Forwarded::Dropped { bytes: more } => {
                    dropped += 1;
                    bytes += more;
                }
                Forwarded::Blocked => {
                    turn = Turn::Blocked;
                    break;
                }
                Forwarded::Empty => {
                    turn = Turn::Idle;
                    break;
                }
            }
        }
        // Who got a copy, only libzmq knows: a message counts as one.
        counters.received.add(forwarded + dropped);
        counters.copies.add(forwarded + dropped);
        counters.forwarded.add(forwarded);
        counters.dropped.add(dropped);
        counters.received_bytes.add(bytes);
        if dropped > 0 {
            let name = &self.name;
            let all = counters.dropped.get();
            self.complaint.complain(now, |_| {
                tracing::warn!(
                    backplane = name,
                    dropped = all,
                    "a subscriber is too slow and loses messages"
                );
            });
        }
        turn
    }

    /// Forwards what has arrived for half of the time, and gives libzmq the rest to send it.
    fn close(mut self, asked: Instant) {
        let deadline = Duration::from_nanos(self.shared.closing.load(Relaxed).saturating_sub(1));
        while now() < asked + deadline / 2 {
            if self.turn(asked) != Turn::More {
                break;
            }
        }
        self.forwarder.set_linger(deadline.saturating_sub(now() - asked));
        drop(self.forwarder);
        drop((self.publishers, self.subscribers));
        drop(self.context);
    }
}

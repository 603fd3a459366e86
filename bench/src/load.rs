//! Offering messages: as fast as they are taken, or by a schedule that is fixed in advance.

use crate::contender::Sender;
use crate::stamp::Stamp;
use crate::tally::latencies;
use crate::{BenchError, clock};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Throughput looks at the clock once for so many bytes, or messages if they are small.
const CLOCK_EVERY_BYTES: usize = 64 * 1024;
const CLOCK_EVERY: u64 = 64;

/// The kernel wakes a sleeper up to so much late; what is due sooner is waited for awake.
const NAP: u64 = 150_000;

/// A subscriber that gives no room for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a load is to be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Which of the publishers this is.
    pub publisher: u16,
    /// Bytes of each payload.
    pub size: usize,
    /// For how long.
    pub nanos: u64,
    /// No more than so many messages, where their number is to be exact: counting instructions, say.
    #[serde(default)]
    pub most: Option<u64>,
    /// Messages a second, each with its due time; `None`: as many as are taken, without.
    pub rate: Option<f64>,
}

/// What was offered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Offered {
    /// How many messages.
    pub sent: u64,
    /// How late the publisher itself was to start sending, 99th percentile in nanoseconds: not the contender's fault
    /// unless it held the publisher up.
    pub late_p99: u64,
}

/// Room that subscribers give to a publisher whose transport would otherwise drop: numbers below it may be sent.
#[derive(Debug)]
pub struct Credit(AtomicU64);

impl Credit {
    /// Room for the first so many.
    #[must_use]
    pub fn new(window: u64) -> Self {
        Credit(AtomicU64::new(window))
    }

    /// No limit: the transport itself holds a publisher back.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Raises the limit; whoever waits must be unparked by the caller.
    pub fn raise(&self, below: u64) {
        self.0.fetch_max(below, Ordering::Release);
    }

    #[inline]
    fn wait_for(&self, sequence: u64, sender: &mut impl Sender) -> Result<(), BenchError> {
        if self.0.load(Ordering::Relaxed) > sequence { Ok(()) } else { self.wait(sequence, sender) }
    }

    #[cold]
    fn wait(&self, sequence: u64, sender: &mut impl Sender) -> Result<(), BenchError> {
        // Nobody makes room for what they have not got.
        sender.flush()?;
        let since = clock::now();
        while self.0.load(Ordering::Acquire) <= sequence {
            let left = PATIENCE.saturating_sub(Duration::from_nanos(clock::now() - since));
            if left.is_zero() {
                return Err(BenchError::failed("publishing", "no subscriber has made room for 10 seconds"));
            }
            thread::park_timeout(left);
        }
        Ok(())
    }
}

/// Offers the load, each message to the next of the topics in turn; what is sent is numbered from 0.
///
/// # Errors
/// What the sender answers with.
pub fn offer(
    load: &Load,
    topics: &[impl AsRef<str>],
    credit: &Credit,
    sender: &mut impl Sender,
) -> Result<Offered, BenchError> {
    match load.rate {
        Some(rate) => by_schedule(load, rate, topics, credit, sender),
        None => as_fast_as_taken(load, topics, credit, sender),
    }
}

/// Not inlined, so that what each message needs stays in registers.
#[inline(never)]
fn as_fast_as_taken(
    load: &Load,
    topics: &[impl AsRef<str>],
    credit: &Credit,
    sender: &mut impl Sender,
) -> Result<Offered, BenchError> {
    let mut payload = payload(load);
    let mut topics = topics.iter().cycle();
    let every = ((CLOCK_EVERY_BYTES / load.size.max(1)) as u64).clamp(1, CLOCK_EVERY);
    let (most, end) = (load.most.unwrap_or(u64::MAX), clock::now() + load.nanos);
    let mut sent = 0;
    while sent < most && clock::now() < end {
        let next = most.min(sent + every);
        while sent < next
            && let Some(topic) = topics.next()
        {
            credit.wait_for(sent, sender)?;
            Stamp { publisher: load.publisher, sequence: sent, due: 0 }.write(&mut payload);
            sender.send(topic.as_ref(), &payload)?;
            sent += 1;
        }
    }
    sender.flush()?;
    Ok(Offered { sent, late_p99: 0 })
}

fn by_schedule(
    load: &Load,
    rate: f64,
    topics: &[impl AsRef<str>],
    credit: &Credit,
    sender: &mut impl Sender,
) -> Result<Offered, BenchError> {
    let mut payload = payload(load);
    let mut topics = topics.iter().cycle();
    let mut late = latencies()?;
    let (most, gap, start) = (load.most.unwrap_or(u64::MAX), 1e9 / rate, clock::now());
    let mut sent = 0;
    while sent < most
        && let Some(topic) = topics.next()
    {
        let due = start + (sent as f64 * gap) as u64;
        if due >= start + load.nanos {
            break;
        }
        if clock::now() < due {
            sender.flush()?;
        }
        late.saturating_record(wait_until(due).max(1));
        credit.wait_for(sent, sender)?;
        Stamp { publisher: load.publisher, sequence: sent, due }.write(&mut payload);
        sender.send(topic.as_ref(), &payload)?;
        sent += 1;
    }
    sender.flush()?;
    Ok(Offered { sent, late_p99: late.value_at_quantile(0.99) })
}

fn payload(load: &Load) -> Vec<u8> {
    (0..load.size).map(|at| at as u8).collect()
}

/// Waits until `due` and says how much later it is now.
fn wait_until(due: u64) -> u64 {
    loop {
        let now = clock::now();
        let Some(left) = due.checked_sub(now).filter(|left| *left > 0) else { return now - due };
        if left > NAP {
            thread::park_timeout(Duration::from_nanos(left - NAP));
        } else {
            // Lets a contender run that shares this core; returns at once if there is none.
            thread::yield_now();
        }
    }
}

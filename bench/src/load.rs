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

    fn wait(&self, sequence: u64) -> Result<(), BenchError> {
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
    let mut payload: Vec<u8> = (0..load.size).map(|at| at as u8).collect();
    let mut topics = topics.iter().map(AsRef::as_ref).cycle();
    let mut send = |sender: &mut _, sequence, due| {
        Stamp { publisher: load.publisher, sequence, due }.write(&mut payload);
        hand_over(sender, topics.next().unwrap_or_default(), &payload, credit, sequence)
    };
    let start = clock::now();
    let end = start + load.nanos;
    let most = load.most.unwrap_or(u64::MAX);
    let mut offered = Offered::default();
    if let Some(rate) = load.rate {
        let mut late = latencies()?;
        let gap = 1e9 / rate;
        for sequence in 0..most {
            let due = start + (sequence as f64 * gap) as u64;
            if due >= end {
                break;
            }
            if clock::now() < due {
                sender.flush()?;
            }
            late.saturating_record(wait_until(due).max(1));
            send(sender, sequence, due)?;
            offered.sent += 1;
        }
        offered.late_p99 = late.value_at_quantile(0.99);
    } else {
        let every = ((CLOCK_EVERY_BYTES / load.size.max(1)) as u64).clamp(1, CLOCK_EVERY);
        while offered.sent < most && (!offered.sent.is_multiple_of(every) || clock::now() < end) {
            send(sender, offered.sent, 0)?;
            offered.sent += 1;
        }
    }
    sender.flush()?;
    Ok(offered)
}

#[inline]
fn hand_over(
    sender: &mut impl Sender,
    topic: &str,
    payload: &[u8],
    credit: &Credit,
    sequence: u64,
) -> Result<(), BenchError> {
    if credit.0.load(Ordering::Relaxed) <= sequence {
        // Nobody makes room for what they have not got.
        sender.flush()?;
        credit.wait(sequence)?;
    }
    sender.send(topic, payload)
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

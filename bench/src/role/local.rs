//! A whole measurement in one process: its ends are threads.

use super::{Answer, Order, await_order, tell};
use crate::contender::{Sender, TOPIC};
use crate::load::{Credit, Load, Offered, offer};
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::{BenchError, clock};
use std::sync::mpsc;
use std::time::Duration;

/// Queues inside of a process are short: whoever has not got through after so long never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the process of a system that lives inside of one does.
pub(crate) struct Local {
    pub(super) load: Load,
    pub(super) subscribers: u32,
    pub(super) orders: mpsc::Receiver<Order>,
}

/// A subscriber: counts what it hears, and tells when it is dropped.
pub(crate) struct LocalCounter {
    tally: Option<Tally>,
    home: mpsc::Sender<Tally>,
}

impl LocalCounter {
    /// Hears a message of so many bytes, its stamp included.
    #[inline]
    pub(crate) fn hear(&mut self, stamp: Stamp, bytes: usize) {
        if let Some(tally) = &mut self.tally {
            tally.note_stamp(Some(stamp), bytes);
        }
    }
}

impl Drop for LocalCounter {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.take() {
            let _ = self.home.send(tally);
        }
    }
}

impl Local {
    /// Offers the load to what `connect` makes of the counters. Dropping that lets them hear the rest, and then drops
    /// them.
    pub(crate) fn broadcast<S: Sender>(
        self,
        connect: impl FnOnce(Vec<LocalCounter>) -> Result<S, BenchError>,
    ) -> Result<(), BenchError> {
        let (home, tallies) = mpsc::channel();
        let counters = (0..self.subscribers)
            .map(|_| {
                let tally = Tally::new(1, self.load.size, self.load.rate.is_some())?;
                Ok(LocalCounter { tally: Some(tally), home: home.clone() })
            })
            .collect::<Result<_, BenchError>>()?;
        drop(home);
        let mut sender = connect(counters)?;
        self.begin();
        let offered = offer(&self.load, &[TOPIC], &Credit::unlimited(), &mut sender)?;
        drop(sender);
        tell(&Answer::Offered(offered));
        for _ in 0..self.subscribers {
            let tally =
                tallies.recv_timeout(PATIENCE).map_err(BenchError::doing("ending the subscribers"))?;
            tell(&Answer::Seen(tally.seen()));
        }
        self.end();
        Ok(())
    }

    /// Sends numbers there and back, one at a time. `there_and_back` answers with the number that has come back.
    pub(crate) fn ping_pong(
        self,
        there_and_back: impl Fn(u64) -> Result<u64, BenchError>,
    ) -> Result<(), BenchError> {
        let mut tally = Tally::new(1, self.load.size, true)?;
        self.begin();
        let end = clock::now() + self.load.nanos;
        let mut sent = 0;
        loop {
            let due = clock::now();
            if due >= end {
                break;
            }
            let sequence = there_and_back(sent)?;
            tally.note_stamp(Some(Stamp { publisher: 0, sequence, due }), self.load.size);
            sent += 1;
        }
        tell(&Answer::Offered(Offered { sent, late_p99: 0 }));
        tell(&Answer::Seen(tally.seen()));
        self.end();
        Ok(())
    }

    fn begin(&self) {
        tell(&Answer::Ready(Vec::new()));
        await_order(&self.orders, Order::is_go);
    }

    fn end(&self) {
        await_order(&self.orders, Order::is_stop);
        tell(&Answer::Ended);
    }
}

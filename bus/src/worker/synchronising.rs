//! The time after a handshake in which a backplane tells its subscriptions.

use super::after;
use std::time::{Duration, Instant};

/// One that says nothing for so long has none to tell, or no more.
const GRACE: Duration = Duration::from_millis(200);

/// After so long it tells of changes: those of others, who do not say when they have told all, may come without a pause.
const MOST: Duration = Duration::from_secs(4);

pub(super) struct Synchronising {
    began: Instant,
    heard: Instant,
}

impl Synchronising {
    pub(super) fn begin(now: Instant) -> Self {
        Self { began: now, heard: now }
    }

    /// The backplane told something.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When it is over, if nothing more is told.
    pub(super) fn end(&self) -> Instant {
        after(self.heard, GRACE).min(after(self.began, MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_table_is_heard_to_its_end() {
        let began = crate::worker::now();
        let mut telling = Synchronising::begin(began);
        assert_eq!(telling.end(), began + GRACE);
        let mut now = began;
        while now < telling.end() {
            telling.hear(now);
            now += GRACE / 2;
        }
        assert_eq!(telling.end(), began + MOST);
    }
}

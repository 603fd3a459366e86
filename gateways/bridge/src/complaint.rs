//! Complaints at a bearable pace.

use std::time::{Duration, Instant};

/// Lets the first complaint through at once and then one a second, with the number of those in between.
#[derive(Debug, Default)]
pub struct RateLimit {
    next: Option<Instant>,
    suppressed: u64,
}

impl RateLimit {
    /// Calls `log` with the number of complaints kept back since the last one, or keeps this one back.
    pub fn complain(&mut self, now: Instant, log: impl FnOnce(u64)) {
        if self.next.is_some_and(|next| now < next) {
            self.suppressed += 1;
            return;
        }
        self.next = Some(now + Duration::from_secs(1));
        log(std::mem::take(&mut self.suppressed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn one_line_a_second_and_none_forgotten() {
        let start = Instant::now();
        let mut limit = RateLimit::default();
        let mut lines = Vec::new();
        for millis in [0, 1, 999, 1000, 1500, 3000] {
            limit.complain(start + Duration::from_millis(millis), |before| lines.push((millis, before)));
        }
        assert_eq!(lines, [(0, 0), (1000, 2), (3000, 1)]);
    }
}

//! The life of one link, as a state machine without a clock.
//!
//! ```text
//!              handle_connected                handle_disconnected
//! Connecting ------------------->  Live  --------------------------->  Lost
//!                                   ^                                    |
//!                                   +---------- handle_connected --------+
//! any of them  -- handle_closed -->  Closed   (the end)
//! ```
//! Events that a state does not expect change nothing: a network library may report the same thing twice.

use std::time::{Duration, Instant};

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// Never been up yet; attempts go on.
    Connecting,
    /// Up.
    Live,
    /// Was up, is down; attempts go on.
    Lost,
    /// Closed by its owner. It stays so.
    Closed,
}

/// A change that somebody should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The link came up.
    Up {
        /// How long it was not: since it was made, or since it was lost.
        after: Duration,
    },
    /// The link went down, by loss or by closing.
    Down {
        /// How long it had been up.
        was_up: Duration,
    },
}

/// The life of one link: events with their time go in (`handle_*`), the transitions worth telling come out.
///
/// ```
/// use multiplane_core::{LinkLife, LinkState, Transition};
/// use std::time::{Duration, Instant};
///
/// # #[allow(clippy::disallowed_methods)]
/// let start = Instant::now();
/// let later = start + Duration::from_secs(2);
/// let mut life = LinkLife::new(start);
/// assert_eq!(life.handle_connected(later), Some(Transition::Up { after: Duration::from_secs(2) }));
/// assert_eq!(life.handle_connected(later), None);
/// assert_eq!((life.state(), life.since()), (LinkState::Live, later));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLife {
    state: LinkState,
    since: Instant,
    attempts: u32,
}

impl LinkLife {
    /// A link whose first attempt begins `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        LinkLife { state: LinkState::Connecting, since: now, attempts: 1 }
    }

    /// The connection stands.
    pub fn handle_connected(&mut self, now: Instant) -> Option<Transition> {
        match self.state {
            LinkState::Connecting | LinkState::Lost => {
                Some(Transition::Up { after: self.enter(LinkState::Live, now) })
            }
            LinkState::Live | LinkState::Closed => None,
        }
    }

    /// The connection broke. Attempts count from zero again.
    pub fn handle_disconnected(&mut self, now: Instant) -> Option<Transition> {
        if self.state != LinkState::Live {
            return None;
        }
        self.attempts = 0;
        Some(Transition::Down { was_up: self.enter(LinkState::Lost, now) })
    }

    /// Another attempt begins. Never a transition, because the link stays down; it has the signature of the others
    /// so that a caller can treat all events alike.
    pub fn handle_retry(&mut self, _now: Instant) -> Option<Transition> {
        if matches!(self.state, LinkState::Connecting | LinkState::Lost) {
            self.attempts = self.attempts.saturating_add(1);
        }
        None
    }

    /// The owner closed the link. A transition only if it was live.
    pub fn handle_closed(&mut self, now: Instant) -> Option<Transition> {
        match self.state {
            LinkState::Closed => None,
            LinkState::Live => Some(Transition::Down { was_up: self.enter(LinkState::Closed, now) }),
            LinkState::Connecting | LinkState::Lost => {
                self.enter(LinkState::Closed, now);
                None
            }
        }
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// When the present state began.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Attempts of the present (when live or closed: of the last) try to come up: 1 for a new link, 0 right after a
    /// loss, one more with every retry.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Enters `state` and answers how long the former one lasted; a clock that went backwards counts as zero.
    fn enter(&mut self, state: LinkState, now: Instant) -> Duration {
        let lasted = now.saturating_duration_since(self.since);
        self.state = state;
        self.since = now;
        lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[allow(clippy::disallowed_methods)]
    fn clock() -> impl Fn(u64) -> Instant {
        let base = Instant::now() + Duration::from_secs(1000);
        move |seconds| base + Duration::from_secs(seconds)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_whole_life() {
        let at = clock();
        let mut life = LinkLife::new(at(0));
        assert_eq!((life.state(), life.since(), life.attempts()), (LinkState::Connecting, at(0), 1));

        assert_eq!(life.handle_disconnected(at(1)), None, "a failed attempt is no loss");
        assert_eq!(life.handle_retry(at(2)), None);
        assert_eq!((life.state(), life.since(), life.attempts()), (LinkState::Connecting, at(0), 2));

        assert_eq!(life.handle_connected(at(3)), Some(Transition::Up { after: seconds(3) }));
        assert_eq!(life.handle_retry(at(4)), None);
        assert_eq!((life.state(), life.since(), life.attempts()), (LinkState::Live, at(3), 2));

        assert_eq!(life.handle_disconnected(at(10)), Some(Transition::Down { was_up: seconds(7) }));
        assert_eq!(life.handle_disconnected(at(11)), None);
        assert_eq!((life.state(), life.since(), life.attempts()), (LinkState::Lost, at(10), 0));
        assert_eq!(life.handle_retry(at(12)), None);
        assert_eq!((life.state(), life.since(), life.attempts()), (LinkState::Lost, at(10), 1));

        assert_eq!(life.handle_connected(at(15)), Some(Transition::Up { after: seconds(5) }));
        assert_eq!(life.handle_connected(at(16)), None);
        assert_eq!(life.since(), at(15), "a repeated event does not restart the time");

        assert_eq!(life.handle_closed(at(20)), Some(Transition::Down { was_up: seconds(5) }));
        let closed = life;
        assert_eq!(life.handle_closed(at(21)), None);
        assert_eq!(life.handle_connected(at(22)), None);
        assert_eq!(life.handle_disconnected(at(23)), None);
        assert_eq!(life.handle_retry(at(24)), None);
        assert_eq!(life, closed);
        assert_eq!((life.state(), life.since()), (LinkState::Closed, at(20)));
    }

    #[test]
    fn closing_a_link_that_is_down_is_no_news() {
        let at = clock();
        let mut life = LinkLife::new(at(0));
        assert_eq!(life.handle_closed(at(1)), None);
        assert_eq!(life.state(), LinkState::Closed);
    }

    #[test]
    fn a_clock_that_goes_backwards_counts_as_zero() {
        let at = clock();
        let mut life = LinkLife::new(at(100));
        assert_eq!(life.handle_connected(at(50)), Some(Transition::Up { after: Duration::ZERO }));
    }

    proptest! {
        /// Whatever the order of events: ups and downs alternate, and their durations add up to the time that passed.
        #[test]
        fn ups_and_downs_alternate(events in proptest::collection::vec((0u8..4, 0u64..100), 0..200)) {
            let at = clock();
            let (mut life, mut now, mut up, mut accounted) = (LinkLife::new(at(0)), 0, false, Duration::ZERO);
            for (event, pause) in events {
                now += pause;
                let transition = match event {
                    0 => life.handle_connected(at(now)),
                    1 => life.handle_disconnected(at(now)),
                    2 => life.handle_retry(at(now)),
                    _ if pause < 95 => None,
                    _ => life.handle_closed(at(now)),
                };
                match transition {
                    Some(Transition::Up { after }) => { prop_assert!(!up); up = true; accounted += after; }
                    Some(Transition::Down { was_up }) => { prop_assert!(up); up = false; accounted += was_up; }
                    None => {}
                }
                prop_assert_eq!(up, life.state() == LinkState::Live);
                if life.state() == LinkState::Closed { return Ok(()); }
                prop_assert_eq!(at(0) + accounted, life.since());
            }
        }
    }
}

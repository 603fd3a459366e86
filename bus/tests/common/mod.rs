//! Backplanes and buses on free loopback ports.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

mod engine;

pub use engine::engine;
use multiplane_bus::{Backplane, BackplaneStats, Budget, Builder, Bus, OnSlow, Route, RoutingSpec};
use std::time::{Duration, Instant};

/// Far longer than anything takes: nothing here is about speed.
pub const LONG: Duration = Duration::from_secs(30);

pub fn backplane(name: &str) -> Backplane {
    Backplane::builder(name).publisher_port(0).subscriber_port(0).start().unwrap()
}

pub fn blocking_backplane(name: &str) -> Backplane {
    Backplane::builder(name).publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block).start().unwrap()
}

/// Small bounds, so that a test fills them.
pub fn small() -> Budget {
    Budget { publish_queue_bytes: 512, inbox: 8, high_water_mark: 8, ..Budget::default() }
}

pub fn builder(name: &str, routes: impl IntoIterator<Item = Route>) -> Builder {
    let spec = routes.into_iter().fold(RoutingSpec::builder(), |spec, route| spec.backplane(route));
    Bus::builder(name).engine(engine()).routing(spec.build().unwrap())
}

/// A bus that subscribes to `topics` on `backplane` and publishes there.
pub fn bus(name: &str, backplane: &Backplane, topics: &[&str]) -> Bus {
    builder(name, [backplane.route().topics(topics.iter().copied())]).start().unwrap()
}

pub fn stats(bus: &Bus) -> BackplaneStats {
    bus.stats().remove(0)
}

/// Looks until `condition` holds; the counters have no event to wait for.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

pub fn assert_published_books_close(stats: &BackplaneStats) {
    assert_eq!(stats.accepted, stats.sent + stats.dropped.total() + stats.queued, "{stats:?}");
}

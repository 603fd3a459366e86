//! The demo's accounts: what went into each place, what came out, what was dropped there.

use multiplane_bench::table::{Table, grouped};
use multiplane_bus::{BackplaneStats, ForwardStats};

/// Each message of the demo has exactly one receiver, so what is published is delivered once or dropped once.
pub(super) struct Books {
    places: Vec<Place>,
    /// What left one place arrived at the next: pairs that must be equal.
    ways: Vec<(u64, u64)>,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
}

struct Place {
    name: String,
    came: u64,
    went: u64,
    dropped: u64,
}

impl Books {
    /// `answered` is what the client itself counted.
    pub(super) fn new(
        client: &[BackplaneStats],
        server: &[BackplaneStats],
        notifier: &[BackplaneStats],
        backplanes: &[(&str, ForwardStats)],
        answered: u64,
    ) -> Self {
        let components = [("EchoClient", client), ("MultiEchoServer", server), ("Notifier", notifier)];
        let links =
            || components.iter().flat_map(|(name, stats)| stats.iter().map(move |stats| (name, stats)));
        let (mut places, mut ways) = (Vec::new(), Vec::new());
        for (name, stats) in links().filter(|(_, stats)| stats.publisher_link.is_some()) {
            places.push(Place {
                name: format!("{name} -> {}", stats.backplane),
                came: stats.accepted,
                went: stats.sent,
                dropped: stats.dropped.total(),
            });
        }
        for (name, stats) in backplanes {
            places.push(Place {
                name: (*name).to_owned(),
                came: stats.received,
                went: stats.forwarded,
                dropped: stats.dropped + stats.lost + stats.unwanted,
            });
            let here = || links().map(|(_, link)| link).filter(|link| link.backplane == *name);
            ways.push((here().map(|link| link.sent).sum(), stats.received));
            ways.push((stats.forwarded, here().map(|link| link.received).sum()));
        }
        for (name, stats) in links().filter(|(_, stats)| stats.subscriber_link.is_some()) {
            places.push(Place {
                name: format!("{name} <- {}", stats.backplane),
                came: stats.received,
                went: stats.delivered,
                dropped: stats.inbox_full + stats.inbox_closed + stats.undelivered,
            });
        }
        ways.push((client.iter().map(|stats| stats.delivered).sum(), answered));
        Self {
            published: links().map(|(_, stats)| stats.accepted).sum(),
            delivered: links().map(|(_, stats)| stats.delivered).sum(),
            dropped: places.iter().map(|place| place.dropped).sum(),
            places,
            ways,
        }
    }

    /// Whether every place, every way between two, and the whole add up.
    pub(super) fn closed(&self) -> bool {
        self.published == self.delivered + self.dropped
            && self.places.iter().all(|place| place.came == place.went + place.dropped)
            && self.ways.iter().all(|(left, arrived)| left == arrived)
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::of_numbers(["place", "in", "out", "dropped"]);
        for place in &self.places {
            table.row([place.name.clone(), grouped(place.came), grouped(place.went), grouped(place.dropped)]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> Books {
        let place = Place { name: "BP1".to_owned(), came: 3, went: 2, dropped: 1 };
        Books { places: vec![place], ways: vec![(2, 2)], published: 3, delivered: 2, dropped: 1 }
    }

    #[test]
    fn one_message_too_few_anywhere_keeps_the_books_open() {
        assert!(books().closed());
        assert!(!Books { delivered: 1, ..books() }.closed());
        assert!(!Books { ways: vec![(2, 1)], ..books() }.closed());
        let leak = Place { name: String::new(), came: 1, went: 0, dropped: 0 };
        assert!(!Books { places: vec![leak], ..books() }.closed());
    }
}

//! Rows put together by what was measured.

use super::record::Record;
use super::text::{Outside, amount_tick};

/// All rows of one scenario.
pub(super) struct Group<'a> {
    pub(super) scenario: &'a Outside,
    pub(super) family: &'a str,
    pub(super) n: Option<u64>,
    pub(super) records: Vec<&'a Record>,
}

/// The scenarios in the order of the page: name, title with its number, who talks to whom.
const KNOWN: [(&str, &str, &str); 14] = [
    ("one_to_one", "One to one", "one publisher, a backplane, one subscriber"),
    ("direct", "Direct", "one publisher, one subscriber, no process between"),
    ("local", "Local", "within one process; so many subscribers that all get everything"),
    ("fan_out", "Fan-out", "one publisher, a backplane, so many subscribers that all get everything"),
    ("fan_in", "Fan-in", "so many publishers, a backplane, one subscriber"),
    ("many_backplanes", "Many backplanes", "so many backplanes, of which one is busy"),
    ("many_topics", "Many topics", "so many subscriptions of the subscriber"),
    ("ping_pong", "Ping-pong", "one message at a time, there and back"),
    ("to_mqtt", "To MQTT", "from the bus through a gateway to a broker's subscriber"),
    ("from_mqtt", "From MQTT", "through a broker and a gateway onto the bus"),
    ("to_tcp", "To TCP", "from the bus through a gateway to a device"),
    ("from_tcp", "From TCP", "from a device through a gateway onto the bus"),
    ("to_websocket", "To WebSocket", "from the bus through a gateway to a web client"),
    ("from_websocket", "From WebSocket", "from a web client through a gateway onto the bus"),
];

fn known(family: &str) -> Option<usize> {
    KNOWN.iter().position(|(name, ..)| *name == family)
}

/// The title of a family as HTML, and what it is about.
pub(super) fn family_title(group: &Group<'_>) -> (String, &'static str) {
    match known(group.family) {
        Some(at) => (KNOWN[at].1.to_owned(), KNOWN[at].2),
        None => (Outside::new(group.family).to_string(), ""),
    }
}

impl Group<'_> {
    /// As HTML.
    pub(super) fn title(&self) -> String {
        let (title, _) = family_title(self);
        self.n.map_or(title.clone(), |n| format!("{title} {}", amount_tick(n as f64)))
    }

    /// What was measured, by payload size: all rows but those that a later one replaces.
    pub(super) fn sizes(&self) -> Vec<(u64, Vec<&Record>)> {
        let mut sizes: Vec<u64> = self.records.iter().map(|record| record.bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let current = |bytes| {
            let of_size = self.records.iter().filter(|record| record.bytes == bytes && !record.superseded);
            of_size.copied().collect()
        };
        sizes.into_iter().map(|bytes| (bytes, current(bytes))).collect()
    }
}

/// Known scenarios first and in their order, then all others as they come; within a family by its number.
pub(super) fn groups(records: &[Record]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for record in records {
        match groups.iter_mut().find(|group| *group.scenario == record.scenario) {
            Some(group) => group.records.push(record),
            None => {
                let (family, n) = record.family();
                groups.push(Group { scenario: &record.scenario, family, n, records: vec![record] });
            }
        }
    }
    groups.sort_by_key(|group| (known(group.family).unwrap_or(KNOWN.len()), group.n));
    groups
}

/// The families that were measured at several numbers: what scaling is read from.
pub(super) fn families<'g, 'a>(groups: &'g [Group<'a>]) -> Vec<Vec<&'g Group<'a>>> {
    let mut families: Vec<Vec<&Group<'_>>> = Vec::new();
    for group in groups.iter().filter(|group| group.n.is_some()) {
        match families.iter_mut().find(|family| family[0].family == group.family) {
            Some(family) => family.push(group),
            None => families.push(vec![group]),
        }
    }
    families.retain(|family| family.len() > 1);
    families
}

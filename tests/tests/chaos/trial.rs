//! One row on one system: what was sent and what became of it, and what the row's gate says about that.

use multiplane_bus::Engine;
use multiplane_tests::clock::now;
use multiplane_tests::hub::{Around, Hub, Kind};
use multiplane_tests::random::Random;
use std::collections::HashSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Whose backplane and ends are under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Ours; the gates are for it.
    Native,
    /// Ours on the libzmq engine.
    OnLibzmq,
    /// libzmq alone, with its defaults.
    Plain,
}

pub const SYSTEMS: [System; 3] = [System::Native, System::OnLibzmq, System::Plain];

impl System {
    pub fn kind(self) -> Kind {
        match self {
            System::Native => Kind::Multiplane,
            System::OnLibzmq => Kind::OnLibzmq,
            System::Plain => Kind::Plain,
        }
    }

    /// That of our components, where it has some.
    pub fn engine(self) -> Engine {
        if self == System::Native { Engine::Native } else { Engine::Libzmq }
    }

    pub fn is_ours(self) -> bool {
        self == System::Native
    }
}

/// Numbered messages: which were sent, which came, and how.
#[derive(Debug, Default)]
pub struct Tally {
    pub sent: u64,
    pub delivered: u64,
    pub duplicated: u64,
    pub unexpected: u64,
    pub reordered: u64,
    /// Lost, and somebody has said so.
    pub reported: u64,
    /// All below have come, and these.
    whole: u64,
    seen: HashSet<u64>,
    last: Option<u64>,
}

impl Tally {
    /// The number of the next message.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// This one has come.
    pub fn receive(&mut self, number: u64) {
        if number >= self.sent {
            self.unexpected += 1;
        } else if number < self.whole || !self.seen.insert(number) {
            self.duplicated += 1;
        } else {
            // Hours of them must take no room.
            while self.seen.remove(&self.whole) {
                self.whole += 1;
            }
            self.delivered += 1;
            self.reordered += u64::from(self.last > Some(number));
        }
        self.last = self.last.max(Some(number));
    }

    pub fn lost(&self) -> u64 {
        self.sent - self.delivered
    }
}

/// Why a row does not run here.
pub struct Skipped(pub String);

pub type Ran = Result<(), Skipped>;

pub fn skip(why: impl Into<String>) -> Ran {
    Err(Skipped(why.into()))
}

/// One row on one system, as it goes on.
pub struct Trial {
    pub system: System,
    pub random: Random,
    pub tally: Tally,
    /// What else was measured.
    pub notes: Vec<String>,
    /// What the gate forbids.
    pub broken: Vec<String>,
    /// What took longer than the gate says. On a busy machine that proves nothing: see `MULTIPLANE_CHAOS_STRICT`.
    pub late: Vec<String>,
}

impl Trial {
    pub fn new(system: System, random: Random) -> Self {
        let tally = Tally::default();
        Self { system, random, tally, notes: Vec::new(), broken: Vec::new(), late: Vec::new() }
    }

    /// A backplane of the system.
    pub fn hub(&self) -> Hub {
        self.hub_as(Around::default())
    }

    pub fn hub_as(&self, around: Around) -> Hub {
        Hub::start_as(self.system.kind(), "BP1", around)
    }

    pub fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// The gate's: true or broken.
    pub fn must(&mut self, what: impl Into<String>, holds: bool) {
        if !holds {
            self.broken.push(format!("NOT {}", what.into()));
        }
    }

    /// The gate's: not later.
    pub fn within(&mut self, what: &str, took: Duration, limit: Duration) {
        self.note(format!("{what} {took:.1?}"));
        if took > limit {
            self.late.push(format!("{what} took {took:.1?}, more than {limit:?}"));
        }
    }

    /// The gate's: no more bytes.
    pub fn grown(&mut self, what: &str, before: usize, after: usize, limit_mb: usize) {
        let grown = after.saturating_sub(before);
        self.note(format!("{what} +{:.1} MB", grown as f64 / 1e6));
        self.must(format!("{what} below +{limit_mb} MB"), grown <= limit_mb * 1_000_000);
    }

    /// All that was sent has come, once, in order.
    pub fn all_delivered(&mut self) {
        let lost = self.tally.lost();
        self.must(format!("all delivered, but {lost} lost"), lost == 0);
        self.once_and_in_order();
    }

    pub fn once_and_in_order(&mut self) {
        let Tally { duplicated, unexpected, reordered, .. } = self.tally;
        self.must("once and in order", (duplicated, unexpected, reordered) == (0, 0, 0));
    }

    /// Delivered and reported is all that was sent.
    pub fn books_close(&mut self) {
        let (lost, reported) = (self.tally.lost(), self.tally.reported);
        self.must(format!("lost {lost} = reported {reported}"), lost == reported);
        self.once_and_in_order();
    }

    /// The five numbers of each row.
    pub fn numbers(&self) -> String {
        let Tally { sent, duplicated, unexpected, reordered, reported, .. } = self.tally;
        let lost = self.tally.lost();
        format!(
            "sent={sent} lost={lost} duplicated={duplicated} unexpected={unexpected} reordered={reordered} reported={reported}"
        )
    }

    /// What the table says.
    pub fn cell(&self) -> String {
        let mut cell = match (self.broken.is_empty(), self.late.is_empty()) {
            (true, true) => "**holds**".to_owned(),
            (true, false) => format!("**late**: {}", self.late.join("; ")),
            (false, _) => format!("**BROKEN**: {}", self.broken.join("; ")),
        };
        let Tally { sent, duplicated, unexpected, reordered, reported, .. } = self.tally;
        if sent > 0 {
            let _ = write!(cell, "; {sent} sent, {} lost, {reported} reported", self.tally.lost());
        }
        for (count, what) in [(duplicated, "twice"), (unexpected, "unexpected"), (reordered, "out of order")]
        {
            if count > 0 {
                let _ = write!(cell, ", {count} {what}");
            }
        }
        self.notes.iter().for_each(|note| {
            let _ = write!(cell, "; {note}");
        });
        cell
    }
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start: Instant = now();
    let result = work();
    (result, start.elapsed())
}

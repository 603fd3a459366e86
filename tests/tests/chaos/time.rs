//! Rows about time: the clock that jumps, and the hours that go by.

use crate::ends::Honest;
use crate::trial::{Ran, Trial, skip};
use crate::wire;
use multiplane_tests::clock::{measure_over, now};
use multiplane_tests::hub::{Around, Hub};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// T24. The backplane's wall clock goes a year ahead and a year back while messages pass.
pub fn clock_step(trial: &mut Trial) -> Ran {
    let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
        return skip("no libfaketime here (Debian: apt-get install faketime)");
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let set = |offset: &str| std::fs::write(file.path(), offset).unwrap();
    set("+0d");
    let before = format!(
        "export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1",
        file.path().display()
    );
    // For the rest of the run, which is short.
    let mut hub = trial.hub_as(Around { before: before.leak(), flags: &[] });
    let honest = Honest::new(trial.system, &hub);
    for offset in ["+0d", "+365d", "-365d", "+0d"] {
        set(offset);
        honest.exchange(trial, 300, |_| {});
        measure_over(Duration::from_millis(200));
    }
    let down = honest.sender.went_down() | honest.receiver.went_down();
    trial.must("no link down", !down);
    let runs = hub.process().is_running();
    trial.must("it runs", runs);
    trial.all_delivered();
    Ok(())
}

/// How long each system is soaked: five seconds, or the seconds of `MULTIPLANE_SOAK`.
fn length() -> Duration {
    let seconds = std::env::var("MULTIPLANE_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// T25. Honest traffic while connections and subscriptions come and go.
pub fn soak(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    let mut others = VecDeque::new();
    let (mut before, mut start, mut visits) = (None, now(), 0);
    while before.is_none() || start.elapsed() < length() {
        for _ in 0..10 {
            let topic = format!("churn {}", trial.random.below(1000));
            others.extend(wire::subscriber(hub.subscriber_port(), topic.as_bytes()));
            others.extend(wire::peer(hub.publisher_port(), "PUB"));
            visits += 2;
        }
        while others.len() > 40 {
            others.pop_front();
        }
        honest.exchange(trial, 500, |_| {});
        if trial.tally.lost() > 0 {
            break;
        }
        // What it takes at the beginning it keeps.
        if visits == 400 {
            (before, start) = (Some(look(&mut hub, others.len())), now());
        }
    }
    let before = before.unwrap_or_else(|| look(&mut hub, others.len()));
    others.clear();
    honest.exchange(trial, 500, |_| {});
    // Those who have gone are noticed a little later.
    let deadline = now() + Duration::from_secs(10);
    let mut after = look(&mut hub, 0);
    while after.1 > before.1 && now() < deadline {
        measure_over(Duration::from_millis(20));
        after = look(&mut hub, 0);
    }
    trial.note(format!("{:?} with {visits} visitors", length()));
    trial.must(format!("no more open files than before: {} and {}", before.1, after.1), after.1 <= before.1);
    trial.must(format!("threads as before: {} and {}", before.2, after.2), before.2 == after.2);
    // The gate is a megabyte in ten minutes; a few seconds of noise may be more than a few seconds of that.
    trial.grown("memory", before.0, after.0, 2);
    trial.all_delivered();
    Ok(())
}

/// Memory; open files, without those of so many who come and go; threads.
fn look(hub: &mut Hub, visitors: usize) -> (usize, usize, usize) {
    let process = hub.process();
    (process.resident(), process.count("fd") - visitors, process.count("task"))
}

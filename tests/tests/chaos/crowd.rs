//! Rows with more peers than usual.

use crate::ends::Honest;
use crate::trial::{Ran, Trial, skip};
use crate::wire;
use multiplane_bus::raise_open_files_limit;
use multiplane_tests::clock::{eventually, measure_over};
use multiplane_tests::hub::Around;
use std::net::TcpStream;
use std::time::Duration;

/// The best of several, for what a busy machine adds is not meant.
fn p99(trial: &mut Trial, honest: &Honest) -> Duration {
    let batches = (0..8).map(|_| honest.round_trips(trial, 300));
    batches.map(|times| times[times.len() * 99 / 100]).min().unwrap_or_default()
}

/// T11.
pub fn ten_thousand(trial: &mut Trial) -> Ran {
    const CROWD: usize = 10_000;
    let files = raise_open_files_limit().unwrap();
    if files < CROWD as u64 + 500 {
        return skip(format!("only {files} open files are allowed here"));
    }
    // With the honest ones it is full.
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    honest.round_trips(trial, 500);
    let calm = p99(trial, &honest);
    let mut crowd = Vec::new();
    for n in 0..CROWD - 10 {
        match wire::subscriber(hub.subscriber_port(), format!("own {n}").as_bytes()) {
            Ok(stream) => crowd.push(stream),
            Err(_) => break,
        }
    }
    trial.must(format!("all are let in, but {} of {CROWD}", crowd.len()), crowd.len() == CROWD - 10);
    honest.exchange(trial, 100, |_| {});
    let resident = hub.process().resident();
    trial.note(format!("{} MB in all", resident / 1_000_000));
    trial.must("300 MB in all", resident <= 300_000_000);
    let ticks = hub.process().ticks();
    measure_over(Duration::from_millis(500));
    let busy = hub.process().ticks() - ticks;
    trial.note(format!("{busy} ticks of 50 with nothing to do"));
    trial.must("never spins", busy <= 5);
    let crowded = p99(trial, &honest);
    trial.note(format!("p99 {calm:.0?} calm"));
    trial.within("p99", crowded, 2 * calm);
    drop(crowd);
    honest.exchange(trial, 100, |_| {});
    // Whoever is busy with those who leave may be late.
    if trial.tally.lost() > 0 && honest.take(&mut trial.tally, Duration::from_secs(30)) {
        trial.note("late by seconds when all left");
        honest.settle(trial, 0);
    }
    trial.all_delivered();
    Ok(())
}

/// T12.
pub fn no_descriptors(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub_as(Around { before: "ulimit -n 64", flags: &[] });
    let honest = Honest::new(trial.system, &hub);
    honest.exchange(trial, 100, |_| {});
    let crowd: Vec<_> =
        (0..120).filter_map(|_| TcpStream::connect(("127.0.0.1", hub.subscriber_port())).ok()).collect();
    honest.exchange(trial, 100, |_| {});
    let ticks = hub.process().ticks();
    measure_over(Duration::from_secs(1));
    let busy = hub.process().ticks() - ticks;
    trial.note(format!("{busy} % of a core meanwhile"));
    trial.must("below 10 % of a core", busy < 10);
    honest.exchange(trial, 100, |_| {});
    drop(crowd);
    // Whoever comes now is served.
    eventually("somebody new is let in", || wire::subscriber(hub.subscriber_port(), b"new").is_ok());
    honest.exchange(trial, 100, |_| {});
    let runs = hub.process().is_running();
    trial.must("it runs", runs);
    trial.all_delivered();
    Ok(())
}

//! The reliability matrix: what a bus must survive, on our backplane and ends, on the libzmq engine, and on libzmq alone.
//!
//! One run prints one table. The gates are for ours; what the others do stands beside it. A red run is replayed with the
//! seed that it printed: `MULTIPLANE_SEED=... MULTIPLANE_CHAOS=T3,T4 cargo test -p multiplane-tests --test chaos -- --nocapture`.
//!
//! | room | holds |
//! |---|---|
//! | `trial` | one row on one system: the five numbers, the gate |
//! | `ends` | honest peers of each system |
//! | `wire` | ZMTP by hand, for dishonest ones |
//! | `proxy` | a network that misbehaves |
//! | `death`, `slow`, `strangers`, `crowd`, `network`, `data`, `time` | the rows |
//!
//! `MULTIPLANE_CHAOS` chooses rows, `MULTIPLANE_CHAOS_OURS` leaves the others out. With `MULTIPLANE_CHAOS_STRICT` a gate of time that is missed fails, too: for a quiet
//! machine and a release build; elsewhere it is shown and proves nothing.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests; the table is what is wanted.

mod crowd;
mod data;
mod death;
mod ends;
mod network;
mod proxy;
mod slow;
mod strangers;
mod time;
mod trial;
mod wire;

use multiplane_tests::clock::now;
use multiplane_tests::programs::{multiplane, plain_libzmq, root};
use multiplane_tests::random::Random;
use std::thread;
use trial::{Ran, SYSTEMS, Skipped, System, Trial};

/// How a row is covered.
enum By {
    /// Here, on all systems.
    All(fn(&mut Trial) -> Ran),
    /// Here, on ours only, and why the others are not asked.
    Ours(fn(&mut Trial) -> Ran, &'static str),
    /// By tests that are somewhere else: `file::function`.
    Others(&'static [&'static str]),
}

struct Row {
    id: &'static str,
    case: &'static str,
    gate: &'static str,
    by: By,
}

const fn row(id: &'static str, case: &'static str, gate: &'static str, by: By) -> Row {
    Row { id, case, gate, by }
}

const FATAL: &str = "not run: known to end it";
const NO_COUNTERS: &str = "counts nothing to compare with";
const NOTHING_THERE: &str = "has nothing of the kind";

const ROWS: [Row; 27] = [
    row(
        "T1",
        "backplane killed with -9, 5 times",
        "lost = reported; hears again within 250 ms",
        By::All(death::backplane_killed),
    ),
    row(
        "T2",
        "component killed with -9 amid a message",
        "nobody gets a part of one",
        By::All(death::component_killed),
    ),
    row(
        "T3",
        "a stalled subscriber and a stalled publisher",
        "others lose none of 30,000; named within 1 s; +16 MB",
        By::All(slow::stalled_peers),
    ),
    row("T4", "a burst of 200,000", "sent = delivered + reported", By::All(slow::burst)),
    row(
        "T5",
        "exact counters at high-water marks of 1 to 1000",
        "sent = delivered + dropped",
        By::Ours(slow::exact_counters, NO_COUNTERS),
    ),
    row(
        "T6",
        "6,000 malformed sessions on both ports",
        "others lose none; +25 MB",
        By::All(strangers::malformed_sessions),
    ),
    row(
        "T7",
        "frames that declare 1 GiB to 2^64-1 bytes",
        "refused at the header; +5 MB",
        By::All(strangers::huge_frames),
    ),
    row(
        "T8",
        "subscriptions of 200 bytes to 1 MB, then gone",
        "over 1 KiB refused; alive",
        By::Ours(strangers::long_topics, FATAL),
    ),
    row(
        "T9",
        "200,000 subscriptions, a quarter from each peer",
        "ends at the limits; +50 MB",
        By::All(strangers::subscription_flood),
    ),
    row(
        "T10",
        "handshakes: silent, and a byte each 200 ms",
        "closed within 2 s",
        By::All(strangers::slow_handshakes),
    ),
    row(
        "T11",
        "10,000 connections",
        "300 MB in all; never spins; p99 within 2x",
        By::All(crowd::ten_thousand),
    ),
    row(
        "T12",
        "64 open files, 120 who come",
        "survives; below 10 % of a core; serves again",
        By::All(crowd::no_descriptors),
    ),
    row(
        "T13",
        "half-open amid traffic: a stopped process, a silent network",
        "noticed within 10 s (2 heartbeats); all well after",
        By::All(network::half_open),
    ),
    row(
        "T14",
        "end with messages for a stalled peer",
        "within its deadline; what is left is counted",
        By::Ours(death::ends_in_time, "default LINGER: not run, waits for ever"),
    ),
    row(
        "T15",
        "gaps, repeats, wrong order",
        "a gap of n is reported as n, once",
        By::Ours(data::sequence_gaps, NOTHING_THERE),
    ),
    row("T16", "one message over two backplanes", "documented: comes twice", By::All(data::two_backplanes)),
    row(
        "T17",
        "MessagePack bombs",
        "the guard stops all; the decoder refuses all",
        By::Ours(data::bombs, NOTHING_THERE),
    ),
    row(
        "T18",
        "topics of all bytes and of 0 to 300 bytes",
        "exact bytes; each subscription works",
        By::All(data::topics),
    ),
    row(
        "T19",
        "routing files of garbage",
        "refused with line and column, or read",
        By::Ours(data::routing_files, NOTHING_THERE),
    ),
    row(
        "T20",
        "framing of the TCP gateway",
        "refused and counted; the gateway lives",
        By::Others(&[
            "tests/tests/gateway_tcp.rs::what_is_wrong_is_counted_and_the_gateway_lives",
            "tests/tests/gateway_tcp.rs::a_length_past_the_limit_ends_the_connection_only",
            "tests/tests/gateway_tcp.rs::the_device_and_the_backplane_come_and_go",
        ]),
    ),
    row(
        "T21",
        "bad input of WebSocket clients",
        "a close code, never a crash",
        By::Others(&[
            "tests/tests/gateway_websocket/main.rs::what_is_wrong_ends_with_a_reason_and_harms_nobody_else",
            "tests/tests/gateway_websocket/main.rs::thousands_who_say_nothing_are_shown_out_and_others_served",
        ]),
    ),
    row(
        "T22",
        "the MQTT broker: killed, silent, odd payloads, loops",
        "resumes; no loop",
        By::Others(&[
            "tests/tests/gateway_mqtt.rs::the_broker_and_the_backplane_come_and_go",
            "tests/tests/gateway_mqtt.rs::what_has_no_form_on_the_other_side_is_counted_and_reported",
            "tests/tests/gateway_mqtt.rs::what_the_gateway_has_put_on_one_side_never_comes_back",
        ]),
    ),
    row(
        "T23",
        "logger: disk full, kill -9",
        "whole lines; recovers; drops counted",
        By::Ours(death::logger, NOTHING_THERE),
    ),
    row("T24", "the wall clock steps by a year", "nothing lost, no link down", By::All(time::clock_step)),
    row("T25", "soak with churn", "memory, files and threads constant", By::All(time::soak)),
    row(
        "T26",
        "a network that loses 1, 5 and 10 %",
        "nothing lost above TCP; no link down below 5 %",
        By::All(network::lossy),
    ),
    row(
        "T27",
        "delay, dribble, cut, half-close, order of connections, corrupted bytes",
        "lost = reported; others go on",
        By::All(network::weather),
    ),
];

/// Those that mostly wait, and do so at the same time as the others.
const WAITING: [&str; 1] = ["T13"];

/// A cell of the table, and whether it breaks a gate.
struct Cell {
    text: String,
    broken: bool,
}

impl Cell {
    fn said(text: impl Into<String>) -> Self {
        Self { text: text.into(), broken: false }
    }
}

/// Whether the others are measured beside ours.
fn is_wanted(system: System) -> bool {
    system.is_ours() || std::env::var_os("MULTIPLANE_CHAOS_OURS").is_none()
}

/// A row on a system. What fails in it fails here, and the rest goes on.
fn run(row: &'static Row, system: System, seed: &Random) -> Cell {
    let work = match row.by {
        _ if !is_wanted(system) => return Cell::said("not run"),
        By::All(work) => work,
        By::Ours(work, _) if system.is_ours() => work,
        By::Ours(_, why) => return Cell::said(why),
        By::Others(tests) => {
            let names: Vec<_> = tests.iter().map(|test| test.rsplit("::").next().unwrap()).collect();
            let file = tests[0].split("::").next().unwrap();
            let text = format!("elsewhere, {file}: {}", names.join(", "));
            return Cell::said(if system.is_ours() { text } else { NOTHING_THERE.to_owned() });
        }
    };
    let mut trial = Trial::new(system, seed.part(row.id));
    let start = now();
    let ran = thread::Builder::new().name(format!("{} {system:?}", row.id)).spawn(move || {
        let ran = work(&mut trial);
        (trial, ran)
    });
    let strict = std::env::var_os("MULTIPLANE_CHAOS_STRICT").is_some();
    match ran.unwrap().join() {
        Ok((trial, Ok(()))) => {
            println!("{} {system:?} {:.1?}: {} ({})", row.id, start.elapsed(), trial.numbers(), trial.cell());
            let broken = !trial.broken.is_empty() || strict && !trial.late.is_empty();
            Cell { text: trial.cell(), broken: broken && system.is_ours() }
        }
        Ok((_, Err(Skipped(why)))) => {
            println!("{} {system:?}: SKIPPED, {why}", row.id);
            Cell::said(format!("SKIPPED: {why}"))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            let first = text.lines().next().unwrap_or_default().to_owned();
            println!("{} {system:?}: FAILED, {first}", row.id);
            Cell { text: format!("**FAILED**: {first}"), broken: system.is_ours() }
        }
    }
}

fn run_on_all(row: &'static Row, seed: &Random) -> Vec<Cell> {
    SYSTEMS.into_iter().map(|system| run(row, system, seed)).collect()
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn the_matrix() {
    let seed = Random::new();
    let chosen = std::env::var("MULTIPLANE_CHAOS").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split(',').filter(|id| !id.is_empty()).collect();
    let rows: Vec<&'static Row> =
        ROWS.iter().filter(|row| chosen.is_empty() || chosen.contains(&row.id)).collect();
    // Built before anything is measured.
    let _ = (multiplane(), plain_libzmq());
    let cells: Vec<Vec<Cell>> = thread::scope(|scope| {
        let seed = &seed;
        let waiting = |row: &Row| WAITING.contains(&row.id);
        let beside: Vec<_> = rows
            .iter()
            .map(|&row| {
                let each = |system| scope.spawn(move || run(row, system, seed));
                waiting(row).then(|| SYSTEMS.map(each))
            })
            .collect();
        let alone: Vec<_> = rows.iter().map(|&row| (!waiting(row)).then(|| run_on_all(row, seed))).collect();
        let join = |threads: [thread::ScopedJoinHandle<'_, Cell>; 3]| {
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        };
        alone
            .into_iter()
            .zip(beside)
            .map(|(alone, beside)| alone.unwrap_or_else(|| join(beside.unwrap())))
            .collect()
    });
    println!("\n| row | case | gate | ours | ours on libzmq | libzmq alone |\n|---|---|---|---|---|---|");
    for (row, cells) in rows.iter().zip(&cells) {
        let cells: Vec<_> = cells.iter().map(|cell| cell.text.replace('|', "\\|")).collect();
        println!("| {} | {} | {} | {} |", row.id, row.case, row.gate, cells.join(" | "));
    }
    let broken: Vec<_> = rows
        .iter()
        .zip(&cells)
        .filter(|(_, cells)| cells.iter().any(|cell| cell.broken))
        .map(|(row, cells)| format!("{}: {}", row.id, cells[0].text))
        .collect();
    assert!(broken.is_empty(), "gates that do not hold:\n    {}", broken.join("\n    "));
}

/// What the table names is there.
#[test]
fn tests_that_are_named_exist() {
    for row in &ROWS {
        let By::Others(tests) = row.by else { continue };
        for test in tests {
            let (file, function) = test.split_once("::").unwrap();
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&format!("\nfn {function}()")), "{}: there is no {test}", row.id);
        }
    }
}

//! The harness with real processes: each contender of this build in each scenario it runs, lossless, and nothing left behind.
#![allow(clippy::print_stderr, clippy::unwrap_used)] // Helpers of tests.

mod common;

use common::{launcher, plan};
use multiplane_bench::contender::Contender;
use multiplane_bench::measure::{Plan, Row, measure};
use multiplane_bench::report::{Origin, hgrm, json_lines, table};
use multiplane_bench::scenario::Scenario;
use multiplane_bench::{BenchError, clock};
use serde_json::Value;
use std::time::Duration;

fn named(name: &str) -> Contender {
    name.parse().unwrap()
}

fn run(plan: &Plan) -> Vec<Row> {
    measure(plan, &launcher(), &|| false, &mut |_| ()).unwrap()
}

fn lossless(row: &Row) {
    let what = format!("{} {}", row.contender, row.scenario);
    // Programs of others that `perf-scripts/lib/install-peers` brings; those of this project need none.
    if let Err(why) = &row.rounds
        && why.contains(" is not installed")
        && !row.contender.name().starts_with("multiplane")
    {
        eprintln!("SKIPPED {what}: {why}");
        return;
    }
    for round in row.rounds.as_ref().unwrap_or_else(|why| panic!("{what}: {why}")) {
        for outcome in round.runs() {
            let copies = outcome.sent() * u64::from(row.scenario.subscribers());
            assert!(outcome.sent() > 0 && outcome.cpu[0] > 0, "{what}");
            assert_eq!((outcome.received(), outcome.lost()), (copies, 0), "{what}");
            let odd = outcome.sum(|seen| seen.reordered + seen.duplicates + seen.foreign);
            assert_eq!(odd, 0, "{what}");
        }
        let timed = round.runs().last().unwrap();
        let latencies = timed.latencies().unwrap();
        assert!(!latencies.is_empty() && latencies.max() > 0, "{what}");
    }
}

fn lossless_or_not_offered(row: &Row) {
    match row.contender.check(row.scenario) {
        Ok(()) => lossless(row),
        Err(why) => assert_eq!(row.rounds.as_ref().unwrap_err(), &why.to_string()),
    }
}

#[test]
fn every_contender_runs_all_that_it_offers() {
    let scenarios = [
        Scenario::OneToOne,
        Scenario::Direct,
        Scenario::FanOut(2),
        Scenario::FanIn(2),
        Scenario::PingPong,
        Scenario::ManyBackplanes(3),
        Scenario::ManyTopics(1200),
        Scenario::Local(2),
    ];
    let rows = run(&plan(&Contender::all(), &scenarios));
    assert_eq!(rows.len(), Contender::all().len() * scenarios.len());
    rows.iter().for_each(lossless_or_not_offered);
}

#[test]
fn the_largest_payload_passes_too() {
    let scenarios = [Scenario::OneToOne, Scenario::Local(1)];
    let plan = Plan { sizes: vec![16, 65_536], ..plan(&Contender::all(), &scenarios) };
    run(&plan).iter().for_each(lossless_or_not_offered);
}

#[test]
fn results_can_be_read() {
    let rows = run(&plan(&[named("base-tcp"), named("libzmq-proxy")], &[Scenario::Direct]));
    let origin = Origin::here();
    let lines = json_lines(&rows, &origin).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for name in [
        "contender",
        "scenario",
        "payload_bytes",
        "rate_per_s",
        "sent",
        "received",
        "lost",
        "reordered",
        "cpu_s_per_million",
        "p50_us",
        "p90_us",
        "p99_us",
        "p999_us",
        "p9999_us",
        "max_us",
        "percentiles",
        "machine",
        "kernel",
        "rustc",
        "commit",
        "date",
    ] {
        assert!(lines[0].get(name).is_some_and(|value| !value.is_null()), "{name}: {}", lines[0]);
    }
    let curve: Vec<(f64, f64)> = serde_json::from_value(lines[0]["percentiles"].clone()).unwrap();
    assert!(curve.len() > 10 && curve.is_sorted() && curve.is_sorted_by_key(|point| point.1), "{curve:?}");
    assert_eq!(curve[curve.len() - 1], (1.0, lines[0]["max_us_max"].as_f64().unwrap()));
    assert!(lines[1]["error"].as_str().unwrap().contains("libzmq-direct"), "{}", lines[1]);
    let table = table(&rows, &origin).unwrap();
    assert!(table.contains("base-tcp") && table.contains("libzmq-proxy: not measured"), "{table}");
}

#[test]
fn a_hundred_thousand_topics_can_be_held() {
    let contenders = [named("multiplane-native"), named("multiplane-libzmq"), named("libzmq-proxy")];
    run(&plan(&contenders, &[Scenario::ManyTopics(100_000)])).iter().for_each(lossless);
}

/// The files that HdrHistogram's plotters read: value, percentile, count so far.
#[test]
fn latencies_can_be_plotted() {
    let rows = run(&plan(&[named("base-tcp")], &[Scenario::FanOut(2), Scenario::Local(1)]));
    let (name, text) = hgrm(&rows[0]).unwrap().unwrap();
    assert_eq!(name, "base-tcp-fan_out_2-100.hgrm");
    let (_, outcome) = rows[0].rounds.as_ref().unwrap()[0].latency.as_ref().unwrap();
    let lines: Vec<Vec<f64>> = text
        .lines()
        .skip(2)
        .take_while(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
        .collect();
    assert!(lines.is_sorted_by_key(|line| line[0]) && lines.is_sorted_by_key(|line| line[1]), "{text}");
    let last = &lines[lines.len() - 1];
    assert_eq!(last[1..], [1.0, outcome.received() as f64], "{text}");
    let max = outcome.latencies().unwrap().max() as f64 / 1e3;
    assert!((last[0] - max).abs() <= 0.001 && text.contains("#[Max"), "{max}: {text}");
    assert_eq!(hgrm(&rows[1]).unwrap(), None, "base-tcp is not local");
}

#[test]
fn progress_counts_all_rounds_of_those_who_run() {
    let plan = Plan { rounds: 2, ..plan(&[named("base-memory"), named("base-tcp")], &[Scenario::Local(1)]) };
    let mut steps = Vec::new();
    measure(&plan, &launcher(), &|| false, &mut |step| steps.push((step.done, step.all))).unwrap();
    assert_eq!(steps, [(0, 2), (1, 2)]);
}

#[test]
fn who_is_interrupted_ends_at_once() {
    let start = clock::now();
    let asked = || clock::now() - start > 300_000_000;
    let plan = Plan { seconds: 60.0, ..plan(&[named("multiplane-native")], &[Scenario::OneToOne]) };
    let ended = measure(&plan, &launcher(), &asked, &mut |_| ());
    assert!(matches!(ended, Err(BenchError::Interrupted)));
    assert!(Duration::from_nanos(clock::now() - start) < Duration::from_millis(1300));
}

/// When the time is over, whole rounds count, and who has none says so.
#[test]
fn who_has_no_time_left_says_so_and_keeps_what_was_measured() {
    let (contenders, scenarios) =
        ([named("base-tcp"), named("base-memory")], [Scenario::OneToOne, Scenario::Local(1)]);
    let plan = Plan { rounds: 1_000_000, within: Some(5.0), ..plan(&contenders, &scenarios) };
    let start = clock::now();
    let rows = run(&plan);
    assert!(clock::now() - start < 60_000_000_000);
    lossless(&rows[0]);
    assert!(rows[1].rounds.as_ref().unwrap_err().contains("inside of a process"));
    assert_eq!(rows[3].rounds.as_ref().unwrap_err(), "the time was over");
}

/// What gateways do, by ours, by Python's, and without one.
#[test]
#[ignore = "needs mosquitto: tests/run"]
fn every_gateway_runs_all_that_it_offers() {
    let scenarios = ["to_mqtt", "from_mqtt", "to_tcp", "from_tcp", "to_websocket", "from_websocket"]
        .map(|name| name.parse().unwrap());
    run(&plan(&Contender::all(), &scenarios)).iter().for_each(lossless_or_not_offered);
}

#[test]
fn a_contender_that_cannot_run_says_so() {
    let plan = Plan { pin: vec![9999], ..plan(&[named("base-tcp")], &[Scenario::OneToOne]) };
    let rows = run(&plan);
    let why = rows[0].rounds.as_ref().unwrap_err();
    assert!(why.contains("cannot pin to core 9999"), "{why}");
}

/// Who names what is not there is told what is.
#[test]
fn an_unknown_contender_is_told_the_known_ones() {
    let why = "libzmq".parse::<Contender>().unwrap_err().to_string();
    assert!(Contender::all().iter().all(|contender| why.contains(contender.name())), "{why}");
}

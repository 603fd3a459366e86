//! What people and programs get to read: a table, and a line of JSON per row.

use crate::BenchError;
use crate::measure::{Outcome, Round, Row, window};
use crate::scenario::Scenario;
use crate::table::{Table, grouped};
use crate::tally::{Latencies, latencies};
use serde_json::{Map, Value, json};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The percentiles that are told, with their names in JSON and in the table.
const QUANTILES: [(f64, &str, &str); 6] = [
    (0.5, "p50_us", "p50"),
    (0.9, "p90_us", "p90"),
    (0.99, "p99_us", "p99"),
    (0.999, "p999_us", "p99.9"),
    (0.9999, "p9999_us", "p99.99"),
    (1.0, "max_us", "max"),
];

/// The points of a percentile curve, and how many of them to a nine.
const CURVE_MOST: i32 = 60;
const CURVE_PER_NINE: f64 = 12.0;

/// Where and with what a result came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Processor and how many of it.
    pub machine: String,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler.
    pub rustc: &'static str,
    /// The commit when this crate was compiled; `+changes` if the tree was not clean then.
    pub commit: &'static str,
    /// When, in UTC.
    pub date: String,
    /// Whether the compiler was asked to optimise.
    pub optimised: bool,
}

impl Origin {
    /// Of this process.
    #[must_use]
    pub fn here() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("unknown processor", |(_, model)| model.trim());
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Origin {
            machine: format!("{model}, {cores} cores"),
            kernel: kernel.trim().to_owned(),
            rustc: env!("MULTIPLANE_RUSTC"),
            commit: env!("MULTIPLANE_COMMIT"),
            date: utc(seconds),
            optimised: !cfg!(debug_assertions),
        }
    }
}

/// Seconds since 1970 as people write them.
fn utc(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Spread { median, min, max })
    }
}

/// The run of a round whose latencies count: at a fixed rate, or ping-pong.
fn timed(round: &Round) -> &Outcome {
    round.latency.as_ref().map_or(&round.throughput, |(_, outcome)| outcome)
}

/// All runs of all rounds: nothing is lost or out of order anywhere without being told.
fn runs(rounds: &[Round]) -> impl Iterator<Item = &Outcome> {
    rounds.iter().flat_map(Round::runs)
}

fn spread(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().map(figure).collect())
}

/// Per quantile, over the rounds, in microseconds; of the maximum only `max` is of use.
fn quantiles(rounds: &[Round]) -> Result<Vec<Option<Spread>>, BenchError> {
    let histograms = rounds.iter().map(|round| timed(round).latencies()).collect::<Result<Vec<_>, _>>()?;
    let at = |quantile: f64| {
        let counted = histograms.iter().filter(|histogram| !histogram.is_empty());
        Spread::of(counted.map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3).collect())
    };
    Ok(QUANTILES.iter().map(|(quantile, _, _)| at(*quantile)).collect())
}

/// The latencies of all rounds together.
fn merged(rounds: &[Round]) -> Result<Latencies, BenchError> {
    let mut all = latencies()?;
    for round in rounds {
        all.add(timed(round).latencies()?).map_err(BenchError::doing("adding up latencies"))?;
    }
    Ok(all)
}

/// Quantiles with their latencies in microseconds, twelve for each nine, as far as there are messages to tell them by.
fn curve(latencies: &Latencies) -> Vec<(f64, f64)> {
    let beyond = |nth: i32| 10_f64.powf(f64::from(nth) / -CURVE_PER_NINE);
    let told = (0..CURVE_MOST).map(beyond).take_while(|beyond| beyond * latencies.len() as f64 >= 1.0);
    told.map(|beyond| 1.0 - beyond)
        .chain((!latencies.is_empty()).then_some(1.0))
        .map(|quantile| (quantile, latencies.value_at_quantile(quantile) as f64 / 1e3))
        .collect()
}

/// The latencies of a row as HdrHistogram writes them for its plotters, in microseconds, with the name of a file for
/// them; `None` when there are none.
///
/// # Errors
/// Never with the histograms used here.
pub fn hgrm(row: &Row) -> Result<Option<(String, String)>, BenchError> {
    let Ok(rounds) = &row.rounds else { return Ok(None) };
    let latencies = merged(rounds)?;
    let scenario = row.scenario.to_string().replace(':', "_");
    let name = format!("{}-{scenario}-{}.hgrm", row.contender, row.size);
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in latencies.iter_quantiles(5) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        text += &format!("{value:12.3} {quantile:2.12} {total:10}");
        if quantile < 1.0 {
            text += &format!(" {:14.2}", 1.0 / (1.0 - quantile));
        }
        text.push('\n');
    }
    let (mean, deviation) = (latencies.mean() / 1e3, latencies.stdev() / 1e3);
    text += &format!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n");
    let max = latencies.max() as f64 / 1e3;
    text += &format!("#[Max     = {max:12.3}, Total count    = {:12}]\n", latencies.len());
    // Three digits take 2048 of them.
    text += &format!("#[Buckets = {:12}, SubBuckets     = {:12}]\n", latencies.buckets(), 2048);
    Ok((!latencies.is_empty()).then_some((name, text)))
}

/// One object per row.
///
/// # Errors
/// Never with the histograms used here.
pub fn json_lines(rows: &[Row], origin: &Origin) -> Result<String, BenchError> {
    let mut text = String::new();
    for row in rows {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
        put("contender", json!(row.contender.name()));
        put("scenario", json!(row.scenario.to_string()));
        put("payload_bytes", json!(row.size));
        put("against", json!(row.against.as_ref().map(ToString::to_string)));
        match &row.rounds {
            Err(why) => put("error", json!(why)),
            Ok(rounds) => figures(row, rounds, &mut put)?,
        }
        put("machine", json!(origin.machine));
        put("kernel", json!(origin.kernel));
        put("rustc", json!(origin.rustc));
        put("commit", json!(origin.commit));
        put("date", json!(origin.date));
        put("optimised", json!(origin.optimised));
        text += &Value::Object(object).to_string();
        text.push('\n');
    }
    Ok(text)
}

fn figures(row: &Row, rounds: &[Round], put: &mut impl FnMut(&str, Value)) -> Result<(), BenchError> {
    let sum = |count: &dyn Fn(&Outcome) -> u64| -> u64 { runs(rounds).map(count).sum() };
    let mut put_spread = |name: &str, spread: Option<Spread>| {
        let Some(spread) = spread else { return put(name, Value::Null) };
        put(name, json!(spread.median));
        put(&format!("{name}_min"), json!(spread.min));
        put(&format!("{name}_max"), json!(spread.max));
    };
    put_spread("rate_per_s", spread(rounds, |round| round.throughput.rate()));
    put_spread("cpu_s_per_million", spread(rounds, |round| round.throughput.cpu_per_million()));
    if !row.contender.is_one_process() {
        for (place, name) in ["publishers", "middle", "subscribers"].into_iter().enumerate() {
            let share = |round: &Round| round.throughput.per_million(round.throughput.cpu[place]);
            put_spread(&format!("cpu_s_per_million_{name}"), spread(rounds, share));
        }
    }
    for ((_, name, _), figure) in QUANTILES.iter().zip(quantiles(rounds)?) {
        put_spread(name, figure);
    }
    put_spread(
        "latency_rate_per_s",
        Spread::of(rounds.iter().filter_map(|round| Some(round.latency.as_ref()?.0)).collect()),
    );
    let late = |round: &Round| timed(round).offered.iter().map(|offered| offered.late_p99).max();
    put_spread("publisher_late_p99_us", spread(rounds, |round| late(round).unwrap_or(0) as f64 / 1e3));
    put("percentiles", json!(curve(&merged(rounds)?)));
    put("rounds", json!(rounds.len()));
    put("rate_per_s_rounds", json!(rounds.iter().map(|round| round.throughput.rate()).collect::<Vec<_>>()));
    put("lossless_by", json!(row.contender.lossless(row.scenario).name()));
    put("credit_window", json!(window(row.contender, row.scenario, row.size)));
    put("sent", json!(sum(&Outcome::sent)));
    put("received", json!(sum(&Outcome::received)));
    put("lost", json!(sum(&Outcome::lost)));
    put("reordered", json!(sum(&|outcome| outcome.sum(|seen| seen.reordered))));
    put("duplicates", json!(sum(&|outcome| outcome.sum(|seen| seen.duplicates))));
    put("foreign", json!(sum(&|outcome| outcome.sum(|seen| seen.foreign))));
    Ok(())
}

/// The table, with what its columns mean.
///
/// # Errors
/// Never with the histograms used here.
pub fn table(rows: &[Row], origin: &Origin) -> Result<String, BenchError> {
    let mut text = format!(
        "{}; Linux {}; {}; {}; {}\n",
        origin.machine, origin.kernel, origin.rustc, origin.commit, origin.date
    );
    if !origin.optimised {
        text += "NOT OPTIMISED: figures of a debug build tell nothing; use `cargo run --release`\n";
    }
    let mut groups: Vec<(Scenario, usize)> = rows.iter().map(|row| (row.scenario, row.size)).collect();
    groups.dedup();
    for (scenario, size) in groups {
        let against = rows.iter().find_map(|row| row.against.as_ref());
        let against =
            against.map_or_else(String::new, |it| format!(", against {it} (CPU s/M of the ends alone)"));
        text += &format!("\n{scenario}, {size} bytes{against}\n");
        let mut table = Table::of_numbers(heading());
        let mut missing = String::new();
        for row in rows.iter().filter(|row| (row.scenario, row.size) == (scenario, size)) {
            match &row.rounds {
                Ok(rounds) => table.row(cells(row, rounds)?),
                Err(why) => missing += &format!("  {}: not measured: {why}\n", row.contender),
            }
        }
        text += &table.to_string();
        text += &missing;
    }
    text += "\nmessages/s: received by all subscribers, median (min-max) of the rounds; CPU s/M: processor seconds of all \
             processes per million of them, while they are sent and received; latency in µs from the moment a message was due, at a fixed rate (unless \
             given, half of the maximum, at most a million a second; ping_pong: a round trip), medians of the rounds, \
             max of all; lost, reordered, duplicate: in all runs together; lossless by: what keeps the contender from \
             dropping: its own back-pressure, or so many messages of credit outside of it; drops: nothing does\n";
    Ok(text)
}

fn heading() -> Vec<&'static str> {
    let mut cells = vec!["", "messages/s", "(min-max)", "CPU s/M", "at rate/s"];
    cells.extend(QUANTILES.iter().map(|(_, _, title)| *title));
    cells.extend(["lost", "reordered", "duplicate", "lossless by"]);
    cells
}

/// A whole number that can be read.
fn whole(number: f64) -> String {
    grouped(number.round() as u64)
}

fn cells(row: &Row, rounds: &[Round]) -> Result<Vec<String>, BenchError> {
    let dash = || "-".to_owned();
    let mut cells = vec![row.contender.name().to_owned()];
    match spread(rounds, |round| round.throughput.rate()) {
        Some(rate) => {
            cells.push(whole(rate.median));
            cells.push(format!("({}-{})", whole(rate.min), whole(rate.max)));
        }
        None => cells.extend([dash(), dash()]),
    }
    let cpu = spread(rounds, |round| round.throughput.cpu_per_million());
    cells.push(cpu.map_or_else(dash, |cpu| format!("{:.2}", cpu.median)));
    let rates = rounds.iter().filter_map(|round| Some(round.latency.as_ref()?.0)).collect();
    cells.push(Spread::of(rates).map_or_else(dash, |rate| whole(rate.median)));
    for ((quantile, _, _), figure) in QUANTILES.iter().zip(quantiles(rounds)?) {
        let shown = figure.map(|figure| if *quantile < 1.0 { figure.median } else { figure.max });
        cells.push(shown.map_or_else(dash, whole));
    }
    let counts: [&dyn Fn(&Outcome) -> u64; 3] =
        [&Outcome::lost, &|it| it.sum(|seen| seen.reordered), &|it| it.sum(|seen| seen.duplicates)];
    cells.extend(counts.map(|count| grouped(runs(rounds).map(count).sum())));
    let window = window(row.contender, row.scenario, row.size);
    let window = window.map_or_else(String::new, |window| format!(" of {}", grouped(window)));
    cells.push(row.contender.lossless(row.scenario).name().to_owned() + &window);
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn a_median_has_as_many_below_as_above() {
        let spread = |values: &[f64]| Spread::of(values.to_vec()).unwrap();
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Spread { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(spread(&[4.0, 2.0]).median, 3.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

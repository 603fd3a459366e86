//! Result files, read: what a row says, and where the file is wrong.

use super::text::Outside;
use crate::BenchError;
use serde_json::{Map, Value};
use std::f64::consts::LOG10_2;
use std::rc::Rc;

/// More rows than this no page can show.
const MOST_ROWS: usize = 10_000;
/// A percentile curve needs fewer points.
const MOST_POINTS: usize = 1_000;
/// No name or error message is longer.
const LONGEST: usize = 500;

/// A result file.
#[derive(Clone, Debug)]
pub struct Source {
    /// What errors and the page call it.
    pub name: String,
    /// Its lines: one JSON object each, as `multiplane bench --json` writes them.
    pub text: String,
}

/// A figure of several rounds. Files that tell only the median have it three times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Where and with what a row came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) file: Outside,
    pub(super) machine: Outside,
    pub(super) kernel: Outside,
    pub(super) rustc: Outside,
    pub(super) commit: Outside,
    pub(super) date: Outside,
    pub(super) optimised: bool,
}

/// Where a latency stands in the table, and what the field is called. The percentile is in nines: 2 is 99 %.
pub(super) const PERCENTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50_us", LOG10_2),
    ("p90", "p90_us", 1.0),
    ("p99", "p99_us", 2.0),
    ("p99.9", "p999_us", 3.0),
    ("p99.99", "p9999_us", 4.0),
];

/// One contender in one scenario at one payload size.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) contender: Outside,
    pub(super) scenario: Outside,
    pub(super) bytes: u64,
    /// Why nothing was measured.
    pub(super) error: Option<Outside>,
    pub(super) rate: Option<Spread>,
    pub(super) cpu: Option<Spread>,
    /// In microseconds, as in [`PERCENTILES`].
    pub(super) percentiles: [Option<Spread>; 5],
    pub(super) max: Option<f64>,
    /// (nines, microseconds), rising.
    pub(super) curve: Vec<(f64, f64)>,
    pub(super) latency_rate: Option<f64>,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) reordered: u64,
    pub(super) duplicates: u64,
    pub(super) foreign: u64,
    pub(super) rounds: u64,
    pub(super) lossless_by: Option<Outside>,
    pub(super) credit_window: Option<u64>,
    pub(super) origin: Rc<Origin>,
    /// A later row tells the same anew: this one is in the table only.
    pub(super) superseded: bool,
}

impl Record {
    /// One of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.contender.starts_with("multiplane")
    }

    /// A bare transport: what the machine can do.
    pub(super) fn is_base(&self) -> bool {
        self.contender.starts_with("base")
    }

    /// The scenario without its number, and the number.
    pub(super) fn family(&self) -> (&str, Option<u64>) {
        match self.scenario.split_once(':') {
            Some((family, n)) => match n.parse() {
                Ok(n) if n > 0 => (family, Some(n)),
                _ => (&self.scenario, None),
            },
            None => (&self.scenario, None),
        }
    }

    /// What went wrong with messages, in words; empty when each arrived once and in order.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.lost > 0 {
            let share = self.lost as f64 * 100.0 / (self.lost as f64 + self.received as f64);
            faults.push(match share {
                0.1.. => format!("lost {share:.1} %"),
                _ => format!("lost {}", super::text::grouped(self.lost)),
            });
        }
        for (count, what) in
            [(self.reordered, "reordered"), (self.duplicates, "duplicate"), (self.foreign, "foreign")]
        {
            if count > 0 {
                faults.push(format!("{what} {}", super::text::grouped(count)));
            }
        }
        faults
    }
}

/// All rows of all files, in their order.
pub(super) fn read(sources: &[Source]) -> Result<Vec<Record>, BenchError> {
    let mut records: Vec<Record> = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong =
                |why: String| BenchError::Misuse(format!("{}:{}: {why}", shown(&source.name), number + 1));
            if records.len() == MOST_ROWS {
                return Err(wrong(format!("more than {MOST_ROWS} results; give fewer files")));
            }
            let object = serde_json::from_str(line).map_err(|error| wrong(json_error(&error)))?;
            let last = records.last().map(|record| Rc::clone(&record.origin));
            records.push(record(&Fields(&object), &source.name, last).map_err(wrong)?);
        }
    }
    if records.is_empty() {
        let names: Vec<String> = sources.iter().map(|source| shown(&source.name)).collect();
        return Err(BenchError::Misuse(format!(
            "no results in {}: make some with `multiplane bench --json FILE`",
            names.join(", ")
        )));
    }
    supersede(&mut records);
    Ok(records)
}

/// The same measured twice: the later counts.
fn supersede(records: &mut [Record]) {
    let mut latest = std::collections::HashMap::new();
    for at in 0..records.len() {
        let record = &records[at];
        let key = (record.contender.to_string(), record.scenario.to_string(), record.bytes);
        if let Some(before) = latest.insert(key.clone(), at) {
            let first = *records[before].origin.date <= *records[at].origin.date;
            records[if first { before } else { at }].superseded = true;
            if !first {
                latest.insert(key, before);
            }
        }
    }
}

fn record(fields: &Fields<'_>, file: &str, last: Option<Rc<Origin>>) -> Result<Record, String> {
    let told = |name| Ok::<_, String>(fields.text(name)?.unwrap_or_else(|| Outside::new("unknown")));
    let origin = Origin {
        file: Outside::new(file),
        machine: told("machine")?,
        kernel: told("kernel")?,
        rustc: told("rustc")?,
        commit: told("commit")?,
        date: told("date")?,
        optimised: fields.flag("optimised")?.unwrap_or(true),
    };
    let mut percentiles = [None; 5];
    for (place, (_, name, _)) in percentiles.iter_mut().zip(PERCENTILES) {
        *place = fields.spread(name)?;
    }
    let mut curve = fields.curve()?;
    if curve.is_empty() {
        let known = PERCENTILES.iter().zip(&percentiles);
        curve = known.filter_map(|((_, _, nines), value)| Some((*nines, (*value)?.median))).collect();
    }
    Ok(Record {
        contender: fields.name("contender")?,
        scenario: fields.name("scenario")?,
        bytes: fields.count("payload_bytes")?.ok_or("`payload_bytes` is missing")?,
        error: fields.text("error")?,
        rate: fields.spread("rate_per_s")?,
        cpu: fields.spread("cpu_s_per_million")?,
        percentiles,
        max: fields.spread("max_us")?.map(|spread| spread.max),
        curve,
        latency_rate: fields.number("latency_rate_per_s")?,
        received: fields.count("received")?.unwrap_or(0),
        lost: fields.count("lost")?.unwrap_or(0),
        reordered: fields.count("reordered")?.unwrap_or(0),
        duplicates: fields.count("duplicates")?.unwrap_or(0),
        foreign: fields.count("foreign")?.unwrap_or(0),
        rounds: fields.count("rounds")?.unwrap_or(0),
        lossless_by: fields.text("lossless_by")?,
        credit_window: fields.count("credit_window")?,
        origin: last.filter(|last| **last == origin).unwrap_or_else(|| Rc::new(origin)),
        superseded: false,
    })
}

/// The fields of one row. A missing field and `null` are the same; a wrong one is an error that names it.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("`{name}` is {}; wanted is {wanted}", shown(&value.to_string()))),
            },
        }
    }

    fn text(&self, name: &str) -> Result<Option<Outside>, String> {
        let wanted = format!("a text of at most {LONGEST} bytes");
        self.get(name, &wanted, |value| Some(Outside::new(value.as_str().filter(|it| it.len() <= LONGEST)?)))
    }

    fn name(&self, name: &str) -> Result<Outside, String> {
        let name_is = self.text(name)?.ok_or_else(|| format!("`{name}` is missing"))?;
        if name_is.trim().is_empty() { Err(format!("`{name}` is empty")) } else { Ok(name_is) }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        self.get(name, "a number that is not negative", |value| value.as_f64().filter(|it| *it >= 0.0))
    }

    fn count(&self, name: &str) -> Result<Option<u64>, String> {
        self.get(name, "a whole number that is not negative", Value::as_u64)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        self.get(name, "true or false", Value::as_bool)
    }

    fn spread(&self, name: &str) -> Result<Option<Spread>, String> {
        let Some(median) = self.number(name)? else { return Ok(None) };
        let min = self.number(&format!("{name}_min"))?.unwrap_or(median);
        let max = self.number(&format!("{name}_max"))?.unwrap_or(median);
        if min <= median && median <= max {
            Ok(Some(Spread { median, min, max }))
        } else {
            Err(format!("`{name}` is {median}, which is not between its minimum {min} and maximum {max}"))
        }
    }

    /// The quantiles below 1: the maximum has no place on an axis of nines.
    fn curve(&self) -> Result<Vec<(f64, f64)>, String> {
        let wanted = format!("a list of at most {MOST_POINTS} pairs [quantile from 0 to 1, microseconds]");
        let point = |value: &Value| {
            let [quantile, micros] = value.as_array()?.as_slice() else { return None };
            let (quantile, micros) = (quantile.as_f64()?, micros.as_f64()?);
            ((0.0..=1.0).contains(&quantile) && micros >= 0.0).then_some((quantile, micros))
        };
        let curve = self.get("percentiles", &wanted, |value| {
            let points = value.as_array().filter(|points| points.len() <= MOST_POINTS)?;
            points.iter().map(point).collect::<Option<Vec<_>>>()
        })?;
        let mut curve = curve.unwrap_or_default();
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        let below_one = curve.into_iter().filter(|(quantile, _)| *quantile < 1.0);
        Ok(below_one.map(|(quantile, micros)| (-(1.0 - quantile).log10(), micros)).collect())
    }
}

/// What a terminal can be shown of something from outside.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Each line is a document of its own, so serde's "line 1" would mislead.
fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (what, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
    format!("column {}: not a JSON object: {what}", error.column())
}

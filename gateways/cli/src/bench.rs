//! `multiplane bench`: how fast the bus is here, beside its peers.

use crate::bench_report;
use crate::clock;
use crate::failure::Failure;
use crate::links::address;
use crate::seconds::{rate, seconds};
use crate::shutdown::Shutdown;
use multiplane_bench::BenchError;
use multiplane_bench::contender::Contender;
use multiplane_bench::measure::{Against, Launcher, Plan, Step, measure};
use multiplane_bench::report::{Origin, hgrm, json_lines, table};
use multiplane_bench::role;
use multiplane_bench::scenario::{self, Scenario};
use serde_json::json;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Measure throughput, processor time and latency, beside libzmq
///
/// Publishers, backplane and subscribers are processes of their own; contenders take turns. Each message is numbered,
/// so what is lost or out of order is told; latency counts from the moment a message was due.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane bench
  multiplane bench --scenario fan_out:4 --size 16 --size 1024 --seconds 1
  multiplane bench --contender multiplane-native --contender libzmq-direct --contender base-tcp --json bench.jsonl
  multiplane bench --scenario local:4 --contender crossbeam --contender base-memory
  multiplane bench --scenario ping_pong --pin 0,1
  multiplane bench --against 127.0.0.1:43125:43124")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,

    /// one_to_one, direct, fan_out:N, fan_in:N, ping_pong, many_backplanes:N, many_topics:N, local:N, to_mqtt, from_mqtt,
    /// to_tcp, from_tcp, to_websocket or from_websocket; repeatable
    ///
    /// Of many backplanes one is busy and the others are idle. Many topics are as many subscriptions of the subscriber;
    /// each message goes to the next of up to a thousand of them. What is local is threads of one process. The last
    /// four have a gateway between.
    #[arg(long, value_name = "NAME", default_value = "one_to_one")]
    scenario: Vec<Scenario>,

    /// Bytes of a payload, from 16; repeatable
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = scenario::size)]
    size: Vec<usize>,

    /// How long a run offers messages at full speed; a run for latency takes half of it
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds: Duration,

    /// How often each contender has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Who is measured; repeatable [default: multiplane-native and libzmq-proxy; --help names all]
    #[arg(long, value_name = "NAME", long_help = contender_help())]
    contender: Vec<Contender>,

    /// Our components by a backplane on this engine, native or libzmq: short for --contender multiplane-NAME
    #[arg(long, value_name = "NAME", value_parser = ["native", "libzmq"])]
    engine: Vec<String>,

    /// Messages a second to measure latency at; without, half of each contender's own maximum, at most a
    /// million
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// Cores for the processes, taken in turn by publishers, backplane and subscribers
    #[arg(long, value_name = "CORE,..", value_delimiter = ',')]
    pin: Vec<usize>,

    /// Load a backplane that runs already, also Python Banyan's, with our ends; what it drops is told
    ///
    /// The ports default to Banyan's, 43125 to receive from and 43124 to publish into. The contenders are
    /// multiplane-ends, and libzmq-ends on request; processor time is theirs alone.
    #[arg(long, value_name = "HOST[:SUBPORT[:PUBPORT]]", value_parser = against)]
    against: Option<Against>,

    /// End after so long, whatever is left; who had no whole round by then is told
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    within: Option<Duration>,

    /// Measure nothing: say who runs these scenarios, and why others do not, as JSON, a line each
    #[arg(long, conflicts_with_all = ["json", "hgrm", "against"])]
    list: bool,

    /// Give the results as JSON, a line each: appended to this file, or without one on standard output
    ///
    /// On standard output (also by the name `-`) they stand alone; the table then goes to standard error.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,

    /// Write the latencies of each row to a file in this folder, as HdrHistogram's plotters read them, in microseconds
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

fn contender_help() -> String {
    let all = Contender::told();
    format!("Who is measured; repeatable [default: multiplane-native and libzmq-proxy]\n\nThere are {all}.")
}

fn against(text: &str) -> Result<Against, String> {
    let (host, subscriber_port, publisher_port) = address(text)?;
    Ok(Against { host: host.to_owned(), publisher_port, subscriber_port })
}

#[derive(clap::Subcommand)]
enum Other {
    Report(bench_report::Args),
}

/// One process of a measurement, started by `bench`
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct RoleArgs {
    /// What it is to be
    spec: String,
}

pub(crate) fn run(args: Args, shutdown: &Shutdown) -> Result<(), Failure> {
    if let Some(Other::Report(args)) = &args.other {
        return bench_report::run(args);
    }
    if args.list {
        return list(args);
    }
    shutdown.watch();
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Failed(format!("cannot find this program: {error}")))?;
    let launcher = Launcher { program, arguments: vec!["bench-role".to_owned()] };
    let mut json = args.json.map(Json::open).transpose()?;
    let plan = Plan {
        contenders: contenders(args.contender, &args.engine, args.against.is_some())?,
        scenarios: args.scenario,
        sizes: args.size,
        seconds: args.seconds.as_secs_f64(),
        rounds: usize::from(args.rounds),
        rate: args.rate,
        pin: args.pin,
        against: args.against,
        within: args.within.map(|within| within.as_secs_f64()),
    };
    if let Some(folder) = &args.hgrm {
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    let line = RefCell::new(Progress::new(args.seconds));
    let stop = || {
        line.borrow_mut().show();
        shutdown.requested()
    };
    let rows = measure(&plan, &launcher, &stop, &mut |step| line.borrow_mut().step(step));
    line.borrow().clear();
    let rows = rows?;
    let origin = Origin::here();
    let table = table(&rows, &origin)?;
    match &json {
        Some(Json::Stdout) => io::stderr().write_all(table.as_bytes())?,
        _ => io::stdout().write_all(table.as_bytes())?,
    }
    if let Some(json) = &mut json {
        json.write(&json_lines(&rows, &origin)?)?;
    }
    if let Some(folder) = &args.hgrm {
        for row in &rows {
            let Some((name, text)) = hgrm(row)? else { continue };
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
        }
    }
    match rows.iter().all(|row| row.rounds.is_err()) {
        true => Err(Failure::Told(1)),
        false => Ok(()),
    }
}

fn list(Args { scenario, contender, engine, .. }: Args) -> Result<(), Failure> {
    let named = !contender.is_empty() || !engine.is_empty();
    let contenders = if named { contenders(contender, &engine, false)? } else { Contender::all() };
    let mut out = io::stdout().lock();
    for scenario in scenario {
        for &contender in &contenders {
            let why_not = contender.check(scenario).err().map(|error| error.to_string());
            let line =
                json!({ "scenario": scenario.to_string(), "contender": contender.name(), "error": why_not });
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

pub(crate) fn play(args: &RoleArgs) -> Result<(), Failure> {
    // What went wrong is told by the measuring process.
    role::play(&args.spec).map_err(|_| Failure::Told(1))
}

/// Where the lines of JSON go.
enum Json {
    Stdout,
    File(PathBuf, File),
}

impl Json {
    /// Before anything is measured, so that a wrong path costs no time.
    fn open(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Json::Stdout);
        }
        match File::options().create(true).append(true).open(&path) {
            Ok(file) => Ok(Json::File(path, file)),
            Err(error) => Err(cannot_write(&path, &error)),
        }
    }

    fn write(&mut self, lines: &str) -> Result<(), Failure> {
        match self {
            Json::Stdout => Ok(io::stdout().write_all(lines.as_bytes())?),
            Json::File(path, file) => {
                file.write_all(lines.as_bytes()).map_err(|error| cannot_write(path, &error))
            }
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot write results to {}: {error}", path.display()))
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Interrupted => Failure::Interrupted,
            BenchError::Misuse(message) => Failure::Misuse(message),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// Who is measured, when some are named, or none.
fn contenders(
    mut named: Vec<Contender>,
    engines: &[String],
    against: bool,
) -> Result<Vec<Contender>, BenchError> {
    for engine in engines {
        named.push(format!("multiplane-{engine}").parse()?);
    }
    match (named.is_empty(), against) {
        (false, _) => Ok(named),
        (true, true) => Ok(vec!["multiplane-ends".parse()?]),
        (true, false) => Ok(vec!["multiplane-native".parse()?, "libzmq-proxy".parse()?]),
    }
}

/// How far it has got, rewritten in place several times a second on a terminal; nowhere else.
struct Progress {
    terminal: bool,
    step: Option<Step>,
    /// When the first step began, and when this one did.
    began: Instant,
    at: Instant,
    shown: Instant,
    /// What a step takes, until one has been seen.
    guess: f64,
}

const SHOW_EVERY: Duration = Duration::from_millis(200);
const BAR: usize = 20;

impl Progress {
    fn new(seconds: Duration) -> Self {
        let now = clock::now();
        // Half of the time again for latency, and a second for starting and ending processes.
        let guess = 1.5 * seconds.as_secs_f64() + 1.0;
        Self { terminal: io::stderr().is_terminal(), step: None, began: now, at: now, shown: now, guess }
    }

    fn step(&mut self, step: &Step) {
        self.step = Some(step.clone());
        self.at = clock::now();
        self.shown = self.at - SHOW_EVERY;
        self.show();
    }

    fn show(&mut self) {
        let now = clock::now();
        let Some(step) = self.step.as_ref().filter(|_| self.terminal && now >= self.shown + SHOW_EVERY)
        else {
            return;
        };
        self.shown = now;
        let each = match step.done {
            0 => self.guess,
            done => (self.at - self.began).as_secs_f64() / done as f64,
        };
        let line = progress_line(step, (now - self.at).as_secs_f64(), each);
        let _ = write!(io::stderr(), "\r\x1b[2K{line}");
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

/// `since`: seconds in this step; `each`: what a step takes.
fn progress_line(step: &Step, since: f64, each: f64) -> String {
    // A step that takes longer than the others stands still at its end.
    let done = step.done as f64 + (since / each).min(0.99);
    let left = (step.all as f64 - done) * each;
    let full = (done / step.all.max(1) as f64 * BAR as f64) as usize;
    let (full, empty) = ("#".repeat(full), ".".repeat(BAR.saturating_sub(full)));
    format!("  [{full}{empty}] {} of {}, {left:.0} s left: {}", step.done, step.all, step.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_matter_of_time() {
        let step = Step { what: "what".to_owned(), done: 1, all: 4 };
        assert_eq!(progress_line(&step, 0.0, 2.0), "  [#####...............] 1 of 4, 6 s left: what");
        assert_eq!(progress_line(&step, 1.0, 2.0), "  [#######.............] 1 of 4, 5 s left: what");
        assert_eq!(progress_line(&step, 99.0, 2.0), "  [#########...........] 1 of 4, 4 s left: what");
    }

    #[test]
    fn a_running_backplane_is_named_as_elsewhere() {
        let read = |text| against(text).map(|it| (it.host, it.subscriber_port, it.publisher_port));
        assert_eq!(read("10.0.0.1"), Ok(("10.0.0.1".to_owned(), 43125, 43124)));
        assert_eq!(read("[::1]:1:2"), Ok(("::1".to_owned(), 1, 2)));
        assert!(read("h:1:2:3").is_err());
    }

    #[test]
    fn an_engine_is_short_for_a_contender() {
        let names = |engines: &[&str], against| {
            let engines: Vec<_> = engines.iter().map(ToString::to_string).collect();
            let found = contenders(Vec::new(), &engines, against).unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&["libzmq"], false), ["multiplane-libzmq"]);
        assert_eq!(names(&[], false), ["multiplane-native", "libzmq-proxy"]);
        assert_eq!(names(&[], true), ["multiplane-ends"]);
    }
}

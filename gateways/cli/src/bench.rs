//! `multiplane bench`: how fast the bus is here, beside its peers.

use crate::failure::Failure;
use crate::seconds::{rate, seconds};
use crate::shutdown::Shutdown;
use multiplane_bench::BenchError;
use multiplane_bench::contender::Contender;
use multiplane_bench::measure::{Launcher, Plan, measure};
use multiplane_bench::report::{Origin, json_lines, table};
use multiplane_bench::role;
use multiplane_bench::scenario::{self, Scenario};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

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
  multiplane bench --scenario ping_pong --pin 0,1")]
pub(crate) struct Args {
    /// one_to_one, direct, fan_out:N, fan_in:N, ping_pong, many_backplanes:N or many_topics:N; repeatable
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

    /// multiplane-native, multiplane-libzmq, libzmq-native, libzmq-proxy[-credit], libzmq-direct[-credit] or base-tcp;
    /// repeatable
    #[arg(long, value_name = "NAME", default_values = ["multiplane-native", "libzmq-proxy"])]
    contender: Vec<Contender>,

    /// Messages a second to measure latency at; without, half of each contender's own maximum
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// Cores for the processes, taken in turn by publishers, backplane and subscribers
    #[arg(long, value_name = "CORE,..", value_delimiter = ',')]
    pin: Vec<usize>,

    /// Append the results to this file as well, a line of JSON each
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One process of a measurement, started by `bench`
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct RoleArgs {
    /// What it is to be
    spec: String,
}

pub(crate) fn run(args: Args, shutdown: &Shutdown) -> Result<(), Failure> {
    shutdown.watch();
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Failed(format!("cannot find this program: {error}")))?;
    let launcher = Launcher { program, arguments: vec!["bench-role".to_owned()] };
    let mut json = args.json.map(open).transpose()?;
    let plan = Plan {
        contenders: args.contender,
        scenarios: args.scenario,
        sizes: args.size,
        seconds: args.seconds.as_secs_f64(),
        rounds: usize::from(args.rounds),
        rate: args.rate,
        pin: args.pin,
    };
    let mut line = ProgressLine { terminal: io::stderr().is_terminal() };
    let rows = measure(&plan, &launcher, &|| shutdown.requested(), &mut |what| line.show(what));
    line.clear();
    let rows = rows?;
    let origin = Origin::here();
    io::stdout().write_all(table(&rows, &origin)?.as_bytes())?;
    if let Some((path, file)) = &mut json {
        let written = file.write_all(json_lines(&rows, &origin)?.as_bytes());
        written.map_err(|error| cannot_write(path, &error))?;
    }
    match rows.iter().all(|row| row.rounds.is_err()) {
        true => Err(Failure::Told(1)),
        false => Ok(()),
    }
}

pub(crate) fn play(args: &RoleArgs) -> Result<(), Failure> {
    // What went wrong is told by the measuring process.
    role::play(&args.spec).map_err(|_| Failure::Told(1))
}

/// Before anything is measured, so that a wrong path costs no time.
fn open(path: PathBuf) -> Result<(PathBuf, std::fs::File), Failure> {
    match std::fs::OpenOptions::new().create(true).append(true).open(&path) {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(cannot_write(&path, &error)),
    }
}

fn cannot_write(path: &std::path::Path, error: &io::Error) -> Failure {
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

/// What is being done, rewritten in place on a terminal; nowhere else.
struct ProgressLine {
    terminal: bool,
}

impl ProgressLine {
    fn show(&mut self, what: &str) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[2K  {what}");
        }
    }

    fn clear(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

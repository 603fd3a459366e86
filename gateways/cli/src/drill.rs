//! `multiplane drill`: what happens if...? Asked of a running deployment, on a topic of its own, in bounded time.

mod watch;

use crate::clock::now;
use crate::failure::{Failure, say};
use crate::links::Links;
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use multiplane_bench::table::grouped;
use multiplane_bus::{Bus, Route, RoutingSpec};
use std::io::{self, BufRead, IsTerminal, Write};
use std::slice;
use std::time::Duration;
use watch::{Outcome, Watch, pulse};

/// How long a newcomer may take to hear something.
const PATIENCE: Duration = Duration::from_secs(10);
/// All must be well for so long after a restart: by then what was lost is known, and who falls next.
const SETTLED: Duration = Duration::from_secs(1);
/// Messages on their way while others are watched: fewer than any queue holds.
const WINDOW: u64 = 200;

/// Rehearse a failure on a running deployment
///
/// A component of its own publishes numbered messages through each backplane, on a topic that nobody else has, and counts
/// how they come back. What would disturb others is asked for first, or said with --yes. Of several backplanes a restart
/// is watched at all of them at the same time, and the other drills take one after the other.
///
/// Exit code: 0 when all was delivered or reported and the links came back, 1 when not, 124 when nothing happened in time.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane drill restart                                  then restart the backplane by hand
  multiplane drill restart --with 'systemctl restart bus' --yes
  multiplane drill restart --routing spec.csv               which of them went down, and whether the others noticed
  multiplane drill slow --yes                               a subscriber that stands still beside one that reads
  multiplane drill flap                                     a component that comes and goes
  multiplane drill flood --seconds 3 --yes                  as much as goes through")]
pub(crate) struct Args {
    #[command(subcommand)]
    drill: Drill,
}

#[derive(clap::Subcommand)]
enum Drill {
    /// The backplane goes away and comes back
    Restart {
        /// A command of the shell that restarts it; without it, restart it by hand when told to
        #[arg(long, value_name = "COMMAND")]
        with: Option<String>,
        /// How long to wait for the restart, in seconds
        #[arg(long, value_name = "S", value_parser = seconds, default_value = "60")]
        timeout: Duration,
        #[command(flatten)]
        common: Common,
    },
    /// A subscriber stands still beside one that reads
    Slow {
        /// How many messages of 1000 bytes
        #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        count: u64,
        #[command(flatten)]
        common: Common,
    },
    /// A component comes and goes beside one that stays
    Flap {
        /// How often
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
        times: u64,
        #[command(flatten)]
        common: Common,
    },
    /// As many messages as go through
    Flood {
        /// For how long, in seconds
        #[arg(long, value_name = "S", value_parser = seconds, default_value = "5")]
        seconds: Duration,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    /// Do not ask before others are disturbed
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    match &args.drill {
        Drill::Restart { with, timeout, common } => restart(with.as_deref(), *timeout, common, shutdown),
        Drill::Slow { count, common } => {
            let stops = "a backplane that runs with `--on-slow block` then stops for everybody";
            consent(common, &format!("lets a subscriber stand still; {stops}"))?;
            each(common, |route| slow(*count, common, route, shutdown))
        }
        Drill::Flap { times, common } => each(common, |route| flap(*times, common, route, shutdown)),
        Drill::Flood { seconds, common } => {
            consent(common, "takes as much of the backplane as it can get")?;
            each(common, |route| flood(*seconds, common, route, shutdown))
        }
    }
}

/// The backplanes that are drilled: through the others nothing can come back.
fn routes(common: &Common) -> Result<Vec<Route>, Failure> {
    let spec = common.links.both()?;
    let both = |route: &&Route| route.subscriber_port.is_some() && route.publisher_port.is_some();
    let (drilled, others): (Vec<_>, Vec<_>) = spec.routes().iter().partition(both);
    if drilled.is_empty() {
        return Err(Failure::Misuse("a drill needs a backplane with both ports".to_owned()));
    }
    others.iter().for_each(|route| say(format_args!("{}: has only one port: not drilled", route.name)));
    Ok(drilled.into_iter().cloned().collect())
}

/// One backplane after the other. What is found at one keeps nobody from looking at the next.
fn each(common: &Common, drill: impl Fn(&Route) -> Result<(), Failure>) -> Result<(), Failure> {
    all(routes(common)?.iter().map(|route| (route.name.clone(), drill(route))))
}

/// The first failure; the others are said.
fn all(results: impl Iterator<Item = (String, Result<(), Failure>)>) -> Result<(), Failure> {
    let mut first = Ok(());
    for (name, result) in results {
        match (result, &first) {
            (Ok(()), _) => {}
            (Err(failure @ (Failure::Interrupted | Failure::PipeClosed)), _) => return Err(failure),
            (Err(failure), Ok(())) => first = Err(failure.about(&name)),
            (Err(failure), Err(_)) => {
                say(format_args!("{}", failure.about(&name).message().unwrap_or_default()));
            }
        }
    }
    first
}

/// Asks a person; a program has to say `--yes`.
fn consent(common: &Common, effect: &str) -> Result<(), Failure> {
    if common.yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Misuse(format!("this {effect}: say --yes if that is meant")));
    }
    let mut error = io::stderr();
    let asked = write!(error, "This {effect}. Go on? [y/N] ").and_then(|()| error.flush());
    let mut answer = String::new();
    asked.and_then(|()| stdin.lock().read_line(&mut answer))?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(Failure::Interrupted) }
}

fn restart(
    with: Option<&str>,
    timeout: Duration,
    common: &Common,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    if with.is_some() {
        consent(common, "restarts a backplane, and all that pass through it lose messages meanwhile")?;
    }
    let routes = routes(common)?;
    let watches = routes.iter().map(|route| Watch::start(common, route, 100));
    let mut watches = watches.collect::<Result<Vec<_>, _>>()?;
    shutdown.watch();
    let mut command = match with {
        Some(command) => {
            let started = std::process::Command::new("sh")
                .args(["-c", command])
                .stdin(std::process::Stdio::null())
                .spawn();
            Some(started.map_err(|error| Failure::Failed(format!("cannot run {command}: {error}")))?)
        }
        None => {
            say(format_args!("restart the backplane now; this waits {timeout:?} for it"));
            None
        }
    };
    let deadline = now() + timeout;
    // One command may restart several, one after the other.
    let mut has_ended = || command.as_mut().is_none_or(|command| !matches!(command.try_wait(), Ok(None)));
    let mut well_since = None;
    pulse(&mut watches, shutdown, |watches| {
        let is_over = watches.iter().any(|watch| watch.downs > 0) && watches.iter().all(Watch::is_well);
        well_since = if is_over && has_ended() { well_since.or_else(|| Some(now())) } else { None };
        well_since.is_some_and(|since| now() >= since + SETTLED) || now() >= deadline
    })?;
    if let Some(command) = &mut command
        && let Ok(Some(status)) = command.try_wait()
        && !status.success()
    {
        say(format_args!("the command ended with {status}"));
    }
    if watches.iter().all(|watch| watch.downs == 0) {
        return Err(Failure::TimedOut(format!(
            "no link went down within {timeout:?}: was the backplane restarted?"
        )));
    }
    all(routes.iter().zip(watches).map(|(route, watch)| (route.name.clone(), restarted(&route.name, watch))))
}

/// What became of one backplane.
fn restarted(name: &str, watch: Watch) -> Result<(), Failure> {
    let came = watch.is_well();
    let outcome = watch.finish();
    let what = match outcome.downs {
        0 => format!("was not restarted; slowest wait {:.0?}", outcome.blackout),
        downs => {
            format!("blackout {:.0?}, links lost {downs}, resubscribed: {}", outcome.blackout, yes(came))
        }
    };
    println(name, &what)?;
    judge(name, &outcome, came)
}

fn slow(count: u64, common: &Common, route: &Route, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut watch = Watch::start(common, route, 1000)?;
    shutdown.watch();
    // Nobody takes from it, so it takes nothing from its link.
    let stalled = subscriber(common, route, &watch.topic)?;
    let done = watch.exchange(count, WINDOW, shutdown)?;
    let inbox = stalled.subscriber()?;
    let mut got = 0_u64;
    while inbox.recv_timeout(Duration::from_millis(500)).is_ok() {
        got += 1;
    }
    let outcome = watch.finish();
    println(
        &route.name,
        &format!(
            "the one that stood still got {} of {} and lost {}; the one beside it lost {}; slowest wait {:.0?}",
            grouped(got),
            grouped(outcome.sent),
            grouped(outcome.sent.saturating_sub(got)),
            grouped(outcome.lost()),
            outcome.blackout,
        ),
    )?;
    judge(&route.name, &outcome, done)
}

fn flap(times: u64, common: &Common, route: &Route, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut watch = Watch::start(common, route, 100)?;
    shutdown.watch();
    let mut waits = Vec::new();
    for _ in 0..times {
        let start = now();
        let visitor = subscriber(common, route, &watch.topic)?;
        let inbox = visitor.subscriber()?;
        pulse(slice::from_mut(&mut watch), shutdown, |_| !inbox.is_empty() || start.elapsed() > PATIENCE)?;
        if !watch.is_well() || inbox.is_empty() {
            return Err(Failure::Failed(format!(
                "a component that came back heard nothing within {PATIENCE:?}"
            )));
        }
        waits.push(start.elapsed());
    }
    waits.sort();
    let outcome = watch.finish();
    println(
        &route.name,
        &format!(
            "came {times} times, heard the first message after {:.1?} (median), {:.1?} at most; the one beside it lost {}, \
         slowest wait {:.0?}",
            waits[waits.len() / 2],
            waits[waits.len() - 1],
            grouped(outcome.lost()),
            outcome.blackout,
        ),
    )?;
    judge(&route.name, &outcome, true)
}

fn flood(time: Duration, common: &Common, route: &Route, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut watch = Watch::start(common, route, 100)?;
    shutdown.watch();
    let rate = watch.flood(time, shutdown)?;
    let outcome = watch.finish();
    println(
        &route.name,
        &format!(
            "{} messages a second published; {} of {} delivered, lost {}; longest wait {:.0?}",
            grouped(rate),
            grouped(outcome.received),
            grouped(outcome.sent),
            grouped(outcome.lost()),
            outcome.blackout,
        ),
    )?;
    judge(&route.name, &outcome, true)
}

/// A component that only listens.
fn subscriber(common: &Common, route: &Route, topic: &str) -> Result<Bus, Failure> {
    let route = Route { publisher_port: None, ..route.clone() }.topics([topic]);
    Ok(common.links.component("drill")?.routing(RoutingSpec::builder().backplane(route).build()?).start()?)
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "NO" }
}

fn println(name: &str, line: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout().lock(), "{name}: {line}")?)
}

/// The books, and whether they close.
fn judge(name: &str, outcome: &Outcome, came_back: bool) -> Result<(), Failure> {
    let Outcome { sent, received, unsent, missed, inbox_full, .. } = outcome;
    println(
        name,
        &format!(
            "sent {}, delivered {}, lost {}, reported {}: not sent {}, missed {}, by our own slow reading {}",
            grouped(*sent),
            grouped(*received),
            grouped(outcome.lost()),
            grouped(outcome.reported()),
            grouped(*unsent),
            grouped(*missed),
            grouped(*inbox_full),
        ),
    )?;
    if !came_back {
        return Err(Failure::Failed(
            "the links did not come back in time: see `multiplane doctor`".to_owned(),
        ));
    }
    if outcome.lost() != outcome.reported() {
        return Err(Failure::Failed(format!(
            "{} messages are gone without a report: is every backplane of Multiplane's native engine?",
            grouped(outcome.lost().abs_diff(outcome.reported()))
        )));
    }
    Ok(())
}

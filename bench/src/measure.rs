//! Measures: which contenders, in which scenarios, at which sizes, again and again in turn.
//!
//! Rounds are interleaved (A B C, A B C, ...), so that whatever else the machine does hits all contenders alike. A round
//! is one run for throughput, as fast as messages are taken without loss, and one for latency at a fixed rate; in
//! ping-pong it is one run. Each run has fresh processes.

mod crew;

use crate::contender::{Contender, Lossless, Place};
use crate::load::{Load, Offered};
use crate::role::{Answer, Order, Part, RoleSpec};
use crate::scenario::Scenario;
use crate::tally::{Latencies, Seen, latencies};
use crate::{BenchError, clock};
pub use crew::Launcher;
use crew::{Crew, Member};
use std::fmt;

/// Without back-pressure so many bytes may be on the way, in so many messages.
const WINDOW_BYTES: usize = 32 * 1024 * 1024;

/// Subscribers say how far they have got so many times per window.
const CREDITS_PER_WINDOW: u64 = 8;

/// What latency is measured at, as a part of the maximum.
const FRACTION: f64 = 0.5;

/// But at no more messages a second than this: reading two clocks for each would be what is measured.
const FASTEST_TIMED: f64 = 1e6;

/// Why somebody was not measured who could have been.
const TIME_OVER: &str = "the time was over";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who; those that do not run a scenario are told in the results.
    pub contenders: Vec<Contender>,
    /// What.
    pub scenarios: Vec<Scenario>,
    /// Bytes of the payloads.
    pub sizes: Vec<usize>,
    /// How long one run offers messages; latency runs take half of it.
    pub seconds: f64,
    /// How often.
    pub rounds: usize,
    /// Messages a second that latency is measured at; `None`: half of each contender's maximum, at most a million.
    pub rate: Option<f64>,
    /// Cores that the processes stay on: publishers, middle, subscribers take them in turn. Empty: anywhere.
    pub pin: Vec<usize>,
    /// A backplane that runs already, for [contenders](Contender::ends) that have none.
    pub against: Option<Against>,
    /// Seconds after which it ends, whatever is not done by then: a round that has begun does not count.
    pub within: Option<f64>,
}

/// A backplane that runs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Against {
    /// Its address.
    pub host: String,
    /// Where it is published into.
    pub publisher_port: u16,
    /// Where it is received from.
    pub subscriber_port: u16,
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.host, self.subscriber_port, self.publisher_port)
    }
}

/// How far a measurement has got.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is measured now.
    pub what: String,
    /// How many rounds of how many contenders are done.
    pub done: usize,
    /// And how many there are.
    pub all: usize,
}

/// All rounds of one contender in one scenario at one size.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub contender: Contender,
    /// What.
    pub scenario: Scenario,
    /// Bytes of the payload.
    pub size: usize,
    /// The backplane, if it was a running one; then processor time is that of the ends alone.
    pub against: Option<Against>,
    /// What was measured, a round each; or why there is nothing.
    pub rounds: Result<Vec<Round>, String>,
}

/// What one round found.
#[derive(Clone, Debug)]
pub struct Round {
    /// As fast as messages are taken; in ping-pong, the only run.
    pub throughput: Outcome,
    /// At a fixed rate: that rate, and what came of it.
    pub latency: Option<(f64, Outcome)>,
}

impl Round {
    /// Its runs: one or two.
    pub fn runs(&self) -> impl Iterator<Item = &Outcome> {
        std::iter::once(&self.throughput).chain(self.latency.iter().map(|(_, outcome)| outcome))
    }
}

/// What one run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What each publisher offered.
    pub offered: Vec<Offered>,
    /// What each subscriber saw.
    pub seen: Vec<Seen>,
    /// Processor time of the publishers, of what is in the middle, and of the subscribers, in nanoseconds; all of it
    /// in the first where they are one process.
    pub cpu: [u64; 3],
}

impl Outcome {
    /// Messages sent, each counted once however many get it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.offered.iter().map(|offered| offered.sent).sum()
    }

    /// Messages received by all subscribers together.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.seen.iter().map(|seen| seen.received).sum()
    }

    /// Messages that did not reach a subscriber, summed over the subscribers.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let sent: Vec<u64> = self.offered.iter().map(|offered| offered.sent).collect();
        self.seen.iter().map(|seen| seen.lost(&sent)).sum()
    }

    /// A count summed over the subscribers.
    #[must_use]
    pub fn sum(&self, count: impl Fn(&Seen) -> u64) -> u64 {
        self.seen.iter().map(count).sum()
    }

    /// Messages a second received by all subscribers together, from the first arrival anywhere to the last.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let first = self.seen.iter().map(|seen| seen.first).filter(|first| *first > 0).min().unwrap_or(0);
        let last = self.seen.iter().map(|seen| seen.last).max().unwrap_or(0);
        if last <= first { 0.0 } else { self.sum(|seen| seen.between) as f64 * 1e9 / (last - first) as f64 }
    }

    /// Processor seconds of all processes for a million received messages.
    #[must_use]
    pub fn cpu_per_million(&self) -> f64 {
        self.per_million(self.cpu.iter().sum())
    }

    /// So much time for each million of received messages, in seconds.
    pub(crate) fn per_million(&self, nanos: u64) -> f64 {
        nanos as f64 / 1e3 / self.received().max(1) as f64
    }

    /// The latencies of all subscribers.
    ///
    /// # Errors
    /// Never with the histograms used here.
    pub fn latencies(&self) -> Result<Latencies, BenchError> {
        let mut all = latencies()?;
        for &(value, count) in self.seen.iter().flat_map(|seen| &seen.latencies) {
            all.saturating_record_n(value, count);
        }
        Ok(all)
    }
}

/// One run.
struct Case {
    contender: Contender,
    scenario: Scenario,
    size: usize,
    nanos: u64,
    rate: Option<f64>,
}

impl Case {
    fn window(&self) -> Option<u64> {
        window(self.contender, self.scenario, self.size)
    }
}

/// Measures everything in the plan, as far as there is time. `stop` is asked several times a second whether to give up; `progress` is told what
/// is being done.
///
/// # Errors
/// [`BenchError::Interrupted`]; [`BenchError::Misuse`] when contenders do not fit to what they are to run against. That a
/// contender fails is in its row.
pub fn measure(
    plan: &Plan,
    launcher: &Launcher,
    stop: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&Step),
) -> Result<Vec<Row>, BenchError> {
    if plan.against.is_some()
        && plan.contenders.iter().any(|contender| !Contender::ends().contains(contender))
    {
        let names: Vec<_> = Contender::ends().iter().map(ToString::to_string).collect();
        let why = format!("a running backplane is measured with {}, no others", names.join(" or "));
        return Err(BenchError::Misuse(why));
    }
    let groups =
        plan.scenarios.iter().flat_map(|&scenario| plan.sizes.iter().map(move |&size| (scenario, size)));
    let rows = groups.flat_map(|(scenario, size)| {
        plan.contenders.iter().map(move |&contender| {
            let offered = contender.check(scenario).map_err(|error| error.to_string());
            let against = plan.against.clone();
            Row { contender, scenario, size, against, rounds: offered.map(|()| Vec::new()) }
        })
    });
    let mut rows: Vec<Row> = rows.collect();
    let offered = rows.iter().filter(|row| row.rounds.is_ok()).count();
    let mut step = Step { what: String::new(), done: 0, all: offered * plan.rounds };
    let end = plan.within.map(|seconds| clock::now() + (seconds * 1e9) as u64);
    let late = || end.is_some_and(|end| clock::now() >= end);
    for group in rows.chunks_mut(plan.contenders.len().max(1)) {
        for round in 1..=plan.rounds {
            for row in &mut *group {
                let Ok(rounds) = &mut row.rounds else { continue };
                let case = (row.contender, row.scenario, row.size);
                step.what =
                    format!("{}, {} bytes, {}: round {round} of {}", case.1, case.2, case.0, plan.rounds);
                progress(&step);
                step.done += 1;
                let measured = match late() {
                    true => Err(BenchError::Interrupted),
                    false => measure_round(case, rounds, plan, launcher, &|| stop() || late()),
                };
                match measured {
                    Ok(round) => rounds.push(round),
                    Err(BenchError::Interrupted) if stop() => return Err(BenchError::Interrupted),
                    // What was measured before counts.
                    Err(BenchError::Interrupted) if !rounds.is_empty() => {}
                    Err(BenchError::Interrupted) => row.rounds = Err(TIME_OVER.to_owned()),
                    // What fails once is not measured: half a result would look like a whole one.
                    Err(error) => {
                        row.rounds = Err(error.to_string());
                        step.done += plan.rounds - round;
                    }
                }
            }
        }
    }
    Ok(rows)
}

fn measure_round(
    (contender, scenario, size): (Contender, Scenario, usize),
    before: &[Round],
    plan: &Plan,
    launcher: &Launcher,
    stop: &dyn Fn() -> bool,
) -> Result<Round, BenchError> {
    let nanos = (plan.seconds * 1e9) as u64;
    let case = Case { contender, scenario, size, nanos, rate: None };
    let throughput = run(&case, plan, launcher, stop)?;
    if scenario == Scenario::PingPong {
        return Ok(Round { throughput, latency: None });
    }
    let sent = |outcome: &Outcome| outcome.rate() / f64::from(scenario.subscribers());
    let mut rates: Vec<f64> = before.iter().map(|round| sent(&round.throughput)).collect();
    rates.push(sent(&throughput));
    rates.sort_by(f64::total_cmp);
    let rate = plan.rate.unwrap_or((rates[rates.len() / 2] * FRACTION).min(FASTEST_TIMED));
    if rate <= 0.0 {
        return Err(BenchError::failed("measuring", "nothing arrived"));
    }
    let case = Case { nanos: nanos / 2, rate: Some(rate), ..case };
    Ok(Round { throughput, latency: Some((rate, run(&case, plan, launcher, stop)?)) })
}

/// Starts the processes, lets them find each other, offers the load, and adds up what came of it.
fn run(
    case: &Case,
    Plan { pin, against, .. }: &Plan,
    launcher: &Launcher,
    stop: &dyn Fn() -> bool,
) -> Result<Outcome, BenchError> {
    let scenario = case.scenario;
    let mut crew = Crew::new(launcher, stop);
    if case.contender.is_one_process() {
        return run_alone(case, pin, crew);
    }
    let mut place = Place::new(case.contender, scenario);
    let mut cores = pin.iter().copied().cycle();
    let cores: Vec<Option<usize>> =
        (0..=scenario.publishers() + scenario.subscribers()).map(|_| cores.next()).collect();
    let core = |nth: u32| cores.get(nth as usize).copied().flatten();
    let enlist = |crew: &mut Crew<'_>, part, place: &Place, core| {
        crew.enlist(&RoleSpec { part, place: place.clone(), core })
    };
    let has_middle = place.has_middle();
    let mut middle = None;
    if let Some(against) = against {
        place.host.clone_from(&against.host);
        place.ports = vec![against.publisher_port, against.subscriber_port];
    } else if has_middle {
        let member = enlist(&mut crew, Part::Middle, &place, core(scenario.publishers()))?;
        place.ports = crew.ready(member)?;
        middle = Some(member);
    }
    let mut publishers = Vec::new();
    let mut ports = Vec::new();
    for nth in 0..scenario.publishers() {
        let member = enlist(&mut crew, publishing(case, nth), &place, core(nth))?;
        ports.extend(crew.ready(member)?);
        publishers.push(member);
    }
    if !has_middle {
        place.ports = ports;
    }
    let mut subscribers = Vec::new();
    for nth in 0..scenario.subscribers() {
        let core = core(scenario.publishers() + 1 + nth);
        let member = enlist(&mut crew, subscribing(case), &place, core)?;
        crew.ready(member)?;
        subscribers.push(member);
    }
    await_links(case, &mut crew, &publishers, &subscribers)?;
    let parties = [&publishers, middle.as_slice(), &subscribers];
    // What finding each other and parting costs is no message's.
    let before = crew.cpu(parties)?;
    let (offered, seen) = perform(case, &mut crew, &publishers, &subscribers)?;
    let after = crew.cpu(parties)?;
    // The ends before the middle, so that none of them sees a link go down.
    for &member in publishers.iter().chain(&subscribers).chain(&middle) {
        crew.stop(member)?;
    }
    Ok(Outcome { offered, seen, cpu: since(before, after) })
}

/// A contender that is one process.
fn run_alone(case: &Case, pin: &[usize], mut crew: Crew<'_>) -> Result<Outcome, BenchError> {
    if !pin.is_empty() {
        return Err(BenchError::Misuse("its threads are not pinned: leave out --pin".to_owned()));
    }
    let place = Place::new(case.contender, case.scenario);
    let load = Load { publisher: 0, size: case.size, nanos: case.nanos, most: None, rate: case.rate };
    let member = crew.enlist(&RoleSpec { part: Part::Local(load), place, core: None })?;
    crew.ready(member)?;
    let before = crew.cpu([&[member], &[], &[]])?;
    crew.order(member, &Order::Go)?;
    crew.patience(case.nanos);
    let offered = vec![crew.expect(member, Answer::offered)?];
    let seen = (0..case.scenario.subscribers()).map(|_| crew.expect(member, Answer::seen));
    let seen = seen.collect::<Result<_, _>>()?;
    let after = crew.cpu([&[member], &[], &[]])?;
    crew.stop(member)?;
    Ok(Outcome { offered, seen, cpu: since(before, after) })
}

/// Processor time between two times that it was asked for.
fn since(before: [u64; 3], after: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|party| after[party] - before[party])
}

/// Waits until every subscriber has heard from every publisher on every topic. The ends of a ping-pong find out
/// themselves.
fn await_links(
    case: &Case,
    crew: &mut Crew<'_>,
    publishers: &[Member],
    subscribers: &[Member],
) -> Result<(), BenchError> {
    if case.scenario == Scenario::PingPong {
        return Ok(());
    }
    for &member in subscribers {
        crew.expect(member, |answer| matches!(answer, Answer::Heard).then_some(()))?;
    }
    if let Some(window) = case.window() {
        crew.forward_credit(publishers, subscribers.len(), window);
    }
    Ok(())
}

/// From the first message to the last.
fn perform(
    case: &Case,
    crew: &mut Crew<'_>,
    publishers: &[Member],
    subscribers: &[Member],
) -> Result<(Vec<Offered>, Vec<Seen>), BenchError> {
    let ping_pong = case.scenario == Scenario::PingPong;
    for &member in publishers {
        crew.order(member, &Order::Go)?;
    }
    crew.patience(case.nanos);
    let mut offered = Vec::new();
    for &member in publishers {
        offered.push(crew.expect(member, Answer::offered)?);
    }
    let sent = offered.iter().map(|offered| offered.sent).sum();
    let counting = if ping_pong { publishers } else { subscribers };
    let mut seen = Vec::new();
    if !ping_pong {
        for &member in subscribers {
            crew.order(member, &Order::Expect(sent))?;
        }
    }
    for &member in counting {
        seen.push(crew.expect(member, Answer::seen)?);
    }
    Ok((offered, seen))
}

fn publishing(case: &Case, nth: u32) -> Part {
    let share = f64::from(case.scenario.publishers());
    let rate = case.rate.map(|rate| rate / share);
    let load = Load { publisher: nth as u16, size: case.size, nanos: case.nanos, most: None, rate };
    match case.scenario {
        Scenario::PingPong => Part::Pinger(load),
        _ => Part::Publisher { load, window: case.window() },
    }
}

fn subscribing(case: &Case) -> Part {
    match case.scenario {
        Scenario::PingPong => Part::Echo,
        _ => Part::Subscriber {
            size: case.size,
            latency: case.rate.is_some(),
            credit_every: case.window().map(|window| (window / CREDITS_PER_WINDOW).max(1)),
        },
    }
}

/// How many messages of one publisher may be on the way, for a transport that would drop; `None` for all others. The
/// wider, the larger are libzmq's batches: its rate grows with it, and so does its latency under load.
#[must_use]
pub fn window(contender: Contender, scenario: Scenario, size: usize) -> Option<u64> {
    let Lossless::Credit(messages) = contender.lossless(scenario) else { return None };
    let all = (WINDOW_BYTES / size.max(1)).clamp(1, messages) as u64;
    Some((all / u64::from(scenario.publishers())).max(1))
}

//! `multiplane echo`: prints what passes.

use crate::clock::now;
use crate::failure::{Failure, say};
use crate::links::Links;
use crate::render::Format;
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use multiplane_bench::table::grouped;
use multiplane_bus::{
    BackplaneStats, Bus, Latency, LinkEvent, LinkState, OwnedMessage, RecvTimeoutError, Subscriber,
};
use std::io::{self, StdoutLock, Write};
use std::time::{Duration, Instant};

/// How often it looks whether somebody wants it to end.
const TICK: Duration = Duration::from_millis(100);
/// A backplane that takes longer to answer is worth a word.
const PATIENCE: Duration = Duration::from_millis(500);
/// Printed messages are handed to the system in pieces of about this size, or when nothing more waits.
const PIECE: usize = 64 * 1024;

/// Print the messages that pass, as they come
///
/// Prints one line a message: backplane, topic, payload. A backplane that is not there yet is waited for, and one that
/// comes back is linked again; standard error says so. It also says at the end what became of messages that were published
/// with --trailer: how long they took, and how many never came.
///
/// Exit code: 0 when COUNT messages were printed, when TIMEOUT ended it without a COUNT, and on Ctrl-C without a COUNT;
/// 124 when TIMEOUT came before COUNT messages did, 130 when Ctrl-C did.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane echo                                    everything on this machine's backplane
  multiplane echo reply notice --routing spec.csv    two topics on all backplanes of a file
  multiplane echo sensors --count 1 --timeout 5      one message within five seconds
  multiplane echo --format json | jq .payload")]
pub(crate) struct Args {
    /// Topics to print: each stands for all that begin with it; none for every topic
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,

    /// The form in which messages are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after so many seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    timeout: Option<Duration>,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    let everything = [String::new()];
    let topics = if args.topics.is_empty() { &everything[..] } else { &args.topics[..] };
    let spec = args.links.receiving(topics)?;
    shutdown.watch();
    let bus = args.links.component("echo")?.routing(spec).start_deadline(Duration::ZERO).start()?;
    let ended = print(args, &bus, shutdown);
    for stats in bus.stats() {
        if let Some(line) = way(&stats) {
            say(format_args!("{line}"));
        }
    }
    ended
}

fn print(args: &Args, bus: &Bus, shutdown: &Shutdown) -> Result<(), Failure> {
    let subscriber = bus.subscriber()?;
    let started = now();
    let deadline = args.timeout.and_then(|timeout| started.checked_add(timeout));
    let mut printer =
        Printer { out: io::stdout().lock(), format: args.format, buffer: Vec::new(), printed: 0 };
    let mut links = LinkNews { started, waited: false, missed: false };
    loop {
        links.tell(bus);
        let now = now();
        if shutdown.requested() {
            return if args.count.is_some() { Err(Failure::Interrupted) } else { Ok(()) };
        }
        if deadline.is_some_and(|deadline| now >= deadline) {
            return timed_out(args, printer.printed);
        }
        let wait = deadline.map_or(TICK, |deadline| TICK.min(deadline - now));
        match subscriber.recv_timeout(wait) {
            Ok(message) => {
                printer.print_all(message, &subscriber, args.count)?;
                if args.count == Some(printer.printed) {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Failed("the bus ended by itself; the log above says why".to_owned()));
            }
        }
    }
}

/// What messages with a trailer tell of their way, if any came.
fn way(stats: &BackplaneStats) -> Option<String> {
    let Latency { count, p50, p99, max, clock_behind, .. } = stats.latency;
    if count + clock_behind == 0 {
        return None;
    }
    let mut line = format!("{}: ", stats.backplane);
    if count > 0 {
        line += &format!("{} took p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}; ", grouped(count));
    }
    if clock_behind > 0 {
        let clock_behind = grouped(clock_behind);
        line +=
            &format!("{clock_behind} seem to come from the future: this clock is behind the publisher's; ");
    }
    line += &format!("missed {}", grouped(stats.missed));
    if stats.late > 0 {
        line += &format!(", again or out of order {}", grouped(stats.late));
    }
    Some(line)
}

fn timed_out(args: &Args, printed: u64) -> Result<(), Failure> {
    match (args.count, args.timeout) {
        (Some(count), Some(timeout)) => Err(Failure::TimedOut(format!(
            "only {printed} of {count} messages came within {timeout:?}; raise --timeout, or see whether somebody \
             publishes"
        ))),
        _ => Ok(()),
    }
}

/// Prints, with one system call for all that has come.
struct Printer {
    out: StdoutLock<'static>,
    format: Format,
    buffer: Vec<u8>,
    printed: u64,
}

impl Printer {
    /// Prints `first` and what waits behind it, at most up to `count` messages in all.
    fn print_all(
        &mut self,
        first: OwnedMessage,
        waiting: &Subscriber,
        count: Option<u64>,
    ) -> Result<(), Failure> {
        for message in std::iter::once(first).chain(waiting.drain()) {
            let written = self.format.write(&message, &mut self.buffer);
            written.map_err(|error| Failure::Failed(error.to_string()))?;
            self.printed += 1;
            if self.buffer.len() >= PIECE || count == Some(self.printed) {
                break;
            }
        }
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(self.out.flush()?)
    }
}

/// Tells of links that are waited for, and of their coming. The log tells of those that are lost.
struct LinkNews {
    started: Instant,
    waited: bool,
    /// Some link was missed, so its coming is news.
    missed: bool,
}

impl LinkNews {
    fn tell(&mut self, bus: &Bus) {
        if !self.waited && now() >= self.started + PATIENCE {
            self.waited = true;
            for (stats, route) in bus.stats().iter().zip(bus.routing().routes()) {
                if stats.subscriber_link == Some(LinkState::Connecting) {
                    self.missed = true;
                    say(format_args!(
                        "multiplane: waiting for {} at {}: is a backplane running there? (`multiplane backplane` \
                         starts one; this goes on by itself when it comes)",
                        stats.backplane,
                        route.subscriber_endpoint().unwrap_or_default(),
                    ));
                }
            }
        }
        while let Some(event) = bus.events().try_recv() {
            match event {
                LinkEvent::LinkUp { backplane, .. } if self.missed => {
                    say(format_args!("multiplane: linked to {backplane}"));
                }
                LinkEvent::LinkDown { .. } => self.missed = true,
                _ => {}
            }
        }
    }
}

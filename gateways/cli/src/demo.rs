//! `multiplane demo`: the whole bus on one machine, with nothing to set up.

mod books;
mod load;
mod screen;
mod topology;

use crate::clock::now;
use crate::failure::Failure;
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use books::Books;
use load::{Load, Measured};
use multiplane_bench::table::grouped;
use multiplane_bus::{OwnedMessage, Publisher, Subscriber};
use screen::{Screen, readable};
use std::fmt::Display;
use std::time::Duration;
use topology::{Notice, Numbered, Topology};

/// How long an answer may take on one machine before something is wrong.
const PATIENCE: Duration = Duration::from_secs(2);

/// See everything at work: two backplanes, three components, ten messages, a notification, and a load
///
/// Starts two backplanes on free ports of this machine, an echo server that is linked to both, a client on the first
/// and a notifier on the second; sends ten messages through them, then a load, and accounts for every message of it.
/// Exit code 0 means that all of it happened and that the books closed.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  multiplane demo\n  multiplane demo --seconds 2")]
pub(crate) struct Args {
    /// How long the load takes
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    seconds: Duration,
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    play(args, shutdown).map_err(|failure| match failure {
        // Whoever asks for the exit code wants to know of the end, too.
        Failure::PipeClosed => Failure::Told(1),
        failure => failure,
    })
}

fn play(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    shutdown.watch();
    let screen = &mut Screen::new();
    let topology = start(screen)?;
    let publisher = topology.client.publisher("BP1")?;
    let replies = topology.client.subscriber()?;
    ten_messages(screen, &topology, &publisher, &replies)?;

    screen.heading("A load on the same path: client -> BP1 -> server -> BP1 -> client")?;
    let mut load = Load::new(&publisher, &replies, shutdown, screen);
    let highest = load.saturate(args.seconds.mul_f64(0.3))?;
    let measured = load.open_loop(args.seconds.mul_f64(0.7), highest / 2.0)?;
    let answered = load.answered();

    // Ten before the load, and their answers.
    let books = topology.close(replies, answered + 10)?;
    report(screen, highest, &measured, &books)?;
    if !books.closed() {
        return Err(Failure::Failed(
            "the books did not close: a message is missing that nobody counted".to_owned(),
        ));
    }
    if measured.late > 0 {
        return Err(Failure::Failed(format!("{} replies came out of order", measured.late)));
    }
    Ok(())
}

/// Two backplanes and three components, all linked and all ready.
fn start(screen: &mut Screen) -> Result<Topology, Failure> {
    screen.heading("Two backplanes")?;
    let backplanes = topology::backplanes()?;
    for backplane in [&backplanes.0, &backplanes.1] {
        screen.line(format_args!(
            "  {} at {}: publish into port {}, receive from port {}",
            backplane.name(),
            backplane.host(),
            backplane.publisher_port(),
            backplane.subscriber_port()
        ))?;
    }
    let file = topology::routing_file(&backplanes)?;
    screen.heading(&format!("The routing specification of MultiEchoServer ({})", file.path().display()))?;
    let text = std::fs::read_to_string(file.path()).map_err(failed)?;
    text.lines().try_for_each(|line| screen.line(format_args!("  {line}")))?;

    screen.heading("Three components")?;
    let topology = Topology::start(backplanes, file)?;
    for banner in &topology.banners {
        let links = banner.lines().filter(|line| !line.is_empty() && !line.starts_with('*'));
        links.into_iter().try_for_each(|line| screen.line(format_args!("  {line}")))?;
    }
    Ok(topology)
}

fn ten_messages(
    screen: &mut Screen,
    topology: &Topology,
    publisher: &Publisher,
    replies: &Subscriber,
) -> Result<(), Failure> {
    screen.heading("Ten messages: EchoClient -> BP1 -> MultiEchoServer -> BP1 -> EchoClient")?;
    for message_number in (0..10).rev() {
        let sent = now();
        publisher.publish("echo", &Numbered { message_number }).map_err(failed)?;
        let reply = answer(replies, "no echo")?;
        let took = now() - sent;
        let number = reply.decode::<Numbered>().map_err(failed)?.message_number;
        if number != message_number || reply.topic() != "reply" {
            return Err(Failure::Failed(format!("message {message_number} came back as {reply:?}")));
        }
        screen.line(format_args!(
            "  echo {{\"message_number\":{message_number}}}  ->  {} {}   by {} in {:>6}",
            reply.topic(),
            reply.payload().map_err(failed)?,
            reply.backplane(),
            readable(took)
        ))?;
    }
    let notice = answer(&topology.notices, "no notification")?;
    let Notice { message, id } = notice.decode().map_err(failed)?;
    screen.line(format_args!(
        "\n  Notification received by {}: {message} (id {id}), as message 0 asked for",
        notice.backplane()
    ))?;
    Ok(())
}

fn answer(inbox: &Subscriber, missing: &str) -> Result<OwnedMessage, Failure> {
    inbox.recv_timeout(PATIENCE).map_err(|_| Failure::Failed(format!("{missing} within {PATIENCE:?}")))
}

fn report(screen: &mut Screen, highest: f64, measured: &Measured, books: &Books) -> Result<(), Failure> {
    screen.heading("Where every message went")?;
    screen.line(format_args!("{}", books.table()))?;
    screen.line(format_args!(
        "  published {} = delivered {} + dropped {}     books closed: {}",
        grouped(books.published),
        grouped(books.delivered),
        grouped(books.dropped),
        if books.closed() { "yes" } else { "NO" }
    ))?;
    screen.heading("How fast")?;
    let rate = |rate: f64| grouped(rate as u64);
    screen.line(format_args!("  highest rate without a loss   {} round trips/s", rate(highest)))?;
    screen.line(format_args!(
        "  round trip at half of that    {} round trips/s for {:.1} s, timed from when each was due",
        rate(measured.rate),
        measured.took.as_secs_f64()
    ))?;
    let at = |percent| readable(Duration::from_nanos(measured.latency.value_at_percentile(percent)));
    screen.line(format_args!(
        "  p50 {}   p90 {}   p99 {}   p99.9 {}   max {}",
        at(50.0),
        at(90.0),
        at(99.0),
        at(99.9),
        readable(Duration::from_nanos(measured.latency.max()))
    ))?;
    Ok(())
}

fn failed(error: impl Display) -> Failure {
    Failure::Failed(error.to_string())
}

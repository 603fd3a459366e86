//! `multiplane gateway`: between the bus and foreign worlds.

mod mqtt;
mod tcp;
mod websocket;

use crate::clock::now;
use crate::failure::{Failure, say};
use crate::shutdown::Shutdown;
use multiplane_bench::table::grouped;
use multiplane_bridge::{Report, Running, Work};
use multiplane_bus::CloseReport;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

/// How often it looks whether the gateway has ended by itself.
const TICK: Duration = Duration::from_millis(100);
/// How long the end may take: for what is on its way to the foreign side, and to the backplanes.
const DRAIN: Duration = Duration::from_millis(250);

/// Run a gateway between the bus and another world
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Mqtt(mqtt::Args),
    Tcp(tcp::Args),
    Websocket(websocket::Args),
}

pub(crate) fn run(command: Command, shutdown: &Shutdown) -> Result<(), Failure> {
    match command {
        Command::Mqtt(args) => mqtt::run(args, shutdown),
        Command::Tcp(args) => tcp::run(args, shutdown),
        Command::Websocket(args) => websocket::run(args, shutdown),
    }
}

/// Waits for Ctrl-C, or until the gateway ends by itself; then ends it, and says what passed and what was lost.
fn run_to_the_end<W: Work, S: Display>(
    running: Running<W>,
    shutdown: &Shutdown,
    bus_ended: fn(&W) -> bool,
    close: fn(W, Duration) -> Report<S>,
) -> Result<(), Failure> {
    shutdown.watch();
    while !shutdown.wait_until(now() + TICK) && !running.is_done() {}
    let panicked = || Failure::Failed("the gateway panicked: this is a bug in Multiplane".to_owned());
    let gateway = running.stop(DRAIN).ok_or_else(panicked)?;
    let bus_ended = bus_ended(&gateway);
    let report = close(gateway, DRAIN);
    say(format_args!("{}", report.stats));
    tell_losses(&report.bus);
    match bus_ended {
        true => Err(Failure::Failed("the bus ended by itself; the log above says why".to_owned())),
        false => Ok(()),
    }
}

/// Whoever started the gateway may have stopped reading; that is no reason to end.
fn tell(event: &dyn Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}

/// The last words: what was lost on the way to and from the backplanes, one line each where something was.
fn tell_losses(report: &CloseReport) {
    for stats in &report.stats {
        let mut line = String::new();
        for (count, what) in [
            (stats.inbox_full, "made way in a full queue"),
            (stats.dropped.link_down, "lost while its link was down"),
            (stats.dropped.no_subscriber, "published and wanted by nobody"),
            (stats.dropped.transport + stats.dropped.unsent, "not sent in time"),
        ] {
            if count > 0 {
                line += &format!(", {what} {}", grouped(count));
            }
        }
        if !line.is_empty() {
            say(format_args!("{}:{}", stats.backplane, &line[1..]));
        }
    }
}

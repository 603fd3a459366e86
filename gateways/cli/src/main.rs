//! The `multiplane` command: a bus at a person's fingertips.
//!
//! | room | holds |
//! |---|---|
//! | `backplane`, `bench`, `doctor`, `drill`, `echo`, `publish`, `route`, `keys`, `demo`, `manual` | one subcommand each |
//! | `gateway` | between the bus and foreign worlds, a subcommand each |
//! | `serve`, `relay`, `log`, `stream` | TCP streams, a subcommand each, and what they share |
//! | `links` | the arguments that say which backplanes to link to |
//! | `reach` | who may reach what listens |
//! | `render` | how a message looks on the terminal |
//! | `shutdown` | Ctrl-C |
//! | `failure` | how a command ends when it does not end well |
//!
//! What a command finds goes to the standard output; all else, errors included, to standard error.
#![forbid(unsafe_code)]

mod backplane;
mod bench;
mod bench_report;
mod clock;
mod demo;
mod doctor;
mod drill;
mod echo;
mod failure;
mod gateway;
mod keys;
mod limits;
mod links;
mod log;
mod manual;
mod publish;
mod reach;
mod relay;
mod render;
mod route;
mod seconds;
mod serve;
mod shutdown;
mod stream;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use failure::{Failure, say};
use shutdown::Shutdown;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// One component, many backplanes: run a backplane, publish, and see what passes.
///
/// Exit codes: 0 fine, 1 failed at run time, 2 wrong use or bad input, 124 timed out, 130 interrupted before it was
/// done. The environment variable RUST_LOG chooses what is logged to standard error (default: warn).
#[derive(Parser)]
#[command(name = "multiplane", version, max_term_width = 110)]
#[command(after_help = "\
Examples:
  multiplane demo                          see everything at work, no set-up needed
  multiplane backplane                     a backplane on Banyan's ports
  multiplane echo                          print whatever passes it
  multiplane publish echo '{\"n\": 1}'       send something through it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Backplane(backplane::Args),
    Echo(echo::Args),
    Publish(publish::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Drill(drill::Args),
    BenchRole(bench::RoleArgs),
    #[command(subcommand)]
    Gateway(gateway::Command),
    Serve(serve::Args),
    Relay(relay::Args),
    Log(log::Args),
    #[command(subcommand)]
    Route(route::Command),
    #[command(subcommand)]
    Keys(keys::Command),
    Completions(manual::Completions),
    Man(manual::Man),
}

fn main() -> ExitCode {
    let outcome = parse().and_then(|cli| cli.map_or(Ok(()), run));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                say(format_args!("multiplane: {message}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    log_to_stderr();
    let shutdown = Shutdown::install()?;
    match cli.command {
        Command::Demo(args) => demo::run(&args, &shutdown),
        Command::Backplane(args) => backplane::run(args, &shutdown),
        Command::Echo(args) => echo::run(&args, &shutdown),
        Command::Publish(args) => publish::run(&args, &shutdown),
        Command::Bench(args) => bench::run(args, &shutdown),
        Command::Doctor(args) => doctor::run(&args),
        Command::Drill(args) => drill::run(&args, &shutdown),
        Command::BenchRole(args) => bench::play(&args),
        Command::Gateway(command) => gateway::run(command, &shutdown),
        Command::Serve(args) => serve::run(&args, &shutdown),
        Command::Relay(args) => relay::run(&args, &shutdown),
        Command::Log(args) => log::run(&args, &shutdown),
        Command::Route(command) => route::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}

/// `None` when help or the version was asked for, and printed.
fn parse() -> Result<Option<Cli>, Failure> {
    match Cli::try_parse() {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say(format_args!("{error}"));
            Err(Failure::Told(2))
        }
        Err(error) if error.use_stderr() => Err(Failure::Misuse(one_line(&error.to_string()))),
        Err(asked_for) => Ok(asked_for.print().map(|()| None)?),
    }
}

/// clap explains a mistake in paragraphs; this house in one line. What it lists before "Usage" is what matters.
fn one_line(explanation: &str) -> String {
    let mut paragraphs = explanation.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let mut line = String::new();
    for paragraph in paragraphs.by_ref().take_while(|text| !text.starts_with("Usage:")) {
        let what = paragraph.strip_prefix("error: ").unwrap_or(&paragraph);
        if !what.starts_with("For more information") {
            line += if line.is_empty() { "" } else { "; " };
            line += what;
        }
    }
    line + "; `--help` says more"
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .without_time()
        .with_target(false)
        .init();
}

//! `multiplane serve`: one stream, for everybody who connects.

mod source;

use crate::failure::{Failure, say};
use crate::links::Links;
use crate::render::Format;
use crate::shutdown::Shutdown;
use crate::stream::{Clients, DRAIN, interrupted, served, unnamed};
use multiplane_bench::table::grouped;
use multiplane_bus::local::Backplane;
use multiplane_bus::raise_open_files_limit;
use multiplane_stream::Protocol;
use source::Source;
use std::time::Duration;

/// The name of the stream within this process.
const STREAM: &str = "STREAM";
/// How long clients may take for the rest when the source has ended.
const LAST: Duration = Duration::from_secs(30);

/// Serve a stream to all TCP clients that connect: each gets what comes from then on
///
/// The stream is what a command prints, what comes in on the standard input, or what passes on the bus. Clients need
/// nothing of ours: `nc` will do. Ends on Ctrl-C, or when the source has ended and the clients have everything; then says on
/// standard error how many clients there were, and how many messages they got and lost.
///
/// Exit code: 0 on Ctrl-C and at the end of the source; 1 when the command failed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane serve --listen 1500 --command 'while date; do sleep 1; done'     a time server: nc 127.0.0.1 1500
  tail -F app.log | multiplane serve --listen 1500                            a log to watch
  multiplane serve --listen 1500 --subscribe sensors --format json            what passes on the bus, for any program
  multiplane serve --listen 0.0.0.0:1500 --stdin --insecure                   open to other machines, to whoever comes")]
pub(crate) struct Args {
    /// Where to listen: PORT for this machine only, or ADDRESS:PORT; port 0 for any free one
    #[arg(long, value_name = "ADDR")]
    listen: String,

    /// Serve what this shell command prints
    #[arg(long, value_name = "CMD", conflicts_with_all = ["stdin", "subscribe"])]
    command: Option<String>,

    /// Serve what comes in on the standard input, as without any source
    #[arg(long, conflicts_with = "subscribe")]
    stdin: bool,

    /// Serve what passes on the bus with these topics: each stands for all that begin with it; none for every topic
    #[arg(long, value_name = "TOPIC", num_args = 0..)]
    subscribe: Option<Vec<String>>,

    /// The form in which messages of the bus are served
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "subscribe")]
    format: Format,

    /// Serve bytes as they come, not whole lines: for what is no text
    #[arg(long, conflicts_with = "subscribe")]
    chunks: bool,

    #[command(flatten)]
    clients: Clients,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    // Each client is an open file. Where more are not allowed, those beyond are refused and the log says so.
    let _ = raise_open_files_limit();
    let backplane = Backplane::new(STREAM).map_err(unnamed)?;
    let server = args.clients.server(Protocol::subscribe(STREAM), &args.listen)?;
    shutdown.watch();
    server.announce("serving", "nc");
    let source = match (&args.command, &args.subscribe) {
        (Some(command), _) => Source::command(command, args.chunks, backplane.publisher())?,
        (None, Some(topics)) => {
            let everything = [String::new()];
            let topics = if topics.is_empty() { &everything[..] } else { &topics[..] };
            let component = args.links.component("serve")?.routing(args.links.receiving(topics)?);
            Source::bus(component, args.format, backplane.publisher())?
        }
        (None, None) => Source::stdin(args.chunks, backplane.publisher())?,
    };
    let interrupted = interrupted(shutdown, || source.has_ended());
    let outcome = if interrupted {
        source.stop();
        Ok(())
    } else {
        source.outcome()
    };
    let stats = server.close(if interrupted { DRAIN } else { LAST });
    let published = backplane.stats().published;
    say(format_args!("published {}, {}", grouped(published), served(&stats)));
    outcome
}

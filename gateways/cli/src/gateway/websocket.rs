//! `multiplane gateway websocket`: browsers on the bus.

use super::{run_to_the_end, tell};
use crate::failure::Failure;
use crate::links::Links;
use crate::reach::{Door, Reach, Reached, host};
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use multiplane_bus::raise_open_files_limit;
use multiplane_websocket::{Config, Gateway, StartError, Tls, Token, start};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Link browsers with the bus: a WebSocket, and a page to look at
///
/// A client whose first message is {"id": "to_xxx"} is one of Python Banyan: all that it sends is published on to_xxx, and it
/// gets what is published on from_xxx. Others say what they want, in JSON or MessagePack: subscribe, publish, watch. Open
/// http://127.0.0.1:9000 to see what passes, and to publish.
///
/// Takes the flags of Python Banyan's `ws_gateway`. A client that takes too little loses the oldest messages that wait for it,
/// and is told how many. Ends on Ctrl-C, and then says on standard error what passed and what was lost.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane gateway websocket                             as Python Banyan's ws_gateway, for this machine
  multiplane gateway websocket --routing spec.csv --listen 8080
  multiplane gateway websocket --origin https://example.org:8443       also for the pages of that server
  multiplane gateway websocket --listen 0.0.0.0:9000 --tls-cert cert.pem --tls-key key.pem --token-file token.txt
  multiplane gateway websocket --listen 0.0.0.0:9000 --insecure        open to whoever comes")]
pub(crate) struct Args {
    /// Where to listen: PORT for this machine only, or ADDRESS:PORT; port 0 for any free one
    #[arg(long, value_name = "[HOST:]PORT", default_value = "9000")]
    listen: String,

    /// Topics that Banyan clients may get: each stands for all that begin with it [default: the one of each client]
    #[arg(short = 'm', long, value_name = "TOPIC", num_args = 1..)]
    topics: Vec<String>,

    /// Read the ids of Banyan clients as Python Banyan does: every `to` in it becomes `from`
    #[arg(long)]
    compat: bool,

    /// Let the pages of another server connect, such as https://example.org:8080; repeatable
    #[arg(long, value_name = "SCHEME://HOST[:PORT]")]
    origin: Vec<String>,

    /// A file with a secret in its first line, which clients must know
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Encrypt, with the certificate of this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    #[command(flatten)]
    reach: Reach,

    /// Ids that Banyan clients may have [default: any]
    #[arg(long, value_name = "ID", num_args = 1..)]
    allow_id: Vec<String>,

    /// Topics that clients may publish on: each stands for all that begin with it [default: all]
    #[arg(long, value_name = "TOPIC", num_args = 1..)]
    allow_publish: Vec<String>,

    /// Topics that clients may get: each stands for all that begin with it [default: all]
    #[arg(long, value_name = "TOPIC", num_args = 1..)]
    allow_subscribe: Vec<String>,

    /// What is listened to while somebody watches the page: topics that begin so [default: all that clients may get]
    #[arg(long, value_name = "TOPIC", num_args = 1..)]
    watch: Vec<String>,

    /// Clients that may be connected at a time
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Of these, clients from one address of another host
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,

    /// Messages that wait for a client that is slow; beyond, its oldest make way
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    queue: u32,

    /// Messages a second that are taken from one client; one that sends more waits [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Bytes of a client's message
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024, value_parser = clap::value_parser!(u32).range(1024..))]
    max_message: u32,

    /// How long a client may take for its request, and for its first message
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    patience: Duration,

    /// Ask a silent client whether it is there after so long, and give it up after twice as long
    #[arg(long, value_name = "S", default_value = "20", value_parser = seconds)]
    ping: Duration,

    /// The name of this component
    #[arg(short, long, default_value = "WsGateway")]
    name: String,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: Args, shutdown: &Shutdown) -> Result<(), Failure> {
    // Each client is an open file. Where more are not allowed, those beyond are refused and the log says so.
    let _ = raise_open_files_limit();
    let is_safe = args.token_file.is_some() && args.tls_cert.is_some();
    let reached = args.reach.check(&Door {
        host: host(&args.listen),
        security: is_safe.then_some("TLS and a token"),
        cure: Some("--token-file with --tls-cert and --tls-key"),
    })?;
    let component = args.links.component(&args.name)?.routing(args.links.both()?);
    let config = Config {
        insecure: reached == Reached::Anybody,
        token: args.token_file.as_deref().map(token).transpose()?,
        origins: args.origin,
        tls: args.tls_cert.zip(args.tls_key).map(|(certificate, key)| Tls { certificate, key }),
        compat: args.compat,
        banyan_topics: args.topics,
        ids: args.allow_id,
        publish: args.allow_publish,
        subscribe: args.allow_subscribe,
        watch: args.watch,
        connections: args.connections as usize,
        connections_per_address: args.connections_per_address as usize,
        queue: args.queue as usize,
        rate: args.rate,
        message: args.max_message as usize,
        patience: args.patience,
        ping: args.ping,
        ..Config::new(&args.listen)
    };
    let running = start(component, config, |event| tell(event)).map_err(|error| match error {
        StartError::Config(_) | StartError::Backplane(_) => Failure::Misuse(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    reached.announce(&args.listen);
    run_to_the_end(running, shutdown, Gateway::bus_ended, Gateway::close)
}

/// A secret never comes by the command line, which every user of the machine can see.
fn token(file: &Path) -> Result<Token, Failure> {
    let wrong = |why: String| Failure::Misuse(format!("--token-file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Token::new(text.lines().next().unwrap_or_default()).map_err(|error| wrong(error.to_string()))
}

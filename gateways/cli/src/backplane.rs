//! `multiplane backplane`: the forwarding point that components meet at.

use crate::failure::{Failure, say};
use crate::limits::Limits;
use crate::links::{NAME, PUBLISHER_PORT, SUBSCRIBER_PORT};
use crate::reach::{Door, Reach, is_loopback};
use crate::shutdown::Shutdown;
use multiplane_bench::table::grouped;
use multiplane_bus::curve::{self, AllowList};
use multiplane_bus::{Backplane, Engine, OnSlow, RoutingSpec, raise_open_files_limit};
use std::io::{self, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

/// How long the end may take to send what has arrived.
const DRAIN: Duration = Duration::from_millis(400);

/// Run a backplane: components publish into its publisher port and receive from its subscriber port
///
/// Takes the flags of Python Banyan's backplane, and Python Banyan components join it as they are. Ends on Ctrl-C, and
/// then says on standard error how many messages it received, forwarded and dropped.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane backplane
  multiplane backplane -n BP2 -p 43126 -s 43127
  multiplane backplane --bind 0.0.0.0 --curve-key backplane.key --allow allow.toml
                                             open to other machines, to those on the list
  multiplane backplane --bind 0.0.0.0 --insecure
                                             open to other machines, to whoever comes")]
pub(crate) struct Args {
    /// Name for the banner and the routing specification
    #[arg(short, long)]
    name: Option<String>,

    /// The port that components publish into; 0 for any free one
    #[arg(short, long, value_name = "PORT", default_value_t = PUBLISHER_PORT)]
    publisher_port: u16,

    /// The port that components receive from; 0 for any free one
    #[arg(short, long, value_name = "PORT", default_value_t = SUBSCRIBER_PORT)]
    subscriber_port: u16,

    /// Accepted for Python Banyan's command lines, and ignored: nothing here sleeps between two looks
    #[arg(short = 't', long = "loop-time", value_name = "SECONDS")]
    _loop_time: Option<String>,

    /// The address to listen at: one of this machine, or 0.0.0.0 for all; where others reach it, with --curve-key or
    /// --insecure only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    bind: String,

    /// What happens when a subscriber is too slow and its queue is full
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = Slow::DropOldest)]
    on_slow: Slow,

    /// Stop messages that would end components written in Python: malformed MessagePack, a single frame, no UTF-8
    #[arg(long)]
    guard: bool,

    /// Threads that share the work: more than one pays where several publishers keep it busy, and cores are free
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,

    /// Offer a Unix socket to native components on this host: it answers sooner than TCP, but seldom carries as much
    #[arg(long)]
    unix: bool,

    /// Let in by CURVE only who is on the list of --allow, and seal all traffic; the keys of this backplane are in the file,
    /// made by `multiplane keys new`
    #[arg(long, value_name = "FILE", requires = "allow", conflicts_with = "unix")]
    curve_key: Option<PathBuf>,

    /// The keys that may come in, and how topics begin that each may publish and subscribe to; written by
    /// `multiplane keys allow`
    #[arg(long, value_name = "FILE", requires = "curve_key")]
    allow: Option<PathBuf>,

    #[command(flatten)]
    reach: Reach,

    /// Who does the work
    #[arg(long, value_enum, value_name = "ENGINE", default_value_t = EngineName::Native)]
    engine: EngineName,

    #[command(flatten)]
    limits: Limits,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum EngineName {
    /// Multiplane's own: every lost message is counted, and no peer can end the process
    Native,
    /// libzmq, for comparison: knows `drop-newest` and `block`, and counts drops only in part
    Libzmq,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Slow {
    /// It loses the oldest messages that wait for it, and they are counted; the others get all
    DropOldest,
    /// It loses the new message, and that is counted; the others get it
    DropNewest,
    /// All publishers wait for it: nothing is lost, and one stalled subscriber stalls everybody
    Block,
    /// Its connection is ended; it may come again
    Disconnect,
}

impl From<Slow> for OnSlow {
    fn from(slow: Slow) -> Self {
        match slow {
            Slow::DropOldest => OnSlow::DropOldest,
            Slow::DropNewest => OnSlow::DropNewest,
            Slow::Block => OnSlow::Block,
            Slow::Disconnect => OnSlow::Disconnect,
        }
    }
}

pub(crate) fn run(args: Args, shutdown: &Shutdown) -> Result<(), Failure> {
    shutdown.watch();
    // Each connection is an open file. Where more are not allowed, those beyond are refused and the log says so.
    let _ = raise_open_files_limit();
    let reached = args.reach.check(&Door {
        host: &args.bind,
        security: args.curve_key.is_some().then_some("CURVE"),
        cure: Some("--curve-key FILE --allow FILE"),
    })?;
    let mut builder = Backplane::builder(args.name.as_deref().unwrap_or(NAME));
    if let (Some(keys), Some(allow)) = (&args.curve_key, &args.allow) {
        builder = builder.curve(curve::read_keys(keys)?, AllowList::from_path(allow)?);
    }
    let backplane = builder
        .bind(&args.bind)
        .publisher_port(args.publisher_port)
        .subscriber_port(args.subscriber_port)
        .on_slow(args.on_slow.into())
        .guard(args.guard)
        .workers(usize::from(args.workers))
        .unix_shortcut(args.unix)
        .budget(args.limits.budget())
        .engine(match args.engine {
            EngineName::Native => Engine::Native,
            EngineName::Libzmq => Engine::Libzmq,
        })
        .start()?;
    // Banyan's launcher looks for a process of exactly this name; where that cannot be had, nothing else needs it.
    let _ = std::fs::write("/proc/self/comm", "backplane");
    // A banner that nobody reads is no reason not to forward.
    let _ = banner(args.name.as_deref(), &backplane);
    reached.announce(&args.bind);
    shutdown.wait();
    let stats = backplane.close(DRAIN);
    let mut line = format!("received {}, forwarded {}", grouped(stats.received), grouped(stats.forwarded));
    line += &format!(", dropped {}", grouped(stats.dropped));
    for (count, what) in [
        (stats.lost, "lost with subscribers that went away"),
        (stats.unwanted, "wanted by nobody"),
        (stats.guarded, "stopped by the guard"),
        (stats.refused, "connections refused"),
        (stats.denied, "messages and subscriptions without a right denied"),
    ] {
        if count > 0 {
            line += &format!(", {what} {}", grouped(count));
        }
    }
    say(format_args!("{line}"));
    Ok(())
}

/// Scripts written for Python Banyan look for the lines with the address and the two ports.
fn banner(name: Option<&str>, backplane: &Backplane) -> io::Result<()> {
    let mut route = backplane.route().topics([""]);
    if !is_loopback(backplane.host()) {
        route.host = reachable_address(backplane.host());
    }
    let (host, subscriber, publisher) =
        (route.host.clone(), backplane.subscriber_port(), backplane.publisher_port());
    let title = name.map_or_else(String::new, |name| format!("{name} "));
    let stars = "*".repeat(60);
    let mut out = io::stdout().lock();
    writeln!(out, "\n{stars}")?;
    writeln!(out, "{title}Backplane IP address: {host}")?;
    writeln!(out, "Subscriber Port = {subscriber}")?;
    writeln!(out, "Publisher  Port = {publisher}")?;
    writeln!(out, "{stars}")?;
    writeln!(out, "A Python component joins with:  monitor -b {host} -s {subscriber} -p {publisher}")?;
    writeln!(
        out,
        "A Multiplane one with:          multiplane echo -b {host} -s {subscriber} -p {publisher}"
    )?;
    // A name that no file can hold is fine for a banner.
    if let Ok(spec) = RoutingSpec::builder().backplane(route).build() {
        writeln!(out, "Its routing specification (\"[]\" asks for every topic):")?;
        spec.to_string().lines().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    out.flush()
}

/// The address under which others reach this machine when it listens at all of its own. Connecting a datagram socket
/// sends nothing, and tells the address that would be used.
fn reachable_address(host: &str) -> String {
    let (any, elsewhere) = match host.trim_start_matches('[').trim_end_matches(']') {
        "0.0.0.0" | "*" => ("0.0.0.0:0", "192.0.2.1:9"),
        "::" => ("[::]:0", "[2001:db8::1]:9"),
        host => return host.to_owned(),
    };
    let asked = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(elsewhere)?;
        socket.local_addr()
    });
    asked.map_or_else(|_| host.to_owned(), |address| address.ip().to_string())
}

//! `multiplane doctor`: is everything as it should be, and if not, what helps?

mod findings;
mod probe;

use crate::failure::Failure;
use crate::links::{Keys, Links};
use crate::render::printable;
use findings::{Finding, Level, finding};
use multiplane_bus::{Budget, Engine, Route, RoutingSpec};
use probe::Side;
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

/// Look for what is wrong: routing file, ports, limits, clock
///
/// Visits each port of each backplane as a component would, says what it finds and what helps, and changes nothing.
///
/// Exit code: 0 when nothing is wrong (there may be warnings), 1 when something is, 2 when the routing specification
/// cannot be read or the use is wrong.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane doctor                          the backplane on this machine
  multiplane doctor --routing spec.csv       all backplanes of a file
  multiplane doctor --curve-key a.key --server-key backplane.key
  multiplane doctor --json | jq '.findings[] | select(.level != \"ok\")'")]
pub(crate) struct Args {
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let spec = args.links.both()?;
    let keys = args.links.keys()?;
    let findings = examine(&spec, args.links.file(), keys.as_ref());
    let worst = findings::worst(&findings);
    if args.json {
        print_json(&findings, worst)?
    } else {
        print(&findings, worst)?
    }
    if worst == Level::Wrong { Err(Failure::Told(1)) } else { Ok(()) }
}

/// Everything, what concerns all backplanes first.
fn examine(spec: &RoutingSpec, file: Option<&Path>, keys: Option<&Keys>) -> Vec<Finding> {
    let native = format!("multiplane {}, {}", env!("CARGO_PKG_VERSION"), Engine::Native.describe());
    let mut all = vec![
        finding(Level::Fine, "native engine", native, ""),
        finding(Level::Fine, "libzmq engine", Engine::Libzmq.describe(), ""),
    ];
    if let Some(file) = file {
        all.extend(routing(file));
    }
    let links = spec.routes().iter().map(|route| ports(route).count() as u64).sum();
    let limit = getrlimit(Resource::Nofile);
    all.push(findings::open_files(
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
        links,
    ));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    all.push(findings::clock(since.map_or(0, |since| since.as_secs()), synchronised()));
    all.push(findings::high_water_marks(Budget::default().high_water_mark));
    // Each visit may wait, so all are made at once.
    let visits: Vec<_> =
        spec.routes().iter().flat_map(|route| ports(route).map(move |port| (route, port))).collect();
    std::thread::scope(|scope| {
        let visits: Vec<_> = visits
            .into_iter()
            .map(|(route, (side, port))| scope.spawn(move || examine_port(route, side, port, keys)))
            .collect();
        // A visit that panicked has said so; the others count.
        all.extend(visits.into_iter().filter_map(|visit| visit.join().ok()).flatten());
    });
    all
}

fn ports(route: &Route) -> impl Iterator<Item = (Side, u16)> {
    let subscriber = route.subscriber_port.map(|port| (Side::Subscriber, port));
    subscriber.into_iter().chain(route.publisher_port.map(|port| (Side::Publisher, port)))
}

fn examine_port(route: &Route, side: Side, port: u16, keys: Option<&Keys>) -> Vec<Finding> {
    let visit = probe::visit(&route.host, port, side, keys);
    let mut found = vec![findings::port(&route.name, &route.host, port, side, &visit)];
    if matches!(visit, probe::Visit::Peer { sealed: false, .. }) && is_open_to_all(port) {
        found.push(findings::exposed(port));
    }
    found
}

/// The file could be read; what is in it may still not be meant.
fn routing(file: &Path) -> Vec<Finding> {
    let place = format!("routing {}", file.display());
    let Ok(spec) = RoutingSpec::from_path(file) else { return Vec::new() };
    let doubts = spec.lint();
    if doubts.is_empty() {
        let backplanes = spec.routes().len();
        return vec![finding(Level::Fine, place, format!("backplanes: {backplanes}"), "")];
    }
    let doubt = |doubt: String| {
        finding(Level::Warning, place.clone(), doubt, "change the file, if that is not meant")
    };
    doubts.into_iter().map(|text| doubt(text.to_string())).collect()
}

/// Whether somebody on this machine listens at this port of all addresses.
fn is_open_to_all(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().and_then(|local| local.rsplit_once(':'));
        let is_listener = columns.nth(1) == Some(LISTEN);
        local.is_some_and(|(address, theirs)| {
            let same = u16::from_str_radix(theirs, 16) == Ok(port);
            is_listener && same && address.bytes().all(|digit| digit == b'0')
        })
    })
}

/// What systemd's own service says; other systems do not tell.
fn synchronised() -> Option<bool> {
    let service = Path::new("/run/systemd/timesync");
    service.exists().then(|| service.join("synchronized").exists())
}

fn print(findings: &[Finding], worst: Level) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Finding { level, place, what, cure } in findings {
        let cure = if cure.is_empty() { String::new() } else { format!("; cure: {cure}") };
        writeln!(out, "{:<8} {}: {}{}", level.name(), printable(place), printable(what), printable(&cure))?;
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    match worst {
        Level::Fine => writeln!(out, "all is well"),
        _ => writeln!(out, "{} wrong, {} to be warned of", count(Level::Wrong), count(Level::Warning)),
    }
}

fn print_json(findings: &[Finding], worst: Level) -> io::Result<()> {
    let each = |Finding { level, place, what, cure }: &Finding| json!({ "level": level.name(), "place": place, "what": what, "cure": cure });
    let all: Vec<_> = findings.iter().map(each).collect();
    writeln!(io::stdout().lock(), "{:#}", json!({ "worst": worst.name(), "findings": all }))
}

//! Rows about time: the clock that jumps, and the hours that go by.

use crate::ends::{Honest, component};
use crate::trial::{Ran, System, Trial, skip};
use crate::wire;
use multiplane_bus::Route;
use multiplane_tests::clock::{measure_over, now};
use multiplane_tests::hub::{Around, Hub};
use multiplane_tests::process::Process;
use multiplane_tests::programs::multiplane;
use multiplane_tests::random::Random;
use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// T24. The wall clock goes a year ahead and a year back while messages pass: that of the backplane, and, of ours, those of
/// two components, all at the same time.
pub fn clock_step(trial: &mut Trial) -> Ran {
    let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
        return skip("no libfaketime here (Debian: apt-get install faketime)");
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let set = |offset: &str| std::fs::write(file.path(), offset).unwrap();
    set("+0d");
    let before = format!(
        "export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1",
        file.path().display()
    );
    // For the rest of the run, which is short.
    let before: &str = before.leak();
    let mut hub = trial.hub_as(Around { before, flags: &[] });
    let honest = Honest::new(trial.system, &hub);
    let mut pair = trial.system.is_ours().then(|| Pair::start(before, &hub));
    for offset in ["+0d", "+365d", "-365d", "+0d"] {
        set(offset);
        honest.exchange(trial, 300, |_| {});
        match &mut pair {
            Some(pair) => pair.exchange(),
            None => measure_over(Duration::from_millis(200)),
        }
    }
    if let Some(pair) = pair {
        pair.end(trial);
    }
    let down = honest.sender.went_down() | honest.receiver.went_down();
    trial.must("no link down", !down);
    let runs = hub.process().is_running();
    trial.must("it runs", runs);
    trial.all_delivered();
    Ok(())
}

/// Two components in processes of their own: one publishes, the other prints.
struct Pair {
    publishes: Process,
    prints: Process,
}

impl Pair {
    /// Messages between two steps of the clock, and in all.
    const STEP: usize = 200;
    const ALL: usize = 1000;

    fn start(before: &str, hub: &Hub) -> Self {
        let ([subscriber, publisher], count) = (hub.ports(), Self::ALL.to_string());
        let start = |arguments: &[&str]| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{before}\nexec \"$0\" \"$@\"")]).arg(multiplane());
            command.args(arguments).args(["-s", &subscriber, "-p", &publisher, "--count", &count]);
            Process::start(arguments[0], &mut command)
        };
        let prints = start(&["echo", "clock"]);
        let wait = ["--wait-for-subscriber=60", "--timeout=60"];
        let publishes = start(&["publish", "clock", "1", "--trailer", "--rate", "1000", wait[0], wait[1]]);
        Self { publishes, prints }
    }

    fn exchange(&mut self) {
        (0..Self::STEP).for_each(|_| drop(self.prints.line("a message", |line| line.contains(" clock "))));
    }

    /// Both come to their ends, and know of no loss.
    fn end(mut self, trial: &mut Trial) {
        trial.must("who publishes ends well", self.publishes.exit().success());
        trial.must("who prints ends well", self.prints.exit().success());
        let (sent, got) = (self.publishes.output().join("\n"), self.prints.output().join("\n"));
        trial.must(format!("all are sent: {sent}"), sent.contains("sent 1,000"));
        trial.must(format!("none is missed: {got}"), got.contains("missed 0"));
        trial.note(format!("{} between two components whose clocks step, too", Self::ALL));
    }
}

/// How long each system is soaked once it is warm: five seconds, or the seconds of `MULTIPLANE_SOAK`. From five minutes on
/// the slope of its memory is judged, too.
fn length() -> Duration {
    let seconds = std::env::var("MULTIPLANE_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// What is known of the backplane at a moment of the soak.
struct Look {
    /// Seconds since the first.
    at: f64,
    memory: usize,
    /// Without those of its visitors.
    files: usize,
    threads: usize,
}

impl Look {
    fn at(hub: &mut Hub, visitors: usize, at: Duration) -> Self {
        let process = hub.process();
        let files = process.count("fd").saturating_sub(visitors);
        Self { at: at.as_secs_f64(), memory: process.resident(), files, threads: process.count("task") }
    }
}

/// The slope of a line through the memory of all looks, in megabytes in ten minutes.
fn slope(looks: &[Look]) -> f64 {
    let mean = |of: &dyn Fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / looks.len() as f64;
    let (at, memory) = (mean(&|look| look.at), mean(&|look| look.memory as f64));
    let both = mean(&|look| (look.at - at) * (look.memory as f64 - memory));
    let spread = mean(&|look| (look.at - at).powi(2));
    if spread > 0.0 { both / spread * 600.0 / 1e6 } else { 0.0 }
}

/// Those who come and go, and wish this and that meanwhile.
struct Visitors {
    system: System,
    hub: Route,
    random: Random,
    there: VecDeque<TcpStream>,
    visits: u64,
}

impl Visitors {
    /// Twenty come, as many go; a component of ours comes and goes.
    fn come_and_go(&mut self) {
        let (Some(subscriber), Some(publisher)) = (self.hub.subscriber_port, self.hub.publisher_port) else {
            return;
        };
        for _ in 0..10 {
            let topic = format!("churn {}", self.random.below(1000));
            if let Ok(mut stream) = wire::subscriber(subscriber, topic.as_bytes()) {
                let _ = stream.write_all(&wire::subscription(b"churn that ends"));
                let _ = stream.write_all(&wire::frame(0, b"\0churn that ends"));
                self.there.push_back(stream);
            }
            self.there.extend(wire::peer(publisher, "PUB"));
            self.visits += 2;
        }
        while self.there.len() > 40 {
            self.there.pop_front();
        }
        if self.system != System::Plain {
            let bus = component(self.system, "visits", self.hub.clone());
            for n in 0..20 {
                bus.subscribe("BP1", &format!("churn {n}")).unwrap();
                bus.publisher("BP1").unwrap().publish(&format!("churn {n}"), &n).unwrap();
                bus.unsubscribe("BP1", &format!("churn {n}")).unwrap();
            }
            self.visits += 1;
        }
    }
}

/// T25. Traffic as fast as it goes while connections, components and subscriptions come and go.
pub fn soak(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    let mut visitors = Visitors {
        system: trial.system,
        hub: hub.route(["churn"]),
        random: trial.random.part("visitors"),
        there: VecDeque::new(),
        visits: 0,
    };
    honest.exchange(trial, 1, |_| {});
    let (start, warm) = (now(), length().mul_f64(0.1).min(Duration::from_secs(60)));
    let (mut looks, mut since) = (Vec::<Look>::new(), start);
    while looks.is_empty() || since.elapsed() < length() {
        honest.pour(&mut trial.tally, 20_000, || visitors.come_and_go());
        // What it takes at the beginning it keeps.
        if looks.is_empty() && visitors.visits > 400 && start.elapsed() > warm {
            since = now();
            looks.push(Look::at(&mut hub, visitors.there.len(), Duration::ZERO));
        } else if let Some(last) = looks.last()
            && since.elapsed().as_secs_f64() > last.at + 0.2
        {
            looks.push(Look::at(&mut hub, visitors.there.len(), since.elapsed()));
        }
    }
    let took = start.elapsed().as_secs_f64();
    visitors.there.clear();
    honest.close_books(trial);
    // Those who have gone are noticed a little later.
    let deadline = now() + Duration::from_secs(10);
    let mut after = Look::at(&mut hub, 0, since.elapsed());
    while after.files > looks[0].files && now() < deadline {
        measure_over(Duration::from_millis(20));
        after = Look::at(&mut hub, 0, since.elapsed());
    }
    let before = &looks[0];
    let rate = trial.tally.sent as f64 / took;
    trial.note(format!("{:?} at {rate:.0} messages a second with {} visitors", length(), visitors.visits));
    let files = (before.files, after.files);
    trial.must(format!("no more open files than before: {files:?}"), files.1 <= files.0);
    let threads = (before.threads, after.threads);
    trial.must(format!("threads as before: {threads:?}"), threads.0 == threads.1);
    let slope = slope(&looks);
    trial.note(format!("{slope:+.2} MB in ten minutes"));
    // The noise of a few seconds may be more than ten minutes of that.
    trial.must("less than 1 MB in ten minutes", slope < 1.0 || length() < Duration::from_secs(300));
    trial.grown("memory", before.memory, after.memory, 2);
    trial.books_close();
    Ok(())
}

//! What a component costs that has nothing to do.

use multiplane_bus::Backplane;
use multiplane_tests::process::Process;
use multiplane_tests::spec;
use std::process::Command;

const BACKPLANES: usize = 64;
const SECONDS: u64 = 10;

/// Linked to 64 backplanes, idle for ten seconds: under one percent of a core in all, and its worker wakes up less
/// than 20 times a second.
#[test]
fn an_idle_component_costs_nothing() {
    let start =
        |n| Backplane::builder(format!("BP{n}")).publisher_port(0).subscriber_port(0).start().unwrap();
    let backplanes: Vec<_> = (0..BACKPLANES).map(start).collect();
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("spec.csv");
    let routes = backplanes.iter().map(|backplane| backplane.route().topics(["idle"]));
    std::fs::write(&csv, spec(routes).to_string()).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_idle-component"));
    let mut component = Process::start("idle-component", command.arg(&csv).arg(SECONDS.to_string()));
    let (mut ticks, mut worker) = (0, None);
    loop {
        let line =
            component.line("a thread or the end", |line| line.starts_with("THREAD ") || line == "DONE");
        let Some(thread) = line.strip_prefix("THREAD ") else { break };
        println!("{thread}");
        let mut fields = thread.rsplitn(3, ' ');
        ticks += fields.next().unwrap().parse::<u64>().unwrap();
        let wakes = fields.next().unwrap().parse::<u64>().unwrap();
        if fields.next().unwrap().starts_with("bus-worker") {
            worker = Some(wakes);
        }
    }
    let worker = worker.expect("a thread called bus-worker");
    println!("{ticks} hundredths of a second of processor, {worker} wake-ups of the worker in {SECONDS} s");
    assert!(ticks < SECONDS, "one percent of a core is one tick a second: {component}");
    assert!(worker < 20 * SECONDS, "{component}");
}

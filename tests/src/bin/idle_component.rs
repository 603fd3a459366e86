//! A component that does nothing, and what that costs: in a process of its own, so that nobody else's work is counted.
//!
//! Arguments: a routing specification and how many seconds to look. Prints one line per thread of the window, and the
//! processor time of all.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test program: it prints its result, and fails loudly.

use multiplane_bus::{Bus, RoutingSpec};
use multiplane_tests::clock::{DEADLINE, measure_over};
use multiplane_tests::engine::engine;
use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};
use std::time::Duration;

/// What one thread has used: wake-ups (it slept and was woken), processor time in ticks of a hundredth second.
type Used = BTreeMap<String, (String, u64, u64)>;

fn threads() -> Used {
    let look = |task: std::fs::DirEntry| {
        let read = |file| read_to_string(task.path().join(file)).unwrap();
        let (stat, status) = (read("stat"), read("status"));
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        // After the name, which may hold anything: user and system time are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        let name = read("comm").trim().to_owned();
        (task.file_name().into_string().unwrap(), (name, switches.trim().parse().unwrap(), ticks))
    };
    read_dir("/proc/self/task").unwrap().map(|task| look(task.unwrap())).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let routing = RoutingSpec::from_path(&arguments[1]).unwrap();
    let window = arguments[2].parse().unwrap();
    let bus =
        Bus::builder("idle").engine(engine()).routing(routing).start_deadline(DEADLINE).start().unwrap();
    let _subscriber = bus.subscriber().unwrap();
    // The start is over when its last echo is: a first, short window that is not counted.
    measure_over(Duration::from_secs(1));
    let before = threads();
    measure_over(Duration::from_secs(window));
    for (id, (name, switches, ticks)) in threads() {
        let (_, switches_before, ticks_before) = &before[&id];
        println!("THREAD {name} {} {}", switches - switches_before, ticks - ticks_before);
    }
    println!("DONE");
}

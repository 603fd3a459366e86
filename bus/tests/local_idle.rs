//! What subscribers of a local backplane cost that have nothing to do. In a file of its own: it looks at the threads of
//! its process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use multiplane_bus::local::Backplane;
use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const SUBSCRIBERS: usize = 64;
const WATCHED: Duration = Duration::from_secs(2);

/// What a thread has used, in ticks of a hundredth of a second, how often it was woken, and whether it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    ticks: u64,
    switches: u64,
    sleeps: bool,
}

/// Of the subscribers' threads, by their ids. They are started by name.
fn used() -> BTreeMap<u64, Used> {
    let mut used = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap) {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap();
        if read("comm").trim_end() != "idle" {
            continue;
        }
        let stat = read("stat");
        // After the name, which is in brackets: the state, and later the ticks in user and kernel mode.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = read("status");
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        let switches = switches.map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()).sum();
        let id = task.file_name().to_str().unwrap().parse().unwrap();
        used.insert(id, Used { ticks, switches, sleeps: fields[0] == "S" });
    }
    used
}

#[test]
fn idle_subscribers_cost_nothing() {
    let backplane = Backplane::new("QUIET").unwrap();
    let threads: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut subscriber = backplane.subscriber();
            let waits = move || subscriber.recv().unwrap().into_payload();
            thread::Builder::new().name("idle".to_owned()).spawn(waits).unwrap()
        })
        .collect();
    // Until all of them have gone to sleep, if they ever do. Nothing is ever sent here: this is a clock.
    let (_kept, clock) = channel::<()>();
    let mut before = used();
    for _ in 0..500 {
        let _ = clock.recv_timeout(Duration::from_millis(20));
        let now = used();
        if now == before && now.len() == SUBSCRIBERS && now.values().all(|used| used.sleeps) {
            break;
        }
        before = now;
    }
    let _ = clock.recv_timeout(WATCHED);
    let after = used();
    let sum = |of: &BTreeMap<u64, Used>, what: fn(&Used) -> u64| of.values().map(what).sum::<u64>();
    let switches = sum(&after, |used| used.switches) - sum(&before, |used| used.switches);
    let ticks = sum(&after, |used| used.ticks) - sum(&before, |used| used.ticks);
    println!("{SUBSCRIBERS} subscribers, {WATCHED:?}: {switches} wake-ups, {ticks} ticks of 10 ms");
    assert!(switches < SUBSCRIBERS as u64, "{switches} wake-ups");
    assert!(ticks <= 1, "{ticks} ticks");
    // They are no corpses.
    backplane.publisher().publish("awake").unwrap();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == "awake"));
}

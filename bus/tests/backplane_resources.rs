//! What the native backplane costs when nothing moves: no processor, and no more memory than the budget says. In a
//! process of its own, one test at a time, for memory and threads are counted.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "backplane/raw.rs"]
mod raw;

use multiplane_bus::{Budget, Bus, OnSlow, RoutingSpec, StartError, raise_open_files_limit};
use raw::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Hundredths of a second on a processor, and how often it went to sleep: the one thread called `backplane`.
fn thread_costs() -> (u64, u64) {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_ours = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "backplane")
    };
    let task = tasks.into_iter().find(is_ours).expect("the thread");
    let stat = fs::read_to_string(task.join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = fs::read_to_string(task.join("status")).unwrap();
    let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    (ticks, switches.trim().parse().unwrap())
}

/// Over a second in which `silent` hears nothing.
fn assert_sleeps(silent: &mut Raw) {
    let before = thread_costs();
    assert!(silent.is_silent_for(Duration::from_secs(1)));
    let after = thread_costs();
    let (ticks, switches) = (after.0 - before.0, after.1 - before.1);
    println!("{ticks} hundredths of a second, {switches} times asleep");
    assert!(ticks <= 1 && switches < 5, "{ticks} hundredths of a second, {switches} times asleep");
}

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Keeps writing until nothing more is taken for a while.
fn jam(publisher: &mut Raw, bytes: &[u8]) {
    publisher.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while publisher.stream.write_all(bytes).is_ok() {}
}

#[test]
fn an_idle_backplane_sleeps() {
    let _alone = alone();
    let budget = Budget { handshake_deadline: Duration::from_secs(20), ..Budget::default() };
    let backplane = native(budget).start().unwrap();
    let mut subscriber = Raw::subscriber(&backplane, &[b"a"]);
    let mut publisher = Raw::publisher(&backplane);
    publisher.await_wanted(b"a");
    publisher.send(&[b"a"]);
    subscriber.recv();
    // Somebody in the middle of a handshake, of a message, and of a subscription.
    let mut silent = Raw::connect(backplane.subscriber_port());
    silent.write(&greeting(1)[..20]);
    publisher.write(&message(&[b"a", b"half"])[..4]);
    subscriber.write(&subscription(true, true, b"half")[..5]);
    silent.greeting();
    assert_sleeps(&mut silent);
}

/// While a subscriber holds them back: publishers with more to say, one that is gone, one that beats its heart.
#[test]
fn a_held_backplane_sleeps() {
    let _alone = alone();
    let budget = Budget { high_water_mark: 8, ..Budget::default() };
    let backplane = native(budget).on_slow(OnSlow::Block).start().unwrap();
    let mut stalled = Raw::subscriber(&backplane, &[b"a"]);
    let mut publishers = [(); 3].map(|()| Raw::publisher(&backplane));
    publishers.iter_mut().for_each(|publisher| publisher.await_wanted(b"\xff"));
    let bytes = message(&[b"a", &[7; 20_000]]);
    publishers.iter_mut().for_each(|publisher| jam(publisher, &bytes));
    let [first, _second, _third] = publishers;
    drop(first);
    let mut silent = Raw::publisher(&backplane);
    silent.await_wanted(b"\xff");
    // Who waits for others is not taken for dead.
    silent.ping();
    assert_sleeps(&mut silent);
    // It comes back to life.
    until("the stalled one reads, and the hold ends", || {
        stalled.recv();
        backplane.stats().publishers == 3
    });
    let backplane = std::thread::spawn(move || drop(backplane));
    while stalled.try_recv().is_some() {}
    backplane.join().unwrap();
}

/// A message for the stalled subscriber, others for nobody, how often.
type Mixture = (&'static str, usize, usize, usize);

/// Tiny messages, large ones, and pieces of large chunks that are mostly for others: a slow reader must not keep what
/// is not its own.
#[test]
fn a_stalled_subscriber_keeps_no_more_than_its_share() {
    let _alone = alone();
    let budget = Budget::default();
    let mixtures: [Mixture; 5] = [
        ("tiny", 20, 0, 1_000_000),
        ("large", 100_000, 0, 1000),
        ("pieces of chunks", 9_000, 50_000, 4000),
        ("beside large ones", 9_000, 300_000, 2500),
        ("larger than the queue", 10_000_000, 0, 20),
    ];
    for on_slow in [OnSlow::DropOldest, OnSlow::DropNewest, OnSlow::Block] {
        for (name, wanted, others, times) in mixtures {
            let backplane = native(budget.clone()).on_slow(on_slow).start().unwrap();
            let stalled = Raw::subscriber(&backplane, &[b"a"]);
            let mut publisher = Raw::publisher(&backplane);
            publisher.await_wanted(b"\xff");
            let mut bytes = message(&[b"a", &vec![7; wanted]]);
            if others > 0 {
                bytes.extend(message(&[b"b", &vec![7; others]]));
            }
            let per_write = (100_000 / bytes.len()).max(1);
            let bytes = bytes.repeat(per_write);
            let before = resident();
            if on_slow == OnSlow::Block {
                jam(&mut publisher, &bytes);
            } else {
                (0..times / per_write).for_each(|_| publisher.write(&bytes));
                publisher.write(&command(b"PING", b"\0\0x"));
                assert_eq!(publisher.command(), b"\x04PONGx");
                assert!(backplane.stats().dropped > 0, "{name}: the stalled one has room");
            }
            let grown = resident().saturating_sub(before);
            let stats = backplane.stats();
            println!("{on_slow:?}, {name}: {} MiB, {} messages", grown >> 20, stats.queued);
            assert!(stats.queued <= 2 * budget.high_water_mark as u64, "{stats:?}");
            // Chunks have some room to spare; two messages larger than the queue may be on their way.
            let limit = 4 * budget.subscriber_queue_bytes + 4 * wanted;
            assert!(grown <= limit, "{on_slow:?}, {name}: {} MiB", grown >> 20);
            drop(stalled);
        }
    }
}

/// The first descriptor that is free.
fn next_descriptor() -> u64 {
    fs::File::open("/dev/null").unwrap().as_raw_fd() as u64
}

#[test]
fn without_descriptors_those_who_come_are_turned_away_at_once() {
    let _alone = alone();
    let backplane = builder().start().unwrap();
    let mut subscriber = Raw::subscriber(&backplane, &[b"a"]);
    let mut publisher = Raw::publisher(&backplane);
    let before = getrlimit(Resource::Nofile);
    // Room for the end that is here, and none for the other one.
    setrlimit(Resource::Nofile, Rlimit { current: Some(next_descriptor() + 1), ..before }).unwrap();
    for n in 1..=3 {
        assert_eq!(Raw::connect(backplane.subscriber_port()).rest(), b"");
        until("it is counted", || backplane.stats().refused == n);
    }
    publisher.send(&[b"a"]);
    assert_eq!(subscriber.recv(), [b"a"]);
    setrlimit(Resource::Nofile, before).unwrap();
    let mut next = Raw::subscriber(&backplane, &[b"a"]);
    publisher.send(&[b"a", b"b"]);
    assert_eq!(next.recv(), [b"a", b"b"]);
}

/// Ten thousand, each with both of its ends here.
/// Never one that is deaf.
#[test]
fn without_descriptors_a_bus_does_not_start() {
    let _alone = alone();
    let backplane = native(Budget::default()).start().unwrap();
    let before = getrlimit(Resource::Nofile);
    // None for the worker's wake-up, or none for its poll.
    for more in 0..2 {
        setrlimit(Resource::Nofile, Rlimit { current: Some(next_descriptor() + more), ..before }).unwrap();
        let spec = RoutingSpec::builder().backplane(backplane.route()).build().unwrap();
        let started = Bus::builder("starved").routing(spec).start_deadline(Duration::ZERO).start();
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(matches!(started, Err(StartError::Open { .. })), "with {more} descriptors");
    }
}

#[test]
fn ten_thousand_subscribers_get_what_they_want() {
    let _alone = alone();
    [1, 2].into_iter().for_each(ten_thousand_at);
}

fn ten_thousand_at(workers: usize) {
    let files = raise_open_files_limit().unwrap();
    let count = (files.saturating_sub(200) / 2).min(10_000) as usize;
    if count < 10_000 {
        println!("NOT ten thousand but {count} connections, for only {files} open files are allowed here");
    }
    let before = resident();
    let budget = Budget { connections: count + 1, ..Budget::default() };
    let backplane = native(budget).workers(workers).start().unwrap();
    let mut publisher = Raw::publisher(&backplane);
    let mut ears = publisher.stream.try_clone().unwrap();
    let hearing = std::thread::spawn(move || std::io::copy(&mut ears, &mut std::io::sink()));
    let own = |n: usize| format!("own {n}").into_bytes();
    let mut all: Vec<Raw> = (0..count).map(|n| Raw::subscriber(&backplane, &[b"all", &own(n)])).collect();
    let each = resident().saturating_sub(before) / count;
    println!("{each} bytes for each of {count}, with the end that is here; {workers} workers");
    assert_eq!(backplane.stats().subscribers, count as u64);
    for round in [b"1", b"2"] {
        publisher.send(&[b"all", round]);
        for subscriber in &mut all {
            assert_eq!(subscriber.recv(), [&b"all"[..], round]);
        }
    }
    for n in (0..count).step_by(97) {
        publisher.send(&[&own(n), b"own"]);
        assert!(all[n].recv()[0].starts_with(b"own "));
    }
    let stats = quiet(&backplane);
    assert_eq!((stats.dropped, stats.refused, stats.lost), (0, 0, 0));
    drop(all);
    until("all have gone", || backplane.stats().subscribers == 0);
    drop((publisher, backplane));
    hearing.join().unwrap().unwrap();
}

//! Rows in which the network is at fault.

use crate::ends::{Honest, PATIENCE, Receiver, Sender, TOPIC};
use crate::proxy::{BAD, Proxy, Weather};
use crate::trial::{Ran, System, Trial, skip, timed};
use multiplane_bus::{Bus, LinkEvent, LinkState, Route};
use multiplane_tests::clock::{DEADLINE, eventually, measure_over, now};
use multiplane_tests::hub::Hub;
use multiplane_tests::place::free_port;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Longer than any heartbeat.
const UNNOTICED: Duration = Duration::from_secs(17);

/// Waits until both links of this component are down; how long that took.
fn both_down(bus: &Bus) -> Option<Duration> {
    let (start, mut down) = (now(), 0);
    while down < 2 && start.elapsed() < UNNOTICED {
        if let Some(LinkEvent::LinkDown { .. }) = bus.events().recv_timeout(Duration::from_millis(50)) {
            down += 1;
        }
    }
    (down == 2).then(|| start.elapsed())
}

/// Publishes without a pause until `enough`: a link that always has unanswered messages on it. Two megabytes a second, so
/// that a backplane that reads nothing is soon full.
fn publish_without_a_pause(bus: &Bus, enough: &AtomicBool) {
    let publisher = bus.publisher("BP1").unwrap();
    let payload = crate::ends::payload(0, 2000);
    while !enough.load(SeqCst) {
        // Full, or down: it goes on all the same.
        let _ = publisher.publish_raw_timeout(TOPIC, &payload, Duration::from_millis(10));
        measure_over(Duration::from_millis(1));
    }
}

/// T13. The process of one backplane is stopped; the network to another falls silent. Both come back. The components
/// publish all the while.
pub fn half_open(trial: &mut Trial) -> Ran {
    if trial.system == System::Plain {
        trial.note("no heartbeat unless asked for: it never notices");
        trial.must("notices", false);
        return Ok(());
    }
    let system = trial.system;
    let (mut stopped, silent) = (trial.hub(), trial.hub());
    let proxies = [silent.subscriber_port(), silent.publisher_port()]
        .map(|port| Proxy::start(port, trial.random.part(&port.to_string())));
    let routes = [
        stopped.route([TOPIC]),
        Route::new("BP1", "127.0.0.1")
            .subscriber_port(proxies[0].port())
            .publisher_port(proxies[1].port())
            .topics([TOPIC]),
    ];
    let buses = routes.map(|route| crate::ends::component(system, "notices", route));
    // While nobody receives, silence means nothing.
    let subscribers = [&buses[0], &buses[1]].map(|bus| bus.subscriber().unwrap());
    for bus in &buses {
        bus.publisher("BP1").unwrap().wait_for_subscriber(TOPIC, DEADLINE).unwrap();
        while bus.events().try_recv().is_some() {}
    }
    let enough = AtomicBool::new(false);
    let took: Vec<_> = thread::scope(|scope| {
        let enough = &enough;
        for (bus, subscriber) in buses.iter().zip(&subscribers) {
            scope.spawn(|| publish_without_a_pause(bus, enough));
            // It is under way.
            subscriber.recv_timeout(DEADLINE).unwrap();
        }
        stopped.process().signal(Signal::STOP);
        proxies.iter().for_each(|proxy| proxy.set(Weather::Silence));
        let waits: Vec<_> = buses.iter().map(|bus| scope.spawn(|| both_down(bus))).collect();
        let took = waits.into_iter().map(|wait| wait.join().unwrap()).collect();
        enough.store(true, SeqCst);
        took
    });
    stopped.process().signal(Signal::CONT);
    proxies.iter().for_each(|proxy| {
        proxy.set(Weather::Fair);
        proxy.cut();
    });
    for (what, took) in ["stopped process noticed after", "silent network noticed after"].iter().zip(took) {
        match took {
            Some(took) => trial.within(what, took, Duration::from_millis(10_500)),
            None => trial.must(format!("{what} {UNNOTICED:?}"), false),
        }
    }
    for (bus, subscriber) in buses.iter().zip(&subscribers) {
        let publisher = bus.publisher("BP1").unwrap();
        let live = || {
            bus.stats()[0].subscriber_link == Some(LinkState::Live)
                && bus.stats()[0].publisher_link == Some(LinkState::Live)
        };
        eventually("its links are back", live);
        publisher.wait_for_subscriber(TOPIC, DEADLINE).unwrap();
        // A number, where the others were bytes.
        eventually("it hears again", || {
            publisher.publish(TOPIC, &1).unwrap();
            std::iter::from_fn(|| subscriber.recv_timeout(Duration::from_millis(50)).ok())
                .take(10_000)
                .any(|message| message.decode::<u64>().is_ok())
        });
    }
    Ok(())
}

/// Any row: between both ends and the backplane is a network in a bad mood, one after the other.
pub fn weather(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let direct = Honest::new(trial.system, &hub);
    let [near, far] = [hub.subscriber_port(), hub.publisher_port()]
        .map(|port| Proxy::start(port, trial.random.part(&port.to_string())));
    let (receiver, sender) = (Receiver::at(trial.system, near.port()), Sender::at(trial.system, far.port()));
    sender.await_receiver();
    let honest = Honest::of(sender, receiver);
    // The subscription that was waited for may be that of the others. Losses are known from the first message on.
    let mut first = Trial::new(trial.system, trial.random.part("first")).tally;
    eventually("they hear", || {
        honest.send(&mut first);
        honest.take(&mut first, Duration::from_millis(50))
    });
    while honest.take(&mut first, Duration::from_millis(300)) {}
    trial.must("nothing is missed yet", honest.receiver.missed() == 0);
    for weather in BAD {
        if weather == Weather::Corrupt {
            // What TCP lets through cannot be told from what was meant; see below.
            continue;
        }
        let set = |weather| [&near, &far].into_iter().for_each(|proxy| proxy.set(weather));
        let cut = || [&near, &far].into_iter().for_each(Proxy::cut);
        set(weather);
        if weather == Weather::Reorder {
            cut();
        }
        // By tens: where others keep the processors busy, each wait is as long as their turns.
        for _ in 0..40 {
            (0..10).for_each(|_| honest.send(&mut trial.tally));
            honest.take(&mut trial.tally, Duration::from_millis(1));
        }
        set(Weather::Fair);
        cut();
        eventually("they hear again", || {
            honest.send(&mut trial.tally);
            honest.take(&mut trial.tally, Duration::from_millis(20))
        });
    }
    honest.close_books(trial);
    trial.books_close();
    // A broken card: nobody else is hurt, and the backplane lives.
    [&near, &far].into_iter().for_each(|proxy| proxy.set(Weather::Corrupt));
    for n in 0..400 {
        honest.sender.send(n, 100);
        let _ = honest.receiver.recv(Duration::ZERO);
    }
    drop((honest, near, far));
    let mut others = Trial::new(trial.system, trial.random.part("others"));
    // It hears what the first one published, too, so it begins when that is over.
    while direct.receiver.recv(Duration::from_millis(300)).is_some() {}
    direct.exchange(&mut others, 300, |_| {});
    trial.must("others go on beside corrupted ones", others.tally.lost() == 0);
    let runs = hub.process().is_running();
    trial.must("it runs", runs);
    Ok(())
}

/// A network of our own, for this thread and all that it starts.
struct Namespace(String);

impl Namespace {
    fn enter() -> Result<Self, String> {
        let name = format!("chaos-{}", free_port());
        run("ip", &["netns", "add", &name])?;
        let namespace = Self(name);
        let file = File::open(format!("/run/netns/{}", namespace.0)).map_err(|error| error.to_string())?;
        let moved = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        moved.map_err(|error| error.to_string())?;
        run("ip", &["link", "set", "lo", "up"])?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.0]);
    }
}

/// A program that may be where only root looks.
fn command(program: &str, arguments: &[&str]) -> Command {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("/bin/sh");
    command.env("PATH", path).args(["-c", "exec \"$0\" \"$@\"", program]).args(arguments);
    command
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    match command(program, arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Drops so many packets of a hundred.
fn lose(percent: &str, action: &str) -> Result<(), String> {
    let probability = format!("0.{percent:0>2}");
    let rule = ["-m", "statistic", "--mode", "random", "--probability", &probability, "-j", "DROP"];
    run("iptables", &[&[action, "INPUT", "-p", "tcp"], &rule[..]].concat())
}

/// How many the rule has dropped.
fn lost_packets() -> u64 {
    let listed = command("iptables", &["-L", "INPUT", "-v", "-x", "-n"]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let rule = text.lines().find(|line| line.contains("DROP") && line.contains("statistic"));
    rule.and_then(|rule| rule.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// T26. Packets are lost, and TCP sends them again.
pub fn lossy(trial: &mut Trial) -> Ran {
    let namespace = match Namespace::enter() {
        Ok(namespace) => namespace,
        Err(error) => return skip(format!("network namespaces are not allowed here: {error}")),
    };
    if let Err(error) = lose("1", "-A").and_then(|()| lose("1", "-D")) {
        return skip(format!("no packet loss rules here: {error}"));
    }
    let hub: Hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    honest.exchange(trial, 100, |_| {});
    for percent in ["1", "5", "10"] {
        lose(percent, "-A").unwrap();
        let (_, took) = timed(|| {
            for _ in 0..400 {
                honest.send(&mut trial.tally);
                honest.take(&mut trial.tally, Duration::ZERO);
                measure_over(Duration::from_millis(1));
            }
            // A lost packet may be sent again late, and lost again.
            let start = now();
            while trial.tally.lost() > 0 && start.elapsed() < DEADLINE {
                honest.take(&mut trial.tally, PATIENCE);
            }
        });
        let dropped = lost_packets();
        lose(percent, "-D").unwrap();
        trial.note(format!("{percent} %: {dropped} packets, {took:.1?}"));
        trial.must("packets are lost", dropped > 0);
        let down = honest.sender.went_down() | honest.receiver.went_down();
        trial.must(format!("no link down at {percent} %"), percent == "10" || !down);
    }
    trial.all_delivered();
    drop((honest, hub, namespace));
    Ok(())
}

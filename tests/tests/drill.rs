//! `multiplane drill` against a running backplane: what it does, what it asks first, and what it finds.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::process::Process;
use multiplane_tests::programs::multiplane;
use std::process::Command;

fn drill(hub: &Hub, which: &str, arguments: &[&str]) -> Process {
    let [subscriber, publisher] = hub.ports();
    let mut command = Command::new(multiplane());
    Process::start(which, command.args(["drill", which, "-s", &subscriber, "-p", &publisher]).args(arguments))
}

/// What it says, once it has ended with this code.
#[track_caller]
fn ended(mut drill: Process, code: i32) -> String {
    let status = drill.exit();
    let said = drill.output().join("\n");
    assert_eq!(status.code(), Some(code), "{said}");
    said
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_restart_by_hand_is_measured() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let mut drill = drill(&hub, "restart", &[]);
    drill.line("to be told", |line| line.contains("restart the backplane now"));
    hub.kill();
    hub.restart();
    let said = ended(drill, 0);
    assert!(said.contains("blackout ") && said.contains("resubscribed: yes"), "{said}");
}

/// It runs the command that it is given, which ends the old one; a new one is there soon.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_restart_by_a_command_is_measured() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let command = format!("kill -9 {}", hub.process().id());
    let drill = drill(&hub, "restart", &["--with", &command, "--yes"]);
    let _ = hub.process().exit();
    hub.restart();
    let said = ended(drill, 0);
    assert!(said.contains("links lost 1, resubscribed: yes"), "{said}");
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_restart_that_does_not_come_times_out() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let said = ended(drill(&hub, "restart", &["--timeout", "0.5"]), 124);
    assert!(said.contains("no link went down"), "{said}");
}

/// Nobody who is not asked is disturbed: without a terminal there is nobody to ask.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn what_disturbs_others_needs_a_yes() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    for (which, arguments) in [("slow", &[][..]), ("flood", &[]), ("restart", &["--with", "true"])] {
        let said = ended(drill(&hub, which, arguments), 2);
        assert!(said.contains("say --yes"), "{which}: {said}");
    }
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn the_slow_one_loses_and_the_other_does_not() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let said = ended(drill(&hub, "slow", &["--yes"]), 0);
    assert!(said.contains("the one beside it lost 0;"), "{said}");
    assert!(!said.contains("and lost 0;"), "30 MB do not fit: {said}");
    hub.process().line("its name", |line| line.contains("too slow"));
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn one_that_comes_and_goes_harms_nobody() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let said = ended(drill(&hub, "flap", &["--times", "10"]), 0);
    assert!(said.contains("came 10 times") && said.contains("the one beside it lost 0,"), "{said}");
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_flood_is_counted() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let said = ended(drill(&hub, "flood", &["--seconds", "0.5", "--yes"]), 0);
    assert!(said.contains("messages a second published"), "{said}");
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn where_nothing_listens_it_says_so() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    hub.kill();
    ended(drill(&hub, "flap", &[]), 1);
}

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

/// A drill of all backplanes of a routing file.
fn drill_all(hubs: &[&Hub], which: &str, arguments: &[&str]) -> (Process, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let routes = hubs.iter().map(|hub| hub.route(["any"]));
    std::fs::write(file.path(), multiplane_tests::spec(routes).to_string()).unwrap();
    let mut command = Command::new(multiplane());
    command.args(["drill", which, "--routing"]).arg(file.path()).args(arguments);
    (Process::start(which, &mut command), file)
}

/// One of two goes away; the other is not disturbed, and both have a line.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_restart_of_one_of_several_is_told_from_the_others() {
    let (mut one, two) = (Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2"));
    let (mut drill, _file) = drill_all(&[&one, &two], "restart", &[]);
    drill.line("to be told", |line| line.contains("restart the backplane now"));
    one.kill();
    one.restart();
    let said = ended(drill, 0);
    assert!(said.contains("BP1: blackout ") && said.contains("links lost 1, resubscribed: yes"), "{said}");
    assert!(said.contains("BP2: was not restarted"), "{said}");
    let other = said.lines().find(|line| line.starts_with("BP2: sent")).unwrap();
    assert!(other.contains("lost 0, reported 0"), "{said}");
}

/// Who restarts all of them, one after the other, is watched to the end.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_command_that_restarts_several_is_watched_to_its_end() {
    let (mut one, mut two) = (Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2"));
    // The first is back before the second goes.
    let gone = tempfile::tempdir().unwrap();
    let go_on = gone.path().join("first is back");
    let (first, second) = (one.process().id(), two.process().id());
    let command =
        format!("kill -9 {first}; until [ -e '{}' ]; do sleep 0.05; done; kill -9 {second}", go_on.display());
    let (drill, _file) = drill_all(&[&one, &two], "restart", &["--with", &command, "--yes"]);
    let _ = one.process().exit();
    one.restart();
    std::fs::write(&go_on, "").unwrap();
    let _ = two.process().exit();
    two.restart();
    let said = ended(drill, 0);
    for name in ["BP1", "BP2"] {
        let line = said.lines().find(|line| line.starts_with(&format!("{name}: blackout"))).unwrap_or(&said);
        assert!(line.contains("links lost 1, resubscribed: yes"), "{said}");
    }
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn several_backplanes_are_drilled_one_after_the_other() {
    let (one, two) = (Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2"));
    let (drill, _file) = drill_all(&[&one, &two], "flap", &["--times", "3"]);
    let said = ended(drill, 0);
    assert!(said.contains("BP1: came 3 times") && said.contains("BP2: came 3 times"), "{said}");
}

/// One that is not there keeps nobody from looking at the others.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn what_is_wrong_with_one_is_said_and_the_next_is_drilled() {
    let (mut one, two) = (Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2"));
    one.kill();
    let (drill, _file) = drill_all(&[&one, &two], "flap", &["--times", "3"]);
    let said = ended(drill, 1);
    assert!(said.contains("BP2: came 3 times") && said.contains("BP1: "), "{said}");
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn where_nothing_listens_it_says_so() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    hub.kill();
    ended(drill(&hub, "flap", &[]), 1);
}

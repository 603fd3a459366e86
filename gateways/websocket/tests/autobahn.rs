//! An outside judge: the cases of the Autobahn testsuite against the gateway, which sends back what it gets.
//!
//! `autobahn.txt` says what each case came to; what is different now fails, for better or worse. `AUTOBAHN_ACCEPT=1` writes
//! the file anew.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::{Backplane, Bus, RoutingSpec};
use multiplane_websocket::{Config, Event, start};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The judge, beside the Python that `tests/run` made.
fn kosoku() -> PathBuf {
    let python = std::env::var_os("MULTIPLANE_PYTHON").expect("needs Python peers: run it with `tests/run`");
    Path::new(&python).with_file_name("kosoku")
}

/// The verdict on each case, one a line, in the order of their numbers.
fn verdicts(report: &Path) -> String {
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report.join("index.json")).unwrap()).unwrap();
    let (_, cases) = index.as_object().unwrap().iter().next().unwrap();
    let number = |case: &str| case.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    let mut lines: Vec<_> = cases
        .as_object()
        .unwrap()
        .iter()
        .map(|(case, verdict)| {
            let word = |key: &str| verdict[key].as_str().unwrap().to_owned();
            (number(case), format!("{case} {}, close {}\n", word("behavior"), word("behaviorClose")))
        })
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

#[test]
#[ignore = "needs Python peers: tests/run"]
fn the_cases_of_autobahn_come_to_what_they_came_to() {
    let backplane = Backplane::builder("BP").publisher_port(0).subscriber_port(0).start().unwrap();
    let routing = RoutingSpec::builder().backplane(backplane.route()).build().unwrap();
    let config = Config { echo: true, ..Config::new("0") };
    let (tell, told) = channel();
    let gateway = start(Bus::builder("Echo").routing(routing), config, move |event| {
        if let Event::Listening { address, .. } = event {
            let _ = tell.send(*address);
        }
    })
    .unwrap();
    let address = told.recv_timeout(Duration::from_secs(60)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Without the cases about speed, and those about compression, which is not offered.
    let judged = Command::new(kosoku())
        .args(["-m", "fuzzingclient", "-x", "9.*", "-x", "12.*", "-x", "13.*", "-p", "8", "-o"])
        .arg(folder.path())
        .arg(address.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(folder.path().join("index.json").exists(), "{said}{}", String::from_utf8_lossy(&judged.stderr));
    let found = verdicts(folder.path());
    assert!(gateway.stop(Duration::ZERO).is_some(), "it has ended before");
    let expectation = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/autobahn.txt");
    if std::env::var_os("AUTOBAHN_ACCEPT").is_some() {
        std::fs::write(&expectation, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&expectation).unwrap();
    let differ: Vec<_> = found.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect();
    assert_eq!((differ, found.lines().count()), (Vec::new(), expected.lines().count()));
}

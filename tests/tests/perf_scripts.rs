//! The scripts people measure with: each says what it does, and refuses what it does not know before it builds anything.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::programs::root;
use std::path::PathBuf;
use std::process::{Command, Output};

fn scripts() -> Vec<PathBuf> {
    let entries = root().join("perf-scripts").read_dir().unwrap();
    let scripts: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(scripts.iter().any(|path| path.ends_with("instructions")), "these are not the scripts");
    scripts
}

fn run(script: &PathBuf, argument: &str) -> (Output, String) {
    // Anywhere, for people do not change their folder to measure.
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(script).arg(argument).current_dir(&folder).output().unwrap();
    let what = format!("{} {argument}: {output:?}", script.display());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{what} left something behind");
    (output, what)
}

#[test]
#[ignore = "needs python3: tests/run"]
fn each_explains_itself() {
    for script in scripts() {
        let (output, what) = run(&script, "--help");
        assert!(output.status.success(), "{what}");
        let told = String::from_utf8(output.stdout).unwrap();
        let name = format!("perf-scripts/{}", script.file_name().unwrap().to_str().unwrap());
        assert!(told.starts_with(&format!("usage: {name}")), "{what}");
        assert!(told.lines().count() > 10 && output.stderr.is_empty(), "{what}");
    }
}

#[test]
#[ignore = "needs python3: tests/run"]
fn each_refuses_what_it_does_not_know() {
    for script in scripts() {
        let (output, what) = run(&script, "--no-such-option");
        assert_eq!(output.status.code(), Some(2), "{what}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("--no-such-option") && output.stdout.is_empty(), "{what}");
    }
}

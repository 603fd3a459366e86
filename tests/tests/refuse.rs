//! What must not compile does not, and for the right reason.
//!
//! Each program of `refuse/` says in its first line which error it has to meet, and differs from `accepted.rs`, which
//! compiles, by little. They are compiled against the bus that cargo has built already: only checked, not linked.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::programs::{cargo_build, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the compiler says to each program.
fn compile(program: &Path, bus: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let dependencies = bus.parent().unwrap();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--color=never", "--out-dir"])
        .arg(folder.path())
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg("-L")
        .arg(format!("dependency={}", dependencies.join("deps").display()))
        .arg("--extern")
        .arg(format!("multiplane_bus={}", bus.display()))
        .arg(program)
        .output()
        .unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The library as cargo has built it.
fn bus() -> PathBuf {
    let artifacts = cargo_build(&["--package", "multiplane-bus", "--lib"]);
    let bus = artifacts.iter().find(|artifact| artifact["target"]["name"] == "multiplane_bus").unwrap();
    let files = bus["filenames"].as_array().unwrap().iter().map(|file| file.as_str().unwrap());
    PathBuf::from(files.into_iter().find(|file| file.ends_with(".rlib")).unwrap())
}

#[test]
fn misuse_does_not_compile() {
    let bus = bus();
    let mut programs: Vec<_> =
        root().join("tests/tests/refuse").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    programs.sort();
    assert!(programs.len() >= 6, "{programs:?}");
    for program in programs {
        let outcome = compile(&program, &bus);
        let text = std::fs::read_to_string(&program).unwrap();
        match (text.lines().next().unwrap().strip_prefix("// error"), outcome) {
            (None, outcome) => assert_eq!(outcome, Ok(()), "{} must compile", program.display()),
            (Some(expected), Ok(())) => panic!("{} compiles; expected error{expected}", program.display()),
            (Some(expected), Err(said)) => {
                let expected = format!("error{expected}");
                let mut errors =
                    said.lines().filter(|line| line.starts_with("error") && !line.contains("aborting"));
                assert!(
                    said.contains(&expected) && errors.all(|error| error.starts_with(&expected)),
                    "{}: expected {expected}, got\n{said}",
                    program.display()
                );
            }
        }
    }
}

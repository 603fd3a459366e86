//! Where our own binaries, the Python interpreter and its programs are.

use crate::process::Process;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// The binary `multiplane`: that of `MULTIPLANE_BIN`, else built here, once per test program.
#[must_use]
pub fn multiplane() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let given = std::env::var_os("MULTIPLANE_BIN").map(PathBuf::from);
    given.unwrap_or_else(|| BUILT.get_or_init(|| build(&["--bin", "multiplane"], "multiplane")).clone())
}

/// A forwarder of libzmq alone, to compare with. Cargo builds it before any test of this package, beside the folder of
/// the tests.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn plain_libzmq() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("plain-libzmq");
    assert!(path.exists(), "{} is not there: run this test with cargo", path.display());
    path
}

/// An example of the bus.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    build(&["--package", "multiplane-bus", "--example", name], name)
}

/// A program of ours in Python, with the interpreter that has the foreign peers.
#[must_use]
pub fn python<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Process {
    let interpreter = std::env::var_os("MULTIPLANE_PYTHON").unwrap_or_else(|| {
        panic!("this test needs Python peers: run it with `tests/run`, which makes them and sets MULTIPLANE_PYTHON")
    });
    let path = root().join("tests/python").join(program);
    Process::start(program, Command::new(interpreter).arg("-u").arg(path).args(arguments))
}

/// Builds with cargo, as the tests were built, and takes the path from what cargo says.
fn build(arguments: &[&str], name: &str) -> PathBuf {
    cargo_build(arguments)
        .into_iter()
        .find(|artifact| artifact["target"]["name"] == name && artifact["executable"].is_string())
        .map(|artifact| PathBuf::from(artifact["executable"].as_str().unwrap()))
        .unwrap_or_else(|| panic!("cargo built no {name}"))
}

/// What `cargo build` with these arguments makes, in cargo's own words.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn cargo_build(arguments: &[&str]) -> Vec<serde_json::Value> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--message-format=json-render-diagnostics"]).args(arguments);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{cargo:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

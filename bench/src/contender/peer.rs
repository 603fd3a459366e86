//! What the systems of others have in common: which scenarios they run, and where their programs are.

use crate::BenchError;
use crate::scenario::Scenario;
use std::env;
use std::path::PathBuf;

/// Debian keeps servers where not everybody's path looks.
const SERVERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// What is asked of a system with a process in the middle.
pub(super) fn through_a_server(scenario: Scenario) -> Result<(), &'static str> {
    match scenario {
        Scenario::Direct => Err("its clients meet at a server"),
        scenario => direct(scenario),
    }
}

/// What is asked of a system whose ends connect to each other.
pub(super) fn direct(scenario: Scenario) -> Result<(), &'static str> {
    match scenario {
        Scenario::OneToOne
        | Scenario::Direct
        | Scenario::FanOut(_)
        | Scenario::FanIn(_)
        | Scenario::PingPong => Ok(()),
        _ => Err("the systems of others are compared in one_to_one, direct, fan_out, fan_in and ping_pong"),
    }
}

/// Finds a program: among what `perf-scripts/lib/install-peers` has put beside our own, then in the path.
pub(super) fn program(name: &str, cure: &str) -> Result<String, BenchError> {
    let ours = env::current_exe().ok();
    let installed = ours.as_ref().and_then(|exe| Some(exe.parent()?.parent()?.join("peers/venv/bin")));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = installed.into_iter().chain(env::split_paths(&path)).chain(SERVERS.map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    let found = found.and_then(|file| file.into_os_string().into_string().ok());
    found.ok_or_else(|| BenchError::failed("starting", format!("{name} is not installed: {cure}")))
}

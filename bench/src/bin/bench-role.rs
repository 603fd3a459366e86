//! One process of a measurement by itself, for tests and for tools that look at one process at a time. What
//! `multiplane bench` starts is the same function in its own executable.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let spec = std::env::args().nth(1).unwrap_or_default();
    match multiplane_bench::role::play(&spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

//! Short measurements with real processes.
#![allow(unreachable_pub)]

use multiplane_bench::contender::Contender;
use multiplane_bench::measure::{Launcher, Plan};
use multiplane_bench::scenario::Scenario;

pub fn launcher() -> Launcher {
    Launcher { program: env!("CARGO_BIN_EXE_bench-role").into(), arguments: Vec::new() }
}

pub fn plan(contenders: &[Contender], scenarios: &[Scenario]) -> Plan {
    Plan {
        contenders: contenders.to_vec(),
        scenarios: scenarios.to_vec(),
        sizes: vec![100],
        seconds: 0.1,
        rounds: 1,
        rate: None,
        pin: Vec::new(),
        against: None,
        within: None,
    }
}

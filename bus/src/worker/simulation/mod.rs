//! Deterministic simulation: the links of components and the backplane's forwarder, or those of several workers, on a
//! network in memory that a seed rules.
//!
//! | file | holds |
//! |---|---|
//! | `random` | chances that the seed decides |
//! | `network` | connections that split, delay, hold and break |
//! | `payload` | payloads that say whose they are |
//! | `component` | links, driven as the worker drives them |
//! | `world` | who is there, what happens, and what must hold |
//!
//! `SIMULATION_SEEDS` says how many seeds to run, `SIMULATION_SEED` names one to run alone.

mod component;
mod network;
mod payload;
mod random;
mod world;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use world::World;

const SEEDS: u64 = 10_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one world; says how to do that again when something is wrong with it.
fn run(seed: u64) -> u64 {
    let outcome = catch_unwind(|| World::new(seed).run());
    outcome.unwrap_or_else(|_| {
        panic!(
            "seed {seed} fails; to run it alone: \
             SIMULATION_SEED={seed} cargo test -p multiplane-bus --lib simulation::whatever"
        )
    })
}

#[test]
fn whatever_the_network_does_the_promises_hold() {
    if let Some(seed) = setting("SIMULATION_SEED") {
        run(seed);
        return;
    }
    let seeds = setting("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        while let seed = next.fetch_add(1, Relaxed)
            && seed < seeds
            && !failed.load(Relaxed)
        {
            if catch_unwind(|| run(seed)).is_err() {
                failed.store(true, Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(work)));
    });
    assert!(!failed.load(Relaxed), "a seed failed: see above");
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

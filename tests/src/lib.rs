//! The rig: what tests that cross crates, processes or languages stand on.
//!
//! | room | holds |
//! |---|---|
//! | [`process`] | a child process whose output is waited for, line by line |
//! | [`programs`] | where our own binaries, the Python interpreter and its programs are |
//! | [`hub`] | a backplane in a process of its own, ours or Python's |
//! | [`peer`] | a pyzmq peer that does what it is told |
//! | [`foreign`] | sockets of libzmq and of others, bound or connected |
//! | [`place`] | free ports, and when somebody listens at them |
//! | [`engine`] | the engine of the components under test |
//! | [`clock`] | the only place that looks at the clock |
//! | [`zmtp`] | ZMTP by hand |
//! | [`random`] | random numbers that can be had again |
//!
//! Nothing here guesses how long something takes: one waits for the event itself, and [`clock::DEADLINE`] is only
//! there so that nothing hangs.
#![allow(clippy::unwrap_used)] // A rig that cannot do its work fails the test, loudly and at once.
#![allow(clippy::print_stdout)] // What was measured is shown to whoever asks with --nocapture.

pub mod clock;
#[path = "../../bus/tests/common/engine.rs"]
pub mod engine;
pub mod foreign;
pub mod hub;
pub mod peer;
pub mod place;
pub mod process;
pub mod programs;
pub mod random;
#[path = "../../bus/tests/common/zmtp.rs"]
pub mod zmtp;

use multiplane_bus::{Bus, Route, RoutingSpec};

/// A component linked to `routes`.
#[must_use]
pub fn component(name: &str, routes: impl IntoIterator<Item = Route>) -> Bus {
    Bus::builder(name)
        .engine(engine::engine())
        .routing(spec(routes))
        .start_deadline(clock::DEADLINE)
        .start()
        .unwrap()
}

/// The routing specification of `routes`.
#[must_use]
pub fn spec(routes: impl IntoIterator<Item = Route>) -> RoutingSpec {
    routes.into_iter().fold(RoutingSpec::builder(), |spec, route| spec.backplane(route)).build().unwrap()
}

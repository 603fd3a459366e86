//! The engine of the components under test: the suite runs once on each (`tests/run`).

use multiplane_bus::Engine;

/// `MULTIPLANE_TEST_ENGINE`, which is `native` (the default) or `libzmq`.
#[must_use]
pub fn engine() -> Engine {
    match std::env::var("MULTIPLANE_TEST_ENGINE").as_deref() {
        Err(_) | Ok("native") => Engine::Native,
        Ok("libzmq") => Engine::Libzmq,
        Ok(other) => panic!("MULTIPLANE_TEST_ENGINE is native or libzmq, not {other}"),
    }
}

//! The target that `MULTIPLANE_FUZZ_TARGET` names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_fuzzing::{TARGETS, Target};
use std::sync::LazyLock;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("MULTIPLANE_FUZZ_TARGET").expect("MULTIPLANE_FUZZ_TARGET names a target");
    *TARGETS.iter().find(|target| target.name == name).expect("there is such a target")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));

//! Commands and their metadata.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_codec::zmtp::command::{Command, parse, property};

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Some(Command::Ready(metadata)) => {
            let _ = property(metadata, "Socket-Type");
        }
        Some(Command::Ping { context, .. }) => assert!(context.len() <= 16),
        _ => {}
    }
    let _ = property(data, "Identity");
});

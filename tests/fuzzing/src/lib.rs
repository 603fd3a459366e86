//! What is done to bytes that anybody may send, and must hold for all of them.
//!
//! Each target is a function of bytes that panics when something does not hold. `tests/fuzz` feeds them on a stable
//! compiler, with inputs mutated from the files in `corpus/`; `libfuzzer/` feeds the same functions to libFuzzer, which
//! needs a nightly one and finds its way by coverage. The gateways' targets live beside what they test, which is private.

pub mod targets;

/// A function that is fed with bytes, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which its folder in `corpus/` has, too.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// What it may hold at once, in bytes: so much in any case, and so much for each byte of the input.
    pub memory: (usize, usize),
    /// How many of a hundred inputs it gets: those that take long get few.
    pub share: u32,
}

/// All targets.
pub const TARGETS: [Target; 17] = {
    use targets::{curve, framing, msgpack, routing, zmtp};
    const fn target(name: &'static str, run: fn(&[u8]), memory: (usize, usize), share: u32) -> Target {
        Target { name, run, memory, share }
    }
    [
        target("zmtp_stream", zmtp::stream, (2 << 10, 64), 14),
        target("zmtp_handshake", zmtp::handshake, (8 << 10, 16), 8),
        target("zmtp_command", zmtp::command, (1 << 10, 0), 8),
        target("curve_handshake", curve::handshake, (32 << 10, 16), 1),
        target("curve_traffic", curve::traffic, (8 << 10, 16), 4),
        target("msgpack_view", msgpack::view, (8 << 10, 200), 12),
        target("msgpack_typed", msgpack::typed, (8 << 10, 200), 10),
        target("numpy", msgpack::numpy, (4 << 10, 24), 8),
        target("json", msgpack::json, (32 << 10, 64), 8),
        target("routing", routing::file, (64 << 10, 400), 4),
        target("length_prefix", framing::length_prefix, (4 << 10, 256), 6),
        target("lines", framing::lines, (4 << 10, 256), 6),
        target("websocket_message", multiplane_websocket::fuzzing::message, (32 << 10, 64), 5),
        target("websocket_head", multiplane_websocket::fuzzing::head, (64 << 10, 32), 2),
        target("mqtt_mapping", multiplane_mqtt::fuzzing::mapping, (64 << 10, 200), 2),
        // The library makes room for a packet as its header claims it, up to the limit that it was given: 16 MiB.
        target("mqtt_broker", multiplane_mqtt::fuzzing::broker, (17 << 20, 400), 1),
        target("mqtt_rows", targets::rows::file, (64 << 10, 400), 1),
    ]
};

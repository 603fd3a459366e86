//! Free ports, and when somebody listens at them.

use crate::clock::eventually;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A loopback port that nobody listens at. Not one of the system's ephemeral ports: those are handed to connecting
/// sockets, so while a backplane is down, whoever reconnects to it might be connected to itself.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs of other sessions begin somewhere else.
    let start = (std::process::id() * 37 % u32::from(COUNT)) as u16;
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Relaxed)) % COUNT)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}

/// Waits until somebody listens at `port`. Asks the system and does not connect: a visitor that says nothing would be
/// one more thing that happens to the listener.
pub fn await_listener(port: u16) {
    eventually(&format!("somebody listens at port {port}"), || has_listener(port));
}

/// Whether somebody listens at `port`.
#[must_use]
pub fn has_listener(port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    let listens = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next();
        let state = columns.nth(1);
        local.is_some_and(|local| local.ends_with(&wanted)) && state == Some("0A")
    };
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(listens)
}

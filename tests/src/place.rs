//! Free ports, and when somebody listens at them.

use crate::clock::eventually;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A loopback port that nobody uses. Not one of the system's ephemeral ports: those are handed to connecting
/// sockets, so while a backplane is down, whoever reconnects to it might be connected to itself. Not found by binding it:
/// a process that another test begins at that moment would hold the port until it executes its program.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs of other sessions begin somewhere else.
    let start = (std::process::id() * 37 % u32::from(COUNT)) as u16;
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Relaxed)) % COUNT)
        .find(|&port| !sockets().any(|(local, _)| local == port))
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
    const LISTEN: &str = "0A";
    sockets().any(|(local, state)| local == port && state == LISTEN)
}

/// The TCP sockets of this machine, or of the network that this thread has moved to: local port and state.
fn sockets() -> impl Iterator<Item = (u16, String)> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let socket = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let (_, port) = columns.next()?.rsplit_once(':')?;
        Some((u16::from_str_radix(port, 16).ok()?, columns.nth(1)?.to_owned()))
    };
    tables.into_iter().flat_map(move |table| table.lines().filter_map(socket).collect::<Vec<_>>())
}

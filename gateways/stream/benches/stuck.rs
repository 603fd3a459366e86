//! What a client that stops reading costs the others.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that people look at")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Nc, PATIENCE, now, until};
use multiplane_bus::local::Backplane;
use multiplane_stream::{Protocol, StreamServer};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const CLIENTS: usize = 20;
const MESSAGES: usize = 3_000;
/// Between two messages of 1 KiB.
const PACE: Duration = Duration::from_micros(500);

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!(
        "{CLIENTS} clients, {MESSAGES} messages of 1 KiB, one each {PACE:?}; latency from publishing to having read"
    );
    for round in 1..=5 {
        for stuck in [0, 1] {
            let (mut latencies, dropped) = measure(stuck);
            latencies.sort_unstable();
            let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize];
            println!(
                "round {round}, {stuck} stuck: p50 {:?}, p99 {:?}, p99.9 {:?}; dropped for it {dropped}",
                at(0.5),
                at(0.99),
                at(0.999)
            );
        }
    }
}

/// The latencies of those who read, and how many messages were dropped.
fn measure(stuck: usize) -> (Vec<Duration>, u64) {
    let backplane = Backplane::new("MEASURED").unwrap();
    let server = StreamServer::builder(Protocol::subscribe("MEASURED")).queue_bytes(16 * 1024 * 1024);
    let server = server.start().unwrap();
    let stuck: Vec<Nc> = (0..stuck).map(|_| Nc::connect(server.address())).collect();
    until("it is connected", || server.stats().clients == stuck.len() as u64);
    // Until it really is: its queue must overflow before the others come.
    while !stuck.is_empty() && server.stats().dropped == 0 {
        backplane.publisher().publish(vec![0; 64 * 1024]).unwrap();
    }
    // Until all that is with the clients: who connects then gets nothing of it. In both cases, so that they are alike.
    let mut probe = Nc::connect(server.address());
    until("the probe is connected", || server.stats().clients as usize == 1 + stuck.len());
    backplane.publisher().publish("the end").unwrap();
    while probe.exactly(1) != b"t" {}
    probe.exactly("he end".len());
    let mut clients: Vec<Nc> = (1..CLIENTS).map(|_| Nc::connect(server.address())).collect();
    clients.push(probe);
    until("all are connected", || server.stats().clients as usize == CLIENTS + stuck.len());
    let start = now();
    let reading: Vec<_> =
        clients.drain(..).map(|client| std::thread::spawn(move || read(client, start))).collect();
    let publisher = backplane.publisher();
    // Nothing is ever sent: this is a clock.
    let (_kept, clock) = channel::<()>();
    for n in 0..MESSAGES {
        let due = start + PACE * n as u32;
        let _ = clock.recv_timeout(due.saturating_duration_since(now()));
        let mut message = vec![0; 1024];
        message[..16].copy_from_slice(&start.elapsed().as_nanos().to_le_bytes());
        publisher.publish(message).unwrap();
    }
    let latencies = reading.into_iter().flat_map(|client| client.join().unwrap()).collect();
    drop(stuck);
    (latencies, server.close(PATIENCE).dropped)
}

fn read(mut client: Nc, start: Instant) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        let message = client.exactly(1024);
        let sent = u128::from_le_bytes(message[..16].try_into().unwrap());
        latencies.push(start.elapsed().saturating_sub(Duration::from_nanos(sent as u64)));
    }
    latencies
}

//! Rows in which peers break the rules, while honest ones go on.

use crate::ends::Honest;
use crate::trial::{Ran, Trial};
use crate::wire::{self, command, greeting, message, ready, subscription};
use multiplane_tests::clock::now;
use multiplane_tests::hub::{Around, Hub};
use multiplane_tests::random::Random;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What other protocols say first.
const OTHERS: [&[u8]; 6] = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
];

/// What an honest peer would say, for mutation.
fn script(random: &mut Random) -> Vec<u8> {
    let kind = ["SUB", "PUB", "XSUB", "XPUB"][random.below(4) as usize];
    let mut script = [greeting(random.below(3) as u8), ready(kind)].concat();
    for _ in 0..random.below(6) {
        let topic = random.bytes(3);
        script.extend(match random.below(3) {
            0 => command(b"PING", b"\0\0context"),
            1 => message(&[&topic, b"a message of a hostile publisher", &topic]),
            _ => subscription(&topic),
        });
    }
    script
}

fn hostile(random: &mut Random) -> Vec<u8> {
    let mut bytes = script(random);
    match random.below(8) {
        0 => {
            let length = random.below(200);
            bytes = random.bytes(length);
        }
        1 => bytes = OTHERS[random.below(OTHERS.len() as u64) as usize].to_vec(),
        2 => {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
            let length = random.below(100);
            bytes.extend(random.bytes(length));
        }
        _ => {
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
        }
    }
    bytes
}

/// T6.
pub fn malformed_sessions(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    honest.exchange(trial, 1000, |_| {});
    let before = hub.process().resident();
    for session in 0..6000 {
        let bytes = hostile(&mut trial.random);
        let port = [hub.subscriber_port(), hub.publisher_port()][trial.random.below(2) as usize];
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { break };
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let piece = 1 + trial.random.below(bytes.len().max(1) as u64) as usize;
        bytes.chunks(piece).for_each(|piece| drop(stream.write_all(piece)));
        match trial.random.below(3) {
            0 => {}
            1 => {
                wire::half_close(&stream);
                let _ = stream.read(&mut [0; 100]);
            }
            _ => drop(stream.read(&mut [0; 1])),
        }
        if session % 2 == 0 {
            honest.send(&mut trial.tally);
            honest.take(&mut trial.tally, Duration::ZERO);
        }
    }
    alive_and_well(trial, &mut hub, &honest);
    trial.grown("memory", before, hub.process().resident(), 25);
    Ok(())
}

/// It still runs, and the honest ones have lost nothing.
fn alive_and_well(trial: &mut Trial, hub: &mut Hub, honest: &Honest) {
    let runs = hub.process().is_running();
    trial.must("it runs", runs);
    honest.settle(trial, 0);
    honest.exchange(trial, 100, |_| {});
    trial.all_delivered();
}

/// How long somebody may take to close a connection. Ours always does, however busy the machine is.
fn patience(trial: &Trial) -> Duration {
    Duration::from_secs(if trial.system.is_ours() { 30 } else { 1 })
}

/// T7.
pub fn huge_frames(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    honest.exchange(trial, 100, |_| {});
    let before = hub.process().resident();
    let mut kept = Vec::new();
    for (port, kind) in [(hub.subscriber_port(), "SUB"), (hub.publisher_port(), "PUB")] {
        for length in [1 << 30, 1 << 33, 1 << 36, (1 << 63) - 1, u64::MAX] {
            let mut stream = wire::peer(port, kind).unwrap();
            let head = [&[2][..], &u64::to_be_bytes(length), &[7; 1024]].concat();
            stream.write_all(&head).unwrap();
            if !wire::is_closed_within(&stream, patience(trial)) {
                kept.push((kind, length, stream));
            }
        }
    }
    let open: Vec<_> = kept.iter().map(|(kind, length, _)| format!("{kind} {length:#x}")).collect();
    trial.must(format!("refused, but open: {}", open.join(", ")), kept.is_empty());
    alive_and_well(trial, &mut hub, &honest);
    trial.grown("memory", before, hub.process().resident(), 5);
    Ok(())
}

/// T8.
pub fn long_topics(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    let mut refused = 0;
    for length in [200, 1000, 1024, 1025, 5000, 65_536, 1_000_000] {
        let mut stream = wire::peer(hub.subscriber_port(), "SUB").unwrap();
        let _ = stream.write_all(&subscription(&vec![b'x'; length]));
        let wait = if length > 1024 { patience(trial) } else { Duration::from_millis(100) };
        let closed = wire::is_closed_within(&stream, wait);
        trial.must(format!("{length} bytes are treated by the limit"), closed == (length > 1024));
        refused += usize::from(closed);
        honest.exchange(trial, 10, |_| {});
    }
    trial.note(format!("{refused} of 7 refused"));
    alive_and_well(trial, &mut hub, &honest);
    Ok(())
}

/// Sends so many subscriptions of thirty bytes beside honest traffic; whether the connection stands it.
fn flood(trial: &mut Trial, honest: &Honest, stream: &mut TcpStream, count: usize) -> bool {
    for n in 0..count / 1000 {
        let topics = (0..1000).flat_map(|_| subscription(&trial.random.bytes(30)));
        if stream.write_all(&topics.collect::<Vec<u8>>()).is_err() {
            return false;
        }
        if n % 10 == 0 {
            honest.exchange(trial, 1, |_| {});
        }
    }
    wire::is_answered(stream)
}

/// T9. One peer may fill a quarter of our table, and no more: three do. The fourth finds a place taken by the honest one.
/// A fifth of the default, which takes that much longer and five times the memory.
pub fn subscription_flood(trial: &mut Trial) -> Ran {
    let (flags, share): (&[&str], _) = match trial.system.is_ours() {
        true => (&["--subscriptions", "200000", "--subscriptions-per-peer", "50000"], 50_000),
        // For those who know no limit it is enough.
        false => (&[], 100_000),
    };
    let mut hub = trial.hub_as(Around { flags, before: "" });
    let honest = Honest::new(trial.system, &hub);
    honest.exchange(trial, 100, |_| {});
    let before = hub.process().resident();
    let mut full = Vec::new();
    if trial.system.is_ours() {
        for _ in 0..3 {
            let mut stream = wire::peer(hub.subscriber_port(), "SUB").unwrap();
            let stays = flood(trial, &honest, &mut stream, share);
            trial.must("a peer at its limit stays", stays);
            full.push(stream);
        }
    }
    let mut stream = wire::peer(hub.subscriber_port(), "SUB").unwrap();
    let stays = flood(trial, &honest, &mut stream, share);
    let most = hub.process().peak_kilobytes() as usize * 1000;
    trial.must("who finds the table full is sent away", !stays);
    if let Some(mut stream) = full.pop() {
        let _ = stream.write_all(&subscription(b"one more"));
        trial.must("so is the one with one more than its share", !wire::is_answered(&mut stream));
    }
    drop((stream, full));
    alive_and_well(trial, &mut hub, &honest);
    if trial.system.is_ours() {
        // The places are free again.
        Honest::new(trial.system, &hub).exchange(trial, 100, |_| {});
        trial.all_delivered();
    }
    trial.grown("memory at most", before, most, 50);
    Ok(())
}

/// T10. Both kinds at both ports at once.
pub fn slow_handshakes(trial: &mut Trial) -> Ran {
    const GIVEN_UP: Duration = Duration::from_secs(5);
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    let ports = [hub.subscriber_port(), hub.publisher_port()];
    let start = now();
    let mut closed = Vec::new();
    std::thread::scope(|scope| {
        let visits: Vec<_> = ports
            .into_iter()
            .flat_map(|port| [(port, false), (port, true)])
            .map(|(port, dribbles)| {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    for byte in greeting(0) {
                        if start.elapsed() > GIVEN_UP {
                            return None;
                        }
                        if dribbles && stream.write_all(&[byte]).is_err() {
                            break;
                        }
                        if wire::is_closed_within(&stream, Duration::from_millis(200)) {
                            break;
                        }
                    }
                    Some(start.elapsed())
                })
            })
            .collect();
        closed.extend(visits.into_iter().map(|visit| visit.join().unwrap()));
    });
    let open = closed.iter().filter(|time| time.is_none()).count();
    trial.must(format!("all 4 are closed, but {open} open after {GIVEN_UP:?}"), open == 0);
    if let Some(slowest) = closed.into_iter().flatten().max() {
        trial.within("closed after", slowest, Duration::from_millis(2300));
    }
    alive_and_well(trial, &mut hub, &honest);
    Ok(())
}

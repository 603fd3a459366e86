//! Rows in which a process ends: killed, or because it was asked to.

use crate::ends::{Honest, TOPIC, component};
use crate::trial::{Ran, System, Trial, skip, timed};
use crate::wire;
use multiplane_bus::PublishError;
use multiplane_tests::clock::{DEADLINE, eventually, measure_over, now};
use multiplane_tests::hub::Around;
use multiplane_tests::place::free_port;
use multiplane_tests::process::Process;
use multiplane_tests::programs::multiplane;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// About a thousand messages a second for so long.
fn traffic(trial: &mut Trial, honest: &Honest, milliseconds: u64) {
    for _ in 0..milliseconds {
        honest.send(&mut trial.tally);
        honest.take(&mut trial.tally, Duration::ZERO);
        measure_over(MILLISECOND);
    }
}

/// T1. In the last round it is away for so long that nobody looks for it often any more.
pub fn backplane_killed(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub();
    let honest = Honest::new(trial.system, &hub);
    // Losses are known from the first message on.
    honest.exchange(trial, 10, |_| {});
    let mut times = Vec::new();
    for round in 0..5 {
        let (before, away) = (100 + trial.random.below(200), trial.random.below(200));
        traffic(trial, &honest, before);
        hub.kill();
        traffic(trial, &honest, if round == 4 { 1500 } else { away });
        hub.restart();
        let (back, first_new) = (now(), trial.tally.sent);
        let mut heard = false;
        while !heard && back.elapsed() < DEADLINE {
            honest.send(&mut trial.tally);
            while let Some(number) = honest.receiver.recv(MILLISECOND) {
                trial.tally.receive(number);
                heard |= number >= first_new;
            }
        }
        trial.must("hears again after a restart", heard);
        times.push(back.elapsed());
    }
    honest.close_books(trial);
    times.sort();
    trial.note(format!("median {:.0?}", times[2]));
    trial.within("slowest", times[4], Duration::from_millis(250));
    trial.books_close();
    Ok(())
}

/// T2. A subscriber that sees each byte: a process that publishes is killed at moments that nobody chose, and so are
/// connections after any number of bytes.
pub fn component_killed(trial: &mut Trial) -> Ran {
    const BODY: usize = 300_000;
    let hub = trial.hub();
    let mut watcher = BufReader::new(wire::subscriber(hub.subscriber_port(), b"").unwrap());
    let payload = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(payload.path(), format!("\"{}\"", "x".repeat(BODY))).unwrap();
    let payload = format!("@{}", payload.path().display());
    let port = hub.publisher_port().to_string();
    let mut whole = 0_u64;
    let mut parts = 0_u64;
    for _ in 0..5 {
        let arguments = ["publish", "big", &payload, "--trailer", "--count", "1000000", "-p", &port];
        let mut publisher = Process::start("publish", Command::new(multiplane()).args(arguments));
        for _ in 0..1 + trial.random.below(20) {
            let got = wire::recv(&mut watcher).expect("a message");
            let is_whole = got.len() == 3 && got[0] == b"big" && got[1].len() > BODY && got[2].len() == 32;
            whole += u64::from(is_whole);
            parts += u64::from(!is_whole);
        }
        publisher.kill();
    }
    let bytes = wire::message(&[b"cut", &vec![7; 3000], &[8; 32]]);
    for _ in 0..200 {
        let mut stream = wire::peer(hub.publisher_port(), "PUB").unwrap();
        let at = trial.random.below(bytes.len() as u64) as usize;
        stream.write_all(&bytes[..at]).unwrap();
    }
    // The end of all that was on its way.
    let mut last = wire::peer(hub.publisher_port(), "PUB").unwrap();
    loop {
        last.write_all(&wire::message(&[b"end"])).unwrap();
        let got = wire::recv(&mut watcher).expect("a message");
        match (&got[0][..], got.len()) {
            (b"end", 1) => break,
            (b"big", 3) if got[1].len() > BODY => whole += 1,
            _ => parts += 1,
        }
    }
    trial.note(format!("{whole} whole ones from killed publishers, {parts} parts"));
    trial.must("no part of a message", parts == 0);
    Ok(())
}

/// T14. A component whose backplane holds it back, and then that backplane.
pub fn ends_in_time(trial: &mut Trial) -> Ran {
    let mut hub = trial.hub_as(Around { flags: &["--on-slow", "block"], before: "" });
    let _stalled = wire::subscriber(hub.subscriber_port(), TOPIC.as_bytes()).unwrap();
    let bus = component(System::Native, "sends", hub.publishing_route());
    let publisher = bus.publisher("BP1").unwrap();
    publisher.wait_for_subscriber(TOPIC, DEADLINE).unwrap();
    let payload = vec![0xc0; 10_000];
    let timeout = Duration::from_secs(1);
    let full = loop {
        match publisher.publish_raw_timeout(TOPIC, &payload, timeout) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    trial.must("it is full in the end", matches!(full, PublishError::Full { .. }));
    let deadline = Duration::from_millis(500);
    let (report, took) = timed(|| bus.close(deadline));
    trial.within("component", took, deadline + Duration::from_millis(250));
    let stats = &report.stats[0];
    let left: u64 = report.unsent.iter().map(|unsent| unsent.messages).sum();
    trial.note(format!("{left} left and counted"));
    trial.must("what is left is counted", left > 0 && left == stats.dropped.unsent);
    trial.must("its books close", stats.accepted == stats.sent + stats.dropped.total());
    hub.process().interrupt();
    let (status, took) = timed(|| hub.process().exit());
    trial.within("backplane", took, Duration::from_secs(1));
    trial.must("it ends well", status.success());
    let line =
        hub.process().output().iter().find(|line| line.contains("received ")).cloned().unwrap_or_default();
    trial.must(format!("the backplane counts what it could not send: {line}"), line.contains("lost with"));
    Ok(())
}

/// Unmounts a folder when it is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// A file system of 256 KiB, where that is allowed.
    fn small() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// T23. `multiplane log` on a disk that fills up, has room again, and is then killed and started again.
pub fn logger(trial: &mut Trial) -> Ran {
    let Some(disk) = Disk::small() else {
        return skip("mounting a tmpfs is not allowed here; gateways/stream/tests/logger.rs has the rest");
    };
    let (file, port) = (disk.0.path().join("log"), free_port());
    // What else is on the disk; taken away when it is to have room again.
    let ballast = [1, 2].map(|n| disk.0.path().join(format!("ballast {n}")));
    let start = || {
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(multiplane());
        let logger =
            Process::start("log", command.arg("log").arg("--file").arg(&file).args(["--listen", &address]));
        multiplane_tests::place::await_listener(port);
        (logger, TcpStream::connect(("127.0.0.1", port)).unwrap())
    };
    let mut number = 0_u64;
    let mut write = |stream: &mut TcpStream, count: u64| {
        for _ in 0..count {
            // Long ones, so that the disk is soon full.
            writeln!(stream, "line {number:06}{}", ".".repeat(500)).unwrap();
            number += 1;
        }
        number
    };
    ballast.iter().for_each(|file| std::fs::write(file, vec![0; 50_000]).unwrap());
    let (mut logger, mut stream) = start();
    write(&mut stream, 1000);
    let size = || std::fs::metadata(&file).map_or(0, |data| data.len());
    eventually("the disk is full", || size() > 100_000);
    let written_before = size();
    std::fs::remove_file(&ballast[0]).unwrap();
    // It looks again by itself; lines that come now are written.
    let mut sent = 0;
    eventually("it writes again", || {
        sent = write(&mut stream, 10);
        measure_over(MILLISECOND * 20);
        size() > written_before
    });
    logger.kill();
    std::fs::remove_file(&ballast[1]).unwrap();
    // A file that a process was killed over is continued behind a whole line.
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"line 9").unwrap();
    let (mut logger, mut stream) = start();
    let before = size();
    write(&mut stream, 3);
    eventually("it goes on", || size() > before);
    drop(stream);
    logger.interrupt();
    trial.must("it ends well", logger.exit().success());
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    trial.must("ends with a whole line", text.ends_with('\n'));
    let is_whole = |line: &&str| line.len() == 511;
    let torn = text.lines().filter(|line| !is_whole(line)).count();
    trial.must(format!("whole lines but for the one amid which it was killed, but {torn} torn"), torn == 1);
    trial.must("whole lines after that", text.lines().rev().take(3).filter(is_whole).count() == 3);
    trial.note(format!("{} of {sent} lines fit on 256 KiB", text.lines().count()));
    Ok(())
}

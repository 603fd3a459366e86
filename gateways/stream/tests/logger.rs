//! The lines of a backplane in a file, through its public face.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Nc, PATIENCE, until};
use multiplane_bus::local::{Backplane, PublishTo};
use multiplane_stream::{Framing, LineLogger, LoggerError, Protocol, StreamServer};
use std::fs::{read_to_string, rename, write};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;
use tempfile::tempdir;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(10_000);

#[test]
fn lines_of_a_hundred_writers_stay_whole() {
    const WRITERS: usize = 100;
    const LINES: usize = 300;
    let folder = tempdir().unwrap();
    let path = folder.path().join("log.data");
    // A small ring: writers are held all the time.
    let _backplane = Backplane::builder("HUNDRED").capacity(16).start().unwrap();
    let logger = LineLogger::builder("HUNDRED", &path).start().unwrap();
    let lines = Protocol::publish("HUNDRED", Framing::lines());
    let server = StreamServer::builder(lines).start().unwrap();
    let address = server.address();
    let text = |writer: usize| -> String {
        let line = |n: usize| format!("{writer:03} {n:04} {}\n", "x".repeat((writer * 7 + n * 13) % 200));
        (0..LINES).map(line).collect()
    };
    let write = |writer: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        // Pieces that end anywhere.
        for piece in text(writer).as_bytes().chunks(1 + writer * 3) {
            stream.write_all(piece).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || write(writer));
        }
    });
    let served = server.close(PATIENCE);
    let logged = logger.close(PATIENCE);
    assert_eq!((served.published, logged.written), ((WRITERS * LINES) as u64, (WRITERS * LINES) as u64));
    let log = read_to_string(&path).unwrap();
    let mut of_writer = vec![String::new(); WRITERS];
    for line in log.lines() {
        let writer: usize = line[..3].parse().unwrap();
        of_writer[writer] += &format!("{line}\n");
    }
    assert!(log.ends_with('\n') && (0..WRITERS).all(|writer| of_writer[writer] == text(writer)));
}

#[test]
fn what_is_there_already_stays() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    write(&path, "before\n").unwrap();
    let backplane = Backplane::new("APPEND").unwrap();
    let logger = LineLogger::builder("APPEND", &path).flush_interval(NEVER).start().unwrap();
    for message in ["one\n", "two", "", "three\nfour"] {
        backplane.publisher().publish(message).unwrap();
    }
    logger.control().sync().unwrap();
    let expected = "before\none\ntwo\n\nthree\nfour\n";
    assert_eq!(read_to_string(&path).unwrap(), expected);
    assert_eq!(logger.stats().written, 4);
    // What nobody asked to be written is, by the end of the backplane.
    backplane.publisher().publish("last").unwrap();
    let control = logger.control();
    drop(backplane);
    until("it has ended", || control.sync().is_err());
    assert_eq!(control.sync().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(read_to_string(&path).unwrap(), format!("{expected}last\n"));
    assert_eq!(logger.close(PATIENCE).written, 5);
}

/// As a process leaves it that was killed while it wrote.
#[test]
fn behind_half_a_line_a_new_one_begins() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "whole\nhal").unwrap();
    let backplane = Backplane::new("HALF").unwrap();
    let publisher = PublishTo::new("HALF").unwrap();
    let logger = LineLogger::builder("HALF", &path).start().unwrap();
    publisher.publish("new").unwrap();
    drop(backplane);
    assert_eq!(logger.close(PATIENCE).written, 1);
    assert_eq!(read_to_string(&path).unwrap(), "whole\nhal\nnew\n");
}

#[test]
fn lines_are_written_when_the_interval_is_over() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let backplane = Backplane::new("INTERVAL").unwrap();
    let logger = LineLogger::builder("INTERVAL", &path).flush_interval(Duration::from_millis(10)).start();
    let logger = logger.unwrap();
    for n in 1..=3 {
        backplane.publisher().publish(format!("{n}")).unwrap();
        until("it is written", || logger.stats().written == n);
        assert_eq!(read_to_string(&path).unwrap().lines().count() as u64, n);
    }
}

#[test]
fn a_moved_file_is_opened_anew() {
    let folder = tempdir().unwrap();
    let (path, moved) = (folder.path().join("log"), folder.path().join("log.old"));
    let backplane = Backplane::new("MOVED").unwrap();
    let publisher = backplane.publisher();
    let logger = LineLogger::builder("MOVED", &path).start().unwrap();
    publisher.publish("one").unwrap();
    logger.control().sync().unwrap();
    rename(&path, &moved).unwrap();
    publisher.publish("two").unwrap();
    logger.control().sync().unwrap();
    logger.control().reopen();
    until("there is a new file", || path.exists());
    publisher.publish("three").unwrap();
    logger.close(PATIENCE);
    assert_eq!(read_to_string(&moved).unwrap(), "one\ntwo\n");
    assert_eq!(read_to_string(&path).unwrap(), "three\n");
}

#[test]
fn files_are_rotated() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let backplane = Backplane::new("ROTATED").unwrap();
    let logger = LineLogger::builder("ROTATED", &path).rotate(1000, 3).start().unwrap();
    for n in 0..1000 {
        backplane.publisher().publish(format!("{n:09}")).unwrap();
    }
    let stats = logger.close(PATIENCE);
    assert_eq!((stats.written, stats.bytes, stats.rotations), (1000, 10_000, 9));
    for (name, first) in [("log.3", 600), ("log.2", 700), ("log.1", 800), ("log", 900)] {
        let expected: String = (first..first + 100).map(|n| format!("{n:09}\n")).collect();
        assert_eq!(read_to_string(folder.path().join(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

/// `/dev/full` is a disk without room; the logger reaches it by a link that later leads elsewhere.
#[test]
fn a_full_disk_is_survived() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    symlink("/dev/full", &path).unwrap();
    let backplane = Backplane::new("FULL").unwrap();
    let publisher = PublishTo::new("FULL").unwrap();
    let logger = LineLogger::builder("FULL", &path).waiting_bytes(100).start().unwrap();
    publisher.publish("kept 1").unwrap();
    assert_eq!(logger.control().sync().unwrap_err().kind(), ErrorKind::StorageFull);
    for n in 0..1000 {
        publisher.publish(format!("{n:09}")).unwrap();
    }
    assert!(logger.control().sync().is_err());
    let stats = logger.stats();
    assert_eq!((stats.written, stats.waiting, stats.dropped), (0, 10, 991));
    // There is room again, after which those that waited come first.
    std::fs::remove_file(&path).unwrap();
    logger.control().reopen();
    until("there is a new file", || path.exists());
    publisher.publish("new").unwrap();
    logger.control().sync().unwrap();
    drop(backplane);
    let stats = logger.close(PATIENCE);
    assert_eq!((stats.written, stats.waiting, stats.dropped), (11, 0, 991));
    let expected: String = (0..9).map(|n| format!("{n:09}\n")).collect();
    assert_eq!(read_to_string(&path).unwrap(), format!("kept 1\n{expected}new\n"));
}

#[test]
fn what_cannot_be_opened_says_so() {
    let folder = tempdir().unwrap();
    let _backplane = Backplane::new("NOWHERE").unwrap();
    let error = LineLogger::builder("NOWHERE", folder.path().join("no/log")).start().unwrap_err();
    assert!(matches!(error, LoggerError::Open { .. }) && error.to_string().contains("no/log"), "{error}");
    let error = LineLogger::builder("NOBODY", folder.path().join("log")).start().unwrap_err();
    assert!(error.to_string().contains("no local backplane is named \"NOBODY\""), "{error}");
}

#[test]
fn a_log_that_can_be_watched() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let _backplane = Backplane::new("WATCHED").unwrap();
    let logger = LineLogger::builder("WATCHED", &path).start().unwrap();
    let server = StreamServer::builder(Protocol::publish("WATCHED", Framing::lines())).start().unwrap();
    let watch = StreamServer::builder(Protocol::subscribe("WATCHED")).start().unwrap();
    let mut watchers: Vec<Nc> = (0..3).map(|_| Nc::connect(watch.address())).collect();
    until("they watch", || watch.stats().clients == 3);
    let mut clients: Vec<Nc> = (0..3).map(|_| Nc::connect(server.address())).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&format!("line {n}\r\n"));
        for watcher in &mut watchers {
            assert_eq!(watcher.line(), Some(format!("line {n}")));
        }
    }
    logger.control().sync().unwrap();
    assert_eq!(read_to_string(&path).unwrap(), "line 0\nline 1\nline 2\n");
}

//! Another server's stream, and what happens when that comes and goes.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{PATIENCE, until};
use multiplane_bus::local::{Backplane, SubscribeTo};
use multiplane_stream::{Framing, StreamClient};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn next(messages: &mut SubscribeTo) -> String {
    let message = messages.recv_timeout(PATIENCE).unwrap();
    String::from_utf8(message.payload().to_vec()).unwrap()
}

fn accept(server: &TcpListener) -> TcpStream {
    server.accept().unwrap().0
}

#[test]
fn a_lost_server_is_found_again_and_its_half_line_kept() {
    let backplane = Backplane::new("UPSTREAM").unwrap();
    let mut lines = backplane.subscriber();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let client = StreamClient::builder(&address.to_string(), "UPSTREAM").framing(Framing::lines());
    let client = client.start().unwrap();
    for n in 1..=3 {
        let mut stream = accept(&server);
        write!(stream, "first {n}\nhalf {n}").unwrap();
        assert_eq!(next(&mut lines), format!("first {n}\n"));
        drop(stream);
        assert_eq!(next(&mut lines), format!("half {n}\n"));
        assert_eq!(client.stats().connections, n);
    }
    // Nobody listens for a while.
    drop(server);
    until("it is down", || !client.stats().connected);
    let server = TcpListener::bind(address).unwrap();
    let mut stream = accept(&server);
    stream.write_all(b"back\nlast").unwrap();
    assert_eq!(next(&mut lines), "back\n");
    until("all has come", || client.stats().bytes == 3 * 14 + 9);
    let stats = client.close(PATIENCE);
    assert_eq!(next(&mut lines), "last\n");
    assert_eq!((stats.connections, stats.published), (4, 8));
}

#[test]
fn the_server_may_come_later_and_is_sent_away_when_it_misbehaves() {
    let backplane = Backplane::new("LATE").unwrap();
    let mut lines = backplane.subscriber();
    // A port that is ours, and at which nobody listens yet.
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let client = StreamClient::builder(&address.to_string(), "LATE").framing(Framing::Lines { limit: 5 });
    let client = client.start().unwrap();
    let server = TcpListener::bind(address).unwrap();
    let mut stream = accept(&server);
    stream.write_all(b"short\nmuch too long\n").unwrap();
    assert_eq!(next(&mut lines), "short\n");
    let mut stream = accept(&server);
    stream.write_all(b"again\n").unwrap();
    assert_eq!(next(&mut lines), "again\n");
    assert_eq!(client.stats().connections, 2);
}

#[test]
fn a_silent_server_is_connected_to_anew() {
    let _backplane = Backplane::new("SILENT").unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = StreamClient::builder(&server.local_addr().unwrap().to_string(), "SILENT");
    let client = client.idle_timeout(Duration::from_millis(20)).start().unwrap();
    let _connections = [accept(&server), accept(&server), accept(&server)];
    until("it has counted them", || client.stats().connections >= 3);
}

#[test]
fn a_full_backplane_holds_the_server_and_loses_nothing() {
    let backplane = Backplane::builder("SLOW").capacity(2).start().unwrap();
    let mut messages = backplane.subscriber();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = StreamClient::builder(&server.local_addr().unwrap().to_string(), "SLOW").start().unwrap();
    let mut stream = accept(&server);
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n / 251) as u8).collect();
    let sent = bytes.clone();
    let writing = std::thread::spawn(move || stream.write_all(&sent).unwrap());
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend_from_slice(messages.recv_timeout(PATIENCE).unwrap().payload());
    }
    assert!(received == bytes);
    writing.join().unwrap();
}

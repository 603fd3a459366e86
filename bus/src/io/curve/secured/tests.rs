use super::*;
use crate::io::curve::{Gate, Role};
use mio::net::UnixStream;
use multiplane_codec::zmtp::curve::{KeyPair, Opened, PublicKey, SecretKey};
use multiplane_codec::zmtp::frame::{self, MORE};
use multiplane_codec::zmtp::{Handshake, SocketType};
use std::sync::Arc;

fn keys(seed: u8) -> Arc<KeyPair> {
    Arc::new(KeyPair::new(SecretKey::from_bytes(&[seed; 32])))
}

/// Lets one key in, and what does not begin with `!`.
struct Door(PublicKey);

impl Gate for Door {
    fn admit(&mut self, key: &PublicKey) -> Result<(), Denied> {
        if *key == self.0 { Ok(()) } else { Err(Denied("a stranger".to_owned())) }
    }

    fn lets_pass(&mut self, frame: &Opened<'_>) -> bool {
        !frame.body.starts_with(b"!")
    }

    fn lost(&mut self, _: u64) {}
}

/// Client and server on one small socket.
fn pair(client: u8, knows: u8) -> (Secured, Secured) {
    let (near, far) = UnixStream::pair().unwrap();
    for end in [&near, &far] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, 4096).unwrap();
    }
    let role = Role::Client { ours: keys(client), server: *keys(knows).public() };
    let ours = Tunnel::new(role, SocketType::Pub, 1 << 20);
    let role = Role::Server { ours: keys(2), gate: Box::new(Door(*keys(1).public())) };
    let theirs = Tunnel::new(role, SocketType::Sub, 1 << 20);
    (Secured::new(Socket::unix(near), ours), Secured::new(Socket::unix(far), theirs))
}

/// One engine past its handshake or on the way there.
struct End {
    stream: Secured,
    handshake: Handshake,
    to_write: Vec<u8>,
    seen: Vec<u8>,
}

impl End {
    fn new(stream: Secured, kind: SocketType) -> Self {
        let (handshake, to_write) = Handshake::start(kind);
        Self { stream, handshake, to_write, seen: Vec::new() }
    }

    /// Reads and writes pieces of these sizes until nothing moves; whether anything did.
    fn turn(&mut self, read: usize, write: usize) -> io::Result<bool> {
        let mut moved = false;
        let mut buffer = vec![0; read];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(n) => {
                    self.seen.extend_from_slice(&buffer[..n]);
                    moved |= n > 0;
                    if n < read {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.handshake.peer().is_none() {
            let used = self.handshake.handle(&self.seen, &mut self.to_write).unwrap();
            self.seen.drain(..used);
        }
        while !self.to_write.is_empty() {
            let piece = write.min(self.to_write.len());
            let slices =
                [IoSlice::new(&self.to_write[..piece / 2]), IoSlice::new(&self.to_write[piece / 2..piece])];
            match self.stream.write_vectored(&slices) {
                Ok(n) => {
                    self.to_write.drain(..n);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }
}

fn ends((client, server): (Secured, Secured)) -> (End, End) {
    (End::new(client, SocketType::Pub), End::new(server, SocketType::Sub))
}

/// Until nothing moves any more. A turn may bring a part of a frame only, and nobody sees that.
fn work((client, server): (&mut End, &mut End), read: usize, write: usize) {
    let mut idle = 0;
    while idle < 100 {
        let moved = client.turn(read, write).unwrap() | server.turn(read, write).unwrap();
        idle = if moved { 0 } else { idle + 1 };
    }
}

fn message(n: usize) -> Vec<u8> {
    let mut message = Vec::new();
    frame::write(&mut message, MORE, format!("topic {n}").as_bytes());
    frame::write(&mut message, 0, &vec![(n % 32) as u8; n * 37 % 20_000]);
    message
}

#[test]
fn what_goes_in_comes_out_however_it_is_cut() {
    for (read, write) in [(1, 1), (7, 3), (64, 4096), (4096, 64), (1 << 17, 1 << 17), (999, 100_000)] {
        let (mut client, mut server) = ends(pair(1, 2));
        let count = if write < 10 { 12 } else { 300 };
        let mut expected = Vec::new();
        work((&mut client, &mut server), read, write);
        assert!(client.handshake.peer().is_some() && server.handshake.peer().is_some());
        for n in 0..count {
            expected.extend_from_slice(&message(n));
            let mut denied = Vec::new();
            frame::write(&mut denied, 0, b"!");
            client.to_write.extend_from_slice(&message(n));
            client.to_write.extend_from_slice(&denied);
        }
        server.to_write.clone_from(&expected);
        work((&mut client, &mut server), read, write);
        assert!(client.to_write.is_empty() && server.to_write.is_empty(), "stuck");
        assert!(server.seen == expected && client.seen == expected, "{read} {write}");
    }
}

#[test]
fn nothing_counts_as_written_before_it_is() {
    let (mut client, mut server) = ends(pair(1, 2));
    while client.handshake.peer().is_none() || server.handshake.peer().is_none() {
        client.turn(100, 100).unwrap();
        server.turn(100, 100).unwrap();
    }
    // Nobody reads.
    client.to_write = message(500);
    while client.turn(100, 1 << 20).unwrap() {}
    assert!(!client.to_write.is_empty(), "a byte at least waits for room");
    work((&mut client, &mut server), 1 << 16, 1 << 20);
    assert!(client.to_write.is_empty() && server.seen == message(500));
}

/// What the two ends die of.
fn fate(secured: (Secured, Secured)) -> (Option<String>, Option<String>) {
    let (mut client, mut server) = ends(secured);
    let mut fates = [None, None];
    for _ in 0..20 {
        for (end, fate) in [&mut client, &mut server].into_iter().zip(&mut fates) {
            if let Err(error) = end.turn(100, 100) {
                fate.get_or_insert(error.to_string());
            }
        }
    }
    assert!(server.seen.is_empty() && server.handshake.peer().is_none(), "nothing comes through");
    fates.into()
}

#[test]
fn strangers_and_those_who_err_are_told_why() {
    let (client, server) = fate(pair(3, 2));
    assert_eq!(server.as_deref(), Some("a stranger"));
    assert_eq!(client.as_deref(), Some("the peer does not let our key in, or not by this port (400)"));

    let (client, server) = fate(pair(1, 3));
    assert_eq!(server.as_deref(), Some("a HELLO for another server key than ours, or a forged one"));
    assert!(client.is_some_and(|why| why.contains("hangs up on our HELLO: the server key")));
}

#[test]
fn who_speaks_null_hears_nothing() {
    let (near, far) = UnixStream::pair().unwrap();
    let role = Role::Server { ours: keys(2), gate: Box::new(Door(*keys(1).public())) };
    let mut server =
        End::new(Secured::new(Socket::unix(near), Tunnel::new(role, SocketType::Sub, 100)), SocketType::Sub);
    server.turn(100, 100).unwrap();
    (&far).write_all(&Handshake::start(SocketType::Pub).1).unwrap();
    let refused = server.turn(100, 100).unwrap_err().to_string();
    assert_eq!(refused, "the peer comes with the security mechanism NULL, and here it is CURVE");
}

/// A message that is damaged on the way ends the connection, and what came before it is handed on.
#[test]
fn what_came_before_a_forgery_is_not_lost() {
    let (mut client, mut server) = ends(pair(1, 2));
    while client.handshake.peer().is_none() || server.handshake.peer().is_none() {
        client.turn(100, 100).unwrap();
        server.turn(100, 100).unwrap();
    }
    client.stream.tunnel.send(&message(1));
    let good = client.stream.tunnel.outwards.len();
    client.stream.tunnel.send(&message(2));
    client.stream.tunnel.outwards[good + 40] ^= 1;
    client.turn(100, 100).unwrap();
    client.stream.flush_sealed().unwrap();
    assert!(server.turn(4096, 100).unwrap());
    assert_eq!(server.seen, message(1));
    let denied = server.turn(4096, 100).unwrap_err();
    assert_eq!(denied.to_string(), "a MESSAGE that is forged, damaged or repeated");
    assert!(crate::io::curve::denial(&denied).is_some());
}

/// What a server says to a client that says this, first and then.
fn answer_to(said: &[&[u8]]) -> io::Result<bool> {
    let (near, far) = UnixStream::pair().unwrap();
    let role = Role::Server { ours: keys(2), gate: Box::new(Door(*keys(1).public())) };
    let tunnel = Tunnel::new(role, SocketType::Sub, 1 << 20);
    let mut server = End::new(Secured::new(Socket::unix(near), tunnel), SocketType::Sub);
    for said in said {
        (&far).write_all(said).unwrap();
        server.turn(100, 100)?;
    }
    server.turn(100, 100)
}

#[test]
fn nothing_but_the_handshake_comes_before_its_end() {
    let greeting = multiplane_codec::zmtp::greeting("CURVE", 1, false);
    let why = |said: &[u8]| answer_to(&[&greeting, said]).unwrap_err().to_string();
    // Refused on its header: no byte of it has to come.
    let mut long = Vec::new();
    frame::write_header(&mut long, frame::COMMAND, 4097);
    assert!(why(&long).contains("4096"), "{}", why(&long));
    assert!(answer_to(&[&greeting, b"\x06\0\0\0\0\0\0\x10\0"]).is_ok(), "4096 bytes may still come");
    assert_eq!(why(b"\0\x03abc"), "a message before the handshake is done");
    for skipped in ["INITIATE", "READY", "MESSAGE", "WELCOME"] {
        let mut command = Vec::new();
        let body = [&[skipped.len() as u8], skipped.as_bytes(), &[0; 200]].concat();
        frame::write(&mut command, frame::COMMAND, &body);
        assert_eq!(why(&command), "not the HELLO of CURVE that comes next");
    }
}

#[test]
fn the_handshake_is_not_said_twice() {
    use multiplane_codec::zmtp::curve::client;
    let (near, far) = UnixStream::pair().unwrap();
    let role = Role::Server { ours: keys(2), gate: Box::new(Door(*keys(1).public())) };
    let tunnel = Tunnel::new(role, SocketType::Sub, 1 << 20);
    let mut server = End::new(Secured::new(Socket::unix(near), tunnel), SocketType::Sub);
    let (greeted, hello) = client::start(&keys(1), keys(2).public(), &[3; 48]).unwrap();
    let mut said = multiplane_codec::zmtp::greeting("CURVE", 1, false).to_vec();
    frame::write(&mut said, frame::COMMAND, &hello);
    (&far).write_all(&said).unwrap();
    server.turn(100, 100).unwrap();
    let mut welcome = [0; 64 + 2 + 168];
    (&far).read_exact(&mut welcome).unwrap();
    let (_, initiate) = greeted.welcome(&welcome[66..], b"\x0bSocket-Type\0\0\0\x03PUB").unwrap();
    let mut said = Vec::new();
    frame::write(&mut said, frame::COMMAND, &initiate);
    (&far).write_all(&said).unwrap();
    while server.handshake.peer().is_none() {
        server.turn(4096, 4096).unwrap();
    }
    // Whoever has its cookie says it again: there it is worth nothing any more.
    (&far).write_all(&said).unwrap();
    let denied = server.turn(4096, 4096).unwrap_err().to_string();
    assert_eq!(denied, "not the MESSAGE of CURVE that comes next");
}

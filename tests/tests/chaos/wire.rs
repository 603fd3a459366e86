//! ZMTP by hand, for peers that are odd.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

pub fn greeting(minor: u8) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, minor];
    greeting.extend_from_slice(b"NULL");
    greeting.resize(64, 0);
    greeting
}

pub fn ready(kind: &str) -> Vec<u8> {
    let length = kind.len() as u8;
    command(b"READY", &[b"\x0bSocket-Type\0\0\0", &[length][..], kind.as_bytes()].concat())
}

pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => [&[flags | 2][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(body);
    frame
}

pub fn command(name: &[u8], data: &[u8]) -> Vec<u8> {
    frame(4, &[&[name.len() as u8], name, data].concat())
}

pub fn message(frames: &[&[u8]]) -> Vec<u8> {
    let last = frames.len() - 1;
    frames.iter().enumerate().flat_map(|(n, body)| frame(u8::from(n < last), body)).collect()
}

/// In the form that every version understands.
pub fn subscription(topic: &[u8]) -> Vec<u8> {
    frame(0, &[&[1], topic].concat())
}

/// A connection past its handshake, of version 3.0. Reads nothing ahead, so that thousands cost nothing here.
pub fn peer(port: u16, kind: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(&[greeting(0), ready(kind)].concat())?;
    stream.read_exact(&mut [0; 64])?;
    // READY: a short command.
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    stream.read_exact(&mut vec![0; usize::from(head[1])])?;
    Ok(stream)
}

pub fn subscriber(port: u16, topic: &[u8]) -> io::Result<TcpStream> {
    let mut stream = peer(port, "SUB")?;
    stream.write_all(&subscription(topic))?;
    Ok(stream)
}

/// The next message of a connection that nobody else reads; `None` at its end.
pub fn recv(stream: &mut impl Read) -> Option<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    loop {
        let mut flags = [0];
        stream.read_exact(&mut flags).ok()?;
        let length = if flags[0] & 2 == 0 {
            let mut length = [0];
            stream.read_exact(&mut length).ok()?;
            u64::from(length[0])
        } else {
            let mut length = [0; 8];
            stream.read_exact(&mut length).ok()?;
            u64::from_be_bytes(length)
        };
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).ok()?;
        if flags[0] & 4 != 0 {
            continue;
        }
        frames.push(body);
        if flags[0] & 1 == 0 {
            return Some(frames);
        }
    }
}

/// Whether the other side ends the connection within this time; what it says before is passed over.
pub fn is_closed_within(stream: &TcpStream, time: Duration) -> bool {
    let mut stream = stream;
    let deadline = multiplane_tests::clock::now() + time;
    loop {
        let left = deadline.saturating_duration_since(multiplane_tests::clock::now());
        if left.is_zero() {
            return false;
        }
        let _ = stream.set_read_timeout(Some(left));
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => return true,
        }
    }
}

/// Says that there is no more.
pub fn half_close(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

//! ZMTP by hand, for peers that are odd.

pub use multiplane_tests::zmtp::{command, frame, greeting, message, ready};
use std::io::{self, BufReader, Read, Write};
use std::iter;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

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

/// The next frame, flags and body; `None` at the end.
fn next_frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let length = if head[0] & 2 == 0 {
        u64::from(head[1])
    } else {
        let mut length = [head[1], 0, 0, 0, 0, 0, 0, 0];
        stream.read_exact(&mut length[1..]).ok()?;
        u64::from_be_bytes(length)
    };
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).ok()?;
    Some((head[0], body))
}

/// The next message of a connection that nobody else reads; `None` at its end.
pub fn recv(stream: &mut impl Read) -> Option<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    loop {
        let (flags, body) = next_frame(stream)?;
        if flags & 4 != 0 {
            continue;
        }
        frames.push(body);
        if flags & 1 == 0 {
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

/// Whether all that was said is taken: a question behind it has its answer. Messages before that are passed over.
pub fn is_answered(stream: &mut TcpStream) -> bool {
    let asked = stream.write_all(&command(b"PING", b"\0\0all?"));
    let mut stream = BufReader::new(stream);
    asked.is_ok()
        && iter::from_fn(|| next_frame(&mut stream))
            .any(|(flags, body)| flags & 4 != 0 && body == b"\x04PONGall?")
}

/// Says that there is no more.
pub fn half_close(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

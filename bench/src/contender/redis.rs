//! Redis pub/sub.
//!
//! The client is the part of RESP that pub/sub needs, written and read in batches (a pipeline), without replies to the
//! publisher. Redis disconnects subscribers that are slow; here its buffers are unbounded, and credit bounds them.

use super::server::free_port;
use super::wire::{self, Unit, Wire};
use super::{Lossless, Middle, Parts, Place, System, WINDOW, peer};
use crate::BenchError;

pub(super) static REDIS: System = System {
    name: "redis",
    lossless: Lossless::Credit(WINDOW),
    check: peer::through_a_server,
    parts: Parts::Processes {
        middle: Some(middle),
        publish: wire::publish::<Resp>,
        subscribe: wire::subscribe::<Resp>,
    },
};

fn middle(_place: &Place) -> Result<Middle, BenchError> {
    let program = peer::program("redis-server", "apt-get install redis-server")?;
    let port = free_port()?;
    let listen = ["--bind", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned);
    let store_nothing = ["--save", "", "--appendonly", "no"].map(str::to_owned);
    let limits = ["--client-output-buffer-limit", "pubsub 0 0 0"].map(str::to_owned);
    let options = listen.iter().chain(&store_nothing).chain(&limits).map(String::as_str);
    Middle::server(&[&*program].into_iter().chain(options).collect::<Vec<_>>(), vec![port])
}

struct Resp;

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    digits(out, bytes.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn digits(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        digits(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// A line at `at`: its first byte, the number that follows, and where the next one begins. A simple text counts as 0.
fn line(bytes: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'\r').filter(|end| end + 1 < rest.len())?;
    let number = std::str::from_utf8(rest.get(1..end)?).ok().and_then(|text| text.parse().ok());
    Some((*rest.first()?, number.unwrap_or(0), at + end + 2))
}

impl Wire for Resp {
    fn open(out: &mut Vec<u8>, publishes: bool) {
        if publishes {
            out.extend_from_slice(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n");
        }
    }

    fn subscribe(out: &mut Vec<u8>, topic: &str) {
        out.extend_from_slice(b"*2\r\n$9\r\nSUBSCRIBE\r\n");
        bulk(out, topic.as_bytes());
    }

    #[inline]
    fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        out.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n");
        bulk(out, topic.as_bytes());
        bulk(out, payload);
    }

    #[inline]
    fn next(bytes: &[u8]) -> Result<Option<Unit<'_>>, BenchError> {
        let Some((kind, count, mut at)) = line(bytes, 0) else { return Ok(None) };
        if kind != b'*' {
            let said = String::from_utf8_lossy(&bytes[..at - 2]).into_owned();
            return Err(BenchError::failed("receiving", format!("redis says {said}")));
        }
        let (mut is_message, mut payload) = (false, None);
        for nth in 0..count {
            let Some((kind, length, start)) = line(bytes, at) else { return Ok(None) };
            at = start;
            if kind == b'$' {
                let Some(text) = bytes.get(start..start.saturating_add(length)) else { return Ok(None) };
                is_message |= nth == 0 && text == b"message";
                payload = Some(text);
                at = start + length + 2;
            }
        }
        let whole = at <= bytes.len();
        Ok(whole.then_some(Unit { length: at, payload: payload.filter(|_| is_message) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_read() {
        let mut said = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nt\r\n:1\r\n".to_vec();
        let confirmed = said.len();
        assert_eq!(Resp::next(&said).unwrap(), Some(Unit { length: confirmed, payload: None }));
        said = b"*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n".to_vec();
        bulk(&mut said, &[b'\r'; 120]);
        let whole = said.len();
        for cut in 0..whole {
            assert_eq!(Resp::next(&said[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(Resp::next(&said).unwrap(), Some(Unit { length: whole, payload: Some(&[b'\r'; 120]) }));
        assert!(Resp::next(b"-ERR no\r\n").is_err());
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 9, 10, 16, 100, 65_536] {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}

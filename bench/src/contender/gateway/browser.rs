//! A web client of Python Banyan's gateway: JSON in text frames (RFC 6455), after a first message with its id.

use super::super::wire::{Unit, Wire};
use super::super::{Lossless, Middle, Parts, Place, System, WINDOW, banyan, server};
use super::Writing;
use super::body::{Form, Reading};
use crate::BenchError;
use crate::contender::wire::{Reader, Writer};
use crate::scenario::{Scenario, World};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

/// The topic of the client's messages; it gets those of `from_web`.
const ID: &[u8] = br#"{"id":"to_web"}"#;

/// The library under Python's gateway, and nothing else: each message goes to whoever else is connected.
pub(in super::super) static WEBSOCKETS: System = System {
    name: "websockets-relay",
    lossless: Lossless::Credit(WINDOW),
    check: |scenario| match scenario {
        Scenario::Gateway(World::WebSocket, _) => Ok(()),
        _ => Err("it speaks WebSocket"),
    },
    parts: Parts::Processes {
        middle: Some(relay),
        publish: |place, role| {
            let writer = Writer::<Text>::over(connect(place.port(0)?)?)?;
            role.run(Vec::new(), Writing::new(Form::Json, writer))
        },
        subscribe: |place, role| {
            let reader = Reader::<Text>::over(connect(place.port(0)?)?, &[])?;
            role.run(Vec::new(), Reading(reader))
        },
    },
};

const SCRIPT: &str = include_str!("../../../peers/websockets_relay.py");

fn relay(_place: &Place) -> Result<Middle, BenchError> {
    let (python, port) = (banyan::interpreter()?, server::free_port()?);
    Middle::server(&[&python, "-c", SCRIPT, &port.to_string()], vec![port])
}

/// A client that has been let in and has said its id.
pub(super) fn connect(port: u16) -> Result<TcpStream, BenchError> {
    let greet = || -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        let mut first = Vec::new();
        Text::publish(&mut first, "", ID);
        stream.write_all(&first)?;
        Ok(stream)
    };
    let stream = greet().map_err(BenchError::doing("connecting"))?;
    // Nobody says when the bus has been asked for what this client gets.
    thread::park_timeout(super::SETTLE);
    Ok(stream)
}

/// Frames of text.
pub(super) struct Text;

const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;

impl Wire for Text {
    fn open(_: &mut Vec<u8>, _: bool) {}

    fn subscribe(_: &mut Vec<u8>, _: &str) {}

    /// A mask of zeros leaves the payload as it is.
    #[inline]
    fn publish(out: &mut Vec<u8>, _: &str, payload: &[u8]) {
        out.push(TEXT);
        match payload.len() {
            short @ ..=125 => out.push(MASKED | short as u8),
            long @ ..=0xffff => {
                out.push(MASKED | 126);
                out.extend_from_slice(&(long as u16).to_be_bytes());
            }
            longer => {
                out.push(MASKED | 127);
                out.extend_from_slice(&(longer as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
    }

    #[inline]
    fn next(bytes: &[u8]) -> Result<Option<Unit<'_>>, BenchError> {
        let [kind, length, rest @ ..] = bytes else { return Ok(None) };
        if *length & MASKED != 0 {
            return Err(BenchError::failed("receiving", "the server sends no WebSocket frames"));
        }
        let (head, length) = match (length, rest) {
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, rest) => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length) as usize),
                None => return Ok(None),
            },
            (126, _) => return Ok(None),
            (length, _) => (2, usize::from(*length)),
        };
        let Some(payload) = bytes.get(head..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
        Ok(Some(Unit { length: head + length, payload: (*kind == TEXT).then_some(payload) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_rfc() {
        for (size, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let (payload, mut out) = (vec![b'x'; size], Vec::new());
            Text::publish(&mut out, "", &payload);
            assert_eq!(out.len(), head + 4 + size);
            // What a server sends is the same without the mask.
            out[1] &= !MASKED;
            out.drain(head..head + 4);
            let whole = out.len();
            out.push(0x89);
            let unit = Text::next(&out).unwrap().unwrap();
            assert_eq!((unit.length, unit.payload), (whole, Some(&*payload)));
            assert_eq!(Text::next(&out[..whole - 1]).unwrap(), None);
        }
        assert_eq!(Text::next(&[0x89, 0]).unwrap(), Some(Unit { length: 2, payload: None }));
        assert!(Text::next(&[0x81, 0x80, 0]).is_err());
    }
}

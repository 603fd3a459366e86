//! Eclipse Mosquitto, MQTT 3.1.1 at QoS 0.
//!
//! The client is the few packets that QoS 0 needs, written and read in batches, so that it is not what is measured. A
//! broker drops at QoS 0 what a slow subscriber does not take; here its queues are unbounded, and credit bounds them.

use super::server::free_port;
use super::wire::{self, Unit, Wire};
use super::{Lossless, Middle, Parts, Place, System, WINDOW, peer};
use crate::BenchError;
use std::{env, fs, process};

pub(super) static MOSQUITTO: System = System {
    name: "mosquitto",
    lossless: Lossless::Credit(WINDOW),
    check: peer::through_a_server,
    parts: Parts::Processes {
        middle: Some(middle),
        publish: wire::publish::<Mqtt>,
        subscribe: wire::subscribe::<Mqtt>,
    },
};

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;

pub(super) fn middle(_place: &Place) -> Result<Middle, BenchError> {
    let program = peer::program("mosquitto", "apt-get install mosquitto")?;
    let port = free_port()?;
    // It takes most options from a file only. As another user it would outlive us, for that forgets whose end is its own.
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n\
         max_queued_messages 0\nmax_queued_bytes 0\n"
    );
    let file = env::temp_dir().join(format!("multiplane-bench-{}-{port}.conf", process::id()));
    fs::write(&file, config).map_err(BenchError::doing("configuring mosquitto"))?;
    let middle = Middle::server(&[&program, "-c", &file.to_string_lossy()], vec![port]);
    let _ = fs::remove_file(file);
    middle
}

pub(super) struct Mqtt;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first.
fn length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

impl Wire for Mqtt {
    fn open(out: &mut Vec<u8>, _publishes: bool) {
        // Version 4, a clean session, no keep-alive, a name that the broker chooses.
        out.extend_from_slice(&[CONNECT, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0]);
    }

    fn subscribe(out: &mut Vec<u8>, topic: &str) {
        out.push(SUBSCRIBE);
        length(out, 2 + 2 + topic.len() + 1);
        out.extend_from_slice(&[0, 1]);
        text(out, topic);
        out.push(0);
    }

    #[inline]
    fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        out.push(PUBLISH);
        length(out, 2 + topic.len() + payload.len());
        text(out, topic);
        out.extend_from_slice(payload);
    }

    #[inline]
    fn next(bytes: &[u8]) -> Result<Option<Unit<'_>>, BenchError> {
        let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
        let Some(last) = rest.iter().take(4).position(|byte| byte & 0x80 == 0) else {
            let garbage = || BenchError::failed("receiving", "the broker sends no MQTT");
            return if rest.len() < 4 { Ok(None) } else { Err(garbage()) };
        };
        let length = rest[..=last].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let Some(body) = rest[last + 1..].get(..length) else { return Ok(None) };
        let payload = (kind == PUBLISH).then(|| {
            let (topic, rest) = body.split_first_chunk::<2>()?;
            rest.get(usize::from(u16::from_be_bytes(*topic))..)
        });
        Ok(Some(Unit { length: 1 + last + 1 + length, payload: payload.flatten() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for size in [0, 16, 100, 127, 128, 16_384, 65_536, 3_000_000] {
            let (payload, mut out) = (vec![7; size], Vec::new());
            Mqtt::publish(&mut out, "bench/topic", &payload);
            let whole = out.len();
            out.push(PUBLISH);
            let unit = Mqtt::next(&out).unwrap().unwrap();
            assert_eq!((unit.length, unit.payload), (whole, Some(&*payload)));
            assert_eq!(Mqtt::next(&out[..whole - 1]).unwrap(), None);
        }
        assert_eq!(Mqtt::next(&[0x20, 2, 0, 0]).unwrap(), Some(Unit { length: 4, payload: None }));
        assert!(Mqtt::next(&[0x30, 255, 255, 255, 255, 1]).is_err());
    }
}

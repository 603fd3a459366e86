//! A number through an eventfd to another thread that sleeps, and another back: the limit of the machine for whoever
//! wakes somebody. No payload travels, whatever its size.

use crate::BenchError;
use crate::contender::{Lossless, Parts, System};
use crate::scenario::Scenario;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

pub(crate) static BASE: System = System {
    name: "base-eventfd",
    lossless: Lossless::BackPressure,
    check: |scenario| match scenario {
        Scenario::PingPong => Ok(()),
        _ => Err("it wakes somebody; use ping_pong"),
    },
    parts: Parts::Threads(|_, role| {
        let (there, back) = (open()?, open()?);
        let (hears, says) = (there.clone(), back.clone());
        let echo = move || {
            while let Ok(number) = read(&hears) {
                if write(&says, number).is_err() {
                    break;
                }
            }
        };
        // It waits for ever in the end, and ends with the process.
        thread::Builder::new().name("echo".to_owned()).spawn(echo).map_err(BenchError::doing("starting"))?;
        role.ping_pong(move |sequence| {
            // Nought would wake nobody.
            write(&there, sequence + 1)?;
            Ok(read(&back)? - 1)
        })
    }),
};

fn open() -> Result<Arc<OwnedFd>, BenchError> {
    eventfd(0, EventfdFlags::CLOEXEC).map(Arc::new).map_err(BenchError::doing("opening an eventfd"))
}

fn write(fd: &OwnedFd, number: u64) -> Result<(), BenchError> {
    rustix::io::write(fd, &number.to_ne_bytes()).map_err(BenchError::doing("waking"))?;
    Ok(())
}

fn read(fd: &OwnedFd) -> Result<u64, BenchError> {
    let mut number = [0; 8];
    rustix::io::read(fd, &mut number).map_err(BenchError::doing("waiting"))?;
    Ok(u64::from_ne_bytes(number))
}

//! Python Banyan as it comes from PyPI: its backplane, and components that are made with its `BanyanBase`.
//!
//! Its queues drop what they have no room for, which is after 1000 messages at its defaults. They learn of room in
//! steps of half of that, so that fewer than the other half may be on the way. Its receive loop sleeps between two looks, 0.1 s at its default; here 0.1 ms, as its fastest users set it.

use super::server::free_port;
use super::{Lossless, Middle, Parts, Place, System, libzmq, peer};
use crate::BenchError;
use std::path::Path;
use std::process::Command;

pub(super) static BANYAN: System = System {
    name: "banyan",
    lossless: Lossless::Credit(400),
    check: peer::through_a_server,
    parts: Parts::Programs { middle, end: python },
};

/// libzmq's ends through Python Banyan's backplane.
pub(super) static LIBZMQ: System = System {
    name: "libzmq-banyan",
    parts: Parts::Processes { middle: Some(middle), publish: libzmq::publish, subscribe: libzmq::subscribe },
    ..BANYAN
};

const SCRIPT: &str = include_str!("../../peers/banyan.py");

fn python() -> Result<Command, BenchError> {
    let mut command = Command::new(interpreter()?);
    command.args(["-c", SCRIPT]);
    Ok(command)
}

/// The Python whose package it is: beside its backplane.
pub(super) fn interpreter() -> Result<String, BenchError> {
    let backplane = peer::program("backplane", "pip install python-banyan into target/peers/venv")?;
    Ok(Path::new(&backplane).with_file_name("python3").to_string_lossy().into_owned())
}

pub(super) fn middle(_place: &Place) -> Result<Middle, BenchError> {
    let ports = vec![free_port()?, free_port()?];
    let [publishers, subscribers] = [&ports[0], &ports[1]].map(u16::to_string);
    let python = interpreter()?;
    Middle::server(&[&python, "-c", SCRIPT, "backplane", &publishers, &subscribers], ports)
}

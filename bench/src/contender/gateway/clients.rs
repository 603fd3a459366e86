//! MQTT as people use it from a shell: lines into `mosquitto_pub -l`, lines out of `mosquitto_sub`, quality 0.

use super::super::{Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, Until};
use super::super::{WINDOW, mosquitto, peer};
use super::{body, check_mqtt};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use body::{Form, Reading, Writing};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

const BATCH: usize = 64 * 1024;
/// How long to wait for lines before looking whether all is over.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

pub(in super::super) static MOSQUITTO: System = System {
    name: "mosquitto-clients",
    lossless: Lossless::Credit(WINDOW),
    check: check_mqtt,
    parts: Parts::Processes { middle: Some(middle), publish, subscribe },
};

/// The pipe into the one program, or out of the other; both belong to a broker that has a port to itself.
fn pipe(port: u16, way: &str) -> PathBuf {
    env::temp_dir().join(format!("multiplane-bench-{port}-{way}"))
}

/// The broker and both programs.
fn middle(place: &Place) -> Result<Middle, BenchError> {
    let [publish, subscribe] = ["mosquitto_pub", "mosquitto_sub"]
        .map(|program| peer::program(program, "apt-get install mosquitto-clients"));
    let (publish, subscribe) = (publish?, subscribe?);
    let broker = mosquitto::middle(place)?;
    let port = broker.ports[0];
    for way in ["in", "out"] {
        // Of a run that was broken off.
        let _ = fs::remove_file(pipe(port, way));
        let made = Command::new("mkfifo").arg(pipe(port, way)).status();
        let made = made.map_err(BenchError::doing("making a pipe"))?;
        if !made.success() {
            return Err(BenchError::failed("making a pipe", "mkfifo failed"));
        }
    }
    let topic = "bench";
    let [into, out] = ["in", "out"].map(|way| pipe(port, way).to_string_lossy().into_owned());
    let publish = format!("exec {publish} -p {port} -t {topic} -l <{into}");
    let subscribe = format!("exec {subscribe} -p {port} -t {topic} >{out}");
    let subscribe = Middle::server(&["sh", "-c", &subscribe], Vec::new())?;
    let publish = Middle::server(&["sh", "-c", &publish], Vec::new())?;
    Ok(broker.and(subscribe).and(publish))
}

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let pipe = open(place, "in", File::options().write(true))?;
    role.run(Vec::new(), Writing::new(Form::Json, Lines { pipe, buffer: Vec::new() }))
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let pipe = open(place, "out", File::options().read(true))?;
    role.run(Vec::new(), Reading(Hearing { pipe }))
}

/// Waits until the program has opened the other end; then nobody needs the name any more.
fn open(place: &Place, way: &str, how: &OpenOptions) -> Result<File, BenchError> {
    let path = pipe(place.port(0)?, way);
    let opened = how.open(&path).map_err(BenchError::doing("opening a pipe"))?;
    fs::remove_file(&path).map_err(BenchError::doing("opening a pipe"))?;
    Ok(opened)
}

struct Lines {
    pipe: File,
    buffer: Vec<u8>,
}

impl Sender for Lines {
    #[inline]
    fn send(&mut self, _: &str, payload: &[u8]) -> Result<(), BenchError> {
        self.buffer.extend_from_slice(payload);
        self.buffer.push(b'\n');
        if self.buffer.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.pipe.write_all(&self.buffer).map_err(BenchError::doing("publishing"))?;
        self.buffer.clear();
        Ok(())
    }
}

struct Hearing {
    pipe: File,
}

impl Receiver for Hearing {
    fn receive<L: Listener>(
        mut self,
        mut listener: L,
        _opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let (mut buffer, mut filled) = (vec![0; 4 * BATCH], 0);
        while !until.over() {
            // A pipe has no time limit for reading.
            let mut ready = [PollFd::new(&self.pipe, PollFlags::IN)];
            if poll(&mut ready, Some(&PATIENCE)).map_err(BenchError::doing("receiving"))? == 0 {
                continue;
            }
            match self.pipe.read(&mut buffer[filled..]).map_err(BenchError::doing("receiving"))? {
                0 => return Err(BenchError::failed("receiving", "mosquitto_sub has ended")),
                read => filled += read,
            }
            let whole = buffer[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            for line in buffer[..whole].split_inclusive(|byte| *byte == b'\n') {
                listener.hear(&line[..line.len() - 1]);
            }
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
            if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
        }
        Ok(listener)
    }
}

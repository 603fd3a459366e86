//! Where a served stream comes from. Each source has a thread, which waits for the slowest when nothing may be lost.

use crate::failure::Failure;
use crate::render::Format;
use multiplane_bus::local::PublishTo;
use multiplane_bus::{Builder, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest line that is one message; what is longer is several.
const LINE: u64 = 64 * 1024;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// How often it looks whether the stream is at its end although nothing comes.
const TICK: Duration = Duration::from_millis(100);

pub(super) struct Source {
    thread: JoinHandle<Result<(), Failure>>,
    /// The group of the command.
    group: Option<Pid>,
}

impl Source {
    pub(super) fn stdin(chunks: bool, publisher: PublishTo) -> Result<Self, Failure> {
        let read = move || {
            copy(io::stdin().lock(), chunks, &publisher)
                .map_err(|error| Failure::Failed(format!("cannot read the standard input: {error}")))
        };
        Ok(Self { thread: spawn(read)?, group: None })
    }

    pub(super) fn command(line: &str, chunks: bool, publisher: PublishTo) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Failed(format!("the command `{line}` failed: {error}"));
        // A group of its own, so that all of it can be ended.
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child: Child = command.spawn().map_err(|error| failed(&error))?;
        let group = Some(Pid::from_child(&child));
        let line = line.to_owned();
        let read = move || {
            let failed = |error: &dyn std::fmt::Display| {
                Failure::Failed(format!("the command `{line}` failed: {error}"))
            };
            if let Some(output) = child.stdout.take() {
                copy(output, chunks, &publisher).map_err(|error| failed(&error))?;
            }
            let status = child.wait().map_err(|error| failed(&error))?;
            if status.success() { Ok(()) } else { Err(failed(&status)) }
        };
        Ok(Self { thread: spawn(read)?, group })
    }

    pub(super) fn bus(component: Builder, format: Format, publisher: PublishTo) -> Result<Self, Failure> {
        let bus = component.start_deadline(Duration::ZERO).start()?;
        let subscriber = bus.subscriber()?;
        let read = move || {
            // The links end with this thread.
            let _bus = bus;
            loop {
                match subscriber.recv_timeout(TICK) {
                    Ok(message) => {
                        let mut text = Vec::new();
                        let written = format.write(&message, &mut text);
                        written.map_err(|error| Failure::Failed(error.to_string()))?;
                        if publisher.publish(text).is_err() {
                            return Ok(());
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Failure::Failed(
                            "the bus ended by itself; the log above says why".to_owned(),
                        ));
                    }
                }
            }
        };
        Ok(Self { thread: spawn(read)?, group: None })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// How it ended.
    pub(super) fn outcome(self) -> Result<(), Failure> {
        let panicked =
            |_| Err(Failure::Failed("the source panicked: this is a bug in Multiplane".to_owned()));
        self.thread.join().unwrap_or_else(panicked)
    }

    /// Nobody wants more of it. What waits for its input ends with the process.
    pub(super) fn stop(self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

fn spawn(
    read: impl FnOnce() -> Result<(), Failure> + Send + 'static,
) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
    let thread = std::thread::Builder::new().name("source".to_owned()).spawn(read);
    thread.map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))
}

/// Publishes all that it reads, and changes no byte of it.
fn copy(mut input: impl Read, chunks: bool, publisher: &PublishTo) -> io::Result<()> {
    if chunks {
        let mut buffer = vec![0; CHUNK];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) if publisher.publish(buffer[..count].to_vec()).is_err() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    let mut input = BufReader::with_capacity(CHUNK, input);
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 || publisher.publish(line).is_err() {
            return Ok(());
        }
    }
}

//! What stands in the middle: something in its process, or a server that is a program of its own.

use crate::{BenchError, clock};
use std::any::Any;
use std::fmt;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

const STARTING: &str = "starting a server";

/// A started middle: alive until dropped.
pub struct Middle {
    /// Its ports; which is which, its contender knows.
    pub ports: Vec<u16>,
    alive: Vec<Alive>,
}

enum Alive {
    Here(#[expect(dead_code, reason = "only to be dropped")] Box<dyn Any>),
    Server(Child),
}

impl Middle {
    /// In this process, for as long as `alive` is.
    pub(crate) fn here(ports: Vec<u16>, alive: impl Any) -> Self {
        Middle { ports, alive: vec![Alive::Here(Box::new(alive))] }
    }

    /// A program, started here and ended with this process, whatever ends that; ready when it accepts connections on
    /// the first of the ports. Its processor time counts.
    pub(crate) fn server(command: &[&str], ports: Vec<u16>) -> Result<Self, BenchError> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(BenchError::doing(STARTING))?;
        let name = command.first().copied().unwrap_or_default();
        let deadline = clock::now() + START.as_nanos() as u64;
        let accepts = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
        while !ports.first().is_none_or(accepts) {
            if let Some(status) = child.try_wait().map_err(BenchError::doing(STARTING))? {
                return Err(BenchError::failed(
                    STARTING,
                    format!("{name} ended: {status}; is it installed?"),
                ));
            }
            if clock::now() > deadline {
                let _ = child.kill();
                return Err(BenchError::failed(STARTING, format!("{name} listens on no port")));
            }
            thread::park_timeout(LOOK);
        }
        Ok(Middle { ports, alive: vec![Alive::Server(child)] })
    }

    /// With another one behind it, which ends first.
    pub(crate) fn and(mut self, other: Middle) -> Self {
        let Middle { ports, alive } = other;
        self.ports.extend(ports);
        self.alive.splice(..0, alive);
        self
    }

    /// The programs among it; see [`cpu`].
    pub(crate) fn servers(&self) -> impl Iterator<Item = u32> {
        self.alive.iter().filter_map(|alive| match alive {
            Alive::Here(_) => None,
            Alive::Server(child) => Some(child.id()),
        })
    }
}

/// Processor time that a program has used, in nanoseconds.
pub(crate) fn cpu(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name before may hold anything, but nothing behind it holds a bracket. Then come state, and user and
    // system time as the eleventh and twelfth field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Alive::Server(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl fmt::Debug for Middle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Middle").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// A port of this machine that nobody listens on, for servers that do not choose one themselves.
pub(crate) fn free_port() -> Result<u16, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::doing("finding a free port"))?;
    Ok(listener.local_addr().map_err(BenchError::doing("finding a free port"))?.port())
}

/// A port that nobody listens on and that the system gives to no near end of a connection: for one to which somebody tries to
/// connect before anybody listens, and who would at some time meet himself there and keep it.
pub(crate) fn quiet_port() -> Result<u16, BenchError> {
    const FINDING: &str = "finding a quiet port";
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.map_err(BenchError::doing(FINDING))?;
    let first: Option<u16> = range.split_whitespace().next().and_then(|first| first.parse().ok());
    // Those that run at the same time begin elsewhere.
    let begin = 1 + (std::process::id() % 4096) as u16;
    let below = first.and_then(|first| first.checked_sub(begin)).unwrap_or(0);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let found = (1024..below).rev().find(is_free);
    found.ok_or_else(|| BenchError::failed(FINDING, "all below those of the system are taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_missing_or_ends_is_no_middle() {
        let port = free_port().unwrap();
        for command in ["no-such-program", "true"] {
            let why = Middle::server(&[command], vec![port]).unwrap_err().to_string();
            assert!(why.contains(command), "{why}");
        }
    }

    #[test]
    fn a_server_is_timed_and_ended() {
        let script = "import socket, time
s = socket.create_server(('127.0.0.1', PORT))
while time.process_time() < 0.3: pass
while True: s.accept()";
        let port = free_port().unwrap();
        let middle =
            Middle::server(&["python3", "-c", &script.replace("PORT", &port.to_string())], vec![port]);
        let middle = middle.unwrap();
        let deadline = clock::now() + 10_000_000_000;
        let used = || middle.servers().map(cpu).sum::<u64>();
        while used() < 100_000_000 && clock::now() < deadline {
            thread::park_timeout(LOOK);
        }
        assert!(used() >= 100_000_000);
        drop(middle);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

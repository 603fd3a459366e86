//! One other host does not take all places at a gateway's port.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::process::Process;
use multiplane_tests::programs::multiplane;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

/// An address of this machine by which it is another host to itself; nothing is sent for it.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip()).filter(|address| !address.is_loopback())
}

/// The port, if there is one that somebody may listen at.
fn port_behind(here: &str, line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(here)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok().filter(|port| *port > 0)
}

/// Whether the port keeps a connection, for `patience` at least.
fn stays(mut client: &TcpStream, patience: Duration) -> bool {
    client.set_read_timeout(Some(patience)).unwrap();
    client.read(&mut [0]).map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |read| read > 0)
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_host_takes_its_own_places_only() {
    let Some(address) = outer_address() else {
        return eprintln!("skipped: this machine has no address but its loopback device's");
    };
    let here = format!("{address}:");
    for what in ["gateway tcp", "gateway websocket", "serve --stdin"] {
        let mut command = Command::new(multiplane());
        command.args(what.split(' ')).args(["--listen", &format!("{here}0"), "--insecure"]);
        command.args(["--connections-per-address", "2"]);
        let mut gateway = Process::start(what, &mut command);
        // The one that was asked for is told as well, and has port 0.
        let line = gateway.line("its address", |line| port_behind(&here, line).is_some());
        let door = SocketAddr::new(address, port_behind(&here, &line).unwrap());
        let comes = || TcpStream::connect(door).unwrap();
        let (first, second) = (comes(), comes());
        assert!(!stays(&comes(), DEADLINE), "{what}");
        assert!(stays(&second, Duration::from_millis(50)), "{what}");
        drop(first);
        eventually("the place is free again", || {
            // Who serves notices that a client is gone when there is something for it.
            gateway.say("a line");
            stays(&comes(), Duration::from_millis(50))
        });
    }
}

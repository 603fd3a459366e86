//! Options of our own TCP sockets, of links and backplanes alike.

use mio::net::TcpStream;
use std::io;
use std::time::Duration;

/// No delay for small messages; a vanished host is noticed after 5 + 3 * 2 seconds.
pub(crate) fn set_options(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

/// Chooses the congestion control that serves a sender on the loopback device: nothing is ever lost there, so one that
/// paces, as the default of many systems does, only costs time. A system without it keeps its own.
pub(crate) fn serve_loopback(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_congestion(stream, "reno");
}

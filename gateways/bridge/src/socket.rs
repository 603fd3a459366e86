//! Options of foreign sockets.

use mio::net::TcpStream;
use rustix::net::sockopt;
use std::io;
use std::time::Duration;

/// No delay for small messages; a vanished host is noticed after 5 + 3 * 2 seconds, unless data is on its way to it.
pub(crate) fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

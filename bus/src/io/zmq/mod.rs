//! libzmq behind small faces: a subscriber's socket, a publisher's socket, a backplane's pair, and their monitors.
//!
//! The rules that every caller keeps (each was learnt from a stall or a loss):
//! * A worker polls the *descriptor* of a socket (`ZMQ_FD`), not the socket, so that idle links cost one entry in
//!   `poll` and a link that only sends is woken when its peer makes room. That descriptor is edge-triggered: after it
//!   fired, or after any send or receive, the socket is drained to [`Received::Empty`] or remembered as not drained.
//! * Subscriptions travel through queues that no high-water mark limits, for libzmq drops those beyond it silently.
//! * Data queues are always bounded.
//! * No ZMTP heartbeats: libzmq takes a connection whose *reader* is held back by back-pressure for dead, and drops it
//!   with everything queued. TCP keepalive finds a vanished host without that mistake.

mod forwarder;
pub mod measuring;
mod monitor;
mod options;
mod publisher;
mod subscriber;

pub(crate) use forwarder::{BindError, Forwarded, Forwarder, SubscriptionFlow};
pub(crate) use monitor::Monitor;
pub(crate) use publisher::{PublisherSocket, TrySend};
pub(crate) use subscriber::{Incoming, SubscriberSocket};

use multiplane_core::Budget;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Owns libzmq's background threads. Dropping the last clone waits for lingering sockets.
#[derive(Clone)]
pub(crate) struct Context(zmq::Context);

impl Context {
    pub(crate) fn new() -> Self {
        Self(zmq::Context::new())
    }
}

/// The version that we are built with, and what it has of what can be left out.
pub(crate) fn describe() -> String {
    let (major, minor, patch) = zmq::version();
    let (has, lacks): (Vec<&str>, Vec<&str>) =
        ["ipc", "curve", "gssapi", "draft"].into_iter().partition(|what| zmq::has(what) == Some(true));
    format!("libzmq {major}.{minor}.{patch}, with {}, without {}", named(&has), named(&lacks))
}

fn named(capabilities: &[&str]) -> String {
    if capabilities.is_empty() { "anything special".to_owned() } else { capabilities.join(", ") }
}

/// Why libzmq refused something, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("libzmq: {}", .0.message())]
pub(crate) struct SocketError(#[from] zmq::Error);

impl From<SocketError> for std::io::Error {
    fn from(SocketError(error): SocketError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            zmq::Error::EADDRINUSE => ErrorKind::AddrInUse,
            zmq::Error::EADDRNOTAVAIL | zmq::Error::ENODEV => ErrorKind::AddrNotAvailable,
            zmq::Error::EACCES => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        };
        Self::new(kind, SocketError(error))
    }
}

/// The prefix that libzmq is asked for when `topic` is wanted. libzmq 4.3.4 writes a wrong length for subscriptions of
/// 246 to 255 bytes, and the peer then misreads every later one; their first 245 bytes match a superset, which the
/// subscription table narrows again.
pub(crate) fn wire_prefix(topic: &[u8]) -> &[u8] {
    if (246..=255).contains(&topic.len()) { &topic[..245] } else { topic }
}

/// What all sockets of ours have in common.
fn common(socket: &zmq::Socket, budget: &Budget) -> Result<(), SocketError> {
    let hwm = i32::try_from(budget.high_water_mark).unwrap_or(i32::MAX);
    socket.set_rcvhwm(hwm)?;
    socket.set_sndhwm(hwm)?;
    socket.set_maxmsgsize(i64::try_from(budget.message_bytes).unwrap_or(i64::MAX))?;
    socket.set_linger(0)?;
    socket.set_reconnect_ivl(millis(budget.reconnect_interval))?;
    socket.set_reconnect_ivl_max(millis(budget.reconnect_maximum))?;
    socket.set_handshake_ivl(2_000)?;
    // A vanished host is noticed after 5 + 3 * 2 seconds.
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(5)?;
    socket.set_tcp_keepalive_intvl(2)?;
    socket.set_tcp_keepalive_cnt(3)?;
    Ok(())
}

fn millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// An IPv6 literal needs IPv6 switched on; for names it must stay off, or `localhost` would mean `::1` only.
fn set_family(socket: &zmq::Socket, endpoint: &str) -> Result<(), SocketError> {
    Ok(socket.set_ipv6(endpoint.contains('['))?)
}

fn unique_endpoint() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("inproc://multiplane-monitor-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The descriptor of a socket, for `poll` only.
fn descriptor(socket: &zmq::Socket) -> Result<RawFd, SocketError> {
    Ok(socket.get_fd()?)
}

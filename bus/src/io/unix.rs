//! The shortcut of two native ends on the same host: a Unix socket answers sooner than TCP.
//!
//! A backplane listens at an abstract name beside each of its ports, and offers that in READY to whoever connects from
//! its own host. A component that finds such an offer connects there, and if that succeeds, begins anew on the Unix
//! socket and closes the other. Peers of other makes pass over the offer.
//!
//! Nobody can listen at the name before us, or connect without having been offered it, for it has 128 random bits. A
//! component trusts whoever answers at its backplane's address with all that it publishes already; only it takes
//! offers from its own host alone and of this exact form, so that none can send it to other sockets.

use mio::net::{TcpStream, UnixListener, UnixStream};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// Under which name READY tells it.
pub(crate) const PROPERTY: &str = "X-Multiplane-Unix";

const PREFIX: &str = "multiplane-";

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// Random bytes of a name, each two digits there.
const RANDOM: usize = 16;

/// What may be on its way to a slow reader. 48 KiB was slower; between the system's default and this
/// no difference was clear.
const SEND_BUFFER: usize = 1 << 20;

/// Options of a connection.
pub(crate) fn set_options(stream: &UnixStream) {
    // A system that allows less gives what it allows.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER);
}

/// Whether the other end of a connection is on this host.
pub(crate) fn is_same_host(stream: &TcpStream) -> bool {
    let ends = (stream.peer_addr(), stream.local_addr());
    matches!(ends, (Ok(peer), Ok(local)) if is_here(peer.ip(), local.ip()))
}

fn is_here(peer: IpAddr, local: IpAddr) -> bool {
    let [peer, local] = [peer, local].map(|address| address.to_canonical());
    peer.is_loopback() || peer == local
}

/// Whether a name is one of ours.
fn is_name(name: &[u8]) -> bool {
    let digits = name.strip_prefix(PREFIX.as_bytes()).unwrap_or_default();
    digits.len() == 2 * RANDOM && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A listener, and the name to offer.
pub(crate) fn listen() -> io::Result<(UnixListener, Box<[u8]>)> {
    let mut random = [0; RANDOM];
    let got = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    if got != RANDOM {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let digits = random.iter().map(|byte| format!("{byte:02x}"));
    let name = digits.fold(PREFIX.to_owned(), |name, digits| name + &digits).into_bytes();
    let socket = socket()?;
    net::bind(&socket, &address(&name)?)?;
    net::listen(&socket, BACKLOG)?;
    Ok((UnixListener::from_std(socket.into()), name.into()))
}

/// Connects to where an offer leads; at once, or not at all.
pub(crate) fn connect(name: &[u8]) -> io::Result<UnixStream> {
    if !is_name(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is not of our form"));
    }
    let socket = socket()?;
    // Only for people who look at the backplane.
    let ours = format!(
        "{PREFIX}process-{}-{:08x}",
        std::process::id(),
        RandomState::new().build_hasher().finish() as u32
    );
    let _ = net::bind(&socket, &address(ours.as_bytes())?);
    net::connect(&socket, &address(name)?)?;
    Ok(UnixStream::from_std(socket.into()))
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Abstract: it is gone with its listener, and no file system and no rights on one come in.
#[cfg(target_os = "linux")]
fn address(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn address(_: &[u8]) -> io::Result<SocketAddrUnix> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_from_elsewhere_is_not_here() {
        let is_here = |peer: &str, local: &str| is_here(peer.parse().unwrap(), local.parse().unwrap());
        assert!(is_here("127.0.0.1", "127.0.0.2") && is_here("::1", "::1"));
        assert!(is_here("::ffff:127.0.0.1", "::ffff:127.0.0.1") && is_here("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(!is_here("192.0.2.7", "192.0.2.8") && !is_here("2001:db8::1", "2001:db8::2"));
    }

    #[test]
    fn only_our_names_are_followed() {
        let good = b"multiplane-0123456789abcdef0123456789abcdef";
        assert!(is_name(good));
        let bad: [&[u8]; 6] = [
            b"",
            b"multiplane-",
            b"multiplane-0123456789abcdef0123456789abcde",
            b"multiplane-0123456789abcdef0123456789abcdef0",
            b"multiplane-0123456789ABCDEF0123456789abcdef",
            b"/run/systemd/private",
        ];
        for name in bad {
            assert_eq!(connect(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
        assert_eq!(connect(good).unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "nobody is there");
    }

    #[test]
    fn no_two_names_are_alike() {
        let (_one, first) = listen().unwrap();
        let (_two, second) = listen().unwrap();
        assert!(is_name(&first) && is_name(&second) && first != second);
        connect(&first).unwrap();
    }
}

//! CURVE between an engine and a socket: the engine speaks NULL as ever, and what goes over the wire is sealed.
//!
//! | file | holds |
//! |---|---|
//! | `tunnel` | the translation, without a socket |
//! | `secured` | a socket with a tunnel before it, which reads and writes as any |

mod secured;
mod tunnel;

pub(crate) use secured::Secured;
pub(crate) use tunnel::{Gate, Role, Tunnel, wish};

use multiplane_codec::zmtp::SocketType;
use multiplane_codec::zmtp::curve::{KeyPair, PublicKey};
use std::io;
use std::sync::Arc;

/// What it means that a peer hangs up there: libzmq does without a word.
pub(crate) const OTHER_SECURITY: &str =
    "the peer hangs up in the middle of its greeting: it probably wants another security mechanism than ours";

/// Why a connection is not to be, or not to go on, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(pub(crate) String);

impl Denied {
    fn because(reason: impl ToString) -> Self {
        Self(reason.to_string())
    }
}

impl From<Denied> for io::Error {
    fn from(denied: Denied) -> Self {
        io::Error::new(io::ErrorKind::PermissionDenied, denied)
    }
}

/// What a secured socket says of its peer, if it is that and no error of the system.
pub(crate) fn denial(error: &io::Error) -> Option<&Denied> {
    error.get_ref()?.downcast_ref()
}

/// What makes the connections of a link secure: our own keys, and that of the backplane.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub(crate) keys: Arc<KeyPair>,
    pub(crate) server: PublicKey,
    pub(crate) kind: SocketType,
    /// Bytes that a message of the backplane may have.
    pub(crate) limit: usize,
}

impl Dialler {
    pub(crate) fn tunnel(&self) -> Tunnel {
        Tunnel::new(Role::Client { ours: self.keys.clone(), server: self.server }, self.kind, self.limit)
    }
}

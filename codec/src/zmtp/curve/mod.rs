//! CURVE, the security of ZMTP (RFC 25 and 26 of <https://rfc.zeromq.org>): both sides prove who they are, and all that
//! follows is encrypted and authenticated.
//!
//! No socket, no clock, no randomness: keys and random bytes are handed in, bodies of commands go in and come out. The
//! steps are types, each used up by the next, so that none can be left out or done twice:
//!
//! | client | | server |
//! |---|---|---|
//! | [`client::start`] | HELLO → | [`server::hello`] |
//! | [`client::Greeted::welcome`] | ← WELCOME | [`server::Welcomed`] |
//! | [`client::Initiated`] | INITIATE → | [`server::Welcomed::initiate`], which tells whose key it is |
//! | [`client::Initiated::ready`] | ← READY | [`server::Vouched::ready`] |
//! | [`Traffic`] | ← MESSAGE → | [`Traffic`] |
//!
//! The ciphers are those of NaCl's `crypto_box`: X25519, and XSalsa20 with Poly1305. Secrets are wiped from memory when
//! they are dropped, and no `Debug` shows them; comparisons with secrets are the libraries', in constant time.

mod boxes;
pub mod client;
mod keys;
pub mod server;
mod traffic;

pub use keys::{KeyError, KeyPair, PublicKey, SecretKey};
pub use traffic::{Opened, Traffic};

/// The mechanism's name in a greeting.
pub const MECHANISM: &str = "CURVE";

/// Bytes that one command of the handshake may have.
pub const HANDSHAKE_LIMIT: usize = 4096;

/// Why a connection cannot be, or cannot go on: close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CurveError {
    /// Another command than the one that comes next.
    #[error("not the {wanted} of CURVE that comes next")]
    Unexpected {
        /// Which comes next.
        wanted: &'static str,
    },
    /// A command that has not the form that it must have.
    #[error("a {command} that is malformed")]
    Malformed {
        /// Which.
        command: &'static str,
    },
    /// The first box of a client: all that can be wrong with it is the key that it was made for.
    #[error("a HELLO for another server key than ours, or a forged one")]
    WrongServerKey,
    /// A box that its key does not open: somebody else made it, or somebody changed it.
    #[error("a {command} that is forged, damaged or repeated")]
    Forged {
        /// Which.
        command: &'static str,
    },
    /// A number that was used before.
    #[error("a {command} out of sequence: it is repeated, or left out of another connection")]
    Replayed {
        /// Which.
        command: &'static str,
    },
    /// A public key with which every shared secret would be the same.
    #[error("a weak public key in {command}")]
    WeakKey {
        /// Which.
        command: &'static str,
    },
    /// The peer refuses us.
    #[error("the peer refuses: {reason}")]
    Refused {
        /// In its own words.
        reason: String,
    },
}

/// The data of the command `name`, which has to come next.
fn expect<'a>(body: &'a [u8], name: &'static str) -> Result<&'a [u8], CurveError> {
    let (&length, rest) = body.split_first().ok_or(CurveError::Unexpected { wanted: name })?;
    let (found, data) =
        rest.split_at_checked(usize::from(length)).ok_or(CurveError::Unexpected { wanted: name })?;
    match found {
        _ if found == name.as_bytes() => Ok(data),
        b"ERROR" => {
            let reason = data.split_first().and_then(|(&length, reason)| reason.get(..usize::from(length)));
            let reason = reason.ok_or(CurveError::Malformed { command: "ERROR" })?;
            Err(CurveError::Refused { reason: super::words_of(reason) })
        }
        _ => Err(CurveError::Unexpected { wanted: name }),
    }
}

/// The beginning of a command's body.
fn command(name: &str, capacity: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(1 + name.len() + capacity);
    body.push(name.len() as u8);
    body.extend_from_slice(name.as_bytes());
    body
}

//! Keys and rights for CURVE, the security of ZeroMQ: see [`Builder::curve`](crate::Builder::curve) and
//! [`BackplaneBuilder::curve`](crate::BackplaneBuilder::curve).
//!
//! Each end has a pair of keys. Who knows a public key can tell its holder from everybody else; the secret one proves it, and
//! stays in a file that nobody else may read. `multiplane keys new` makes such files, [`read_keys`] reads them.

mod allow;
mod files;

pub use allow::{AllowList, Client};
pub use files::{CurveError, generate, read_keys, read_public_key, write_keys};
pub use multiplane_codec::zmtp::curve::{KeyError, KeyPair, PublicKey, SecretKey};

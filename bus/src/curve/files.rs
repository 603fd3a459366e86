//! Files with keys: the certificates of CZMQ and pyzmq (`zmq.auth.load_certificate`), which are lines of
//! `public-key = "..."` and `secret-key = "..."`.

use multiplane_codec::zmtp::curve::{KeyError, KeyPair, PublicKey, SecretKey};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a file that can be one of ours.
pub(super) const LONGEST: u64 = 1 << 20;

/// Keys or rights that cannot be had. What is in a file is not repeated here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CurveError {
    /// The system does not give or take the file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Its answer.
        error: io::Error,
    },
    /// Others may read or write a secret.
    #[error("{0}: others may read or write this secret key (mode {mode:03o}): `chmod 600 {0}`, or better make a new key", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is missing.
    #[error("{}: there is no line `{what} = \"...\"`: is it a file of `multiplane keys new`?", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// Which line.
        what: &'static str,
    },
    /// A key is none.
    #[error("{}: {what}: {error}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Which key.
        what: String,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The two keys of a file do not belong together.
    #[error("{}: its public key is not that of its secret key", path.display())]
    Mixed {
        /// Which file.
        path: PathBuf,
    },
    /// A list of rights is not what it should be.
    #[error("{}: {reason}", path.display())]
    Rights {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system has no randomness.
    #[error("no randomness for a new key: {0}")]
    Random(io::Error),
}

pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> CurveError {
    let path = path.to_owned();
    move |error| CurveError::File { path: path.clone(), error }
}

/// A new pair of keys.
///
/// # Errors
/// [`CurveError::Random`].
pub fn generate() -> Result<KeyPair, CurveError> {
    let mut random = Zeroizing::new([0; 32]);
    match getrandom(random.as_mut_slice(), GetRandomFlags::empty()) {
        Ok(32) => Ok(KeyPair::new(SecretKey::from_bytes(&random))),
        Ok(_) => Err(CurveError::Random(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(CurveError::Random(error.into())),
    }
}

/// Reads a file with a secret key. It is refused if anybody but its owner may read or write it.
///
/// # Errors
/// [`CurveError`].
pub fn read_keys(path: impl AsRef<Path>) -> Result<KeyPair, CurveError> {
    let path = path.as_ref();
    let (text, mode) = read(path)?;
    if mode & 0o077 != 0 {
        return Err(CurveError::Exposed { path: path.to_owned(), mode });
    }
    let secret = field(path, &text, "secret-key")?.parse();
    let pair = KeyPair::new(secret.map_err(|error| wrong(path, "secret-key", error))?);
    if text.contains("public-key") && public(path, &text)? != *pair.public() {
        return Err(CurveError::Mixed { path: path.to_owned() });
    }
    Ok(pair)
}

/// Reads the public key of a file, which may have a secret one besides.
///
/// # Errors
/// [`CurveError`].
pub fn read_public_key(path: impl AsRef<Path>) -> Result<PublicKey, CurveError> {
    let (text, _) = read(path.as_ref())?;
    public(path.as_ref(), &text)
}

/// Writes both keys to a file that only its owner may read. There must be none of that name.
///
/// # Errors
/// [`CurveError::File`].
pub fn write_keys(path: impl AsRef<Path>, keys: &KeyPair) -> Result<(), CurveError> {
    let path = path.as_ref();
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed(path))?;
    let (public, secret) = (keys.public(), keys.secret().reveal());
    let head = "# Whoever can read this file is its owner, for all who trust the public key.\ncurve\n";
    let fields = Zeroizing::new(format!("    public-key = \"{public}\"\n    secret-key = \"{}\"\n", *secret));
    let all = [head.as_bytes(), fields.as_bytes()];
    all.into_iter()
        .try_for_each(|text| file.write_all(text))
        .and_then(|()| file.sync_all())
        .map_err(failed(path))
}

/// The text of a file, and its permissions, which are those of what was read, whatever stands at the path since.
fn read(path: &Path) -> Result<(Zeroizing<String>, u32), CurveError> {
    let file = File::open(path).map_err(failed(path))?;
    let metadata = file.metadata().map_err(failed(path))?;
    // At once as long as it gets: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len().min(LONGEST) as usize + 1));
    file.take(LONGEST).read_to_string(&mut text).map_err(failed(path))?;
    Ok((text, metadata.permissions().mode() & 0o777))
}

fn public(path: &Path, text: &str) -> Result<PublicKey, CurveError> {
    field(path, text, "public-key")?.parse().map_err(|error| wrong(path, "public-key", error))
}

fn wrong(path: &Path, what: &str, error: KeyError) -> CurveError {
    CurveError::Key { path: path.to_owned(), what: what.to_owned(), error }
}

fn field<'a>(path: &Path, text: &'a str, name: &'static str) -> Result<&'a str, CurveError> {
    let value = |line: &'a str| {
        let value = line.trim().strip_prefix(name)?.trim_start().strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']))
    };
    text.lines().find_map(value).ok_or(CurveError::Missing { path: path.to_owned(), what: name })
}

//! Keys, and how people write them: Z85 (RFC 32), five characters for four bytes.

use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Characters of a key.
const TEXT: usize = 40;

/// A text that is no key. It is not repeated here, for it may be a secret one with a slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Too long or too short.
    #[error("a key has {TEXT} characters, and this has {length}")]
    Length {
        /// How many it has.
        length: usize,
    },
    /// Something that Z85 does not have.
    #[error("the character at place {place} does not belong into a key (Z85)")]
    Character {
        /// Counted from 1.
        place: usize,
    },
    /// Five characters that say more than four bytes can.
    #[error("the five characters from place {place} on stand for no four bytes (Z85)")]
    Range {
        /// Counted from 1.
        place: usize,
    },
}

/// Says who somebody is; no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Proves who somebody is. Wiped when it is dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// Both keys of somebody.
///
/// ```
/// use multiplane_codec::zmtp::curve::{KeyPair, PublicKey, SecretKey};
///
/// let secret: SecretKey = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs".parse()?;
/// let pair = KeyPair::new(secret);
/// assert_eq!(pair.public().to_string(), "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
/// assert!(!format!("{pair:?}").contains("D:)Q"));
/// # Ok::<(), multiplane_codec::zmtp::curve::KeyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyPair {
    public: PublicKey,
    secret: SecretKey,
}

impl PublicKey {
    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SecretKey {
    /// From its bytes: 32 random ones make a new key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// As text, for a file that nobody else may read.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        encode(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl KeyPair {
    /// The pair of a secret key.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        let scalar = x25519_dalek::StaticSecret::from(*secret.as_bytes());
        Self { public: PublicKey(x25519_dalek::PublicKey::from(&scalar).to_bytes()), secret }
    }

    /// Who it is.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The proof of that.
    #[must_use]
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self(*decode(text)?))
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self(decode(text)?))
    }
}

fn encode(bytes: &[u8; 32]) -> Zeroizing<String> {
    // At once as long as it gets: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(TEXT));
    for four in bytes.as_chunks::<4>().0 {
        let value = u32::from_be_bytes(*four);
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(value / power % 85) as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    if text.len() != TEXT {
        return Err(KeyError::Length { length: text.chars().count() });
    }
    let mut bytes = Zeroizing::new([0; 32]);
    let groups = text.as_bytes().as_chunks::<5>().0;
    for (n, (five, four)) in groups.iter().zip(bytes.as_chunks_mut::<4>().0).enumerate() {
        let mut value = 0u64;
        for (m, character) in five.iter().enumerate() {
            let digit = ALPHABET.iter().position(|known| known == character);
            let digit = digit.ok_or(KeyError::Character { place: 5 * n + m + 1 })?;
            value = value * 85 + digit as u64;
        }
        *four = u32::try_from(value).map_err(|_| KeyError::Range { place: 5 * n + 1 })?.to_be_bytes();
        value.zeroize();
    }
    Ok(bytes)
}

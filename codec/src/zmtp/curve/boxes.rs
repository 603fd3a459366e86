//! Boxes: what only the holder of a key can make, and only the holder of the other can open.

use super::keys::{KeyPair, PublicKey, SecretKey};
use crypto_secretbox::{AeadInPlace, Kdf, KeyInit, Nonce, Tag, XSalsa20Poly1305};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// Bytes that a box is longer than what is in it.
pub(super) const OVERHEAD: usize = 16;

/// Two keys that agreed, or one that is known to its holder alone; wiped when it is dropped.
pub(super) struct Sealed(XSalsa20Poly1305);

impl Sealed {
    /// Between the holder of a secret key and that of a public one; `None` if the public one is weak.
    pub(super) fn between(secret: &SecretKey, public: &PublicKey) -> Option<Self> {
        let public = x25519_dalek::PublicKey::from(*public.as_bytes());
        let shared = StaticSecret::from(*secret.as_bytes()).diffie_hellman(&public);
        if !shared.was_contributory() {
            return None;
        }
        let mut key = XSalsa20Poly1305::kdf(shared.as_bytes().into(), &[0; 16].into());
        let sealed = Self(XSalsa20Poly1305::new(&key));
        zeroize::Zeroize::zeroize(key.as_mut_slice());
        Some(sealed)
    }

    /// For nobody but us.
    pub(super) fn alone(key: &[u8; 32]) -> Self {
        Self(XSalsa20Poly1305::new(key.into()))
    }

    /// Makes a box in place of what was appended to `out` behind `start`, where [`OVERHEAD`] bytes are left free.
    pub(super) fn seal_in(&self, nonce: &[u8; 24], out: &mut [u8], start: usize) {
        let Some((tag, inside)) = out.get_mut(start..).and_then(|out| out.split_at_mut_checked(OVERHEAD))
        else {
            return;
        };
        // It fails for data beside the box only, and there is none.
        if let Ok(made) = self.0.encrypt_in_place_detached(Nonce::from_slice(nonce), &[], inside) {
            tag.copy_from_slice(&made);
        }
    }

    /// Appends a box.
    pub(super) fn seal(&self, nonce: &[u8; 24], parts: &[&[u8]], out: &mut Vec<u8>) {
        let start = out.len();
        // At once as long as it gets: growing would leave copies of secrets behind.
        out.reserve(OVERHEAD + parts.iter().map(|part| part.len()).sum::<usize>());
        out.extend_from_slice(&[0; OVERHEAD]);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        self.seal_in(nonce, out, start);
    }

    /// Opens a box in place; what is in it stands behind its first [`OVERHEAD`] bytes then.
    pub(super) fn open_in<'a>(&self, nonce: &[u8; 24], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (tag, inside) = sealed.split_first_chunk_mut::<OVERHEAD>()?;
        let tag = Tag::from(*tag);
        self.0.decrypt_in_place_detached(Nonce::from_slice(nonce), &[], inside, &tag).ok()?;
        Some(inside)
    }

    /// Opens a box of the handshake.
    pub(super) fn open(&self, nonce: &[u8; 24], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (tag, inside) = sealed.split_first_chunk::<OVERHEAD>()?;
        let mut inside = Zeroizing::new(inside.to_vec());
        let tag = Tag::from(*tag);
        self.0.decrypt_in_place_detached(Nonce::from_slice(nonce), &[], &mut inside, &tag).ok()?;
        Some(inside)
    }
}

/// A pair for one connection.
pub(super) fn fresh_pair(random: &[u8; 32]) -> KeyPair {
    KeyPair::new(SecretKey::from_bytes(random))
}

/// A nonce that ends in a number.
pub(super) fn short(prefix: &[u8; 16], number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(prefix);
    nonce[16..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// A nonce that ends in random bytes.
pub(super) fn long(prefix: &[u8; 8], random: &[u8; 16]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(prefix);
    nonce[8..].copy_from_slice(random);
    nonce
}

/// Takes an array off the beginning of some bytes.
pub(super) fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

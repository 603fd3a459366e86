//! Boxes: what only the holder of a key can make, and only the holder of the other can open.

use super::keys::{KeyPair, PublicKey, SecretKey};
use dryoc::classic::crypto_box::{
    crypto_box_detached_afternm_inplace, crypto_box_open_detached_afternm_inplace,
};
use dryoc::classic::crypto_core::crypto_core_hsalsa20;
use dryoc::classic::crypto_onetimeauth::{crypto_onetimeauth, crypto_onetimeauth_verify};
use salsa20::Salsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// Bytes that a box is longer than what is in it.
pub(super) const OVERHEAD: usize = 16;

/// Up to this many bytes a numbered box is made block by block; above, by the vectors of whole boxes, which are quicker
/// from there on, but begin slowly.
const SMALL: usize = 160;

/// Two keys that agreed, or one that is known to its holder alone; wiped when it is dropped.
pub(super) struct Sealed(Zeroizing<[u8; 32]>);

impl Sealed {
    /// Between the holder of a secret key and that of a public one; `None` if the public one is weak.
    pub(super) fn between(secret: &SecretKey, public: &PublicKey) -> Option<Self> {
        let public = x25519_dalek::PublicKey::from(*public.as_bytes());
        let shared = StaticSecret::from(*secret.as_bytes()).diffie_hellman(&public);
        shared.was_contributory().then(|| Self(derived(shared.as_bytes(), &[0; 16])))
    }

    /// For nobody but us.
    pub(super) fn alone(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    /// For boxes whose nonces have a prefix and a number.
    pub(super) fn numbered(&self, prefix: &'static [u8; 16]) -> Numbered {
        Numbered { key: self.0.clone(), prefix, derived: derived(&self.0, prefix) }
    }

    /// Appends a box.
    pub(super) fn seal(&self, nonce: &[u8; 24], parts: &[&[u8]], out: &mut Vec<u8>) {
        // At once as long as it gets: growing would leave copies of secrets behind.
        out.reserve(OVERHEAD + parts.iter().map(|part| part.len()).sum::<usize>());
        let start = out.len();
        out.extend_from_slice(&[0; OVERHEAD]);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        if let Some((tag, inside)) = out[start..].split_first_chunk_mut() {
            crypto_box_detached_afternm_inplace(inside, tag, nonce, &self.0);
        }
    }

    /// Opens a box.
    pub(super) fn open(&self, nonce: &[u8; 24], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (tag, inside) = sealed.split_first_chunk()?;
        let mut inside = Zeroizing::new(inside.to_vec());
        crypto_box_open_detached_afternm_inplace(&mut inside, tag, nonce, &self.0).ok()?;
        Some(inside)
    }
}

/// The boxes of one direction: the same, but with what all their nonces begin with worked into the key once, for that costs
/// as much as a small box.
pub(super) struct Numbered {
    key: Zeroizing<[u8; 32]>,
    prefix: &'static [u8; 16],
    derived: Zeroizing<[u8; 32]>,
}

impl Numbered {
    /// Makes a box in place of its first [`OVERHEAD`] bytes, which are free, and what is behind them.
    pub(super) fn seal_in(&self, number: u64, sealed: &mut [u8]) {
        let Some((tag, inside)) = sealed.split_first_chunk_mut::<OVERHEAD>() else { return };
        if inside.len() > SMALL {
            return crypto_box_detached_afternm_inplace(inside, tag, &short(self.prefix, number), &self.key);
        }
        let (mut stream, once) = self.stream(number);
        stream.apply_keystream(inside);
        crypto_onetimeauth(tag, inside, &once);
    }

    /// Opens a box in place; what is in it stands behind its first [`OVERHEAD`] bytes then.
    pub(super) fn open_in<'a>(&self, number: u64, sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (tag, inside) = sealed.split_first_chunk_mut::<OVERHEAD>()?;
        if inside.len() > SMALL {
            let nonce = short(self.prefix, number);
            crypto_box_open_detached_afternm_inplace(inside, tag, &nonce, &self.key).ok()?;
            return Some(inside);
        }
        let (mut stream, once) = self.stream(number);
        crypto_onetimeauth_verify(tag, inside, &once).ok()?;
        stream.apply_keystream(inside);
        Some(inside)
    }

    /// What a box is hidden by, and the key of its tag.
    fn stream(&self, number: u64) -> (Salsa20, Zeroizing<[u8; 32]>) {
        let mut stream = Salsa20::new((&*self.derived).into(), &number.to_be_bytes().into());
        let mut once = Zeroizing::new([0; 32]);
        stream.apply_keystream(&mut *once);
        (stream, once)
    }
}

fn derived(key: &[u8; 32], beginning: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    crypto_core_hsalsa20(&mut derived, beginning, key, None);
    derived
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_box_is_a_box_whichever_way_it_is_made() {
        let prefix = b"CurveZMQMESSAGEC";
        let sealed = Sealed::alone(&[7; 32]);
        let numbered = sealed.numbered(prefix);
        for length in (0..2 * SMALL).chain([1000, 70_000]) {
            let (number, inside) = (length as u64 * 1_000_003, vec![length as u8; length]);
            let mut whole = Vec::new();
            sealed.seal(&short(prefix, number), &[&inside], &mut whole);
            let mut ours = [&[0; OVERHEAD][..], &inside].concat();
            numbered.seal_in(number, &mut ours);
            assert_eq!(ours, whole, "{length}");
            assert_eq!(sealed.open(&short(prefix, number), &ours).as_deref(), Some(&inside));
            assert!(numbered.open_in(number + 1, &mut ours.clone()).is_none());
            assert_eq!(numbered.open_in(number, &mut ours), Some(&mut inside.clone()[..]));
        }
    }
}

//! The side whose public key is known to all.
//!
//! Between WELCOME and INITIATE it remembers one key, for the cookie; the rest is in the cookie.

use super::boxes::{Sealed, fresh_pair, long, short, take};
use super::keys::{KeyPair, PublicKey, SecretKey};
use super::traffic::Traffic;
use super::{CurveError, command, expect};
use std::fmt;
use zeroize::Zeroizing;

/// WELCOME has been sent.
pub struct Welcomed {
    /// Opens the cookie of this connection and of no other.
    cookie_key: Zeroizing<[u8; 32]>,
    /// The number of HELLO.
    number: u64,
}

/// The client has proved whose key it has: now somebody has to decide whether that one may come in.
#[derive(Debug)]
pub struct Vouched {
    client: PublicKey,
    metadata: Vec<u8>,
    traffic: Traffic,
}

/// Takes the body of HELLO: the body of WELCOME. `random` has to be new for each connection.
///
/// # Errors
/// [`CurveError`].
pub fn hello(ours: &KeyPair, body: &[u8], random: &[u8; 96]) -> Result<(Welcomed, Vec<u8>), CurveError> {
    let malformed = CurveError::Malformed { command: "HELLO" };
    let weak = CurveError::WeakKey { command: "HELLO" };
    let mut random = random.as_slice();
    let (Some(secret), Some(cookie_key), Some(cookie_nonce), Some(nonce)) =
        (take::<32>(&mut random), take::<32>(&mut random), take::<16>(&mut random), take::<16>(&mut random))
    else {
        return Err(malformed);
    };
    let mut data = expect(body, "HELLO")?;
    let (Some([1, 0]), Some(padding), Some(client_fresh), Some(number)) =
        (take::<2>(&mut data), take::<72>(&mut data), take::<32>(&mut data), take::<8>(&mut data))
    else {
        return Err(malformed);
    };
    if *padding != [0; 72] || data.len() != 80 {
        return Err(malformed);
    }
    let number = u64::from_be_bytes(*number);
    let client_fresh = PublicKey::from_bytes(*client_fresh);
    let with_client = Sealed::between(ours.secret(), &client_fresh).ok_or(weak)?;
    let zeros = with_client.open(&short(b"CurveZMQHELLO---", number), data);
    if zeros.ok_or(CurveError::WrongServerKey)?.as_slice() != [0; 64] {
        return Err(malformed);
    }

    let fresh = fresh_pair(secret);
    let mut cookie = cookie_nonce.to_vec();
    Sealed::alone(cookie_key).seal(
        &long(b"COOKIE--", cookie_nonce),
        &[client_fresh.as_bytes(), fresh.secret().as_bytes()],
        &mut cookie,
    );
    let mut welcome = command("WELCOME", 160);
    welcome.extend_from_slice(nonce);
    with_client.seal(&long(b"WELCOME-", nonce), &[fresh.public().as_bytes(), &cookie], &mut welcome);
    Ok((Welcomed { cookie_key: Zeroizing::new(*cookie_key), number }, welcome))
}

impl Welcomed {
    /// Takes the body of INITIATE.
    ///
    /// # Errors
    /// [`CurveError`].
    pub fn initiate(self, ours: &KeyPair, body: &[u8]) -> Result<Vouched, CurveError> {
        let (malformed, forged) =
            (CurveError::Malformed { command: "INITIATE" }, CurveError::Forged { command: "INITIATE" });
        let weak = CurveError::WeakKey { command: "INITIATE" };
        let mut data = expect(body, "INITIATE")?;
        let (Some(nonce), Some(cookie), Some(number)) =
            (take::<16>(&mut data), take::<80>(&mut data), take::<8>(&mut data))
        else {
            return Err(malformed);
        };
        let cookie = Sealed::alone(&self.cookie_key).open(&long(b"COOKIE--", nonce), cookie);
        let cookie = cookie.ok_or(forged.clone())?;
        let mut inside = cookie.as_slice();
        let (Some(client_fresh), Some(secret)) = (take::<32>(&mut inside), take::<32>(&mut inside)) else {
            return Err(forged);
        };
        let (client_fresh, secret) = (PublicKey::from_bytes(*client_fresh), SecretKey::from_bytes(secret));
        let number = u64::from_be_bytes(*number);
        if number <= self.number {
            return Err(CurveError::Replayed { command: "INITIATE" });
        }
        let sealed = Sealed::between(&secret, &client_fresh).ok_or(weak.clone())?;
        let inside = sealed.open(&short(b"CurveZMQINITIATE", number), data).ok_or(forged.clone())?;
        let mut inside = inside.as_slice();
        let (Some(client), Some(nonce), Some(vouch)) =
            (take::<32>(&mut inside), take::<16>(&mut inside), take::<80>(&mut inside))
        else {
            return Err(malformed);
        };
        let client = PublicKey::from_bytes(*client);
        let vouch_key = Sealed::between(&secret, &client).ok_or(weak)?;
        let vouch = vouch_key.open(&long(b"VOUCH---", nonce), vouch).ok_or(forged.clone())?;
        // Public keys, all of them.
        if vouch[..32] != *client_fresh.as_bytes() || vouch[32..] != *ours.public().as_bytes() {
            return Err(forged);
        }
        let metadata = inside.to_vec();
        Ok(Vouched { client, metadata, traffic: Traffic::of_server(sealed, number) })
    }
}

impl Vouched {
    /// Whose key it is.
    #[must_use]
    pub fn client(&self) -> &PublicKey {
        &self.client
    }

    /// What the client says of itself.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Lets it in: the body of READY, which says `metadata`.
    #[must_use]
    pub fn ready(mut self, metadata: &[u8]) -> (Traffic, Vec<u8>) {
        let mut ready = command("READY", 24 + metadata.len());
        self.traffic.seal_ready(metadata, &mut ready);
        (self.traffic, ready)
    }
}

impl fmt::Debug for Welcomed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcomed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::curve::client;

    /// A client of ours always counts from 1, so this one says of its HELLO that it was the `number`th.
    #[test]
    fn an_initiate_is_numbered_above_its_hello() {
        let [ours, theirs] = [1, 2].map(|seed| fresh_pair(&[seed; 32]));
        let client_random = std::array::from_fn(|n| n as u8);
        let random = std::array::from_fn(|n| 100 + n as u8);
        for (number, refused) in [(1, false), (2, true), (u64::MAX, true)] {
            let (greeted, mut body) = client::start(&theirs, ours.public(), &client_random).unwrap();
            let fresh = fresh_pair(client_random[..32].try_into().unwrap());
            body.truncate(6 + 2 + 72 + 32);
            body.extend_from_slice(&u64::to_be_bytes(number));
            let sealed = Sealed::between(fresh.secret(), ours.public()).unwrap();
            sealed.seal(&short(b"CurveZMQHELLO---", number), &[&[0; 64]], &mut body);
            let (welcomed, welcome) = hello(&ours, &body, &random).unwrap();
            let (_, initiate) = greeted.welcome(&welcome, b"").unwrap();
            let outcome = welcomed.initiate(&ours, &initiate).map(|_| ());
            let replayed = Err(CurveError::Replayed { command: "INITIATE" });
            assert_eq!(outcome, if refused { replayed } else { Ok(()) }, "{number}");
        }
    }
}

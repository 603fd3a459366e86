//! The side that knows the server's public key beforehand.

use super::boxes::{Sealed, fresh_pair, long, short, take};
use super::keys::{KeyPair, PublicKey};
use super::traffic::Traffic;
use super::{CurveError, command, expect};

/// HELLO has been sent.
#[derive(Debug)]
pub struct Greeted {
    ours: KeyPair,
    /// For this connection alone.
    fresh: KeyPair,
    server: PublicKey,
    vouch_nonce: [u8; 16],
}

/// INITIATE has been sent.
#[derive(Debug)]
pub struct Initiated {
    traffic: Traffic,
}

/// Begins: the body of HELLO. `random` has to be new for each connection.
///
/// # Errors
/// [`CurveError::WeakKey`] when the server's key is none that a server can have.
pub fn start(
    ours: &KeyPair,
    server: &PublicKey,
    random: &[u8; 48],
) -> Result<(Greeted, Vec<u8>), CurveError> {
    let (secret, mut rest) = (random.first_chunk::<32>(), &random[32..]);
    let (Some(secret), Some(vouch_nonce)) = (secret, take::<16>(&mut rest)) else {
        return Err(CurveError::Malformed { command: "HELLO" });
    };
    let fresh = fresh_pair(secret);
    let sealed = Sealed::between(fresh.secret(), server).ok_or(CurveError::WeakKey { command: "HELLO" })?;
    let mut hello = command("HELLO", 194);
    // The version, and as much padding as makes it longer than the answer, so that nobody can send us much by sending
    // little in the name of another.
    hello.extend_from_slice(&[1, 0]);
    hello.extend_from_slice(&[0; 72]);
    hello.extend_from_slice(fresh.public().as_bytes());
    hello.extend_from_slice(&1u64.to_be_bytes());
    sealed.seal(&short(b"CurveZMQHELLO---", 1), &[&[0; 64]], &mut hello);
    let greeted = Greeted { ours: ours.clone(), fresh, server: *server, vouch_nonce: *vouch_nonce };
    Ok((greeted, hello))
}

impl Greeted {
    /// Takes the body of WELCOME: the body of INITIATE, which says `metadata`.
    ///
    /// # Errors
    /// [`CurveError`].
    pub fn welcome(self, body: &[u8], metadata: &[u8]) -> Result<(Initiated, Vec<u8>), CurveError> {
        let forged = CurveError::Forged { command: "WELCOME" };
        let weak = CurveError::WeakKey { command: "WELCOME" };
        let mut data = expect(body, "WELCOME")?;
        let Some(nonce) = take::<16>(&mut data).filter(|_| data.len() == 144) else {
            return Err(CurveError::Malformed { command: "WELCOME" });
        };
        let with_server = Sealed::between(self.fresh.secret(), &self.server).ok_or(weak.clone())?;
        let inside = with_server.open(&long(b"WELCOME-", nonce), data).ok_or(forged.clone())?;
        let mut inside = inside.as_slice();
        let Some(server_fresh) = take::<32>(&mut inside) else { return Err(forged) };
        let (server_fresh, cookie) = (PublicKey::from_bytes(*server_fresh), inside);

        let vouch_key = Sealed::between(self.ours.secret(), &server_fresh).ok_or(weak.clone())?;
        let mut vouch = self.vouch_nonce.to_vec();
        vouch_key.seal(
            &long(b"VOUCH---", &self.vouch_nonce),
            &[self.fresh.public().as_bytes(), self.server.as_bytes()],
            &mut vouch,
        );
        let sealed = Sealed::between(self.fresh.secret(), &server_fresh).ok_or(weak)?;
        let mut initiate = command("INITIATE", cookie.len() + 8 + 16 + 32 + vouch.len() + metadata.len());
        initiate.extend_from_slice(cookie);
        initiate.extend_from_slice(&2u64.to_be_bytes());
        let parts: [&[u8]; 3] = [self.ours.public().as_bytes(), &vouch, metadata];
        sealed.seal(&short(b"CurveZMQINITIATE", 2), &parts, &mut initiate);
        Ok((Initiated { traffic: Traffic::of_client(sealed) }, initiate))
    }
}

impl Initiated {
    /// Takes the body of READY: messages may flow, and the server's metadata.
    ///
    /// # Errors
    /// [`CurveError`].
    pub fn ready(mut self, body: &[u8]) -> Result<(Traffic, Vec<u8>), CurveError> {
        let mut data = expect(body, "READY")?;
        let malformed = CurveError::Malformed { command: "READY" };
        let number = u64::from_be_bytes(*take::<8>(&mut data).ok_or(malformed)?);
        let metadata = self.traffic.open_ready(number, data)?;
        Ok((self.traffic, metadata))
    }
}

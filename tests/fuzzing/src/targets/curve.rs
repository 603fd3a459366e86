//! CURVE: whatever is changed ends the connection, and nothing else does.

use super::chosen;
use multiplane_codec::zmtp::curve::{CurveError, KeyPair, SecretKey, Traffic, client, server};
use multiplane_codec::zmtp::frame::{self, Header};

const CLIENT_RANDOM: [u8; 48] = [3; 48];

/// What an honest client says about itself.
const METADATA: &[u8] = b"\x0bSocket-Type\0\0\0\x03SUB";

fn keys(seed: u8) -> KeyPair {
    KeyPair::new(SecretKey::from_bytes(&[seed; 32]))
}

/// Shakes hands; each command passes `wire`, which may change it.
fn shake_hands(mut wire: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Result<(Traffic, Traffic), CurveError> {
    let (ours, theirs) = (keys(1), keys(2));
    let random = std::array::from_fn(|n| n as u8);
    let (greeted, hello) = client::start(&ours, theirs.public(), &CLIENT_RANDOM)?;
    let (welcomed, welcome) = server::hello(&theirs, &wire(0, hello), &random)?;
    let (initiated, initiate) = greeted.welcome(&wire(1, welcome), METADATA)?;
    let vouched = welcomed.initiate(&theirs, &wire(2, initiate))?;
    assert_eq!((vouched.client(), vouched.metadata()), (ours.public(), METADATA));
    let (at_server, ready) = vouched.ready(METADATA);
    let (at_client, metadata) = initiated.ready(&wire(3, ready))?;
    assert_eq!(metadata, METADATA);
    Ok((at_client, at_server))
}

/// What somebody in the middle makes of a body. An even choice leaves its form: three bytes each say where, and what to
/// turn there. An odd one puts something else in its place.
fn tamper(choice: usize, edits: &[u8], body: &[u8]) -> Vec<u8> {
    if choice % 2 == 1 {
        return edits.to_vec();
    }
    let mut body = body.to_vec();
    for edit in edits.as_chunks::<3>().0 {
        let length = body.len().max(1);
        if let Some(byte) = body.get_mut(usize::from(u16::from_be_bytes([edit[0], edit[1]])) % length) {
            *byte ^= edit[2];
        }
    }
    match edits.len() % 3 {
        1 => body.truncate(body.len().saturating_sub(1 + usize::from(edits[0]))),
        2 => body.extend_from_slice(edits),
        _ => {}
    }
    body
}

/// One command of a handshake is changed: it fails, unless the change changed nothing.
pub fn handshake(data: &[u8]) {
    let (choice, edits) = chosen(data);
    let mut changed = false;
    let outcome = shake_hands(|nth, command| {
        if nth != choice / 2 % 4 {
            return command;
        }
        let tampered = tamper(choice, edits, &command);
        changed = tampered != command;
        tampered
    });
    assert_eq!(outcome.is_err(), changed);
    if let Err(error) = outcome {
        assert!(error.to_string().len() < 1024);
    }
}

/// A message is changed: it does not open, unless the change changed nothing; and the next one still opens.
pub fn traffic(data: &[u8]) {
    thread_local! {
        // Numbers only rise, so that one connection serves all inputs.
        static ENDS: std::cell::RefCell<(Traffic, Traffic)> =
            std::cell::RefCell::new(shake_hands(|_, command| command).expect("nobody is in the middle"));
    }
    let (choice, edits) = chosen(data);
    ENDS.with_borrow_mut(|(at_client, at_server)| {
        let payload = &edits[..edits.len().min(choice)];
        let mut sealed = || {
            let mut message = Vec::new();
            at_client.seal(frame::MORE, payload, &mut message);
            let header = Header::parse(&message, usize::MAX).ok().flatten().expect("we wrote it");
            message.split_off(header.header)
        };
        let (body, next) = (sealed(), sealed());
        let mut tampered = tamper(choice, edits, &body);
        let changed = tampered != body;
        assert_eq!(at_server.open(&mut tampered).is_err(), changed);
        let mut next = next;
        let opened = at_server.open(&mut next).expect("what was refused changed nothing");
        assert_eq!((opened.flags, opened.body), (frame::MORE, payload));
    });
}

//! The handshake ends the same way however its bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType};

fn shake(ours: SocketType, pieces: &[&[u8]]) -> Result<Option<(Peer, Option<Vec<u8>>)>, Refusal> {
    let (handshake, mut out) = Handshake::start(ours);
    let mut handshake = handshake.offering("X-Way", b"here").seeking("X-Way");
    let mut input = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        let used = handshake.handle(&input, &mut out)?;
        input.drain(..used);
        assert!(out.len() < 1024, "it says no more than it must");
        if handshake.peer().is_some() {
            break;
        }
    }
    Ok(handshake.peer().map(|peer| (peer, handshake.found().map(<[u8]>::to_vec))))
}

fuzz_target!(|data: (u8, Vec<u8>)| {
    let (cut, bytes) = data;
    for ours in [SocketType::XPub, SocketType::XSub] {
        let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
        assert_eq!(shake(ours, &[head, tail]), shake(ours, &[&bytes]));
    }
});

//! CURVE between two of ours: it works, every change to a byte ends it, nothing panics, no secret is shown.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_codec::zmtp::curve::{
    CurveError, KeyError, KeyPair, PublicKey, SecretKey, Traffic, client, server,
};
use multiplane_codec::zmtp::frame::{self, Header};
use proptest::prelude::*;

fn keys(seed: u8) -> KeyPair {
    KeyPair::new(SecretKey::from_bytes(&[seed; 32]))
}

const CLIENT_RANDOM: [u8; 48] = [3; 48];

/// What must differ differs.
fn server_random() -> [u8; 96] {
    std::array::from_fn(|n| n as u8)
}

/// Shakes hands; each command passes `wire`, which may change it.
fn shake_hands(
    mut wire: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) -> Result<(Traffic, Traffic, PublicKey), CurveError> {
    let (ours, theirs) = (keys(1), keys(2));
    let (greeted, hello) = client::start(&ours, theirs.public(), &CLIENT_RANDOM)?;
    let (welcomed, welcome) = server::hello(&theirs, &wire(0, hello), &server_random())?;
    let (initiated, initiate) = greeted.welcome(&wire(1, welcome), b"about the client")?;
    let vouched = welcomed.initiate(&theirs, &wire(2, initiate))?;
    assert_eq!(vouched.metadata(), b"about the client");
    let who = *vouched.client();
    let (at_server, ready) = vouched.ready(b"about the server");
    let (at_client, metadata) = initiated.ready(&wire(3, ready))?;
    assert_eq!(metadata, b"about the server");
    Ok((at_client, at_server, who))
}

fn body(whole: &[u8]) -> Vec<u8> {
    let header = Header::parse(whole, usize::MAX).unwrap().unwrap();
    assert_eq!((header.total(), header.flags & !frame::LONG), (whole.len(), 0));
    whole[header.header..].to_vec()
}

#[test]
fn both_sides_agree_and_know_each_other() {
    let mut lengths = Vec::new();
    let (mut at_client, mut at_server, who) = shake_hands(|_, command| {
        lengths.push(command.len());
        command
    })
    .unwrap();
    assert_eq!(who, *keys(1).public());
    // As the RFC counts them, with the length of the name in front.
    assert_eq!(lengths, [200, 168, 257 + 16, 30 + 16]);
    for length in [0, 1, 255, 256, 70_000] {
        let payload = vec![length as u8; length];
        for flags in [0, frame::MORE, frame::COMMAND] {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            at_client.seal(flags, &payload, &mut there);
            assert!(length < 16 || !there.windows(16).any(|window| *window == payload[..16]), "in the clear");
            let mut there = body(&there);
            let opened = at_server.open(&mut there).unwrap();
            assert_eq!((opened.flags, opened.body), (flags, payload.as_slice()));
            at_server.seal(flags, &payload, &mut back);
            assert_eq!(at_client.open(&mut body(&back)).unwrap().body, payload);
        }
    }
}

#[test]
fn every_bit_and_every_length_of_the_handshake_counts() {
    let lengths = [200, 168, 273, 46];
    for (nth, length) in lengths.into_iter().enumerate() {
        for at in 0..length {
            for damage in 0..3 {
                let outcome = shake_hands(|n, mut command| {
                    if n == nth {
                        match damage {
                            0 => command.truncate(at),
                            1 => command[at] ^= 1 << (at % 8),
                            _ => command[at] ^= 0x80,
                        }
                    }
                    command
                });
                assert!(outcome.is_err(), "command {nth}, byte {at}, damage {damage}");
            }
        }
        let longer = shake_hands(|n, mut command| {
            command.extend_from_slice(if n == nth { &[0] } else { &[] });
            command
        });
        assert!(longer.is_err(), "command {nth}, one byte more");
    }
}

#[test]
fn every_bit_and_every_length_of_a_message_counts() {
    let (mut at_client, mut at_server, _) = shake_hands(|_, command| command).unwrap();
    let mut message = Vec::new();
    at_client.seal(0, b"payload", &mut message);
    let whole = body(&message);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            assert!(at_server.open(&mut damaged).is_err(), "byte {at} bit {bit}");
        }
        assert!(at_server.open(&mut whole[..at].to_vec()).is_err(), "cut at {at}");
    }
    assert!(at_server.open(&mut [&whole[..], &[0]].concat()).is_err());
    assert_eq!(
        at_server.open(&mut whole.clone()).unwrap().body,
        b"payload",
        "what was refused changed nothing"
    );
}

#[test]
fn what_has_come_before_is_refused() {
    let (mut at_client, mut at_server, _) = shake_hands(|_, command| command).unwrap();
    let messages = ["one", "two", "three"].map(|text| {
        let mut message = Vec::new();
        at_client.seal(0, text.as_bytes(), &mut message);
        body(&message)
    });
    let replayed = Err(CurveError::Replayed { command: "MESSAGE" });
    assert!(at_server.open(&mut messages[0].clone()).is_ok());
    assert_eq!(at_server.open(&mut messages[0].clone()), replayed);
    assert!(at_server.open(&mut messages[2].clone()).is_ok());
    assert_eq!(at_server.open(&mut messages[1].clone()), replayed, "it would be late");
    // Nor does one end take for the other's what it sent itself.
    assert!(at_client.open(&mut messages[2].clone()).is_err());
}

#[test]
fn an_initiate_opens_no_other_connection() {
    let (ours, theirs) = (keys(1), keys(2));
    let (greeted, hello) = client::start(&ours, theirs.public(), &CLIENT_RANDOM).unwrap();
    let (_, welcome) = server::hello(&theirs, &hello, &server_random()).unwrap();
    let (_, initiate) = greeted.welcome(&welcome, b"").unwrap();
    // Somebody has heard it all and says it again.
    let other: [u8; 96] = std::array::from_fn(|n| 100 + n as u8);
    let (welcomed, _) = server::hello(&theirs, &hello, &other).unwrap();
    assert_eq!(
        welcomed.initiate(&theirs, &initiate).unwrap_err(),
        CurveError::Forged { command: "INITIATE" }
    );
}

#[test]
fn keys_that_do_not_fit_are_told_apart() {
    let (ours, theirs, others) = (keys(1), keys(2), keys(9));
    let (_, hello) = client::start(&ours, others.public(), &CLIENT_RANDOM).unwrap();
    let refused = server::hello(&theirs, &hello, &server_random()).unwrap_err();
    assert_eq!(refused, CurveError::WrongServerKey);

    // Whoever vouches needs the secret of the key that he shows: here the public one is another's.
    let weak = PublicKey::from_bytes([0; 32]);
    let refused = client::start(&ours, &weak, &CLIENT_RANDOM).unwrap_err();
    assert_eq!(refused, CurveError::WeakKey { command: "HELLO" });

    let (greeted, _) = client::start(&ours, theirs.public(), &CLIENT_RANDOM).unwrap();
    let refused = greeted.welcome(b"\x05ERROR\x03400", b"").unwrap_err();
    assert_eq!(refused, CurveError::Refused { reason: "400".to_owned() });
}

#[test]
fn keys_are_written_as_in_the_rfc() {
    // The example of RFC 32, repeated, and the test keys of zmq_curve(7).
    let example = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b].repeat(4);
    let key = PublicKey::from_bytes(example.try_into().unwrap());
    assert_eq!(key.to_string(), "HelloWorld".repeat(4));
    assert_eq!("HelloWorld".repeat(4).parse(), Ok(key));
    for (public, secret) in [
        ("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"),
        ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"),
    ] {
        let pair = KeyPair::new(secret.parse().unwrap());
        assert_eq!((pair.public().to_string().as_str(), pair.secret().reveal().as_str()), (public, secret));
    }
}

#[test]
fn what_is_no_key_is_refused_without_being_repeated() {
    let read = |text: &str| text.parse::<SecretKey>().map(|_| ()).unwrap_err();
    assert_eq!(read(""), KeyError::Length { length: 0 });
    assert_eq!(read(&"é".repeat(20)), KeyError::Character { place: 1 });
    assert_eq!(read(&"0".repeat(39)), KeyError::Length { length: 39 });
    assert_eq!(read(&("0".repeat(39) + "~")), KeyError::Character { place: 40 });
    assert_eq!(read(&("0".repeat(35) + "#####")), KeyError::Range { place: 36 });
    let secret = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh~";
    assert!(!format!("{0} {0:?}", read(secret)).contains("JTKV"));
}

#[test]
fn nothing_shows_a_secret() {
    let pair = keys(7);
    let secret = pair.secret().reveal();
    let (greeted, _) = client::start(&pair, keys(2).public(), &CLIENT_RANDOM).unwrap();
    let (at_client, ..) = shake_hands(|_, command| command).unwrap();
    let shown = format!("{pair:?} {:?} {greeted:?} {at_client:?}", pair.secret());
    assert!(
        !shown.contains(secret.as_str()) && !shown.contains("7, 7") && !shown.contains("0707"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn whatever_is_said_is_no_reason_to_panic(
        name in prop::sample::select(vec!["HELLO", "WELCOME", "INITIATE", "READY", "MESSAGE", "ERROR", ""]),
        data in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut said = vec![name.len() as u8];
        said.extend_from_slice(name.as_bytes());
        said.extend_from_slice(&data);
        let (mut at_client, mut at_server, _) = shake_hands(|_, command| command).unwrap();
        prop_assert!(at_client.open(&mut said.clone()).is_err() && at_server.open(&mut said.clone()).is_err());
        for nth in 0..4 {
            let outcome = shake_hands(|n, command| if n == nth { said.clone() } else { command });
            prop_assert!(outcome.is_err());
        }
    }
}

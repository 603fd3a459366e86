//! ZMTP to the byte: what we write is what libzmq writes, what is cut anywhere is understood as if it were whole, and
//! what no honest peer sends is refused by its right name.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_codec::zmtp::command::{self, Command};
use multiplane_codec::zmtp::frame::{self, COMMAND, Found, FrameError, Header, LONG, MORE};
use multiplane_codec::zmtp::{Handshake, Peer, Refusal, SocketType};
use proptest::prelude::*;

const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    let start = *b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL";
    let mut n = 0;
    while n < start.len() {
        greeting[n] = start[n];
        n += 1;
    }
    greeting
};

const READY_SUB: &[u8] = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB";

fn greeting(major: u8, minor: u8) -> [u8; 64] {
    let mut greeting = GREETING;
    (greeting[10], greeting[11]) = (major, minor);
    greeting
}

fn ready(metadata: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    command::write(&mut frame, "READY", &[metadata]);
    frame
}

/// The peer and how much was used, or why not; and what was answered.
type Shaken = (Result<(Option<Peer>, usize), Refusal>, Vec<u8>);

/// Shakes hands with all of `input` at once; also what was answered and how much was used.
fn shake(ours: SocketType, input: &[u8]) -> Shaken {
    let (mut handshake, mut out) = Handshake::start(ours);
    let used = handshake.handle(input, &mut out);
    (used.map(|used| (handshake.peer(), used)), out)
}

/// As [`shake`], but the bytes come in these pieces.
fn shake_in_pieces<'a>(ours: SocketType, pieces: impl Iterator<Item = &'a [u8]>) -> Shaken {
    let (mut handshake, mut out) = Handshake::start(ours);
    let (mut input, mut used) = (Vec::new(), 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        if handshake.peer().is_some() {
            continue;
        }
        match handshake.handle(&input, &mut out) {
            Ok(more) => {
                input.drain(..more);
                used += more;
            }
            Err(refusal) => return (Err(refusal), out),
        }
    }
    (Ok((handshake.peer(), used)), out)
}

fn accepted(input: &[u8]) -> Peer {
    shake(SocketType::XPub, input).0.unwrap().0.expect("the handshake is done")
}

fn refusal(input: &[u8]) -> Refusal {
    let (result, _) = shake(SocketType::XPub, input);
    // Whoever speaks so is refused as soon as it has, and not later because more came.
    let pieces = (1..=input.len()).map(|end| &input[end - 1..end]);
    let refusal = result.unwrap_err();
    assert_eq!(shake_in_pieces(SocketType::XPub, pieces).0.unwrap_err(), refusal);
    refusal
}

#[test]
fn our_bytes_are_those_that_libzmq_writes() {
    for (ours, name) in [(SocketType::XPub, "XPUB"), (SocketType::XSub, "XSUB"), (SocketType::Pub, "PUB")] {
        let theirs = if ours == SocketType::XSub { &b"\x03PUB"[..] } else { b"\x03SUB" };
        let ready = ready(&[b"\x0bSocket-Type\0\0\0", theirs].concat());
        let (result, out) = shake(ours, &[&GREETING, &*ready].concat());
        assert!(matches!(result, Ok((Some(Peer { minor: 1, .. }), used)) if used == 64 + ready.len()));
        let mut expected = GREETING.to_vec();
        expected.extend_from_slice(&[4, 22 + name.len() as u8]);
        expected.extend_from_slice(b"\x05READY\x0bSocket-Type\0\0\0");
        expected.push(name.len() as u8);
        expected.extend_from_slice(name.as_bytes());
        assert_eq!(out, expected);
    }
    let (_, out) = shake(SocketType::Sub, &GREETING);
    assert_eq!(&out[64..], READY_SUB);

    let subscription = |minor, subscribe, topic: &[u8]| {
        let mut out = Vec::new();
        command::write_subscription(&mut out, minor, subscribe, topic);
        out
    };
    assert_eq!(subscription(1, true, b"echo"), b"\x04\x0e\x09SUBSCRIBEecho");
    assert_eq!(subscription(1, true, b""), b"\x04\x0a\x09SUBSCRIBE");
    assert_eq!(subscription(1, false, b"echo"), b"\x04\x0b\x06CANCELecho");
    assert_eq!(subscription(0, true, b"abc"), b"\0\x04\x01abc");
    assert_eq!(subscription(0, false, b"abc"), b"\0\x04\0abc");
    assert_eq!(subscription(0, true, b""), b"\0\x01\x01");
    let long = subscription(1, true, &[b't'; 300]);
    assert_eq!(&long[..20], b"\x06\0\0\0\0\0\0\x01\x36\x09SUBSCRIBEt");
    assert_eq!(long.len(), 9 + 310);

    let mut out = Vec::new();
    command::write_pong(&mut out, b"ctx!");
    assert_eq!(out, b"\x04\x09\x04PONGctx!");
    out.clear();
    command::write_ping(&mut out, 300, b"ctx!");
    assert_eq!(out, b"\x04\x0b\x04PING\x01\x2cctx!");
    out.clear();
    command::write_error(&mut out, "no");
    assert_eq!(out, b"\x04\x09\x05ERROR\x02no");
    out.clear();
    frame::write(&mut out, MORE, b"echo");
    frame::write(&mut out, 0, &[7; 255]);
    frame::write(&mut out, MORE, &[7; 256]);
    assert_eq!((&out[..6], &out[6..8]), (&b"\x01\x04echo"[..], &b"\0\xff"[..]));
    assert_eq!(&out[8 + 255..8 + 255 + 9], b"\x03\0\0\0\0\0\0\x01\0");
}

#[test]
fn commands_are_read_as_they_are_written() {
    let read = |bytes: &'static [u8]| command::parse(bytes);
    assert_eq!(read(b"\x09SUBSCRIBEecho"), Some(Command::Subscribe(b"echo")));
    assert_eq!(read(b"\x09SUBSCRIBE"), Some(Command::Subscribe(b"")));
    assert_eq!(read(b"\x06CANCELecho"), Some(Command::Cancel(b"echo")));
    assert_eq!(read(b"\x04PING\x01\x2cctx!"), Some(Command::Ping { ttl: 300, context: b"ctx!" }));
    let context = b"0123456789abcdef";
    assert_eq!(read(b"\x04PING\0\x000123456789abcdefTOOLONG"), Some(Command::Ping { ttl: 0, context }));
    assert_eq!(read(b"\x04PONGctx!"), Some(Command::Pong(b"ctx!")));
    assert_eq!(read(b"\x05ERROR\x02no and more"), Some(Command::Error(b"no")));
    assert_eq!(read(b"\x07UNHEARDof"), Some(Command::Unknown(b"UNHEARD")));
    // Names are exact.
    assert_eq!(read(b"\x09subscribeecho"), Some(Command::Unknown(b"subscribe")));
    for none in
        [&b""[..], b"\x09SUBSCRIB", b"\xff", b"\x04PING", b"\x04PING\0", b"\x05ERROR", b"\x05ERROR\x03no"]
    {
        assert_eq!(command::parse(none), None, "{none:?}");
    }
}

#[test]
fn each_version_is_accepted_or_refused_by_its_name() {
    let with = |greeting: [u8; 64]| [&greeting, READY_SUB].concat();
    let peer = |minor| Peer { minor, socket_type: SocketType::Sub };
    assert_eq!(accepted(&with(greeting(3, 1))), peer(1));
    assert_eq!(accepted(&with(greeting(3, 0))), peer(0));
    assert_eq!(accepted(&with(greeting(3, 2))), peer(1));
    assert_eq!(accepted(&with(greeting(3, 255))), peer(1));
    assert_eq!(accepted(&with(greeting(4, 0))), peer(1), "a newer peer comes down to 3.1");
    // Padding, as-server and filler mean nothing here.
    let mut odd = GREETING;
    odd[1..9].fill(0xaa);
    odd[32..].fill(0xbb);
    assert_eq!(accepted(&with(odd)), peer(1));

    let too_old = |major| Refusal::TooOld { major };
    assert_eq!(refusal(b"\xff\0\0\0\0\0\0\0\x01\x7f\0"), too_old(1));
    // ZMTP 2.0: the revision 1, a socket type, an empty identity.
    assert_eq!(refusal(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x02\0\0"), too_old(2));
    assert_eq!(refusal(&greeting(2, 0)), too_old(2));
    // ZMTP 1.0: an anonymous peer, one with a short name, one with a name over 254 bytes.
    assert_eq!(refusal(b"\x01\0"), too_old(1));
    assert_eq!(refusal(b"\x05\0name"), too_old(1));
    assert_eq!(refusal(b"\xff\0\0\0\0\0\0\x01\x2c\0"), too_old(1));
}

#[test]
fn a_property_of_an_application_is_told_and_found() {
    let say = |name: &str, value: &[u8]| {
        let mut metadata = Vec::new();
        command::write_property(&mut metadata, "Socket-Type", b"SUB");
        command::write_property(&mut metadata, name, value);
        [&GREETING, &*ready(&metadata)].concat()
    };
    let (handshake, _) = Handshake::start(SocketType::Sub);
    let mut out = Vec::new();
    handshake.offering("X-Way", b"there").handle(&GREETING, &mut out).unwrap();
    assert_eq!(out, b"\x04\x28\x05READY\x0bSocket-Type\0\0\0\x03SUB\x05X-Way\0\0\0\x05there");
    assert_eq!([&GREETING, &*out].concat(), say("X-Way", b"there"));

    let found = |name: &'static str, input: &[u8]| {
        let mut handshake = Handshake::start(SocketType::XPub).0.seeking(name);
        assert_eq!(handshake.handle(input, &mut Vec::new()), Ok(input.len()));
        handshake.found().map(<[u8]>::to_vec)
    };
    assert_eq!(found("X-Way", &say("X-Way", b"there")), Some(b"there".to_vec()));
    assert_eq!(found("X-WAY", &say("x-wAY", b"")), Some(Vec::new()), "names do not mind case");
    assert_eq!(found("X-Other", &say("X-Way", b"there")), None);
    assert_eq!(found("X-Way", &say("X-Way", &[7; 255])), Some(vec![7; 255]));
    assert_eq!(found("X-Way", &say("X-Way", &[7; 256])), None, "nobody keeps that");
    // What nobody looks for is no matter.
    assert_eq!(accepted(&say("X-Way", b"there")), Peer { minor: 1, socket_type: SocketType::Sub });
}

#[test]
fn each_mechanism_and_each_stranger_is_refused_by_its_name() {
    for name in ["PLAIN", "CURVE", "GSSAPI", "NULLX", ""] {
        let mut other = GREETING;
        other[12..32].fill(0);
        other[12..12 + name.len()].copy_from_slice(name.as_bytes());
        assert_eq!(refusal(&other), Refusal::Mechanism { name: name.to_owned(), ours: "NULL" });
    }
    let mut hidden = GREETING;
    hidden[20] = b'x';
    assert_eq!(refusal(&hidden), Refusal::Mechanism { name: "NULL".to_owned(), ours: "NULL" });

    let strangers: [(&[u8], &str); 8] = [
        (b"GET / HTTP/1.1\r\n", "perhaps HTTP"),
        (b"POST / HTTP/1.1\r\n", "perhaps HTTP"),
        (b"TRACE / HTTP/1.1\r\n", "perhaps HTTP"),
        (b"\x16\x03\x01\x02\0", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "perhaps SSH"),
        (b"\x10\x0e\0\x04MQTT", "perhaps MQTT"),
        (b"\0\0\0\0", "something unknown"),
        (b"\xfe", "something unknown"),
    ];
    for (bytes, what) in strangers {
        assert_eq!(refusal(bytes), Refusal::NotZmtp { what });
        assert_eq!(refusal(&bytes[..1]), Refusal::NotZmtp { what }, "the first byte is enough");
    }
}

#[test]
fn a_ready_that_lies_is_refused() {
    let refused = |rest: &[u8]| refusal(&[&GREETING, rest].concat());
    let protocol = |what| Refusal::Protocol { what };
    let none = protocol("READY names no Socket-Type");
    for metadata in [
        &b""[..],
        b"\x0bSocket-Type",
        b"\x0bSocket-Type\0\0\0",
        b"\x0bSocket-Type\0\0\0\x04SUB",
        b"\x0bSocket-Type\xff\xff\xff\xffSUB",
        b"\xffSocket-Type\0\0\0\x03SUB",
        b"\x0aSocket-Type\0\0\0\x03SUB",
        b"\x08Identity\0\0\0\0",
        b"\x08Identity\xff\xff\xff\xff\x0bSocket-Type\0\0\0\x03SUB",
    ] {
        assert_eq!(refused(&ready(metadata)), none, "{metadata:?}");
    }
    // Case of names and other properties do not matter.
    let metadata = b"\x08Identity\0\0\0\x02me\x0bsOCKET-tYPE\0\0\0\x03SUB\x05X-New\0\0\0\x01x";
    assert_eq!(accepted(&[&GREETING, &*ready(metadata)].concat()).socket_type, SocketType::Sub);

    assert_eq!(refused(b"\0\x04\x01abc"), protocol("a message before READY"));
    assert_eq!(refused(b"\x04\x0e\x09SUBSCRIBEecho"), protocol("the first command is not READY"));
    assert_eq!(refused(b"\x04\x00"), protocol("the first command is not READY"));
    assert_eq!(refused(b"\x04\x09\x05ERROR\x02no"), Refusal::Refused { reason: "no".to_owned() });
    assert_eq!(refused(b"\x05\x01"), Refusal::Frame(FrameError::CommandInside));
    assert_eq!(refused(b"\x08"), Refusal::Frame(FrameError::Flags { flags: 8 }));
    let long = refused(b"\x06\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(long, Refusal::Frame(FrameError::TooLong { length: u64::MAX >> 1, limit: 4096 }));
}

#[test]
fn wrong_sockets_are_told_so() {
    let swapped = "publisher and subscriber port are probably swapped";
    let stranger = "only PUB, SUB, XPUB and XSUB talk to a backplane";
    for (ours, name, cure) in [
        (SocketType::XPub, "PUB", swapped),
        (SocketType::XPub, "XPUB", swapped),
        (SocketType::XSub, "SUB", swapped),
        (SocketType::XSub, "XSUB", swapped),
        (SocketType::XPub, "REQ", stranger),
        (SocketType::XPub, "sub", stranger),
        (SocketType::XPub, "", stranger),
    ] {
        let metadata = [&b"\x0bSocket-Type\0\0\0"[..], &[name.len() as u8], name.as_bytes()].concat();
        let (result, out) = shake(ours, &[&GREETING, &*ready(&metadata)].concat());
        assert_eq!(result.unwrap_err(), Refusal::SocketType { theirs: name.to_owned(), cure });
        assert!(out.ends_with(b"\x04\x1a\x05ERROR\x13Invalid socket type"), "{out:?}");
    }
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let metadata = b"\x08Identity\0\0\0\0\x0bSocket-Type\0\0\0\x03SUB";
    let after = b"\x04\x0e\x09SUBSCRIBEecho";
    let input = [&GREETING, &*ready(metadata), after].concat();
    let whole = shake(SocketType::XPub, &input);
    assert!(matches!(whole.0, Ok((Some(_), used)) if used == input.len() - after.len()), "{whole:?}");
    for first in 0..=input.len() {
        for second in first..=input.len() {
            let pieces = [&input[..first], &input[first..second], &input[second..]];
            assert_eq!(shake_in_pieces(SocketType::XPub, pieces.into_iter()), whole, "{first} {second}");
        }
    }
}

#[test]
fn hostile_headers_are_refused_before_any_body() {
    for flags in 8..=255 {
        assert_eq!(Header::parse(&[flags], 100), Err(FrameError::Flags { flags }));
    }
    for flags in [COMMAND | MORE, COMMAND | MORE | LONG] {
        assert_eq!(Header::parse(&[flags], 100), Err(FrameError::CommandInside));
    }
    for length in [101, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX] {
        let header = [&[LONG][..], &length.to_be_bytes()].concat();
        assert_eq!(Header::parse(&header, 100), Err(FrameError::TooLong { length, limit: 100 }));
        // Without a limit it is just not there yet.
        assert_eq!(frame::find(&header, usize::MAX), Ok(Found::Incomplete));
        let second = [b"\x01\x01t", &*header].concat();
        assert!(matches!(frame::find(&second, usize::MAX), Ok(Found::Incomplete)));
        assert!(frame::find(&second, 100).is_err());
    }
    // The limit is for the whole message, not for each frame.
    let frames = b"\x01\x04aaaa".repeat(20);
    assert_eq!(frame::find(&frames, 100), Err(FrameError::TooLong { length: 102, limit: 100 }));
    assert_eq!(frame::find(b"\x01\x01a\x04\x05\x04PONG", 100), Err(FrameError::CommandInside));
    assert_eq!(frame::find(b"\x01\x01a\x04", 100), Ok(Found::Incomplete));
}

/// What a stream of frames holds: topics and lengths of messages, bodies of commands.
#[derive(Debug, PartialEq)]
enum Item {
    Message(Vec<u8>, usize),
    Command(Vec<u8>),
}

/// Takes all that is complete from `input`.
fn take(input: &mut Vec<u8>, scanned: &mut usize, items: &mut Vec<Item>) -> Result<(), FrameError> {
    loop {
        let total = match frame::find_from(input, scanned, 2000)? {
            Found::Message { topic, topic_length, total } => {
                assert_eq!(*scanned, 0);
                items.push(Item::Message(input[topic..topic + topic_length].to_vec(), total));
                total
            }
            Found::Command { body, total } => {
                items.push(Item::Command(input[body..total].to_vec()));
                total
            }
            Found::Incomplete => {
                // Frames that are there need no second look, and no other is skipped.
                assert!(*scanned <= input.len());
                assert_eq!(frame::find(input, 2000), Ok(Found::Incomplete));
                return Ok(());
            }
        };
        input.drain(..total);
    }
}

fn stream() -> impl Strategy<Value = (Vec<u8>, Vec<Item>)> {
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        (254usize..258).prop_map(|length| vec![b'x'; length]),
    ];
    let message = prop::collection::vec(body.clone(), 1..6).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (n, body) in frames.iter().enumerate() {
            frame::write(&mut bytes, if n + 1 < frames.len() { MORE } else { 0 }, body);
        }
        let item = Item::Message(frames[0].clone(), bytes.len());
        (bytes, item)
    });
    let command = body.prop_map(|body| {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, COMMAND, &body);
        (bytes, Item::Command(body))
    });
    let items = prop::collection::vec(prop_oneof![3 => message, 1 => command], 0..5);
    items.prop_map(|items| {
        let (bytes, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        (bytes.concat(), items)
    })
}

proptest! {
    #[test]
    fn a_stream_may_be_cut_anywhere((bytes, items) in stream(), step in 1usize..40) {
        for cut in 0..=bytes.len() {
            let (mut input, mut scanned, mut got) = (bytes[..cut].to_vec(), 0, Vec::new());
            take(&mut input, &mut scanned, &mut got)?;
            input.extend_from_slice(&bytes[cut..]);
            take(&mut input, &mut scanned, &mut got)?;
            prop_assert_eq!(&got, &items, "cut at {}", cut);
            prop_assert!(input.is_empty());
        }
        let (mut input, mut scanned, mut got) = (Vec::new(), 0, Vec::new());
        for piece in bytes.chunks(step) {
            input.extend_from_slice(piece);
            take(&mut input, &mut scanned, &mut got)?;
        }
        prop_assert_eq!(&got, &items);
    }

    #[test]
    fn nothing_is_found_beyond_the_input(
        (mut bytes, _) in stream(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        limit in prop_oneof![0usize..600, Just(usize::MAX)],
    ) {
        for (at, value) in hits {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        check_find(&bytes, limit)?;
        // A mistake is a mistake however little has come, and never turns into something else.
        let mut scanned = 0;
        for end in 0..bytes.len() {
            match frame::find_from(&bytes[..end], &mut scanned, limit) {
                Ok(Found::Incomplete) => {}
                early => {
                    prop_assert_eq!(early, frame::find(&bytes, limit));
                    break;
                }
            }
        }
    }

    /// What is passed over in one go is what would be found one by one, and no more than there is room for.
    #[test]
    fn repeats_are_what_would_be_found_one_by_one(
        topic in prop::collection::vec(any::<u8>(), 0..40),
        parts in prop::collection::vec((0u8..60, prop_oneof![0usize..6, 250usize..260]), 1..10),
        (limit, most, room) in (0usize..6, 0usize..12, 0usize..6),
        cut in 0usize..4,
    ) {
        let (mut bytes, mut first) = (Vec::new(), Vec::new());
        frame::write(&mut first, MORE, &topic);
        // Next to where they matter.
        let (limit, room) = (first.len() + parts[0].1 + limit, (first.len() + parts[0].1 + room) * most);
        for (kind, length) in parts {
            match kind {
                0 => frame::write(&mut bytes, COMMAND, b"\x04PING\0\0"),
                1 => frame::write(&mut bytes, 0, &topic),
                2 => frame::write(&mut bytes, MORE, &topic[topic.len() / 2..]),
                3 => bytes.extend_from_slice(&[MORE | LONG, 0, 0, 0, 0, 0, 0, 0, 1, 7]),
                4 => bytes.push(length as u8),
                _ => bytes.extend_from_slice(&first),
            }
            frame::write(&mut bytes, if kind == 5 { MORE } else { 0 }, &vec![7; length]);
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let mut at = 0;
        // Where a pair is found stands such a message, and a pair is found where a plain one stands.
        while let Ok(Found::Message { topic: begin, topic_length, total }) = frame::find(&bytes[at..], limit) {
            let (topic, rest) = bytes[at + begin..at + total].split_at(topic_length);
            let second = Header::parse(rest, limit).unwrap();
            let plain = second.filter(|second| !second.has_more() && begin == 2 && total <= limit);
            let expected = plain.map(|second| frame::Pair { topic, payload: &rest[second.header..], total });
            prop_assert_eq!(frame::pair(&bytes[at..], limit), expected);
            at += total;
        }
        prop_assert_eq!(frame::pair(&bytes[at..], limit), None);
        let (messages, length) = frame::repeats(&bytes, &first, limit, (most, room));
        let (mut count, mut at) = (0, 0);
        while count < most && bytes[at..].starts_with(&first) {
            let Ok(Found::Message { topic, topic_length, total }) = frame::find(&bytes[at..], limit) else { break };
            let frames = Header::parse(&bytes[at + topic + topic_length..], limit).unwrap().unwrap();
            if frames.has_more() || at + total > room {
                break;
            }
            (count, at) = (count + 1, at + total);
        }
        prop_assert_eq!((messages, length), (count, at));
    }

    #[test]
    fn random_bytes_panic_nowhere(bytes in prop::collection::vec(any::<u8>(), 0..200), greet in any::<bool>()) {
        check_find(&bytes, usize::MAX)?;
        let _ = command::parse(&bytes);
        let _ = command::property(&bytes, "Socket-Type");
        let input = if greet { [&GREETING, &*bytes].concat() } else { bytes };
        let whole = shake(SocketType::XSub, &input);
        let pieces = (1..=input.len()).map(|end| &input[end - 1..end]);
        let cut = shake_in_pieces(SocketType::XSub, pieces);
        prop_assert_eq!(&cut.0, &whole.0);
        if let Ok((_, used)) = whole.0 {
            prop_assert!(used <= input.len());
        }
    }

    #[test]
    fn a_mutated_ready_panics_nowhere(at in 64usize..64 + 27, value in any::<u8>()) {
        let mut input = [&GREETING, READY_SUB].concat();
        input[at] = value;
        let (result, out) = shake(SocketType::XPub, &input);
        if let Ok((peer, used)) = result {
            prop_assert!(used <= input.len());
            prop_assert!(peer.is_none_or(|peer| peer.socket_type == SocketType::Sub));
        }
        prop_assert!(out.starts_with(&GREETING));
    }
}

fn check_find(bytes: &[u8], limit: usize) -> Result<(), TestCaseError> {
    match frame::find(bytes, limit) {
        Ok(Found::Message { topic, topic_length, total }) => {
            prop_assert!(topic + topic_length <= total && total <= bytes.len());
        }
        Ok(Found::Command { body, total }) => prop_assert!(body <= total && total <= bytes.len()),
        Ok(Found::Incomplete) | Err(_) => {}
    }
    Ok(())
}

/// A message of millions of empty frames that comes in small pieces is looked at once. Looked at anew with each piece
/// this would be hundreds of billions of frames, and never end.
#[test]
fn tiny_frames_are_looked_at_once() {
    let input = b"\x01\0".repeat(8_000_000);
    let mut scanned = 0;
    for end in (0..input.len()).step_by(101) {
        let found = frame::find_from(&input[..end], &mut scanned, usize::MAX);
        assert_eq!((found, scanned), (Ok(Found::Incomplete), end / 2 * 2));
    }
}

//! What goes in comes out: values, types, JSON and streams, for whatever proptest thinks of.

use multiplane_codec::framing::{FramingError, length_prefix, lines};
use multiplane_codec::msgpack::{json, numpy};
use multiplane_codec::{Limits, Value, View, decode, encode};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const LIMITS: Limits = Limits::DEFAULT;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Uint),
        any::<u16>().prop_map(|n| Value::Uint(n.into())),
        (i64::MIN..0).prop_map(Value::Int),
        (-200_i64..0).prop_map(Value::Int),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<String>().prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bin),
        (any::<i8>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(kind, bytes)| Value::Ext(kind, bytes)),
    ]
}

fn tree(keys: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 80, 20, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((keys.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

fn text_keyed() -> impl Strategy<Value = Value> {
    tree(any::<String>().prop_map(Value::Str).boxed())
}

/// Values that JSON can say.
fn for_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Uint),
        (i64::MIN..0).prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::F64),
        any::<String>().prop_map(Value::Str),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((any::<String>().prop_map(Value::Str), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Command {
    Stop,
    Unit(()),
    Pin(u8),
    Move(i32, f64),
    Say { text: String, loud: Option<bool> },
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Marker;

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Wrapped(i16);

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Everything {
    commands: Vec<Command>,
    map: std::collections::BTreeMap<String, Wrapped>,
    tuple: (u64, i8, char),
    nothing: Option<u8>,
    marker: Marker,
    value: Value,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Stop),
        Just(Command::Unit(())),
        any::<u8>().prop_map(Command::Pin),
        (any::<i32>(), any::<f64>()).prop_map(|(a, b)| Command::Move(a, b)),
        (any::<String>(), any::<Option<bool>>()).prop_map(|(text, loud)| Command::Say { text, loud }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    (
        prop::collection::vec(command(), 0..20),
        prop::collection::btree_map(any::<String>(), any::<i16>().prop_map(Wrapped), 0..20),
        any::<(u64, i8, char)>(),
        any::<Option<u8>>(),
        text_keyed(),
    )
        .prop_map(|(commands, map, tuple, nothing, value)| Everything {
            commands,
            map,
            tuple,
            nothing,
            marker: Marker,
            value,
        })
}

proptest! {
    #[test]
    fn a_value_survives_its_bytes(value in tree(scalar().boxed())) {
        let mut bytes = vec![0xff];
        value.encode(&mut bytes).unwrap();
        let view = View::parse(&bytes[1..], &LIMITS).unwrap();
        prop_assert_eq!(Value::from(view), value);
    }

    #[test]
    fn serde_writes_the_same_bytes_and_reads_them(value in text_keyed()) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        prop_assert_eq!(&encode::to_vec(&value).unwrap(), &bytes);
        prop_assert_eq!(decode::<Value>(&bytes, &LIMITS).unwrap(), value);
    }

    #[test]
    fn types_survive(everything in everything()) {
        let bytes = encode::to_vec(&everything).unwrap();
        prop_assert_eq!(decode::<Everything>(&bytes, &LIMITS).unwrap(), everything);
    }

    /// rmp-serde is the outside judge of our serializer: the same bytes for the same types, but for `()`-like
    /// structs.
    #[test]
    fn rmp_serde_writes_the_same_bytes(commands in prop::collection::vec(command(), 0..40), pairs in any::<Vec<(u32, String)>>()) {
        let both = (commands, pairs);
        prop_assert_eq!(encode::to_vec(&both).unwrap(), rmp_serde::to_vec_named(&both).unwrap());
    }

    #[test]
    fn every_cut_of_a_frame_is_truncated(value in tree(scalar().boxed())) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        for cut in 0..bytes.len().min(200) {
            prop_assert!(View::parse(&bytes[..cut], &LIMITS).is_err());
        }
        bytes.push(0xc0);
        prop_assert!(View::parse(&bytes, &LIMITS).is_err());
    }

    #[test]
    fn json_survives_both_ways(value in for_json()) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        let mut text = Vec::new();
        json::from_msgpack(View::parse(&bytes, &LIMITS).unwrap(), &mut text).unwrap();
        let judge: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let mut back = Vec::new();
        json::to_msgpack(&text, &mut back, &LIMITS).unwrap();
        prop_assert_eq!(&back, &bytes);
        let mut pretty = Vec::new();
        // serde_json drops a key sent twice, so only its text is compared with itself.
        json::to_msgpack(&serde_json::to_vec_pretty(&judge).unwrap(), &mut pretty, &LIMITS).unwrap();
        let mut compact = Vec::new();
        json::to_msgpack(&serde_json::to_vec(&judge).unwrap(), &mut compact, &LIMITS).unwrap();
        prop_assert_eq!(pretty, compact);
    }

    #[test]
    fn numbers_survive_numpy(data in any::<Vec<f64>>(), rows in 1_usize..5) {
        let data = &data[..data.len() / rows * rows];
        let mut bytes = Vec::new();
        numpy::encode(&mut bytes, &[rows, data.len() / rows], data).unwrap();
        let array = numpy::ArrayView::from_view(View::parse(&bytes, &LIMITS).unwrap()).unwrap().unwrap();
        prop_assert_eq!(array.to_vec::<f64>().unwrap(), data);
        prop_assert_eq!(array.shape().collect::<Vec<_>>(), [rows, data.len() / rows]);
    }

    #[test]
    fn complex_numbers_survive(real in any::<f64>(), imaginary in any::<f64>()) {
        let mut bytes = Vec::new();
        numpy::encode_complex(&mut bytes, real, imaginary).unwrap();
        prop_assert_eq!(numpy::complex(View::parse(&bytes, &LIMITS).unwrap()), Some((real, imaginary)));
    }

    #[test]
    fn prefixed_messages_survive_any_split(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        for width in [length_prefix::Width::One, length_prefix::Width::Two, length_prefix::Width::Four] {
            let mut stream = Vec::new();
            for message in &messages {
                length_prefix::encode(width, message, &mut stream).unwrap();
            }
            for cut in 0..=stream.len() {
                let mut decoder = length_prefix::Decoder::new(width, 40);
                let mut got: Vec<Vec<u8>> = Vec::new();
                for chunk in [&stream[..cut], &stream[cut..]] {
                    decoder.feed(chunk);
                    while let Some(message) = decoder.next_frame().unwrap() {
                        got.push(message.to_vec());
                    }
                }
                prop_assert_eq!(&got, &messages);
                prop_assert_eq!(decoder.pending(), 0);
            }
        }
    }

    /// Against the plain definition: split at newlines, strip one `\r`, drop what is too long.
    #[test]
    fn lines_survive_any_split(stream in prop::collection::vec(prop::sample::select(&b"ab\r\n\n"[..]), 0..60), limit in 0_usize..8) {
        let text = stream.as_slice();
        let (complete, last) = match text.iter().rposition(|&byte| byte == b'\n') {
            Some(at) => (text[..at].split(|&byte| byte == b'\n').collect(), &text[at + 1..]),
            None => (Vec::new(), text),
        };
        let strip = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        let wanted: Vec<_> = complete.into_iter().map(strip)
            .map(|line| if line.len() > limit { Err(FramingError::LineTooLong { limit }) } else { Ok(line) })
            .collect();
        for cut in 0..=stream.len() {
            let mut decoder = lines::Decoder::new(limit);
            let mut got = Vec::new();
            for chunk in [&stream[..cut], &stream[cut..]] {
                decoder.feed(chunk);
                while let Some(line) = decoder.next_line().map(|line| line.map(<[u8]>::to_vec)).transpose() {
                    got.push(line);
                }
            }
            let rest = decoder.finish().map(<[u8]>::to_vec);
            // A last line that is too long is reported before its newline comes, or dropped by `finish`.
            if got.len() == wanted.len() + 1 {
                prop_assert_eq!(got.pop(), Some(Err(FramingError::LineTooLong { limit })));
                prop_assert_eq!(&rest, &None);
                prop_assert!(strip(last).len() > limit);
            }
            prop_assert_eq!(&got, &wanted);
            prop_assert_eq!(rest, Some(strip(last)).filter(|last| !last.is_empty() && last.len() <= limit));
        }
    }
}

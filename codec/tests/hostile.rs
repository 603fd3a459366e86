//! A million frames that nobody honest would send: nothing panics, and nothing allocates more than the
//! frame's own size explains.
//!
//! The seed is fixed so that a failure repeats; `HOSTILE_SEED=n` and `HOSTILE_FRAMES=n` choose others. A
//! failing frame is printed in hex.
#![allow(clippy::print_stdout)] // The seed is worth printing.

mod counting;
mod random;
mod vectors;

use counting::within;
use multiplane_codec::framing::{FramingError, length_prefix, lines};
use multiplane_codec::msgpack::numpy::{self, ArrayView, Dtype, NumpyError};
use multiplane_codec::msgpack::{Kind, json};
use multiplane_codec::{DecodeError, Limits, Value, View, decode, encode};
use random::{Random, setting};
use serde::Deserialize;

// ---- frames

/// A sound value, most often a map with text keys.
fn value(random: &mut Random, depth: usize) -> Value {
    let leaf = depth == 0;
    match random.below(if leaf { 9 } else { 13 }) {
        0 => Value::Nil,
        1 => Value::Bool(random.below(2) == 0),
        2 => Value::Uint(random.next() >> random.below(64)),
        3 => Value::from((random.next() >> random.below(64)).cast_signed()),
        4 => Value::F64(f64::from_bits(random.next())),
        5 => Value::F32(random.next() as f32),
        6 => Value::Str("aé\"\\\n😀".chars().cycle().skip(random.below(6)).take(random.below(40)).collect()),
        7 => Value::Bin({
            let n = random.below(40);
            random.bytes(n)
        }),
        8 => Value::Ext(random.next() as i8, {
            let n = random.below(20);
            random.bytes(n)
        }),
        9 | 10 => Value::Array((0..random.below(6)).map(|_| value(random, depth - 1)).collect()),
        _ => {
            let key = |random: &mut Random| match random.below(12) {
                0 => value(random, 0),
                n => ["a", "b", "nd", "data", "shape", "type", "message_number", "x", "y", "", "é", "k"][n]
                    .into(),
            };
            Value::Map((0..random.below(6)).map(|_| (key(random), value(random, depth - 1))).collect())
        }
    }
}

/// Bytes that change much: markers, lengths at their borders.
const SPICE: [u8; 24] = [
    0x00, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9, 0xcb,
    0xd4, 0xd9, 0xdb, 0xdd, 0xdf, 0xe0, 0xff,
];

fn mutate(random: &mut Random, frame: &mut Vec<u8>, other: &[u8], spice: &[u8]) {
    for _ in 0..random.below(4) {
        let at = random.below(frame.len());
        match random.below(8) {
            _ if frame.is_empty() => frame.push(random.next() as u8),
            0 => frame[at] ^= 1 << random.below(8),
            1 | 2 => frame[at] = spice[random.below(spice.len())],
            3 => frame.insert(at, spice[random.below(spice.len())]),
            4 => drop(frame.remove(at)),
            5 => frame.truncate(at),
            6 => {
                let n = random.below(5);
                let end = frame.len().min(at + 4);
                frame[at..end].fill([0, 0xff, 0x7f, 0x80, 1][n]);
            }
            _ => {
                let from = random.below(other.len());
                frame.splice(at..at, other[from..].iter().take(16).copied());
            }
        }
    }
}

fn frame(random: &mut Random, golden: &[Vec<u8>]) -> Vec<u8> {
    let other = &golden[random.below(golden.len())];
    match random.below(8) {
        0 => {
            let n = random.below(80);
            random.bytes(n)
        }
        // Nothing but markers: the densest nesting and the wildest claims.
        1 => (0..random.below(200)).map(|_| SPICE[random.below(SPICE.len())]).collect(),
        2 => vec![[0x91, 0x81, 0x92, 0xdd][random.below(4)]; random.below(400)],
        3 | 4 => {
            let mut bytes = golden[random.below(golden.len())].clone();
            mutate(random, &mut bytes, other, &SPICE);
            bytes
        }
        kind => {
            let mut bytes = Vec::new();
            value(random, 4).encode(&mut bytes).expect("it is short");
            if kind > 5 {
                mutate(random, &mut bytes, other, &SPICE);
            }
            bytes
        }
    }
}

// ---- what is done to each

#[derive(Deserialize, Debug)]
#[allow(dead_code)]
struct Typed<'a> {
    #[serde(borrow)]
    message: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a [u8]>,
    message_number: Option<u64>,
    a: Option<Vec<i32>>,
    b: Option<Choice>,
    #[serde(default)]
    x: f32,
    k: Option<std::collections::BTreeMap<String, Option<Box<Typed<'a>>>>>,
}

#[derive(Deserialize, Debug)]
#[allow(dead_code)]
enum Choice {
    Unit,
    One(u8),
    Two(u8, String),
    Named { a: (), b: char },
}

fn read(frame: &[u8], limits: &Limits, tally: &mut Tally) {
    let n = frame.len();
    // The stack of open containers, and nothing that grows with the frame.
    let parsed = within(2 << 10, "View::parse", || View::parse(frame, limits));
    let typed = within(96 * n + (2 << 10), "decode", || decode::<Typed>(frame, limits).is_ok());
    tally.typed += usize::from(typed);
    let owned = within(96 * n + (2 << 10), "decode::<Value>", || decode::<Value>(frame, limits));
    // serde quotes an unknown variant in its error; at worst three bytes for one that is not UTF-8, and a
    // buffer that doubles.
    let choice = within(12 * n + (2 << 10), "decode::<Choice>", || decode::<Choice>(frame, limits));
    choice.err().inspect(|error| assert!(error.to_string().len() < 1 << 10));
    within(2 << 10, "decode::<IgnoredAny>", || drop(decode::<serde::de::IgnoredAny>(frame, limits)));
    let view = match parsed {
        Ok(view) => view,
        Err(error) => {
            assert!(owned.is_err() && !typed);
            assert!(error.to_string().len() < 300);
            judge(frame, limits, Some(&error));
            return;
        }
    };
    judge(frame, limits, None);
    tally.sound += 1;
    within(2 << 10, "walking a view", || walk(view, tally));
    // Text: at worst six characters per byte, and a buffer that doubles.
    within(16 * n + (2 << 10), "Display", || assert!(!view.to_string().is_empty()));
    within(32 << 10, "Debug", || assert!(format!("{view:?}").len() < 16 << 10));
    let value = within(96 * n + (2 << 10), "Value", || Value::from(view));
    let mut again = Vec::new();
    value.encode(&mut again).expect("it came from a frame");
    let view_again = View::parse(&again, &Limits::DEFAULT).expect("we wrote it");
    // Debug text, because NaN does not equal itself.
    assert_eq!(format!("{value:?}"), format!("{:?}", Value::from(view_again)));
    assert!(again.len() <= n, "the smallest form is not smaller");
    if let Ok(Value::Map(entries)) = &owned {
        assert_eq!(entries.len(), view.len());
    }
    let mut text = Vec::new();
    // base64 and escapes, and a buffer that doubles.
    if within(16 * n + (2 << 10), "JSON from MessagePack", || json::from_msgpack(view, &mut text)).is_ok() {
        tally.json += 1;
        let back = transcode(&text).expect("we wrote it");
        let mut text_again = Vec::new();
        json::from_msgpack(View::parse(&back, &Limits::DEFAULT).expect("no deeper"), &mut text_again)
            .expect("it was JSON");
        assert_eq!(text, text_again);
    }
}

/// An outside judge: rmpv takes what `View::parse` takes, and nothing else (except what our limits forbid).
fn judge(frame: &[u8], limits: &Limits, error: Option<&DecodeError>) {
    let ours = match error {
        Some(
            DecodeError::TooDeep { .. } | DecodeError::TooManyItems { .. } | DecodeError::TooLarge { .. },
        ) => return,
        // rmpv reads 0xc1 as nil.
        Some(DecodeError::Reserved { at }) => return assert_eq!(frame[*at], 0xc1),
        error => error.is_none(),
    };
    assert!(*limits == Limits::DEFAULT || frame.len() <= limits.bytes);
    let mut rest = frame;
    let theirs = rmpv::decode::read_value_ref(&mut rest).is_ok() && rest.is_empty();
    assert!(ours == theirs || frame.contains(&0xc1), "View::parse says {error:?}, rmpv takes it: {theirs}");
}

/// Every question to every value inside.
fn walk(root: View<'_>, tally: &mut Tally) {
    fn ask(view: View<'_>, tally: &mut Tally) {
        let scalars = usize::from(view.is_nil())
            + usize::from(view.as_bool().is_some())
            + usize::from(view.as_str().or(view.as_raw_str_bytes().map(|_| "")).is_some())
            + usize::from(view.as_bin().is_some())
            + usize::from(view.as_ext().is_some())
            + usize::from(view.as_f64().is_some());
        let container = matches!(view.kind(), Kind::Array | Kind::Map);
        assert_eq!(scalars, usize::from(!container), "one answer for each value: {view}");
        assert!(view.as_u64().is_none() || view.as_i64().is_none_or(|n| n >= 0));
        assert_eq!(view.iter().len() + view.entries().len(), view.len());
        assert_eq!(view.iter().count() + view.entries().count(), view.len());
        assert!(view.index(view.len()).is_none());
        assert_eq!(view.get("a").ok().map(|v| v.bytes()), view.find("a").map(|v| v.bytes()));
        View::parse(view.bytes(), &Limits::DEFAULT).expect("an element is a frame of its own");
        let _ = numpy::complex(view);
        match ArrayView::from_view(view) {
            Ok(Some(array)) => {
                tally.arrays += 1;
                let n = array.data().len();
                assert!(array.shape().count() < 1 << 20);
                if let Dtype::Structured(fields) = array.dtype() {
                    fields.clone().for_each(|field| assert!(field.offset.checked_add(field.size).is_some()));
                }
                let read = [
                    array.to_vec::<f64>().map(|v| v.len() * 8),
                    array.to_vec::<u8>().map(|v| v.len()),
                    array.to_vec::<i16>().map(|v| v.len() * 2),
                    array.to_vec::<[f64; 2]>().map(|v| v.len() * 16),
                ];
                read.into_iter().flatten().for_each(|bytes| assert_eq!(bytes, n));
            }
            Ok(None) => {}
            Err(NumpyError::Pickle { .. }) => tally.pickles += 1,
            Err(error) => drop(error),
        }
    }
    // As far as four levels: enough to meet every kind inside every other.
    let mut level = 0;
    loop {
        let mut any = false;
        visit_level(root, level, &mut |view| {
            any = true;
            ask(view, tally);
        });
        if !any || level > 3 {
            break;
        }
        level += 1;
    }
}

fn visit_level(view: View<'_>, level: usize, visit: &mut dyn FnMut(View<'_>)) {
    if level == 0 {
        return visit(view);
    }
    view.iter().for_each(|item| visit_level(item, level - 1, visit));
    view.entries().for_each(|(key, value)| {
        visit_level(key, level - 1, visit);
        visit_level(value, level - 1, visit);
    });
}

fn transcode(text: &[u8]) -> Result<Vec<u8>, json::JsonError> {
    let mut frame = Vec::new();
    // "1.0" becomes nine bytes, "[]" leaves a count of four, and buffers double.
    within(24 * text.len() + (2 << 10), "JSON to MessagePack", || {
        json::to_msgpack(text, &mut frame, &Limits::DEFAULT)
    })
    .map(|()| frame)
}

/// JSON text, sound or not: serde_json takes what we take, and nothing else.
fn read_json(text: &[u8], tally: &mut Tally) {
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    match transcode(text) {
        Ok(frame) => {
            tally.json += 1;
            View::parse(&frame, &Limits::DEFAULT).expect("we wrote it");
            assert!(
                theirs.is_ok() || theirs.is_err_and(|e| e.to_string().starts_with("recursion")),
                "we take it, serde_json does not"
            );
        }
        Err(json::JsonError::IntegerTooBig { .. } | json::JsonError::TooDeep { .. }) => {}
        Err(error) => assert!(theirs.is_err(), "serde_json takes it, we say {error}"),
    }
}

/// The bytes as a stream, split at random: the same messages as when fed whole, and never more held than the
/// limit explains.
fn read_stream(random: &mut Random, stream: &[u8]) {
    let width =
        [length_prefix::Width::One, length_prefix::Width::Two, length_prefix::Width::Four][random.below(3)];
    let limit = random.below(64);
    let whole = length_prefixed(width, limit, [stream]);
    let cut = random.below(stream.len());
    let (head, tail) = stream.split_at(cut);
    let mut chunks = vec![head];
    chunks.extend(tail.chunks(1 + random.below(9)));
    // Until the first error both must agree; an error ends the stream.
    assert_eq!(whole, length_prefixed(width, limit, chunks.iter().copied()));
    assert_eq!(lined(limit, [stream]), lined(limit, chunks.iter().copied()));
    let small: Vec<&[u8]> = stream.chunks(8).collect();
    within(4 * (limit + 16) + 64, "length_prefix", || {
        let mut decoder = length_prefix::Decoder::new(width, limit);
        for chunk in &small {
            decoder.feed(chunk);
            while let Ok(Some(_)) = decoder.next_frame() {}
            assert!(decoder.pending() <= limit + 4);
        }
    });
    within(4 * (limit + 16) + 64, "lines", || {
        let mut decoder = lines::Decoder::new(limit);
        for chunk in &small {
            decoder.feed(chunk);
            while !matches!(decoder.next_line(), Ok(None)) {}
        }
    });
}

fn length_prefixed<'a>(
    width: length_prefix::Width,
    limit: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Result<Vec<u8>, FramingError>> {
    let mut decoder = length_prefix::Decoder::new(width, limit);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        while let Some(frame) = decoder.next_frame().map(|frame| frame.map(<[u8]>::to_vec)).transpose() {
            let lost = frame.is_err();
            frames.push(frame);
            if lost {
                return frames;
            }
        }
    }
    frames
}

fn lined<'a>(limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Vec<u8>, FramingError>> {
    let mut decoder = lines::Decoder::new(limit);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        while let Some(line) = decoder.next_line().map(|line| line.map(<[u8]>::to_vec)).transpose() {
            frames.push(line);
        }
    }
    frames.extend(decoder.finish().map(|line| Ok(line.to_vec())));
    frames
}

#[derive(Debug, Default)]
struct Tally {
    sound: usize,
    typed: usize,
    arrays: usize,
    pickles: usize,
    json: usize,
}

/// Says which bytes were being read when the test panicked.
struct Culprit(Vec<u8>);

impl Drop for Culprit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("the culprit: {hex}");
        }
    }
}

#[test]
fn a_million_hostile_frames() {
    let seed = setting("HOSTILE_SEED", 20_260_117);
    let frames = setting("HOSTILE_FRAMES", 1_000_000);
    println!("HOSTILE_SEED={seed} HOSTILE_FRAMES={frames}");
    let mut random = Random(seed);
    let golden: Vec<Vec<u8>> = vectors::msgpack()
        .into_iter()
        .chain(vectors::numpy())
        .map(|vector| vector.bytes)
        .filter(|bytes| bytes.len() < 400)
        .collect();
    let texts: Vec<Vec<u8>> = [
        r#"{"message_number": 10, "a": [1, -2, 3.5e-3, true, false, null], "b": {"": "\u00e9\n"}}"#,
        r#"[[], {}, "x", 18446744073709551615, -9223372036854775808, 0.1, [[[{"k": [1]}]]]]"#,
        " \"text\\\\\" ",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let tight = Limits { depth: 4, items: 20, bytes: 100 };
    let mut tally = Tally::default();
    for _ in 0..frames {
        let culprit = Culprit(frame(&mut random, &golden));
        let limits = if random.below(4) == 0 { tight } else { Limits::DEFAULT };
        read(&culprit.0, &limits, &mut tally);
        if random.below(4) == 0 {
            read_stream(&mut random, &culprit.0);
        }
        if random.below(4) == 0 {
            let mut text = Culprit(texts[random.below(texts.len())].clone());
            mutate(&mut random, &mut text.0, br#"{"a":[1,"b",{}],"#, br#"{}[],:"\0-+.eE19tn u"#);
            read_json(&text.0, &mut tally);
            read_json(&culprit.0, &mut tally);
        }
    }
    println!("{tally:?}");
    // The frames must reach every room, or this test proves little.
    let share = |n: usize, of: u64| n as u64 * of >= frames;
    assert!(share(tally.sound, 5) && share(tally.json, 10) && share(tally.arrays, 100), "{tally:?}");
    assert!(share(tally.typed, 1_000) && share(tally.pickles, 10_000), "{tally:?}");
}

#[test]
fn a_declared_length_allocates_nothing() {
    for head in [
        "dbffffffff",
        "c6ffffffff",
        "c9ffffffff01",
        "ddffffffff",
        "dfffffffff",
        "de8000",
        "dcffff",
        "91ddffffff00",
    ] {
        let frame = vectors::unhex(head);
        let error = within(0, head, || View::parse(&frame, &Limits::DEFAULT).unwrap_err());
        assert!(matches!(error, DecodeError::Truncated { .. }), "{head}: {error}");
        within(0, head, || decode::<Vec<u64>>(&frame, &Limits::DEFAULT).unwrap_err());
    }
    let deep = vec![0x91; 100_000];
    let error = within(4 << 10, "100,000 levels", || View::parse(&deep, &Limits::DEFAULT).unwrap_err());
    assert_eq!(error, DecodeError::TooDeep { at: 128, limit: 128 });
    let mut decoder = length_prefix::Decoder::new(length_prefix::Width::Four, 1 << 20);
    within(64, "a length of 4 GiB", || {
        decoder.feed(&[0xff; 4]);
        assert!(matches!(decoder.next_frame(), Err(FramingError::TooLong { .. })));
    });
    let brackets = vec![b'['; 100_000];
    within(16 << 10, "100,000 brackets", || {
        let error = json::to_msgpack(&brackets, &mut Vec::new(), &Limits::DEFAULT).unwrap_err();
        assert_eq!(error, json::JsonError::TooDeep { at: 128, limit: 128 });
    });
}

#[test]
fn hot_paths_do_not_allocate() {
    let mut buffer = Vec::with_capacity(64);
    within(0, "writing and reading a message", || {
        encode::Writer::new(&mut buffer)
            .map(2)
            .str("message_number")
            .unwrap()
            .uint(7)
            .str("x")
            .unwrap()
            .f64(1.5);
        let view = View::parse(&buffer, &Limits::DEFAULT).unwrap();
        assert_eq!(view.get("message_number").unwrap().as_u64(), Some(7));
        buffer.clear();
        encode::to(&mut buffer, &("text", 1_u8, Some(2.5_f64))).unwrap();
        assert_eq!(decode::<(&str, u8, f64)>(&buffer, &Limits::DEFAULT).unwrap(), ("text", 1, 2.5));
    });
}

//! One test per rule that a sentence of the documentation states.

use multiplane_codec::framing::{FramingError, length_prefix, lines};
use multiplane_codec::msgpack::{Kind, json, numpy};
use multiplane_codec::{DecodeError, EncodeError, Limits, Value, View, decode, encode};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

const LIMITS: Limits = Limits::DEFAULT;

fn view(bytes: &[u8]) -> View<'_> {
    View::parse(bytes, &LIMITS).expect("a sound frame")
}

#[test]
fn a_frame_is_one_value_to_its_last_byte() {
    let error = |bytes| View::parse(bytes, &LIMITS).unwrap_err();
    assert_eq!(error(b""), DecodeError::Empty);
    assert_eq!(error(b"\x01\x02\x03"), DecodeError::TrailingBytes { at: 1, extra: 2 });
    assert_eq!(error(b"\x92\x01\xc1"), DecodeError::Reserved { at: 2 });
    assert_eq!(error(b"\x92\x01\xa5ab"), DecodeError::Truncated { at: 2 });
    assert_eq!(error(b"\x92\x01\x93\x01"), DecodeError::Truncated { at: 2 });
    assert_eq!(error(b"\xda\xff"), DecodeError::Truncated { at: 0 });
}

#[test]
fn limits_are_exact() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert!(View::parse(&nested(128), &LIMITS).is_ok());
    assert_eq!(View::parse(&nested(129), &LIMITS).unwrap_err(), DecodeError::TooDeep { at: 128, limit: 128 });
    let empty = [vec![0x91; 128], vec![0x90]].concat();
    assert_eq!(View::parse(&empty, &LIMITS).unwrap_err(), DecodeError::TooDeep { at: 128, limit: 128 });
    let scalar_only = Limits { depth: 0, ..LIMITS };
    assert!(View::parse(b"\x01", &scalar_only).is_ok() && View::parse(b"\x90", &scalar_only).is_err());

    let four = Limits { items: 4, ..LIMITS };
    assert!(View::parse(b"\x93\x01\x02\x03", &four).is_ok());
    let error = View::parse(b"\x91\x93\x01\x02\x03", &four).unwrap_err();
    assert_eq!(error, DecodeError::TooManyItems { at: 1, limit: 4 });
    let three = Limits { bytes: 3, ..LIMITS };
    assert_eq!(
        View::parse(b"\x93\x01\x02\x03", &three).unwrap_err(),
        DecodeError::TooLarge { length: 4, limit: 3 }
    );

    // Wide and deep at once: the stack past its sixteen near levels.
    let mut wide = vec![0x90];
    for _ in 0..60 {
        wide = [vec![0x93, 0x01], wide, vec![0x02]].concat();
    }
    let mut inner = view(&wide);
    for _ in 0..60 {
        assert_eq!(
            (inner.len(), inner.index(0).unwrap().as_u64(), inner.index(2).unwrap().as_u64()),
            (3, Some(1), Some(2))
        );
        inner = inner.index(1).unwrap();
    }
    assert!(inner.is_empty());
}

#[test]
fn views_and_values_are_small() {
    assert_eq!(size_of::<View<'_>>(), 24);
    assert_eq!(size_of::<Value>(), 32);
}

#[test]
fn questions_fail_only_by_kind() {
    let frame = b"\x84\xa1a\x01\xa1b\xff\xa1a\x02\xc4\x01a\x03";
    let map = view(frame);
    assert_eq!(map.get("a").unwrap().as_u64(), Some(2), "the last of two wins, and bytes are no text");
    assert_eq!(map.get("a").unwrap().offset(), 9);
    assert_eq!(map.get("b").unwrap().as_i64(), Some(-1));
    assert_eq!(map.get("b").unwrap().as_u64(), None);
    assert_eq!(map.get("c").unwrap_err(), DecodeError::MissingKey { at: 0, key: "c".into() });
    let error = map.get("a").unwrap().get("x").unwrap_err();
    assert_eq!(error, DecodeError::NotAMap { at: 9, kind: Kind::Int, key: "x".into() });
    assert_eq!(error.to_string(), "the value at byte 9 is an integer, not a map, so it has no key \"x\"");
    assert_eq!(map.iter().count(), 0, "a map has no items");
    assert_eq!(
        map.entries().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
        "\"a\"=1 \"b\"=-1 \"a\"=2 b\"a\"=3"
    );
    assert!(map.is_nil() || map.as_bool().is_none() && map.as_f64().is_none() && map.as_str().is_none());
    assert_eq!(view(b"\x07").as_f64(), Some(7.0));
    assert_eq!(
        view(b"\xd3\0\0\0\0\0\0\0\x05").as_u64(),
        Some(5),
        "a signed form of a number that is not negative"
    );
    assert_eq!(view(b"\xd5\xff\x01\x02").as_ext(), Some((-1, &b"\x01\x02"[..])));
}

#[test]
fn text_need_not_be_utf8() {
    let raw = view(b"\xa2\xff\xfe");
    assert_eq!((raw.kind(), raw.as_str(), raw.as_raw_str_bytes()), (Kind::Str, None, Some(&b"\xff\xfe"[..])));
    assert!(matches!(decode::<String>(b"\xa2\xff\xfe", &LIMITS), Err(DecodeError::Type { .. })));
    assert_eq!(decode::<&str>(b"\xa2hi", &LIMITS).unwrap(), "hi");
    assert_eq!(decode::<&[u8]>(b"\xc4\x02\xff\xfe", &LIMITS).unwrap(), b"\xff\xfe");
}

#[test]
fn text_for_logs_is_tame() {
    let frame = b"\x93\xa5\x1b[2J\n\xc4\x02\0a\xcb\x7f\xf0\0\0\0\0\0\0";
    assert_eq!(view(frame).to_string(), r#"["\u{1b}[2J\n",b"\x00a",inf]"#);
    let mut long = Vec::new();
    Value::Array(vec!["x".repeat(5000).into(), Value::Nil]).encode(&mut long).unwrap();
    assert_eq!(view(&long).to_string().len(), 5000 + "[\"\",null]".len());
    let debug = format!("{:?}", view(&long));
    assert!(debug.len() < 1100 && debug.ends_with('…'), "{debug}");
    let reason = decode::<Wanted>(b"\xb2no\x1b[2Jsuch variant", &LIMITS).unwrap_err().to_string();
    assert!(!reason.contains('\x1b') && reason.contains("such variant"), "{reason}");
}

#[derive(serde::Deserialize, Debug)]
enum Wanted {}

#[test]
fn recursion_stops_before_the_stack_does() {
    let generous = Limits { depth: usize::MAX, ..LIMITS };
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    // Where serde, `Drop`, `Clone`, `==` or `Debug` of a `Value` recurse, the depth has a roof of its own.
    let error = View::parse(&nested(100_000), &generous).unwrap_err();
    assert_eq!(error, DecodeError::TooDeep { at: 1024, limit: 1024 });
    let deep = nested(1024);
    let value = Value::from(view_with(&deep, &generous));
    assert_eq!(value.clone(), value);
    assert!(format!("{value:?}").len() > 7 * 1024);
    assert!(matches!(decode::<Value>(&deep, &generous), Err(DecodeError::Type { .. })));
    assert!(decode::<Value>(&nested(256), &generous).is_ok());
    assert!(decode::<Value>(&nested(257), &generous).is_err());
    // JSON and text walk in loops.
    assert_eq!(view_with(&deep, &generous).to_string().len(), 2 * 1024 + 4);
    let mut text = Vec::new();
    json::from_msgpack(view_with(&deep, &generous), &mut text).unwrap();
    let mut back = Vec::new();
    json::to_msgpack(&text, &mut back, &generous).unwrap();
    assert_eq!(back, deep);
    assert!(json::to_msgpack(&[b'['; 1025], &mut back, &generous).is_err());
}

fn view_with<'a>(bytes: &'a [u8], limits: &Limits) -> View<'a> {
    View::parse(bytes, limits).expect("a sound frame")
}

/// A map or array of unknown length.
struct Unannounced(usize, bool);

impl Serialize for Unannounced {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.1 {
            let mut map = serializer.serialize_map(None)?;
            (0..self.0).try_for_each(|i| map.serialize_entry(&i.to_string(), &i))?;
            map.end()
        } else {
            let mut seq = serializer.serialize_seq(None)?;
            (0..self.0).try_for_each(|i| seq.serialize_element(&i))?;
            seq.end()
        }
    }
}

#[test]
fn unannounced_lengths_take_the_smallest_form() {
    for n in [0, 1, 15, 16, 70_000] {
        let numbers: Vec<usize> = (0..n).collect();
        assert_eq!(encode::to_vec(&Unannounced(n, false)).unwrap(), encode::to_vec(&numbers).unwrap());
        let bytes = encode::to_vec(&("before", Unannounced(n, true))).unwrap();
        let map = view(&bytes).index(1).unwrap();
        assert_eq!(map.len(), n);
        assert!(
            map.entries()
                .enumerate()
                .all(|(i, (k, v))| k.as_str() == Some(&*i.to_string()) && v.as_u64() == Some(i as u64))
        );
    }
}

/// Announces two, writes one.
struct Liar;

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(2))?;
        seq.serialize_element(&1)?;
        seq.end()
    }
}

#[test]
fn what_would_kill_python_is_not_sent() {
    let mut buffer = b"kept".to_vec();
    let numbered = std::collections::BTreeMap::from([(1, "one")]);
    let error = encode::to(&mut buffer, &("nested", &numbered)).unwrap_err();
    assert_eq!(error, EncodeError::KeyNotText { at: 9 });
    let bytes_key = Value::Map(vec![(Value::Bin(b"nd".to_vec()), Value::Nil)]);
    assert_eq!(encode::to(&mut buffer, &bytes_key).unwrap_err(), EncodeError::KeyNotText { at: 1 });
    assert_eq!(
        encode::to(&mut buffer, &Liar).unwrap_err(),
        EncodeError::CountMismatch { announced: 2, written: 1 }
    );
    let big = encode::to(&mut buffer, &(1_u128 << 64)).unwrap_err();
    assert_eq!(big, EncodeError::IntegerTooBig { value: "18446744073709551616".into() });
    assert!(encode::to(&mut buffer, &(i128::from(i64::MIN) - 1)).is_err());
    assert_eq!(buffer, b"kept");
    encode::to(&mut buffer, &(u128::from(u64::MAX), i128::from(i64::MIN), 'é', ())).unwrap();
    assert_eq!(buffer, b"kept\x94\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\0\0\0\0\0\0\0\xa2\xc3\xa9\xc0");
    bytes_key.encode(&mut buffer).unwrap();
}

#[test]
fn arrays_that_lie_are_refused() {
    let array = |shape: &[usize], data: usize| {
        let mut bytes = Vec::new();
        encode::Writer::new(&mut bytes)
            .map(4)
            .bin(b"nd")
            .unwrap()
            .bool(true)
            .bin(b"type")
            .unwrap()
            .str("<i4")
            .unwrap();
        let mut writer = encode::Writer::new(&mut bytes);
        writer.bin(b"shape").unwrap().array(shape.len() as u32);
        for &n in shape {
            writer.uint(n as u64);
        }
        writer.bin(b"data").unwrap().bin(&vec![0; data]).unwrap();
        numpy::ArrayView::from_view(view(&bytes)).map(|array| array.unwrap().data().len())
    };
    assert_eq!(array(&[2, 3], 24), Ok(24));
    assert_eq!(array(&[2, 3], 20), Err(numpy::NumpyError::Size { at: 0, expected: 24, found: 20 }));
    assert_eq!(array(&[], 4), Ok(4));
    assert_eq!(array(&[], 0), Err(numpy::NumpyError::Size { at: 0, expected: 4, found: 0 }));
    assert_eq!(array(&[usize::MAX, 2], 0), Err(numpy::NumpyError::Overflow { at: 0 }));
    assert_eq!(array(&[1 << 62], 0), Err(numpy::NumpyError::Overflow { at: 0 }));
    assert_eq!(array(&[usize::MAX, usize::MAX, 0], 0), Ok(0), "nothing is in it, whatever the other lengths");
    let mut buffer = Vec::new();
    assert!(matches!(
        numpy::encode_raw(&mut buffer, "|O8", &[1], &[0; 8]),
        Err(numpy::NumpyError::Pickle { .. })
    ));
    assert!(matches!(
        numpy::encode_raw(&mut buffer, "<M8", &[1], &[0; 8]),
        Err(numpy::NumpyError::Dtype { .. })
    ));
    assert!(matches!(
        numpy::encode_raw(&mut buffer, "<f8", &[2], &[0; 8]),
        Err(numpy::NumpyError::Shape { .. })
    ));
    assert!(buffer.is_empty());
}

#[test]
fn json_says_where_it_cannot() {
    let from = |frame: &[u8]| {
        let mut out = b"kept".to_vec();
        let result = json::from_msgpack(view(frame), &mut out);
        assert!(result.is_ok() || out == b"kept");
        result.map(|()| String::from_utf8(out[4..].to_vec()).unwrap())
    };
    assert_eq!(
        from(b"\x92\x01\xcb\x7f\xf8\0\0\0\0\0\0").unwrap_err().to_string(),
        "the number at byte 2 is NaN, which JSON cannot say; send nil or text"
    );
    assert_eq!(from(b"\x81\x01\x02").unwrap_err(), json::JsonError::KeyNotText { at: 1, kind: Kind::Int });
    assert_eq!(from(b"\x91\xa1\xff").unwrap_err(), json::JsonError::NotUtf8 { at: 1 });
    assert_eq!(from(b"\xd4\x05\0").unwrap_err(), json::JsonError::Extension { at: 0, kind: 5 });
    assert_eq!(
        from(b"\x93\xc4\x04\0\xff\xfe\x01\xc4\0\xca\x3d\xcc\xcc\xcd").unwrap(),
        r#"["AP/+AQ==","",0.10000000149011612]"#
    );
    assert_eq!(from(b"\x92\x90\x81\xa1\"\x80").unwrap(), r#"[[],{"\"":{}}]"#);

    let to = |text: &str| {
        let mut out = b"kept".to_vec();
        let result = json::to_msgpack(text.as_bytes(), &mut out, &LIMITS);
        assert!(result.is_ok() || out == b"kept", "{text}");
        result.map(|()| Value::from(view(&out[4..])))
    };
    assert_eq!(to(r#"{"a" 1}"#).unwrap_err().to_string(), "not JSON: byte 5 should start a `:`");
    assert_eq!(
        to("[1] 2").unwrap_err().to_string(),
        "not JSON: byte 4 should start nothing more: one value per text"
    );
    assert_eq!(to("18446744073709551616").unwrap_err(), json::JsonError::IntegerTooBig { at: 0 });
    assert_eq!(to("18446744073709551615").unwrap(), Value::Uint(u64::MAX));
    assert_eq!(to("-9223372036854775808").unwrap(), Value::Int(i64::MIN));
    assert_eq!(to("-0").unwrap(), Value::Uint(0));
    assert_eq!(to("1e2").unwrap(), Value::F64(100.0));
    assert_eq!(to(r#""\ud83d\ude00""#).unwrap(), "😀".into());
    for bad in [
        "", " ", "[1,]", "{,}", "{\"a\":}", "01", "1.", "+1", "nul", "\"\n\"", "\"\\x\"", "\"", "[", "]",
        "1e999", "{1:2}", "[1 2]", "NaN",
    ] {
        assert!(to(bad).is_err(), "{bad}");
    }
    let tight = Limits { items: 3, ..LIMITS };
    assert!(json::to_msgpack(b"{\"a\":1}", &mut Vec::new(), &tight).is_ok());
    assert!(json::to_msgpack(b"{\"a\":[1]}", &mut Vec::new(), &tight).is_err());
    let small = Limits { bytes: 3, ..LIMITS };
    assert!(json::to_msgpack(b"true", &mut Vec::new(), &small).is_err());
}

#[test]
fn messages_too_long_are_never_cut() {
    let mut out = b"kept".to_vec();
    let error = length_prefix::encode(length_prefix::Width::One, &[0; 256], &mut out).unwrap_err();
    assert_eq!(error, FramingError::TooLongToSend { length: 256, limit: 255 });
    assert!(length_prefix::encode(length_prefix::Width::Two, &[0; 65_536], &mut out).is_err());
    assert_eq!(lines::encode(b"two\nlines", &mut out).unwrap_err(), FramingError::NewlineInside { at: 3 });
    assert_eq!(out, b"kept");
    length_prefix::encode(length_prefix::Width::Two, &[7; 256], &mut out).unwrap();
    assert_eq!(out[4..7], [1, 0, 7]);

    let mut decoder = length_prefix::Decoder::new(length_prefix::Width::Four, 10);
    decoder.feed(b"\0\0\0\x01x\0\0\0\x0b");
    assert_eq!(decoder.next_frame(), Ok(Some(&b"x"[..])));
    let lost = Err(FramingError::TooLong { length: 11, limit: 10 });
    assert_eq!(decoder.next_frame(), lost, "before a byte of it came");
    decoder.feed(b"\0\0\0\x01x");
    assert_eq!(decoder.next_frame(), lost, "and for good");
}

#[test]
fn a_line_too_long_is_one_error() {
    let mut decoder = lines::Decoder::new(4);
    decoder.feed(b"toolo");
    assert_eq!(decoder.next_line(), Ok(None), "the fifth byte may be the \\r of the ending");
    decoder.feed(b"ng");
    assert_eq!(decoder.next_line(), Err(FramingError::LineTooLong { limit: 4 }));
    decoder.feed(b"er and longer");
    assert_eq!(decoder.next_line(), Ok(None));
    decoder.feed(b"\nfine\r\nlonger\n\n");
    assert_eq!(decoder.next_line(), Ok(Some(&b"fine"[..])));
    assert_eq!(decoder.next_line(), Err(FramingError::LineTooLong { limit: 4 }));
    assert_eq!(decoder.next_line(), Ok(Some(&b""[..])));
    assert_eq!(decoder.next_line(), Ok(None));
    assert_eq!(decoder.finish(), None);

    let mut decoder = lines::Decoder::new(4).keep_cr();
    decoder.feed(b"abc\r\nabcd\r\nlast");
    assert_eq!(decoder.next_line(), Ok(Some(&b"abc\r"[..])));
    assert!(decoder.next_line().is_err());
    assert_eq!(decoder.next_line(), Ok(None));
    assert_eq!(decoder.finish(), Some(&b"last"[..]));
    assert_eq!(decoder.finish(), None);
}

#[test]
fn tagged_json_has_a_form_for_nearly_everything() {
    for (frame, text, nulled) in [
        (&b"\x92\xcb\x7f\xf8\0\0\0\0\0\0\xca\x7f\x80\0\0"[..], "[null,null]", 2),
        (b"\x91\xa1\xff", r#"[{"$bytes":"/w=="}]"#, 0),
        (b"\xc4\x00", r#"{"$bytes":""}"#, 0),
        (b"\xd4\xfb\0", r#"{"$ext":-5,"data":"AA=="}"#, 0),
        (
            b"\x84\x01\x02\xc4\x01k\xc4\x01v\xc2\xc0\xa1\"\x07",
            r#"{"1":2,"k":{"$bytes":"dg=="},"false":null,"\"":7}"#,
            0,
        ),
    ] {
        let mut out = b"kept".to_vec();
        assert_eq!(json::from_msgpack_tagged(view(frame), &mut out).unwrap(), nulled);
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("kept{text}"));
    }
    let mut out = b"kept".to_vec();
    assert!(json::from_msgpack_tagged(view(b"\x92\x01\x81\x90\x01"), &mut out).is_err());
    assert_eq!(out, b"kept");
}

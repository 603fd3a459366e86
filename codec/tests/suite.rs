//! An outside judge: every encoding of msgpack-test-suite 1.0.0 (npm; MIT, its licence is beside it) is read as the value
//! that it stands for, and what we write of that is one of its encodings.
#![allow(clippy::unwrap_used)] // Helpers of tests.
#![allow(clippy::print_stdout)] // What was read is worth a line.

use multiplane_codec::{Limits, Value, View, decode};
use serde_json::Value as Json;

/// `00-ff`, or nothing.
fn bytes(hex: &Json) -> Vec<u8> {
    let bytes = hex.as_str().unwrap().split('-').filter(|byte| !byte.is_empty());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The seconds and nanoseconds of a timestamp of 4, 8 or 12 bytes.
fn time(data: &[u8]) -> (i64, u32) {
    match *data {
        [a, b, c, d] => (u32::from_be_bytes([a, b, c, d]).into(), 0),
        [a, b, c, d, e, f, g, h] => {
            let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            ((both & ((1 << 34) - 1)).cast_signed(), (both >> 34) as u32)
        }
        [a, b, c, d, ref seconds @ ..] => {
            (i64::from_be_bytes(seconds.try_into().unwrap()), u32::from_be_bytes([a, b, c, d]))
        }
        _ => panic!("{data:02x?} is no timestamp"),
    }
}

/// Whether what was read is what one of the suite's cases says, under the key that names its type.
fn is(value: &Value, kind: &str, expected: &Json) -> bool {
    match (kind, value) {
        ("nil", Value::Nil) => expected.is_null(),
        ("bool", Value::Bool(yes)) => expected == yes,
        ("binary", Value::Bin(read)) => *read == bytes(expected),
        // JavaScript's numbers: an integer may stand as a float, and as one of either sign.
        ("number", Value::Uint(n)) => expected.as_u64() == Some(*n),
        ("number", Value::Int(n)) => expected.as_i64() == Some(*n),
        ("number", Value::F64(x)) => expected.as_f64() == Some(*x),
        ("number", Value::F32(x)) => expected.as_f64() == Some(f64::from(*x)),
        ("bignum", Value::Uint(n)) => expected.as_str() == Some(&n.to_string()),
        ("bignum", Value::Int(n)) => expected.as_str() == Some(&n.to_string()),
        ("bignum", Value::F64(x)) => expected.as_str().unwrap().parse() == Ok(*x),
        ("bignum", Value::F32(x)) => expected.as_str().unwrap().parse() == Ok(*x),
        ("string", Value::Str(text)) => expected == text,
        ("array" | "map", value) => is_tree(value, expected),
        ("timestamp", Value::Ext(-1, data)) => {
            let (seconds, nanoseconds) = time(data);
            expected[0] == seconds && expected[1] == nanoseconds
        }
        ("ext", Value::Ext(number, data)) => expected[0] == *number && bytes(&expected[1]) == *data,
        _ => false,
    }
}

fn is_tree(value: &Value, expected: &Json) -> bool {
    match (value, expected) {
        (Value::Array(items), Json::Array(expected)) => {
            items.len() == expected.len() && items.iter().zip(expected).all(|(item, one)| is_tree(item, one))
        }
        (Value::Map(entries), Json::Object(expected)) => {
            entries.len() == expected.len()
                && entries.iter().zip(expected).all(|((key, value), (name, one))| {
                    *key == Value::Str(name.clone()) && is_tree(value, one)
                })
        }
        (Value::Str(text), expected) => expected == text,
        (value, expected) => is(value, "number", expected),
    }
}

#[test]
fn every_encoding_of_the_msgpack_test_suite_is_read() {
    let suite: Json = serde_json::from_str(include_str!("vectors/msgpack-test-suite.json")).unwrap();
    let (mut values, mut encodings) = (0, 0);
    for (group, cases) in suite.as_object().unwrap() {
        for case in cases.as_array().unwrap() {
            let forms: Vec<Vec<u8>> = case["msgpack"].as_array().unwrap().iter().map(bytes).collect();
            for form in &forms {
                let value = decode::<Value>(form, &Limits::DEFAULT).unwrap();
                let view = View::parse(form, &Limits::DEFAULT).unwrap();
                assert_eq!(Value::from(view), value, "{group}: {form:02x?}");
                for (kind, expected) in case.as_object().unwrap().iter().filter(|(key, _)| *key != "msgpack")
                {
                    assert!(
                        is(&value, kind, expected),
                        "{group}: {form:02x?} is {value:?}, not {kind} {expected}"
                    );
                }
                let mut again = Vec::new();
                value.encode(&mut again).unwrap();
                assert!(forms.contains(&again), "{group}: {value:?} is written as {again:02x?}");
                encodings += 1;
            }
            values += 1;
        }
    }
    println!("{encodings} encodings of {values} values");
    assert_eq!((values, encodings), (85, 233), "this is not the suite");
}

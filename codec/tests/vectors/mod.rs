//! The golden vectors that Python wrote; `generate.py` tells their form.

use multiplane_codec::Value;
use serde_json::Value as Json;

#[allow(dead_code)] // Each test binary reads what it needs.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) value: Json,
    /// Whether our encoder must give these very bytes.
    pub(crate) same: bool,
}

pub(crate) fn msgpack() -> Vec<Vector> {
    load(include_str!("msgpack.jsonl"))
}

pub(crate) fn numpy() -> Vec<Vector> {
    load(include_str!("numpy.jsonl"))
}

fn load(lines: &str) -> Vec<Vector> {
    let vector = |line: &str| {
        let mut json: Json = serde_json::from_str(line).expect("a vector is JSON");
        Vector {
            name: json["name"].as_str().expect("a name").to_owned(),
            bytes: unhex(json["hex"].as_str().expect("hex")),
            same: json["same"].as_bool().expect("same"),
            value: json["value"].take(),
        }
    };
    lines.lines().map(vector).collect()
}

/// `00ff 61*300`: hex with runs.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let byte = |hex: &str| u8::from_str_radix(hex, 16).expect("hex");
    let mut bytes = Vec::new();
    for part in text.split_whitespace() {
        match part.split_once('*') {
            Some((hex, times)) => bytes.extend(vec![byte(hex); times.parse().expect("a number")]),
            None => bytes.extend((0..part.len()).step_by(2).map(|i| byte(&part[i..i + 2]))),
        }
    }
    bytes
}

pub(crate) fn bits(json: &Json) -> u64 {
    u64::from_str_radix(json.as_str().expect("bits"), 16).expect("hex")
}

/// The value that a vector describes.
#[allow(dead_code)]
pub(crate) fn describe(json: &Json) -> Value {
    let hex = |json: &Json| unhex(json.as_str().expect("hex"));
    match json {
        Json::Null => Value::Nil,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::Number(n) => n.as_u64().map_or_else(|| Value::Int(n.as_i64().expect("64 bits")), Value::Uint),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::Array(items.iter().map(describe).collect()),
        Json::Object(tagged) => {
            let (tag, inner) = tagged.iter().next().expect("one tag");
            match tag.as_str() {
                "f64" => Value::F64(f64::from_bits(bits(inner))),
                "f32" => Value::F32(f32::from_bits(bits(inner) as u32)),
                "bin" => Value::Bin(hex(inner)),
                "raw" => Value::RawStr(hex(inner)),
                "ext" => Value::Ext(inner[0].as_i64().expect("a type") as i8, hex(&inner[1])),
                "text" => Value::Str(
                    inner[0].as_str().expect("text").repeat(inner[1].as_u64().expect("times") as usize),
                ),
                "times" => {
                    Value::Array(vec![describe(&inner[0]); inner[1].as_u64().expect("times") as usize])
                }
                "map" => {
                    let pairs = inner.as_array().expect("pairs").iter();
                    Value::Map(pairs.map(|pair| (describe(&pair[0]), describe(&pair[1]))).collect())
                }
                other => panic!("unknown tag {other}"),
            }
        }
    }
}

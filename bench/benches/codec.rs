//! Payloads to bytes and back, per kind of payload, beside rmp-serde and rmpv.
//!
//! `encode`: from one's own type into a buffer that is there. `view`: bytes checked, and one value looked up, without
//! allocation. `decode`: bytes into one's own type. `tree`: bytes into a tree of values, which rmpv does as well.
//! Before anything is measured all have shown that they write the same bytes and read the same value.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use multiplane_codec::msgpack::numpy::{self, ArrayView};
use multiplane_codec::{Limits, Value, View, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hint::black_box;
use std::time::Duration;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Small {
    message_number: u64,
    temperature: f64,
    unit: String,
    valid: bool,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Nested {
    robot: String,
    pose: BTreeMap<String, [f64; 3]>,
    joints: Vec<Joint>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Joint {
    name: String,
    limits: (f64, f64),
    history: Vec<i32>,
}

/// Bytes as MessagePack's `bin`, for every library.
#[derive(PartialEq, Debug)]
struct Binary(Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Binary;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Binary, E> {
                Ok(Binary(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

fn nested() -> Nested {
    let joint = |n: i32| Joint {
        name: format!("joint_{n}"),
        limits: (-1.5, 1.5),
        history: (0..8).map(|step| step * 1000 - n).collect(),
    };
    let pose = ["position", "velocity"].map(|name| (name.to_owned(), [0.25, -1.5, 3.0]));
    Nested { robot: "arm/left".to_owned(), pose: pose.into(), joints: (0..6).map(joint).collect() }
}

/// What each bench asks for: enough for two digits, short enough for all of them.
fn group<'c>(
    criterion: &'c mut Criterion,
    name: String,
) -> criterion::BenchmarkGroup<'c, criterion::measurement::WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.warm_up_time(Duration::from_millis(150)).measurement_time(Duration::from_millis(400));
    group
}

/// One payload through all libraries. `look` finds one value in a view.
fn kind<T>(criterion: &mut Criterion, name: &str, value: &T, look: fn(View<'_>) -> bool)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = encode::to_vec(value).unwrap();
    let limits = Limits::default();
    assert_eq!(rmp_serde::to_vec_named(value).unwrap(), bytes);
    assert_eq!(&decode::<T>(&bytes, &limits).unwrap(), value);
    assert_eq!(&rmp_serde::from_slice::<T>(&bytes).unwrap(), value);
    assert!(look(View::parse(&bytes, &limits).unwrap()));

    let mut encoding = group(criterion, format!("codec/{name}/encode"));
    let mut buffer = Vec::with_capacity(bytes.len());
    encoding.bench_function("multiplane", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            encode::to(&mut buffer, black_box(value)).unwrap();
            black_box(buffer.len())
        });
    });
    encoding.bench_function("rmp-serde", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            rmp_serde::encode::write_named(&mut buffer, black_box(value)).unwrap();
            black_box(buffer.len())
        });
    });
    encoding.finish();

    let mut reading = group(criterion, format!("codec/{name}/read"));
    reading.bench_function("multiplane-view", |bencher| {
        bencher.iter(|| look(View::parse(black_box(&bytes), &limits).unwrap()));
    });
    reading.bench_function("multiplane-decode", |bencher| {
        bencher.iter(|| decode::<T>(black_box(&bytes), &limits).unwrap());
    });
    reading.bench_function("rmp-serde-decode", |bencher| {
        bencher.iter(|| rmp_serde::from_slice::<T>(black_box(&bytes)).unwrap());
    });
    reading.bench_function("multiplane-tree", |bencher| {
        bencher.iter(|| decode::<Value>(black_box(&bytes), &limits).unwrap());
    });
    reading.bench_function("rmpv-tree", |bencher| {
        bencher.iter(|| rmpv::decode::read_value(&mut black_box(&bytes[..])).unwrap());
    });
    reading.finish();
}

fn payloads(criterion: &mut Criterion) {
    let small = Small { message_number: 1234, temperature: 21.5, unit: "celsius".to_owned(), valid: true };
    kind(criterion, "small_map", &small, |view| view.get("valid").is_ok_and(|it| it.as_bool() == Some(true)));
    let numbers: Vec<i64> = (0..10).map(|n| n * n * n * 97 - 5).collect();
    kind(criterion, "ten_numbers", &numbers, |view| view.index(9).is_some_and(|it| it.as_i64().is_some()));
    let text = "the quick brown fox jumps over the lazy dog; ".repeat(5);
    kind(criterion, "text", &text, |view| view.as_str().is_some());
    kind(criterion, "nested", &nested(), |view| {
        view.get("joints")
            .is_ok_and(|joints| joints.index(5).is_some_and(|joint| joint.find("name").is_some()))
    });
    kind(criterion, "binary_1KiB", &Binary(vec![7; 1024]), |view| {
        view.as_bin().is_some_and(|bytes| bytes.len() == 1024)
    });
}

/// A NumPy array of 8 x 32 numbers, as msgpack-numpy writes it. Other libraries know no arrays: rmpv reads it as a map.
fn array(criterion: &mut Criterion) {
    let numbers: Vec<f64> = (0..256).map(f64::from).collect();
    let limits = Limits::default();
    let mut bytes = Vec::new();
    numpy::encode(&mut bytes, &[8, 32], &numbers).unwrap();
    let read = |bytes: &[u8]| {
        let view = View::parse(bytes, &limits).unwrap();
        ArrayView::from_view(view).unwrap().unwrap().to_vec::<f64>().unwrap()
    };
    assert_eq!(read(&bytes), numbers);

    let mut group = group(criterion, "codec/numpy_8x32".to_owned());
    let mut buffer = Vec::with_capacity(bytes.len());
    group.bench_function(BenchmarkId::new("encode", "multiplane"), |bencher| {
        bencher.iter(|| {
            buffer.clear();
            numpy::encode(&mut buffer, &[8, 32], black_box(&numbers)).unwrap();
            black_box(buffer.len())
        });
    });
    group.bench_function(BenchmarkId::new("read", "multiplane-view"), |bencher| {
        bencher.iter(|| {
            let view = View::parse(black_box(&bytes), &limits).unwrap();
            ArrayView::from_view(view).unwrap().unwrap().data().len()
        });
    });
    group.bench_function(BenchmarkId::new("read", "multiplane-vec"), |bencher| {
        bencher.iter(|| read(black_box(&bytes)));
    });
    group.bench_function(BenchmarkId::new("read", "rmpv-tree"), |bencher| {
        bencher.iter(|| rmpv::decode::read_value(&mut black_box(&bytes[..])).unwrap());
    });
    group.finish();
}

criterion_group!(benches, payloads, array);
criterion_main!(benches);

//! Every byte that Python wrote is read as what Python meant, and written back as Python wrote it.

mod vectors;

use multiplane_codec::msgpack::numpy::{self, ArrayView, Dtype, NumpyError};
use multiplane_codec::{Limits, Value, View, decode, encode};
use serde_json::Value as Json;
use vectors::{Vector, bits, describe, unhex};

const LIMITS: Limits = Limits::DEFAULT;

/// NaN equals NaN here: bytes tell them apart.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        (a, b) => a == b,
    }
}

#[test]
fn msgpack_is_read_as_python_meant_it() {
    for Vector { name, bytes, value, .. } in vectors::msgpack() {
        let wanted = describe(&value);
        let view = View::parse(&bytes, &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same(&Value::from(view), &wanted), "{name}: {view}");
        if name.contains("raw") {
            continue; // serde knows no text that is not UTF-8.
        }
        let typed: Value = decode(&bytes, &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same(&typed, &wanted), "{name}, through serde: {typed:?}");
    }
}

#[test]
fn msgpack_is_written_as_python_writes_it() {
    for Vector { name, bytes, value, same, .. } in vectors::msgpack() {
        let mut ours = Vec::new();
        describe(&value).encode(&mut ours).unwrap();
        assert_eq!(ours == bytes, same, "{name}");
        if !same || name.contains("raw") || name == "bytes keys" {
            continue;
        }
        assert!(encode::to_vec(&describe(&value)).unwrap() == bytes, "{name}, through serde");
    }
}

#[test]
fn arrays_are_read_as_numpy_meant_them() {
    for Vector { name, bytes, value, .. } in vectors::numpy() {
        let view = View::parse(&bytes, &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (tag, wanted) = value.as_object().unwrap().iter().next().unwrap();
        if tag == "complex" {
            let (real, imaginary) = numpy::complex(view).unwrap_or_else(|| panic!("{name}"));
            let part = |x: f64, wanted: &Json| {
                x.to_bits() == bits(wanted) || x.is_nan() && f64::from_bits(bits(wanted)).is_nan()
            };
            assert!(part(real, &wanted[0]) && part(imaginary, &wanted[1]), "{name}: {real} {imaginary}");
            continue;
        }
        let read = ArrayView::from_view(view);
        if tag == "refused" {
            let error = read.expect_err(&name);
            assert_eq!(matches!(error, NumpyError::Pickle { .. }), wanted == "pickle", "{name}: {error}");
            continue;
        }
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        let Some(array) = read else {
            assert!(tag == "plain" || view.as_f64().map(f64::to_bits) == Some(bits(wanted)), "{name}");
            continue;
        };
        let shape = Json::from(array.shape().collect::<Vec<_>>());
        match tag.as_str() {
            "array" => {
                assert_eq!(array.dtype().to_string(), wanted[0].as_str().unwrap(), "{name}");
                assert_eq!(shape, wanted[1], "{name}");
                assert_eq!(array.data(), unhex(wanted[2].as_str().unwrap()), "{name}");
                assert!(!array.is_scalar(), "{name}");
            }
            "scalar" => {
                assert_eq!(array.dtype().to_string(), wanted[0].as_str().unwrap(), "{name}");
                assert_eq!(array.data(), unhex(wanted[1].as_str().unwrap()), "{name}");
                assert!(array.is_scalar(), "{name}");
            }
            "record" => {
                assert_eq!(shape, value["shape"], "{name}");
                assert_eq!(array.data(), unhex(value["data"].as_str().unwrap()), "{name}");
                let Dtype::Structured(fields) = array.dtype() else { panic!("{name}") };
                let fields: Vec<_> = fields.clone().collect();
                assert_eq!(fields.len(), wanted.as_array().unwrap().len(), "{name}");
                for (field, wanted) in fields.iter().zip(wanted.as_array().unwrap()) {
                    assert_eq!(field.name, wanted[0], "{name}");
                    assert_eq!(field.offset as u64, wanted[2], "{name}");
                    match &field.dtype {
                        Dtype::Plain(plain) => {
                            assert_eq!(plain.to_string(), wanted[1].as_str().unwrap(), "{name}")
                        }
                        Dtype::Structured(_) => assert!(wanted[1].is_null(), "{name}"),
                    }
                }
            }
            other => panic!("{name}: read as an array, wanted {other}"),
        }
    }
}

#[test]
fn arrays_are_written_as_msgpack_numpy_writes_them() {
    let mut written = 0;
    for Vector { name, bytes, value, .. } in vectors::numpy().into_iter().filter(|vector| vector.same) {
        let (tag, wanted) = value.as_object().unwrap().iter().next().unwrap();
        let mut ours = Vec::new();
        match tag.as_str() {
            "array" => {
                let shape: Vec<usize> =
                    wanted[1].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
                let data = unhex(wanted[2].as_str().unwrap());
                numpy::encode_raw(&mut ours, wanted[0].as_str().unwrap(), &shape, &data).unwrap();
            }
            "scalar" => scalar(&mut ours, wanted[0].as_str().unwrap()),
            "f64" => numpy::encode_scalar(&mut ours, f64::from_bits(bits(wanted))).unwrap(),
            "complex" => {
                numpy::encode_complex(
                    &mut ours,
                    f64::from_bits(bits(&wanted[0])),
                    f64::from_bits(bits(&wanted[1])),
                )
                .unwrap();
            }
            other => panic!("{name}: {other}"),
        }
        assert_eq!(ours, bytes, "{name}");
        written += 1;
    }
    assert!(written > 50, "only {written} vectors were written");
}

fn scalar(out: &mut Vec<u8>, dtype: &str) {
    match dtype {
        "|i1" => numpy::encode_scalar(out, -1_i8),
        "<i2" => numpy::encode_scalar(out, -2_i16),
        "<i4" => numpy::encode_scalar(out, -3_i32),
        "<i8" => numpy::encode_scalar(out, -4_i64),
        "|u1" => numpy::encode_scalar(out, 200_u8),
        "<u2" => numpy::encode_scalar(out, 5_u16),
        "<u4" => numpy::encode_scalar(out, 6_u32),
        "<u8" => numpy::encode_scalar(out, 7_u64),
        "<f4" => numpy::encode_scalar(out, 1.5_f32),
        "|b1" => numpy::encode_scalar(out, true),
        "<c8" => numpy::encode_scalar(out, [1_f32, 2.0]),
        other => panic!("{other}"),
    }
    .expect("it is short");
}

#[test]
fn typed_elements_are_the_bytes_of_numpy() {
    let array = |name: &str| {
        let vectors = vectors::numpy();
        vectors.into_iter().find(|v| v.name == format!("array {name}")).unwrap().bytes
    };
    fn read<T: numpy::Element>(bytes: &[u8]) -> Result<Vec<T>, NumpyError> {
        ArrayView::from_view(View::parse(bytes, &LIMITS).unwrap()).unwrap().unwrap().to_vec()
    }
    assert_eq!(read::<f64>(&array("<f8")).unwrap(), [0.0, 1.0, 2.0, 100.0]);
    assert_eq!(read::<f32>(&array("<f4")).unwrap(), [0.0, 1.0, 2.0, 100.0]);
    assert_eq!(read::<i16>(&array(">i2")).unwrap(), [0, 1, 2, 100], "big-endian");
    assert_eq!(read::<f64>(&array(">f8")).unwrap(), [0.0, 1.0, 2.0, 100.0], "big-endian");
    assert_eq!(read::<u8>(&array("|u1")).unwrap(), [0, 1, 2, 100]);
    assert_eq!(read::<bool>(&array("|b1")).unwrap(), [true, false, true]);
    assert_eq!(read::<[f64; 2]>(&array("<c16")).unwrap(), [[1.0, 2.0], [-0.0, -0.5]]);
    assert_eq!(read::<[f64; 2]>(&array(">c16")).unwrap(), [[1.0, 2.0]]);
    assert_eq!(read::<[f32; 2]>(&array("<c8")).unwrap(), [[1.0, 2.0], [-0.0, -0.5]]);
    assert_eq!(read::<i64>(&array("fortran")).unwrap(), [0, 1, 2, 3, 4, 5], "C order on the wire");
    let error = read::<f32>(&array("<f8")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the array's dtype is <f8, not <f4; ask for the matching type or convert at the sender"
    );

    let mut ours = Vec::new();
    numpy::encode(&mut ours, &[4], &[0.0_f64, 1.0, 2.0, 100.0]).unwrap();
    assert_eq!(ours, array("<f8"));
    ours.clear();
    numpy::encode(&mut ours, &[2, 3], &[0_i64, 1, 2, 3, 4, 5]).unwrap();
    assert_eq!(ours, array("2x3"));
    ours.clear();
    let wrong = numpy::encode(&mut ours, &[2, 2], &[0_i64]).unwrap_err();
    assert_eq!(wrong, NumpyError::Shape { expected: 4, found: 1 });
    assert!(ours.is_empty());
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarrays_travel_in_c_order() {
    let table = ndarray::array![[0_i64, 1, 2], [3, 4, 5]];
    for array in [table.clone(), table.t().to_owned(), table.slice(ndarray::s![.., ..;2]).to_owned()] {
        let mut bytes = Vec::new();
        numpy::encode_ndarray(&mut bytes, &array).unwrap();
        let view = ArrayView::from_view(View::parse(&bytes, &LIMITS).unwrap()).unwrap().unwrap();
        assert_eq!(view.to_ndarray::<i64>().unwrap(), array.into_dyn());
    }
    let mut bytes = Vec::new();
    numpy::encode_ndarray(&mut bytes, &table).unwrap();
    let golden = vectors::numpy().into_iter().find(|v| v.name == "array fortran").unwrap();
    assert_eq!(bytes, golden.bytes);
}

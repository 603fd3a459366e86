//! Payloads.

use multiplane_codec::msgpack::numpy::{ArrayView, complex, encode_raw};
use multiplane_codec::msgpack::{accepted_by_python, json as text};
use multiplane_codec::{Limits, Value, View, decode};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a view takes can be walked, shown, and written again.
pub fn view(data: &[u8]) {
    let owned = decode::<Value>(data, &Limits::DEFAULT);
    let Ok(view) = View::parse(data, &Limits::DEFAULT) else {
        assert!(owned.is_err());
        return;
    };
    let _ = (view.to_string(), view.find("key"), view.index(3));
    let mut again = Vec::new();
    let value = Value::from(view);
    value.encode(&mut again).expect("it came from a frame");
    assert!(again.len() <= data.len(), "the smallest form is not smaller");
    let again = View::parse(&again, &Limits::DEFAULT).expect("we wrote it");
    // By what they show, for NaN does not equal itself.
    assert_eq!(format!("{:?}", Value::from(again)), format!("{value:?}"));
}

#[derive(Deserialize, Debug)]
#[allow(dead_code, reason = "what is read matters, not what it is used for")]
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
    k: Option<BTreeMap<String, Option<Box<Typed<'a>>>>>,
}

#[derive(Deserialize, Debug)]
#[allow(dead_code, reason = "what is read matters, not what it is used for")]
enum Choice {
    Unit,
    One(u8),
    Two(u8, String),
    Named { a: (), b: char },
}

/// Reading into types, and what Python could read: nobody takes what is no value.
pub fn typed(data: &[u8]) {
    let sound = View::parse(data, &Limits::DEFAULT).is_ok();
    for outcome in [
        decode::<Typed>(data, &Limits::DEFAULT).map(|_| ()),
        decode::<Choice>(data, &Limits::DEFAULT).map(|_| ()),
        decode::<BTreeMap<String, f64>>(data, &Limits::DEFAULT).map(|_| ()),
        decode::<serde::de::IgnoredAny>(data, &Limits::DEFAULT).map(|_| ()),
    ] {
        assert!(sound || outcome.is_err());
        outcome.err().inspect(|error| assert!(error.to_string().len() < 1024 + 4 * data.len()));
    }
    let deep = Limits { depth: Limits::MAX_DEPTH, ..Limits::DEFAULT };
    assert!(accepted_by_python(data).is_err() || View::parse(data, &deep).is_ok());
}

/// Arrays in the form of msgpack-numpy.
pub fn numpy(data: &[u8]) {
    let Ok(view) = View::parse(data, &Limits::DEFAULT) else { return };
    let _ = complex(view);
    let Ok(Some(array)) = ArrayView::from_view(view) else { return };
    assert!(array.data().len() <= data.len());
    let shape: Vec<usize> = array.shape().collect();
    let _ = (array.to_vec::<u8>(), array.to_vec::<f64>(), array.to_vec::<[f64; 2]>());
    let Some(dtype) = view.entries().find(|(key, _)| key.as_bin() == Some(b"type")) else { return };
    if let Some(dtype) = dtype.1.as_str()
        && !array.is_scalar()
    {
        let mut again = Vec::new();
        encode_raw(&mut again, dtype, &shape, array.data()).expect("it was one");
        let again = View::parse(&again, &Limits::DEFAULT).expect("we wrote it");
        let again = ArrayView::from_view(again).expect("we wrote it").expect("it is an array");
        assert_eq!((again.shape().collect::<Vec<_>>(), again.data()), (shape, array.data()));
    }
}

fn back_and_forth(json: &[u8]) -> Option<Vec<u8>> {
    let (mut frame, mut out) = (Vec::new(), Vec::new());
    text::to_msgpack(json, &mut frame, &Limits::DEFAULT).ok()?;
    text::from_msgpack(View::parse(&frame, &Limits::DEFAULT).expect("we wrote it"), &mut out)
        .expect("it was JSON");
    Some(out)
}

/// JSON to MessagePack and back is stable after the first time.
pub fn json(data: &[u8]) {
    if let Some(once) = back_and_forth(data) {
        assert_eq!(back_and_forth(&once), Some(once));
    }
}

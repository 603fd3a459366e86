//! Arrays in the form of msgpack-numpy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_codec::msgpack::numpy::{ArrayView, complex};
use multiplane_codec::{Limits, View};

fuzz_target!(|data: &[u8]| {
    let Ok(view) = View::parse(data, &Limits::DEFAULT) else { return };
    let _ = complex(view);
    if let Ok(Some(array)) = ArrayView::from_view(view) {
        assert!(array.data().len() <= data.len());
        let _ = (array.shape().count(), array.to_vec::<u8>(), array.to_vec::<f64>());
    }
});

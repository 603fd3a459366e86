//! What a view takes can be walked, shown, and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_codec::{Limits, Value, View, decode};

fuzz_target!(|data: &[u8]| {
    let owned = decode::<Value>(data, &Limits::DEFAULT);
    let Ok(view) = View::parse(data, &Limits::DEFAULT) else {
        assert!(owned.is_err());
        return;
    };
    let _ = (view.to_string(), view.find("key"), view.index(3));
    let mut again = Vec::new();
    Value::from(view).encode(&mut again).expect("it came from a frame");
    let again = View::parse(&again, &Limits::DEFAULT).expect("we wrote it");
    assert_eq!(view.len(), again.len());
});

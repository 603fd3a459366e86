//! JSON to MessagePack and back is stable after the first time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_codec::msgpack::json::{from_msgpack, to_msgpack};
use multiplane_codec::{Limits, View};

fn back_and_forth(text: &[u8]) -> Option<Vec<u8>> {
    let (mut frame, mut out) = (Vec::new(), Vec::new());
    to_msgpack(text, &mut frame, &Limits::DEFAULT).ok()?;
    from_msgpack(View::parse(&frame, &Limits::DEFAULT).expect("we wrote it"), &mut out).expect("it was JSON");
    Some(out)
}

fuzz_target!(|data: &[u8]| {
    if let Some(once) = back_and_forth(data) {
        assert_eq!(back_and_forth(&once), Some(once));
    }
});

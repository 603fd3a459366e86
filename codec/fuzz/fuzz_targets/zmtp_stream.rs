//! The same frames are found however a stream is cut, and none beyond its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiplane_codec::zmtp::frame::{Found, FrameError, find_from};

const LIMIT: usize = 4096;

type Seen = (Vec<(usize, bool)>, Result<(), FrameError>);

fn read(bytes: &[u8], step: usize) -> Seen {
    let (mut at, mut scanned, mut seen) = (0, 0, Vec::new());
    let ends = (step..bytes.len()).step_by(step).chain([bytes.len()]);
    for end in ends {
        loop {
            match find_from(&bytes[at..end], &mut scanned, LIMIT) {
                Ok(Found::Incomplete) => break,
                Ok(Found::Message { topic, topic_length, total }) => {
                    assert!(topic + topic_length <= total && at + total <= end);
                    at += total;
                    seen.push((at, false));
                }
                Ok(Found::Command { body, total }) => {
                    assert!(body <= total && at + total <= end);
                    at += total;
                    seen.push((at, true));
                }
                Err(error) => return (seen, Err(error)),
            }
        }
    }
    (seen, Ok(()))
}

fuzz_target!(|data: (u8, Vec<u8>)| {
    let (step, bytes) = data;
    assert_eq!(read(&bytes, usize::from(step).max(1)), read(&bytes, usize::MAX));
});

//! Messages on a byte stream.

use super::{chosen, cut};
use multiplane_codec::framing::length_prefix::{self, Width};
use multiplane_codec::framing::{FramingError, lines as lined};

fn prefixed(width: Width, limit: usize, parts: &[&[u8]]) -> Vec<Result<Vec<u8>, FramingError>> {
    let mut decoder = length_prefix::Decoder::new(width, limit);
    let mut frames = Vec::new();
    for part in parts {
        decoder.feed(part);
        while let Some(frame) = decoder.next_frame().map(|frame| frame.map(<[u8]>::to_vec)).transpose() {
            let lost = frame.is_err();
            frames.push(frame);
            if lost {
                return frames;
            }
        }
        assert!(decoder.pending() <= limit + 4, "more is held than may be");
    }
    frames
}

/// The same frames however the stream is cut, and what they are made of gives them again.
pub fn length_prefix(data: &[u8]) {
    let (choice, bytes) = chosen(data);
    let width = [Width::One, Width::Two, Width::Four][choice % 3];
    let limit = choice;
    let whole = prefixed(width, limit, &[bytes]);
    assert_eq!(prefixed(width, limit, &cut(bytes, choice / 4)), whole);
    let mut again = Vec::new();
    for frame in whole.iter().flatten() {
        assert!(frame.len() <= limit);
        length_prefix::encode(width, frame, &mut again).expect("it came so");
    }
    assert!(bytes.starts_with(&again));
}

fn lines_of(limit: usize, keep_cr: bool, parts: &[&[u8]]) -> Vec<Result<Vec<u8>, FramingError>> {
    let mut decoder = lined::Decoder::new(limit);
    if keep_cr {
        decoder = decoder.keep_cr();
    }
    let mut lines = Vec::new();
    for part in parts {
        decoder.feed(part);
        while let Some(line) = decoder.next_line().map(|line| line.map(<[u8]>::to_vec)).transpose() {
            lines.push(line);
        }
    }
    lines.extend(decoder.finish().map(|line| Ok(line.to_vec())));
    lines
}

/// The same lines however the stream is cut, none of them too long.
pub fn lines(data: &[u8]) {
    let (choice, bytes) = chosen(data);
    let (limit, keep_cr) = (choice / 4, choice % 2 == 1);
    let whole = lines_of(limit, keep_cr, &[bytes]);
    assert_eq!(lines_of(limit, keep_cr, &cut(bytes, choice / 8)), whole);
    for line in whole.iter().flatten() {
        assert!(line.len() <= limit && !line.contains(&b'\n'));
    }
}

//! The targets, by what they test.

pub mod curve;
pub mod framing;
pub mod msgpack;
pub mod routing;
pub mod rows;
pub mod zmtp;

/// The first byte, which chooses how, and the rest.
fn chosen(data: &[u8]) -> (usize, &[u8]) {
    data.split_first().map_or((0, data), |(&first, rest)| (usize::from(first), rest))
}

/// The bytes as they might arrive: in two parts, cut where `cut` says.
fn cut(bytes: &[u8], cut: usize) -> [&[u8]; 2] {
    let (head, tail) = bytes.split_at(cut.min(bytes.len()));
    [head, tail]
}

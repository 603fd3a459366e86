//! ZMTP by hand, for peers that are odd: the bytes of what they say.

/// A greeting of version 3 for the mechanism NULL.
#[must_use]
pub fn greeting(minor: u8) -> Vec<u8> {
    greeting_for("NULL", minor)
}

/// One for any mechanism.
#[must_use]
pub fn greeting_for(mechanism: &str, minor: u8) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, minor];
    greeting.extend_from_slice(mechanism.as_bytes());
    greeting.resize(64, 0);
    greeting
}

/// READY of a kind of socket.
#[must_use]
pub fn ready(kind: &str) -> Vec<u8> {
    let length = kind.len() as u8;
    command(b"READY", &[b"\x0bSocket-Type\0\0\0", &[length][..], kind.as_bytes()].concat())
}

/// A frame with these flags; that of a long one is added.
#[must_use]
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => [&[flags | 2][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(body);
    frame
}

/// A command with its data.
#[must_use]
pub fn command(name: &[u8], data: &[u8]) -> Vec<u8> {
    frame(4, &[&[name.len() as u8], name, data].concat())
}

/// A message of one frame or more.
#[must_use]
pub fn message(frames: &[&[u8]]) -> Vec<u8> {
    let last = frames.len() - 1;
    frames.iter().enumerate().flat_map(|(n, body)| frame(u8::from(n < last), body)).collect()
}

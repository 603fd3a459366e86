//! Messages to bytes and back, without a socket.

use multiplane_codec::framing::FramingError;
/// Appends a payload, with its length in front.
pub(crate) use multiplane_codec::framing::length_prefix::encode as to_device;
use multiplane_codec::framing::length_prefix::{Decoder, Width};
use std::time::{Duration, Instant};

/// The payloads in what [`to_device`] has written.
pub(crate) fn frames(width: Width, bytes: &[u8], mut see: impl FnMut(&[u8])) {
    let mut decoder = Decoder::new(width, width.max());
    decoder.feed(bytes);
    while let Ok(Some(payload)) = decoder.next_frame() {
        see(payload);
    }
}

/// What arrives from a device: payloads out of a stream that was cut anywhere.
#[derive(Debug)]
pub(crate) struct FromDevice {
    decoder: Decoder,
    /// How long a payload that has begun may stand still.
    patience: Duration,
    due: Option<Instant>,
}

impl FromDevice {
    pub(crate) fn new(width: Width, limit: usize, patience: Duration) -> Self {
        Self { decoder: Decoder::new(width, limit.min(width.max())), patience, due: None }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.decoder.feed(bytes);
        self.due = now.checked_add(self.patience);
    }

    /// The next whole payload; it may be empty.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, FramingError> {
        self.decoder.next_frame()
    }

    /// When the rest of a payload must be here. To be asked when there is no whole one.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.decoder.pending() > 0)
    }

    /// Bytes of a payload that is not whole, with its length.
    pub(crate) fn pending(&self) -> usize {
        self.decoder.pending()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_leave_with_their_length() {
        let table: [(Width, &[u8], &[u8]); 5] = [
            (Width::One, b"\x81\xa5Led_0\x01", b"\x08\x81\xa5Led_0\x01"),
            (Width::One, b"", b"\0"),
            (Width::Two, b"x", b"\0\x01x"),
            (Width::Four, b"x", b"\0\0\0\x01x"),
            (Width::Four, b"", b"\0\0\0\0"),
        ];
        let sent = |width, payload: &[u8]| {
            let mut frames = b"before".to_vec();
            let done = to_device(width, payload, &mut frames);
            (done, frames.split_off(6))
        };
        for (width, payload, expected) in table {
            assert_eq!(sent(width, payload), (Ok(()), expected.to_vec()), "{width:?} {payload:?}");
        }
        let long = vec![7; 256];
        assert_eq!(sent(Width::One, &long[..255]).1.len(), 256);
        let refused = FramingError::TooLongToSend { length: 256, limit: 255 };
        assert_eq!(sent(Width::One, &long), (Err(refused), Vec::new()));
        assert_eq!(sent(Width::Two, &long).1[..3], [1, 0, 7]);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn payloads_arrive_whole_however_they_were_cut() {
        let now = Instant::now();
        let stream = b"\x0c\x81\xa9pico_data\x07\x00\x02\xa1x";
        let expected: [&[u8]; 3] = [b"\x81\xa9pico_data\x07", b"", b"\xa1x"];
        for cut in 0..=stream.len() {
            let mut device = FromDevice::new(Width::One, 1000, Duration::from_secs(1));
            let mut payloads = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                device.feed(part, now);
                while let Some(payload) = device.next().unwrap() {
                    payloads.push(payload.to_vec());
                }
            }
            assert_eq!(payloads, expected, "cut at {cut}");
            assert_eq!((device.pending(), device.due()), (0, None), "cut at {cut}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn what_was_promised_is_due_and_too_much_is_an_error() {
        let (now, patience) = (Instant::now(), Duration::from_secs(1));
        let mut device = FromDevice::new(Width::Two, 10, patience);
        device.feed(b"\x00", now);
        assert_eq!(device.next(), Ok(None));
        assert_eq!(device.due(), Some(now + patience));
        device.feed(b"\x0b", now);
        assert_eq!(device.next(), Err(FramingError::TooLong { length: 11, limit: 10 }));
    }
}

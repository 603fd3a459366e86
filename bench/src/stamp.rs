//! What every message carries in its first 16 bytes: who published it, its number, and when it was due.

/// What a stamp takes of a payload.
pub const BYTES: usize = 16;

const SEQUENCE_BITS: u32 = 48;

/// A number no real message gets: it only finds out whether the way is open.
const PROBE: u64 = (1 << SEQUENCE_BITS) - 1;

/// The start of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which of the publishers.
    pub publisher: u16,
    /// Its messages counted from 0.
    pub sequence: u64,
    /// When it was to be sent, by the [clock](crate::clock::now); 0 when only throughput is measured; of a probe, the
    /// number of its topic.
    pub due: u64,
}

impl Stamp {
    /// A message that is not measured, on one of the topics.
    #[must_use]
    pub fn probe(publisher: u16, topic: usize) -> Self {
        Stamp { publisher, sequence: PROBE, due: topic as u64 }
    }

    /// Whether it is one.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.sequence == PROBE
    }

    /// Writes it over the start of `payload`, which has room for it.
    #[inline]
    pub fn write(&self, payload: &mut [u8]) {
        let head = u64::from(self.publisher) << SEQUENCE_BITS | self.sequence;
        if let Some(stamp) = payload.first_chunk_mut::<BYTES>() {
            let (first, second) = stamp.split_at_mut(8);
            first.copy_from_slice(&head.to_le_bytes());
            second.copy_from_slice(&self.due.to_le_bytes());
        }
    }

    /// Reads it; `None` from what is too short.
    #[inline]
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (head, rest) = payload.split_first_chunk::<8>()?;
        let head = u64::from_le_bytes(*head);
        let due = u64::from_le_bytes(*rest.first_chunk::<8>()?);
        let publisher = (head >> SEQUENCE_BITS) as u16;
        Some(Stamp { publisher, sequence: head & PROBE, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut payload = [7; 20];
        let stamp = Stamp { publisher: 63, sequence: 1 << 40, due: u64::MAX };
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..15]), None);
        Stamp::probe(3, 0).write(&mut payload);
        assert!(Stamp::read(&payload).is_some_and(|stamp| stamp.is_probe() && stamp.publisher == 3));
    }
}

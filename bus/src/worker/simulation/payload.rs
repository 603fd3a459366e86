//! Payloads that say whose they are.

use super::random::Random;

/// What a payload says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) publisher: u8,
    pub(super) sequence: u64,
    pub(super) topic: String,
    /// No MessagePack: a guard stops it.
    pub(super) harmful: bool,
}

const BINARY: u8 = 0xc6;
const NEVER_USED: u8 = 0xc1;

impl Said {
    /// MessagePack binary, or nearly so: publisher, number, topic, filling, checksum.
    pub(super) fn write(&self, filling: usize) -> Vec<u8> {
        let mut body = vec![self.publisher];
        body.extend(self.sequence.to_be_bytes());
        body.push(self.topic.len() as u8);
        body.extend(self.topic.as_bytes());
        body.resize(body.len() + filling, self.sequence as u8 ^ 0x5a);
        body.extend(checksum(&body).to_be_bytes());
        let mut payload = vec![if self.harmful { NEVER_USED } else { BINARY }];
        payload.extend((body.len() as u32).to_be_bytes());
        payload.extend(body);
        payload
    }

    /// `None` when anything is not as it was written.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (head, body) = payload.split_at_checked(5)?;
        let (told, sum) = body.split_at_checked(body.len().checked_sub(8)?)?;
        let length = head[1..] == (body.len() as u32).to_be_bytes();
        let known = [BINARY, NEVER_USED].contains(&head[0]);
        let topic = told.get(10..10 + usize::from(*told.get(9)?))?;
        (length && known && sum == checksum(told).to_be_bytes()).then_some(())?;
        Some(Self {
            publisher: told[0],
            sequence: u64::from_be_bytes(told[1..9].try_into().ok()?),
            topic: String::from_utf8(topic.to_vec()).ok()?,
            harmful: head[0] == NEVER_USED,
        })
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Mostly small ones, some at the border of the long frame, some that are shared and not copied on their way.
pub(super) fn filling(random: &mut Random) -> usize {
    match random.below(40) {
        0 => 8_000 + random.below(12_000),
        1..4 => 4_000 + random.below(300),
        4..10 => 220 + random.below(40),
        _ => random.below(60),
    }
}

/// The longest message there is, in bytes on the wire.
pub(super) const LONGEST: usize = 21_000;

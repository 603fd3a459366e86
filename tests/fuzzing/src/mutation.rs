//! Inputs that are nearly right, each made from a seed and a number alone.

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one input.
    pub(crate) fn of(seed: u64, input: u64) -> Self {
        let mut random = Self(seed);
        Self(random.next() ^ input.wrapping_mul(0xff51_afd7_ed55_8ccd))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// No input is longer.
const LONGEST: usize = 2048;

/// Bytes that change much: markers and flags of the formats, ends of ranges, what text is made of.
const SPICE: [u8; 48] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0d, 0x10, 0x20, 0x7f, 0x80, 0x81, 0x8f, 0x90,
    0x91, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9, 0xcb, 0xd4, 0xd9, 0xdb, 0xdd, 0xdf, 0xe0,
    0xfe, 0xff, b'"', b'\\', b'[', b']', b'{', b'}', b',', b':', b'0', b'9', b'#', b'+',
];

/// Lengths at their borders.
const LENGTHS: [u64; 12] = [
    0,
    1,
    255,
    256,
    4096,
    65_535,
    65_536,
    (1 << 31) - 1,
    u32::MAX as u64,
    1 << 62,
    i64::MAX as u64,
    u64::MAX,
];

/// Puts an input into `input`: noise, or something sound with a few mistakes.
pub(crate) fn make(random: &mut Random, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    input.clear();
    match random.below(16) {
        0 => (0..random.below(96)).for_each(|_| input.push(random.byte())),
        1 => (0..random.below(192)).for_each(|_| input.push(SPICE[random.below(SPICE.len())])),
        2 => input.resize(random.below(512), SPICE[random.below(SPICE.len())]),
        kind => {
            let Some(sound) = corpus.get(random.below(corpus.len())) else { return };
            input.extend_from_slice(sound);
            if kind == 3 {
                // The choice and the rest of different ones.
                let other = &corpus[random.below(corpus.len())];
                input.extend_from_slice(other.get(1..).unwrap_or_default());
            }
        }
    }
    for _ in 0..random.below(6) {
        mutate(random, corpus, input);
    }
    input.truncate(LONGEST);
}

fn mutate(random: &mut Random, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    let at = random.below(input.len());
    let end = (at + 1 + random.below(16)).min(input.len());
    match random.below(12) {
        _ if input.is_empty() => input.push(random.byte()),
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.byte(),
        2 | 3 => input[at] = SPICE[random.below(SPICE.len())],
        4 => input.insert(at, SPICE[random.below(SPICE.len())]),
        5 => drop(input.drain(at..end)),
        6 => input.truncate(at),
        7 => {
            let bytes = LENGTHS[random.below(LENGTHS.len())].to_be_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            let end = input.len().min(at + width);
            input[at..end].copy_from_slice(&bytes[8 - width..][..end - at]);
        }
        8 => {
            let part = input[at..end].to_vec();
            let times = random.below(8);
            (0..times).for_each(|_| drop(input.splice(at..at, part.iter().copied())));
        }
        9 => input[at] = input[at].wrapping_add([1, 0xff][random.below(2)]),
        10 => input.swap(at, end - 1),
        _ => {
            let Some(other) = corpus.get(random.below(corpus.len())) else { return };
            let from = random.below(other.len());
            let length = 1 + random.below(24);
            input.splice(at..at, other[from..].iter().take(length).copied());
        }
    }
}

//! Random numbers that can be had again: a failed run prints its seed, and `MULTIPLANE_SEED` replays it.

use std::hash::{BuildHasher, Hasher, RandomState};

/// SplitMix64: small, and good enough to choose moments.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// With the seed of `MULTIPLANE_SEED`, else a new one. It is printed, which a test shows when it fails.
    #[must_use]
    pub fn new() -> Self {
        let given = std::env::var("MULTIPLANE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("seed: MULTIPLANE_SEED={seed}");
        Self(seed)
    }

    /// The numbers of one of several parts of a run, which are the same whether the other parts run or not.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self(name.bytes().fold(self.0, |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)))
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

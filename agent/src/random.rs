//! Independent random streams from one seed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What the numbers of a stream are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    InitialWeights,
    Exploration,
    Replay,
}

impl Stream {
    /// At most 16 bytes, so that it fits into the key whole.
    const fn name(self) -> &'static [u8] {
        match self {
            Stream::InitialWeights => b"initial-weights",
            Stream::Exploration => b"exploration",
            Stream::Replay => b"replay",
        }
    }

    /// The generator whose key is seed, index and name side by side: no two streams share a key.
    pub(crate) fn rng(self, seed: u64, index: u64) -> ChaCha8Rng {
        let name = self.name();
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        key[16..16 + name.len()].copy_from_slice(name);
        ChaCha8Rng::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn seed_index_and_name_each_change_the_stream() {
        let first = |stream: Stream, seed, index| stream.rng(seed, index).next_u64();
        let base = first(Stream::Replay, 1, 2);
        assert_eq!(base, first(Stream::Replay, 1, 2));
        assert_ne!(base, first(Stream::Replay, 2, 1));
        assert_ne!(base, first(Stream::Replay, 1, 3));
        assert_ne!(base, first(Stream::Exploration, 1, 2));
    }
}

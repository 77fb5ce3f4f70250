//! Single bits of many codes, 64 a word.

/// Bit `i` of every code in plane `i`, one plane after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct BitPlanes {
    /// Of one plane; the last is 0, so that a word may be read across the end.
    words: usize,
    planes: Vec<u64>,
}

impl BitPlanes {
    /// Packs the lowest `n_planes` bits of `codes`.
    pub fn pack(&mut self, codes: &[u8], n_planes: usize) {
        self.words = codes.len().div_ceil(64) + 1;
        self.planes.clear();
        self.planes.resize(n_planes * self.words, 0);
        for (index, eight) in codes.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..eight.len()].copy_from_slice(eight);
            let eight = u64::from_le_bytes(bytes);
            let (word, shift) = (index / 8, index % 8 * 8);
            for plane in 0..n_planes {
                self.planes[plane * self.words + word] |= lowest_bits(eight >> plane) << shift;
            }
        }
    }

    /// Copies `length` bits of a plane, from bit `start` on, to bit `at` of `target`, whose
    /// bits there are 0.
    pub fn copy(&self, plane: usize, start: usize, length: usize, target: &mut [u64], at: usize) {
        let plane = &self.planes[plane * self.words..][..self.words];
        let mut done = 0;
        while done < length {
            let n = (length - done).min(64);
            let (from, to) = (start + done, at + done);
            let mut bits = plane[from / 64] >> (from % 64);
            if from % 64 + n > 64 {
                bits |= plane[from / 64 + 1] << (64 - from % 64);
            }
            bits &= u64::MAX >> (64 - n);
            target[to / 64] |= bits << (to % 64);
            if to % 64 + n > 64 {
                target[to / 64 + 1] |= bits >> (64 - to % 64);
            }
            done += n;
        }
    }
}

/// The lowest bit of each of 8 bytes, the first byte's lowest.
fn lowest_bits(bytes: u64) -> u64 {
    // Each factor's bit moves one byte's bit to its place in the highest byte; no two meet.
    (bytes & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_stretch_of_a_plane_can_be_copied(
            codes in prop::collection::vec(any::<u8>(), 1..300), plane in 0usize..8,
            start in 0.0..1.0, length in 0.0..=1.0, at in 0usize..150,
        ) {
            let start = (start * codes.len() as f64) as usize;
            let length = (length * (codes.len() - start) as f64) as usize;
            let mut planes = BitPlanes::default();
            planes.pack(&codes, 8);
            let mut target = vec![0u64; (at + length).div_ceil(64).max(1)];
            planes.copy(plane, start, length, &mut target, at);
            for bit in 0..target.len() * 64 {
                let inside = (at..at + length).contains(&bit);
                let expected = inside && codes[start + bit - at] >> plane & 1 == 1;
                prop_assert_eq!(target[bit / 64] >> (bit % 64) & 1 == 1, expected, "bit {}", bit);
            }
        }
    }
}

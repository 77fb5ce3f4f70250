//! Products of 16-bit numbers into 32-bit sums, tile by tile: a blocked matrix product over
//! the windows of an image.

use super::{shape::ConvolutionShape, window::Windows};

/// Output channels of a tile.
const CHANNELS: usize = 16;
/// Windows of a tile: with two registers of sums each they fill the register file.
const PLACES: usize = 6;
/// Windows that are unfolded at a time, so that they stay near the processor.
const BLOCK: usize = 10 * PLACES;

type Tile = [[i32; CHANNELS]; PLACES];

/// Weights in panels of 16 channels, two neighbouring products beside each other.
#[derive(Debug, Clone)]
pub(super) struct DenseWeights {
    windows: Windows,
    groups: usize,
    /// Output channels of a group.
    channels: usize,
    /// Products of one sum, rounded up to an even number.
    depth: usize,
    /// `[groups, panels, depth / 2, 16, 2]`.
    panels: Vec<i16>,
}

impl DenseWeights {
    /// - `rows`: `[out_channels, taps, in_channels / groups]`
    pub fn pack(shape: &ConvolutionShape, output: [usize; 2], rows: &[i8]) -> Self {
        let (groups, reduction) = (shape.groups, shape.reduction());
        let channels = shape.out_channels / groups;
        let (depth, n_panels) = (reduction.next_multiple_of(2), channels.div_ceil(CHANNELS));
        let mut panels = vec![0i16; groups * n_panels * depth * CHANNELS];
        for (channel, row) in rows.chunks_exact(reduction).enumerate() {
            let (group, own) = (channel / channels, channel % channels);
            let panel = (group * n_panels + own / CHANNELS) * depth * CHANNELS;
            for (k, &weight) in row.iter().enumerate() {
                let at = (k / 2 * CHANNELS + own % CHANNELS) * 2 + k % 2;
                panels[panel + at] = i16::from(weight);
            }
        }
        Self { windows: Windows::new(shape, output), groups, channels, depth, panels }
    }

    /// Adds the sums of products to `accumulators`, `[places, out_channels]`.
    ///
    /// - `padded`: numbers of the padded image, channels last
    pub fn add_products(&self, padded: &[i16], patches: &mut Vec<i16>, accumulators: &mut [i32]) {
        let out_channels = self.groups * self.channels;
        let places = accumulators.len() / out_channels;
        let group_size = self.panels.len() / self.groups;
        patches.clear();
        patches.resize(BLOCK * self.depth, 0);
        for start in (0..places).step_by(BLOCK) {
            let n = BLOCK.min(places - start);
            for group in 0..self.groups {
                self.unfold(padded, start..start + n, group, patches);
                let panels = &self.panels[group * group_size..][..group_size];
                for (index, panel) in panels.chunks_exact(self.depth * CHANNELS).enumerate() {
                    let first = group * self.channels + index * CHANNELS;
                    let used = CHANNELS.min(self.channels - index * CHANNELS);
                    for tile in (0..n).step_by(PLACES) {
                        let sums = multiply(&patches[tile * self.depth..], panel, self.depth);
                        for (row, sums) in sums.iter().take(n - tile).enumerate() {
                            let at = (start + tile + row) * out_channels + first;
                            let out = &mut accumulators[at..at + used];
                            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                        }
                    }
                }
            }
        }
    }

    fn unfold(
        &self,
        padded: &[i16],
        places: std::ops::Range<usize>,
        group: usize,
        patches: &mut [i16],
    ) {
        for (place, patch) in places.zip(patches.chunks_exact_mut(self.depth)) {
            let mut at = 0;
            for (start, length) in self.windows.pieces(place, group) {
                patch[at..at + length].copy_from_slice(&padded[start..start + length]);
                at += length;
            }
        }
    }
}

/// Sums of one tile. `patches` holds at least 6 rows of `depth`, `panel` 16 columns.
fn multiply(patches: &[i16], panel: &[i16], depth: usize) -> Tile {
    let (patches, panel) = (&patches[..PLACES * depth], &panel[..depth * CHANNELS]);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, and the slices were cut to the lengths it reads.
        return unsafe { multiply_avx2(patches, panel, depth) };
    }
    multiply_plain(patches, panel, depth)
}

fn multiply_plain(patches: &[i16], panel: &[i16], depth: usize) -> Tile {
    let mut sums = [[0; CHANNELS]; PLACES];
    for (pair, weights) in panel.chunks_exact(2 * CHANNELS).enumerate() {
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = &patches[row * depth + 2 * pair..][..2];
            let (x0, x1) = (i32::from(x[0]), i32::from(x[1]));
            for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(2)) {
                *sum += i32::from(w[0]) * x0 + i32::from(w[1]) * x1;
            }
        }
    }
    sums
}

/// # Safety
/// The processor has AVX2; `patches` holds `6 * depth` numbers and `panel` `16 * depth`, and
/// `depth` is even.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn multiply_avx2(patches: &[i16], panel: &[i16], depth: usize) -> Tile {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
        _mm256_setzero_si256, _mm256_storeu_si256,
    };
    let mut sums = [[_mm256_setzero_si256(); 2]; PLACES];
    let (patches, panel) = (patches.as_ptr(), panel.as_ptr());
    for pair in 0..depth / 2 {
        // SAFETY: a pair of 16 columns is 32 numbers, and there are `depth / 2` of them.
        let weights = unsafe {
            let weights = panel.add(pair * 2 * CHANNELS).cast::<__m256i>();
            [_mm256_loadu_si256(weights), _mm256_loadu_si256(weights.add(1))]
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: each of the 6 rows has `depth` numbers, two of which are read as one.
            let x = unsafe { patches.add(row * depth + 2 * pair).cast::<i32>().read_unaligned() };
            let x = _mm256_set1_epi32(x);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(weights, x));
            }
        }
    }
    let mut tile = [[0; CHANNELS]; PLACES];
    for (tile, sums) in tile.iter_mut().zip(sums) {
        for (half, sums) in tile.chunks_exact_mut(8).zip(sums) {
            // SAFETY: half a row of the tile is 8 numbers of 32 bits.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), sums) };
        }
    }
    tile
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn vector_and_plain_tiles_are_equal(
            pairs in 1usize..40, numbers in prop::collection::vec(-255i16..=255, 40 * 2 * (PLACES + CHANNELS))
        ) {
            let depth = 2 * pairs;
            let (patches, panel) = numbers.split_at(depth * PLACES);
            let plain = multiply_plain(patches, &panel[..depth * CHANNELS], depth);
            prop_assert_eq!(multiply(patches, panel, depth), plain);
        }
    }
}

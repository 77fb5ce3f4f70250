//! Sums of products as popcounts of packed bits.
//!
//! A product of two code vectors is `sum over i, j of 2^(i+j) * popcount(A_i & B_j)`; the sign
//! plane of a two's complement code weighs negatively. At one bit of both, codes are -1 and +1
//! and the product is twice the number of equal signs less the number of places. Sources:
//! Umuroglu et al. 2018 (BISMO), section 3; Rastegari et al. 2016 (XNOR-Net).

use super::{
    bits::BitPlanes,
    popcount::{LANES, equal_signs, weighted_counts},
    shape::ConvolutionShape,
    window::Windows,
};

/// Memory that one thread's packed windows use again and again.
#[derive(Debug, Default)]
pub(super) struct PlaneScratch {
    image: BitPlanes,
    /// `[planes, words]` of one window.
    window: Vec<u64>,
}

/// Weights as packed planes.
#[derive(Debug, Clone)]
pub(super) struct PlaneWeights {
    windows: Windows,
    groups: usize,
    /// Output channels of a group.
    channels: usize,
    /// Of one window and plane.
    words: usize,
    coding: Coding,
    /// `[groups, blocks, words, planes, 16]`.
    filters: Vec<u64>,
    /// By output channel, what a zero point of 1 takes off.
    weight_sums: Vec<i64>,
}

/// What the planes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Two's complement weights of 2 to 8 bits, unsigned images.
    TwosComplement { weight: usize, image: usize },
    /// Weights -1 and +1, unsigned images.
    SignedWeights { image: usize },
    /// Both -1 or +1; the image's codes are 0 and 2, and 1 on the border.
    Signs,
}

impl Coding {
    fn planes(self) -> [usize; 2] {
        match self {
            Coding::TwosComplement { weight, image } => [image, weight],
            Coding::SignedWeights { image } => [image, 1],
            Coding::Signs => [2, 1],
        }
    }
}

impl PlaneWeights {
    /// Weights for images of `image_bits`; of 1 bit they are -1 and +1.
    ///
    /// - `rows`: `[out_channels, taps, in_channels / groups]`
    pub fn pack(
        shape: &ConvolutionShape,
        output: [usize; 2],
        rows: &[i8],
        weight_bits: usize,
        image_bits: usize,
    ) -> Self {
        let coding = match weight_bits {
            1 => Coding::SignedWeights { image: image_bits },
            weight => Coding::TwosComplement { weight, image: image_bits },
        };
        Self::with_coding(shape, output, rows, coding)
    }

    /// Weights -1 and +1 for images of signs.
    pub fn pack_signs(shape: &ConvolutionShape, output: [usize; 2], rows: &[i8]) -> Self {
        Self::with_coding(shape, output, rows, Coding::Signs)
    }

    fn with_coding(
        shape: &ConvolutionShape,
        output: [usize; 2],
        rows: &[i8],
        coding: Coding,
    ) -> Self {
        let (groups, reduction) = (shape.groups, shape.reduction());
        let channels = shape.out_channels / groups;
        let (words, n_planes) = (reduction.div_ceil(64), coding.planes()[1]);
        let block = words * n_planes * LANES;
        let mut filters = vec![0u64; groups * channels.div_ceil(LANES) * block];
        for (channel, row) in rows.chunks_exact(reduction).enumerate() {
            let (group, own) = (channel / channels, channel % channels);
            let first = (group * channels.div_ceil(LANES) + own / LANES) * block + own % LANES;
            for (k, &weight) in row.iter().enumerate() {
                let code = match coding {
                    Coding::TwosComplement { .. } => weight as u8,
                    _ => u8::from(weight > 0),
                };
                for plane in 0..n_planes {
                    let bit = u64::from(code >> plane & 1) << (k % 64);
                    filters[first + (k / 64 * n_planes + plane) * LANES] |= bit;
                }
            }
        }
        let sum = |row: &[i8]| row.iter().map(|&weight| i64::from(weight)).sum();
        let weight_sums = rows.chunks_exact(reduction).map(sum).collect();
        let windows = Windows::new(shape, output);
        Self { windows, groups, channels, words, coding, filters, weight_sums }
    }

    /// Adds the sums of products to `accumulators`, `[places, out_channels]`.
    ///
    /// - `padded`: codes of the padded image, channels last, the zero point on its border
    pub fn add_products(
        &self,
        padded: &[u8],
        zero_point: i32,
        scratch: &mut PlaneScratch,
        accumulators: &mut [i32],
    ) {
        let planes = self.coding.planes()[0];
        scratch.image.pack(padded, planes);
        let blocks = self.filters.len() / self.groups;
        for (place, out) in accumulators.chunks_exact_mut(self.groups * self.channels).enumerate() {
            for (group, out) in out.chunks_exact_mut(self.channels).enumerate() {
                let length = self.unfold(scratch, planes, place, group);
                let filters = &self.filters[group * blocks..][..blocks];
                let sums = &self.weight_sums[group * self.channels..][..self.channels];
                match self.coding {
                    Coding::Signs => self.add_signs(&mut scratch.window, length, filters, out),
                    _ => self.add_counts(&scratch.window, zero_point, filters, sums, out),
                }
            }
        }
    }

    /// Gathers the planes of one window; says how many numbers it has.
    fn unfold(
        &self,
        scratch: &mut PlaneScratch,
        planes: usize,
        place: usize,
        group: usize,
    ) -> usize {
        scratch.window.clear();
        scratch.window.resize(planes * self.words, 0);
        let mut at = 0;
        for (start, length) in self.windows.pieces(place, group) {
            for (plane, target) in scratch.window.chunks_exact_mut(self.words).enumerate() {
                scratch.image.copy(plane, start, length, target, at);
            }
            at += length;
        }
        at
    }

    fn add_counts(
        &self,
        window: &[u64],
        zero_point: i32,
        filters: &[u64],
        weight_sums: &[i64],
        out: &mut [i32],
    ) {
        let planes = self.coding.planes();
        let signed = matches!(self.coding, Coding::TwosComplement { .. });
        let total: i64 = match self.coding {
            Coding::SignedWeights { .. } => code_sum(window, self.words),
            _ => 0,
        };
        let blocks = filters.chunks_exact(self.words * planes[1] * LANES);
        for ((out, sums), filters) in
            out.chunks_mut(LANES).zip(weight_sums.chunks(LANES)).zip(blocks)
        {
            let [positive, negative] = weighted_counts(window, filters, planes, signed);
            for (lane, (out, weight_sum)) in out.iter_mut().zip(sums).enumerate() {
                let counted = positive[lane] as i64 - negative[lane] as i64;
                // -1 and +1 are twice the bit less one.
                let dot = if signed { counted } else { 2 * counted - total };
                *out += (dot - i64::from(zero_point) * weight_sum) as i32;
            }
        }
    }

    fn add_signs(&self, window: &mut [u64], length: usize, filters: &[u64], out: &mut [i32]) {
        // Code 1 is the border's and odd; behind the window's end nothing is valid either.
        let (border, signs) = window.split_at_mut(self.words);
        for (word, border) in border.iter_mut().enumerate() {
            let used = length.saturating_sub(word * 64).min(64);
            *border = !*border & (u64::MAX.checked_shr(64 - used as u32).unwrap_or(0));
        }
        let n_valid: i64 = border.iter().map(|word| i64::from(word.count_ones())).sum();
        let blocks = filters.chunks_exact(self.words * LANES);
        for (out, filters) in out.chunks_mut(LANES).zip(blocks) {
            let equal = equal_signs(signs, border, filters);
            for (out, equal) in out.iter_mut().zip(equal) {
                *out += (2 * equal as i64 - n_valid) as i32;
            }
        }
    }
}

/// The sum of a window's codes, from their planes.
fn code_sum(window: &[u64], words: usize) -> i64 {
    let plane_sum = |plane: &[u64]| plane.iter().map(|word| i64::from(word.count_ones())).sum();
    let planes = window.chunks_exact(words).map(plane_sum);
    planes.enumerate().map(|(plane, count): (usize, i64)| count << plane).sum()
}

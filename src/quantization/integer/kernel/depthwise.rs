//! One filter a channel: channels are beside each other in memory, so they are what vector
//! instructions run over.

use super::{shape::ConvolutionShape, window::Windows};

/// Channels whose sums stay in registers.
const LANES: usize = 16;

/// Weights of a convolution with as many groups as input and output channels.
#[derive(Debug, Clone)]
pub(super) struct DepthwiseWeights {
    windows: Windows,
    channels: usize,
    /// `[taps, channels]`.
    taps: Vec<i16>,
}

impl DepthwiseWeights {
    /// - `rows`: `[channels, taps]`
    pub fn pack(shape: &ConvolutionShape, output: [usize; 2], rows: &[i8]) -> Self {
        let (channels, n_taps) = (shape.out_channels, shape.taps());
        let mut taps = vec![0; rows.len()];
        for (channel, row) in rows.chunks_exact(n_taps).enumerate() {
            for (tap, &weight) in row.iter().enumerate() {
                taps[tap * channels + channel] = i16::from(weight);
            }
        }
        Self { windows: Windows::new(shape, output), channels, taps }
    }

    /// Adds the sums of products to `accumulators`, `[places, channels]`.
    pub fn add_products(&self, padded: &[i16], accumulators: &mut [i32]) {
        let mut starts = Vec::new();
        for (place, sums) in accumulators.chunks_exact_mut(self.channels).enumerate() {
            starts.clear();
            starts.extend(self.windows.pieces(place, 0).map(|(start, _)| start));
            add_place(padded, &starts, &self.taps, sums);
        }
    }
}

fn add_place(padded: &[i16], starts: &[usize], taps: &[i16], sums: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { add_place_avx2(padded, starts, taps, sums) };
    }
    add_place_plain(padded, starts, taps, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_place_avx2(padded: &[i16], starts: &[usize], taps: &[i16], sums: &mut [i32]) {
    add_place_plain(padded, starts, taps, sums);
}

#[inline(always)]
fn add_place_plain(padded: &[i16], starts: &[usize], taps: &[i16], sums: &mut [i32]) {
    let channels = sums.len();
    let mut blocks = sums.chunks_exact_mut(LANES);
    let mut first = 0;
    for block in &mut blocks {
        let mut own = [0i32; LANES];
        for (&start, taps) in starts.iter().zip(taps.chunks_exact(channels)) {
            let (x, w) = (&padded[start + first..][..LANES], &taps[first..][..LANES]);
            for lane in 0..LANES {
                own[lane] += i32::from(x[lane]) * i32::from(w[lane]);
            }
        }
        block.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        first += LANES;
    }
    for sum in blocks.into_remainder() {
        let products = starts.iter().zip(taps.chunks_exact(channels));
        *sum += products
            .map(|(&start, taps)| i32::from(padded[start + first]) * i32::from(taps[first]))
            .sum::<i32>();
        first += 1;
    }
}

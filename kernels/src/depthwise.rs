//! One filter a channel, on codes as floats: their sums are whole numbers far below 2^24, so
//! nothing is rounded and the order of products does not matter.

use crate::dense::{LANES, Tile};

/// Weights of a convolution with as many groups as input and output channels.
#[derive(Debug)]
pub struct DepthwiseWeights {
    channels: usize,
    /// Rows and columns of the window.
    kernel: [usize; 2],
    zero_point: f32,
    /// `[channels / 16, taps, 16]`; channels that are not there weigh 0.
    panels: Vec<f32>,
}

/// Where the places of the output lie on an image.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Rows and columns of the image and of the output.
    pub image: [usize; 2],
    pub output: [usize; 2],
    pub stride: [usize; 2],
    /// Rows and columns added before the first.
    pub before: [usize; 2],
}

/// Memory that layers of one thread use again and again.
#[derive(Debug, Default)]
pub struct DepthwiseScratch {
    rows: Vec<f32>,
    sums: Vec<f32>,
}

impl DepthwiseWeights {
    /// - `codes`: `[channels, 1, rows, columns]`
    pub fn pack(codes: &[i8], channels: usize, kernel: [usize; 2], zero_point: i32) -> Self {
        let taps = kernel[0] * kernel[1];
        let mut panels = vec![0f32; channels.div_ceil(LANES) * taps * LANES];
        for (channel, own) in codes.chunks_exact(taps).enumerate() {
            for (tap, &code) in own.iter().enumerate() {
                let at = (channel / LANES * taps + tap) * LANES + channel % LANES;
                panels[at] = f32::from(code);
            }
        }
        Self { channels, kernel, zero_point: zero_point as f32, panels }
    }

    /// Gives the sums of every place to `finish`, as [`crate::dense::DenseWeights::sums`] does.
    ///
    /// - `image`: `[rows, columns, channels]`
    pub fn sums(
        &self,
        image: &[u8],
        sweep: Sweep,
        scratch: &mut DepthwiseScratch,
        finish: &mut dyn FnMut(Tile<'_>),
    ) {
        let [kernel_rows, kernel_columns] = self.kernel;
        let [_, columns] = sweep.image;
        let padded_columns = (sweep.output[1] - 1) * sweep.stride[1] + kernel_columns;
        let padded_columns = padded_columns.max(columns + sweep.before[1]);
        let n_panels = self.channels.div_ceil(LANES);
        // A row is kept panel by panel, so that one panel's places follow each other.
        let row_length = n_panels * padded_columns * LANES;
        scratch.rows.clear();
        scratch.rows.resize(kernel_rows * row_length, 0.0);
        scratch.sums.resize(sweep.output[1] * LANES, 0.0);
        let mut next_row = 0;
        for y in 0..sweep.output[0] {
            let top = y * sweep.stride[0];
            next_row = next_row.max(top);
            while next_row < top + kernel_rows {
                let target = &mut scratch.rows[next_row % kernel_rows * row_length..][..row_length];
                self.fill_row(image, sweep, next_row, padded_columns, target);
                next_row += 1;
            }
            for panel in 0..n_panels {
                let starts: Vec<usize> = (0..kernel_rows)
                    .map(|row| {
                        (top + row) % kernel_rows * row_length + panel * padded_columns * LANES
                    })
                    .collect();
                let taps = kernel_rows * kernel_columns;
                let weights = &self.panels[panel * taps * LANES..][..taps * LANES];
                let sums = &mut scratch.sums[..sweep.output[1] * LANES];
                add_row(&scratch.rows, &starts, weights, sweep.stride[1], sums);
                let channel = panel * LANES;
                finish(Tile {
                    sums,
                    width: LANES,
                    first_place: y * sweep.output[1],
                    n_places: sweep.output[1],
                    channel,
                    n_channels: LANES.min(self.channels - channel),
                });
            }
        }
    }

    /// One row of the padded image as distances from the zero point, panel by panel.
    fn fill_row(
        &self,
        image: &[u8],
        sweep: Sweep,
        padded_row: usize,
        padded_columns: usize,
        target: &mut [f32],
    ) {
        let [rows, columns] = sweep.image;
        let Some(row) = padded_row.checked_sub(sweep.before[0]).filter(|row| *row < rows) else {
            return target.fill(0.0);
        };
        // Places beside the image stay 0: every row has them in the same columns, unless the row
        // was one above or below the image, which is 0 all over.
        let source = &image[row * columns * self.channels..][..columns * self.channels];
        let first = sweep.before[1] * LANES;
        for (panel, target) in target.chunks_exact_mut(padded_columns * LANES).enumerate() {
            let inside = &mut target[first..first + columns * LANES];
            let channel = panel * LANES;
            let n = LANES.min(self.channels - channel);
            spread(&source[channel..], self.channels, n, self.zero_point, inside);
        }
    }
}

/// Sums of one row of places and 16 channels.
///
/// - `rows`: padded rows, those of the window beginning at `starts`
/// - `weights`: `[taps, 16]`
fn add_row(rows: &[f32], starts: &[usize], weights: &[f32], stride: usize, sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::has_byte_products() {
        // SAFETY: the processor has AVX-512 and FMA.
        return unsafe { add_row_avx512(rows, starts, weights, stride, sums) };
    }
    add_row_plain(rows, starts, weights, stride, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
fn add_row_avx512(
    rows: &[f32],
    starts: &[usize],
    weights: &[f32],
    stride: usize,
    sums: &mut [f32],
) {
    match (starts, weights.len() / LANES) {
        (&[a, b, c], 9) => add_window::<3, 3>(rows, [a, b, c], weights, stride, sums),
        (&[a, b, c, d, e], 25) => {
            add_window::<5, 5>(rows, [a, b, c, d, e], weights, stride, sums);
        }
        _ => add_row_plain(rows, starts, weights, stride, sums),
    }
}

/// A window of a size that is known when compiling: its weights stay in registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
fn add_window<const ROWS: usize, const COLUMNS: usize>(
    rows: &[f32],
    starts: [usize; ROWS],
    weights: &[f32],
    stride: usize,
    sums: &mut [f32],
) {
    use std::arch::x86_64::{
        __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    let n_places = sums.len() / LANES;
    let furthest = (n_places.saturating_sub(1) * stride + COLUMNS) * LANES;
    assert!(starts.iter().all(|start| start + furthest <= rows.len()));
    assert!(weights.len() >= ROWS * COLUMNS * LANES);
    // SAFETY: `weights` was found to hold 16 numbers a tap.
    let load =
        |tap: usize| -> __m512 { unsafe { _mm512_loadu_ps(weights.as_ptr().add(tap * LANES)) } };
    let mut taps = [[_mm512_setzero_ps(); COLUMNS]; ROWS];
    for (row, taps) in taps.iter_mut().enumerate() {
        for (column, tap) in taps.iter_mut().enumerate() {
            *tap = load(row * COLUMNS + column);
        }
    }
    for (place, out) in sums.chunks_exact_mut(LANES).enumerate() {
        let mut sum = _mm512_setzero_ps();
        for (start, taps) in starts.iter().zip(&taps) {
            for (column, tap) in taps.iter().enumerate() {
                // SAFETY: the last place's window was found to end inside the rows.
                let x = unsafe {
                    let at = start + (place * stride + column) * LANES;
                    _mm512_loadu_ps(rows.as_ptr().add(at))
                };
                sum = _mm512_fmadd_ps(x, *tap, sum);
            }
        }
        // SAFETY: a place has 16 sums.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
    }
}

fn add_row_plain(rows: &[f32], starts: &[usize], weights: &[f32], stride: usize, sums: &mut [f32]) {
    let columns = weights.len() / LANES / starts.len();
    for (place, sums) in sums.chunks_exact_mut(LANES).enumerate() {
        let mut own = [0f32; LANES];
        for (start, weights) in starts.iter().zip(weights.chunks_exact(columns * LANES)) {
            let window = &rows[start + place * stride * LANES..][..columns * LANES];
            for (x, w) in window.chunks_exact(LANES).zip(weights.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    own[lane] += x[lane] * w[lane];
                }
            }
        }
        sums.copy_from_slice(&own);
    }
}

/// Codes of up to 16 channels at every place as distances from the zero point.
///
/// - `source`: the first place's first channel on, `channels` bytes a place
/// - `target`: 16 numbers a place
fn spread(source: &[u8], channels: usize, n: usize, zero_point: f32, target: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::has_byte_products() {
        // SAFETY: the processor has AVX-512.
        return unsafe { spread_avx512(source, channels, n, zero_point, target) };
    }
    spread_plain(source, channels, n, zero_point, target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn spread_avx512(source: &[u8], channels: usize, n: usize, zero_point: f32, target: &mut [f32]) {
    use std::arch::x86_64::{
        _mm_maskz_loadu_epi8, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_maskz_sub_ps,
        _mm512_set1_ps, _mm512_storeu_ps,
    };
    let mask = mask_of(n);
    let places = target.len() / LANES;
    assert!(places == 0 || (places - 1) * channels + n <= source.len());
    let zero_point = _mm512_set1_ps(zero_point);
    for (place, target) in target.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: the last place's `n` codes were found to lie in `source`; others are masked.
        let codes =
            unsafe { _mm_maskz_loadu_epi8(mask, source.as_ptr().add(place * channels).cast()) };
        let numbers = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes));
        let distances = _mm512_maskz_sub_ps(mask, numbers, zero_point);
        // SAFETY: a place has 16 numbers.
        unsafe { _mm512_storeu_ps(target.as_mut_ptr(), distances) };
    }
}

/// The first `n` of 16 lanes.
pub fn mask_of(n: usize) -> u16 {
    if n >= LANES { u16::MAX } else { (1 << n) - 1 }
}

fn spread_plain(source: &[u8], channels: usize, n: usize, zero_point: f32, target: &mut [f32]) {
    for (codes, target) in source.chunks(channels).zip(target.chunks_exact_mut(LANES)) {
        target.fill(0.0);
        for (code, number) in codes[..n].iter().zip(target) {
            *number = f32::from(*code) - zero_point;
        }
    }
}

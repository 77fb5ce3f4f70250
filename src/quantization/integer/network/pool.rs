//! Sums and maxima over windows, channels last.

use crate::{network::Window, quantization::integer::IntegerError};

/// The places of an image that each output of a pooling window reads.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    channels: usize,
    /// By output place, the input places under it.
    windows: Vec<Vec<u32>>,
    /// By output place, how often its sum counts, so that all are in one unit.
    weights: Vec<i32>,
    /// Places that a sum in that unit stands for.
    pub divisor: i64,
}

impl Pool {
    /// - `input`, `output`: height and width
    /// - `count_padding`: whether a mean counts padded places
    ///
    /// # Errors
    /// When means over windows of different sizes have no common unit of 16 bits.
    pub fn new(
        channels: usize,
        input: [usize; 2],
        output: [usize; 2],
        window: &Window,
        count_padding: bool,
    ) -> Result<Self, IntegerError> {
        let axis = |axis: usize, at: usize| -> (Vec<usize>, usize) {
            let (before, after) = window.padding_of(axis);
            let taps = (0..window.kernel[axis])
                .map(|tap| at * window.stride[axis] + tap * window.dilation[axis]);
            // Rounding up may let a window reach past the padding; such places never count.
            let padded: Vec<usize> =
                taps.filter(|&place| place < input[axis] + before + after).collect();
            let inside = padded.iter().filter_map(|place| place.checked_sub(before));
            (inside.filter(|&place| place < input[axis]).collect(), padded.len())
        };
        let (mut windows, mut counts) = (Vec::new(), Vec::new());
        for y in 0..output[0] {
            for x in 0..output[1] {
                let ((rows, padded_rows), (columns, padded_columns)) = (axis(0, y), axis(1, x));
                let places = rows.iter().flat_map(|row| {
                    columns.iter().map(move |column| (row * input[1] + column) as u32)
                });
                let places: Vec<u32> = places.collect();
                let count = if count_padding { padded_rows * padded_columns } else { places.len() };
                counts.push(count.max(1) as i64);
                windows.push(places);
            }
        }
        let divisor = counts.iter().copied().fold(1, least_common_multiple);
        if divisor > i64::from(u16::MAX) {
            return Err(IntegerError::Accumulator { what: "average pool", reach: divisor });
        }
        let weights = counts.iter().map(|count| (divisor / count) as i32).collect();
        Ok(Self { channels, windows, weights, divisor })
    }

    /// The mean over whole images.
    pub fn global(channels: usize, places: usize) -> Self {
        let windows = vec![(0..places as u32).collect()];
        Self { channels, windows, weights: vec![1], divisor: places as i64 }
    }

    /// Sums of distances from the zero point.
    pub fn sum(&self, image: &[u8], zero_point: i32, sums: &mut Vec<i32>) {
        sums.clear();
        sums.resize(self.windows.len() * self.channels, 0);
        let outputs = sums.chunks_exact_mut(self.channels).zip(&self.windows).zip(&self.weights);
        for ((out, places), &weight) in outputs {
            for &place in places {
                let pixel = &image[place as usize * self.channels..][..self.channels];
                out.iter_mut().zip(pixel).for_each(|(out, &code)| *out += i32::from(code));
            }
            let zeros = zero_point * places.len() as i32;
            out.iter_mut().for_each(|out| *out = (*out - zeros) * weight);
        }
    }

    /// The largest number under each window.
    pub fn max<T: Copy + Ord>(&self, image: &[T], lowest: T, out: &mut Vec<T>) {
        out.clear();
        out.resize(self.windows.len() * self.channels, lowest);
        for (out, places) in out.chunks_exact_mut(self.channels).zip(&self.windows) {
            for &place in places {
                let pixel = &image[place as usize * self.channels..][..self.channels];
                out.iter_mut().zip(pixel).for_each(|(out, &x)| *out = (*out).max(x));
            }
        }
    }
}

fn least_common_multiple(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

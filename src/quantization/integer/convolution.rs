//! Convolution of codes with 32-bit accumulators.

use super::IntegerError;

/// Sizes of a 2-D convolution; pairs are (vertical, horizontal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvolutionShape {
    pub in_channels: usize,
    pub out_channels: usize,
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Before the first row and column.
    pub pad_begin: [usize; 2],
    /// After the last row and column.
    pub pad_end: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl ConvolutionShape {
    /// Products that one accumulator sums.
    pub fn reduction(&self) -> usize {
        self.in_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Height and width of the output.
    ///
    /// # Errors
    /// When a size is 0, the groups do not divide the channels, or the kernel does not fit.
    pub fn output(&self) -> Result<[usize; 2], IntegerError> {
        let positive = [self.in_channels, self.out_channels, self.groups];
        let pairs = [self.kernel, self.stride, self.dilation, self.input];
        if positive.contains(&0) || pairs.iter().flatten().any(|&size| size == 0) {
            return Err(IntegerError::Shape("a size, stride or dilation is 0; 1 is the least"));
        }
        if [self.in_channels, self.out_channels].iter().any(|n| !n.is_multiple_of(self.groups)) {
            return Err(IntegerError::Shape("the groups do not divide the channels"));
        }
        let mut output = [0; 2];
        for (axis, size) in output.iter_mut().enumerate() {
            let padded = self.input[axis] + self.pad_begin[axis] + self.pad_end[axis];
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            if reach > padded {
                return Err(IntegerError::Shape("the kernel is larger than the padded input"));
            }
            *size = (padded - reach) / self.stride[axis] + 1;
        }
        Ok(output)
    }
}

/// A convolution whose weights are symmetric codes: `bias + sum of w * (x - zero_point)`.
///
/// A padded place holds the zero point, which is real 0.
#[derive(Debug, Clone)]
pub struct Convolution {
    shape: ConvolutionShape,
    output: [usize; 2],
    /// `[out_channels, reduction]`.
    weights: Vec<i16>,
    /// In units of input scale times the channel's weight scale.
    bias: Vec<i32>,
    zero_point: i32,
    /// The smallest and the largest code of the input.
    codes: (i32, i32),
}

impl Convolution {
    /// `weights` are `[out_channels, in_channels / groups, kernel]`, `codes` the range of the input.
    ///
    /// # Errors
    /// When sizes do not fit each other, or an accumulator could need more than 32 bits.
    pub fn new(
        shape: ConvolutionShape,
        weights: &[i8],
        bias: Vec<i32>,
        zero_point: i32,
        codes: (u8, u8),
    ) -> Result<Self, IntegerError> {
        let output = shape.output()?;
        expect_length("weights", weights.len(), shape.out_channels * shape.reduction())?;
        expect_length("bias", bias.len(), shape.out_channels)?;
        let codes = (i32::from(codes.0), i32::from(codes.1));
        if !(codes.0..=codes.1).contains(&zero_point) {
            let (low, high) = codes;
            return Err(IntegerError::Code { index: 0, code: zero_point, low, high });
        }
        let magnitude = i64::from((codes.1 - zero_point).max(zero_point - codes.0));
        for (row, &bias) in weights.chunks_exact(shape.reduction()).zip(&bias) {
            let sum: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
            let reach = sum * magnitude + i64::from(bias).abs();
            if reach > i64::from(i32::MAX) {
                return Err(IntegerError::Accumulator { what: "convolution", reach });
            }
        }
        let weights = weights.iter().map(|&w| i16::from(w)).collect();
        Ok(Self { shape, output, weights, bias, zero_point, codes })
    }

    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Accumulators `[out_channels, height, width]` of one image `[in_channels, height, width]`.
    ///
    /// # Errors
    /// When the image has another size, or a code outside the range that was promised.
    pub fn run(&self, image: &[u8]) -> Result<Vec<i32>, IntegerError> {
        let [height, width] = self.shape.input;
        expect_length("image", image.len(), self.shape.in_channels * height * width)?;
        let (low, high) = self.codes;
        for (index, code) in image.iter().map(|&code| i32::from(code)).enumerate() {
            if !(low..=high).contains(&code) {
                return Err(IntegerError::Code { index, code, low, high });
            }
        }
        let places = self.output[0] * self.output[1];
        let per_group = self.shape.out_channels / self.shape.groups;
        let reduction = self.shape.reduction();
        let mut accumulators = vec![0; self.shape.out_channels * places];
        let mut patches = vec![0i16; places * reduction];
        for group in 0..self.shape.groups {
            self.unfold(image, group, &mut patches);
            for channel in group * per_group..(group + 1) * per_group {
                let row = &self.weights[channel * reduction..][..reduction];
                let out = &mut accumulators[channel * places..][..places];
                dot_rows(row, &patches, self.bias[channel], out);
            }
        }
        Ok(accumulators)
    }

    /// Writes `x - zero_point` of every window of a group, `[places, reduction]`.
    fn unfold(&self, image: &[u8], group: usize, patches: &mut [i16]) {
        let shape = &self.shape;
        let [height, width] = shape.input;
        let channels = shape.in_channels / shape.groups;
        let planes = &image[group * channels * height * width..][..channels * height * width];
        let mut slots = patches.iter_mut();
        for place in 0..self.output[0] * self.output[1] {
            let (top, left) = (
                place / self.output[1] * shape.stride[0],
                place % self.output[1] * shape.stride[1],
            );
            for plane in planes.chunks_exact(height * width) {
                for tap in 0..shape.kernel[0] * shape.kernel[1] {
                    let y = top + tap / shape.kernel[1] * shape.dilation[0];
                    let x = left + tap % shape.kernel[1] * shape.dilation[1];
                    // Places before the image wrap around and lie outside like those after it.
                    let y = y.wrapping_sub(shape.pad_begin[0]);
                    let x = x.wrapping_sub(shape.pad_begin[1]);
                    let inside = y < height && x < width;
                    let code =
                        if inside { i32::from(plane[y * width + x]) } else { self.zero_point };
                    if let Some(slot) = slots.next() {
                        *slot = (code - self.zero_point) as i16;
                    }
                }
            }
        }
    }
}

/// `out[i] = bias + row . patches[i]`.
fn dot_rows(row: &[i16], patches: &[i16], bias: i32, out: &mut [i32]) {
    for (out, patch) in out.iter_mut().zip(patches.chunks_exact(row.len())) {
        let sum: i32 = row.iter().zip(patch).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
        *out = bias + sum;
    }
}

fn expect_length(what: &'static str, found: usize, expected: usize) -> Result<(), IntegerError> {
    if found == expected { Ok(()) } else { Err(IntegerError::Length { what, found, expected }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The definition, in 64 bits, one output at a time.
    fn naive(
        s: &ConvolutionShape,
        image: &[u8],
        weights: &[i8],
        bias: &[i32],
        zero: i32,
    ) -> Vec<i64> {
        let [rows, columns] = s.output().unwrap();
        let (ins, outs) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let mut all = vec![];
        for (o, y, x) in (0..s.out_channels)
            .flat_map(|o| (0..rows).flat_map(move |y| (0..columns).map(move |x| (o, y, x))))
        {
            let mut sum = i64::from(bias[o]);
            for (c, ky, kx) in (0..ins).flat_map(|c| {
                (0..s.kernel[0]).flat_map(move |y| (0..s.kernel[1]).map(move |x| (c, y, x)))
            }) {
                let iy = (y * s.stride[0] + ky * s.dilation[0]) as i64 - s.pad_begin[0] as i64;
                let ix = (x * s.stride[1] + kx * s.dilation[1]) as i64 - s.pad_begin[1] as i64;
                if iy < 0 || ix < 0 || iy >= s.input[0] as i64 || ix >= s.input[1] as i64 {
                    continue;
                }
                let channel = o / outs * ins + c;
                let at = (channel * s.input[0] + iy as usize) * s.input[1] + ix as usize;
                let weight = weights[((o * ins + c) * s.kernel[0] + ky) * s.kernel[1] + kx];
                sum += i64::from(weight) * (i64::from(image[at]) - i64::from(zero));
            }
            all.push(sum);
        }
        all
    }

    fn pair(range: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
        [range.clone(), range]
    }

    prop_compose! {
        fn shapes()(
            per_group in 1usize..4, out_per_group in 1usize..4, groups in 1usize..4,
            input in pair(5..9), kernel in pair(1..4), stride in pair(1..4),
            pad_begin in pair(0..3), pad_end in pair(0..3), dilation in pair(1..3),
        ) -> ConvolutionShape {
            let (in_channels, out_channels) = (per_group * groups, out_per_group * groups);
            ConvolutionShape {
                in_channels, out_channels, input, kernel, stride, pad_begin, pad_end, dilation, groups,
            }
        }
    }

    proptest! {
        #[test]
        fn a_convolution_is_the_definition_in_64_bits(
            shape in shapes(), seed: u64, zero_point in 0i32..=255
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut weights = vec![0i8; shape.out_channels * shape.reduction()];
            weights.fill_with(|| rng.random());
            let mut image = vec![0u8; shape.in_channels * shape.input[0] * shape.input[1]];
            image.fill_with(|| rng.random());
            let bias: Vec<i32> =
                (0..shape.out_channels).map(|_| rng.random_range(-100_000..100_000)).collect();
            let convolution =
                Convolution::new(shape, &weights, bias.clone(), zero_point, (0, 255)).unwrap();
            let found: Vec<i64> =
                convolution.run(&image).unwrap().into_iter().map(i64::from).collect();
            prop_assert_eq!(found, naive(&shape, &image, &weights, &bias, zero_point));
        }
    }

    fn pointwise(in_channels: usize) -> ConvolutionShape {
        ConvolutionShape {
            in_channels,
            out_channels: 1,
            input: [1, 1],
            kernel: [1, 1],
            stride: [1, 1],
            pad_begin: [0, 0],
            pad_end: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    #[test]
    fn a_reduction_that_32_bits_do_not_hold_is_refused() {
        // 65,793 * 128 * 255 is the last below 2^31.
        for (length, fits) in [(65_793, true), (65_794, false)] {
            let weights = vec![-128i8; length];
            let made = Convolution::new(pointwise(length), &weights, vec![0], 0, (0, 255));
            assert_eq!(made.is_ok(), fits, "{length}");
        }
        let made = Convolution::new(pointwise(1), &[1], vec![i32::MAX], 0, (0, 255));
        assert!(matches!(made, Err(IntegerError::Accumulator { .. })));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let made = |shape, weights: &[i8]| Convolution::new(shape, weights, vec![0], 0, (0, 15));
        assert!(matches!(made(pointwise(2), &[1]), Err(IntegerError::Length { .. })));
        let large = ConvolutionShape { kernel: [2, 1], ..pointwise(1) };
        assert!(matches!(made(large, &[1, 1]), Err(IntegerError::Shape(_))));
        let split = ConvolutionShape { groups: 2, ..pointwise(3) };
        assert!(matches!(made(split, &[1]), Err(IntegerError::Shape(_))));
        let convolution = made(pointwise(2), &[1, 1]).unwrap();
        assert!(matches!(convolution.run(&[0]), Err(IntegerError::Length { .. })));
        assert!(matches!(convolution.run(&[0, 16]), Err(IntegerError::Code { code: 16, .. })));
    }
}

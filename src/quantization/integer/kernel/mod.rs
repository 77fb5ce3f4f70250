//! Convolution of codes with 32-bit accumulators, by the kernel that suits the bits.

mod bits;
mod dense;
mod depthwise;
mod planes;
mod popcount;
mod shape;
mod window;

use self::{
    dense::DenseWeights,
    depthwise::DepthwiseWeights,
    planes::{PlaneScratch, PlaneWeights},
};
pub use shape::ConvolutionShape;

use crate::{domain::Bits, quantization::integer::IntegerError};

/// The codes of a tensor: 0 to `high`, of which one stands for real 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeRange {
    pub zero_point: i32,
    pub high: u8,
    /// Whether only 0 and 2 occur, for -1 and +1 around the zero point 1, which is padding.
    pub signs: bool,
}

impl CodeRange {
    /// -1 and +1.
    pub const SIGNS: Self = Self { zero_point: 1, high: 2, signs: true };

    /// Codes 0 to `high`.
    pub fn unsigned(zero_point: i32, high: u8) -> Self {
        Self { zero_point, high, signs: false }
    }

    /// The largest distance of a code from the zero point.
    pub fn magnitude(&self) -> i64 {
        i64::from((i32::from(self.high) - self.zero_point).max(self.zero_point))
    }

    /// Bits that every code fits in.
    fn bits(&self) -> usize {
        (u8::BITS - self.high.leading_zeros()).max(1) as usize
    }
}

/// How sums of products are computed. All kernels give the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Products of 16-bit numbers.
    Int8,
    /// Popcounts of packed bits, one for each pair of planes.
    BitPlanes,
    /// One popcount of equal signs.
    Xnor,
}

impl Kernel {
    /// The kernel on packed bits, where an operand has fewer than 8 of them.
    pub fn packed(weight_bits: Bits, codes: CodeRange, shape: &ConvolutionShape) -> Self {
        match (weight_bits.get(), codes.signs) {
            // One filter a group leaves nothing to share a packed window with.
            _ if shape.is_depthwise() => Kernel::Int8,
            (1, true) => Kernel::Xnor,
            (8.., _) if codes.bits() == 8 => Kernel::Int8,
            _ => Kernel::BitPlanes,
        }
    }
}

/// A convolution whose weights are symmetric codes: `bias + sum of w * (x - zero_point)`.
///
/// A padded place holds the zero point, which is real 0. Images and accumulators have their
/// channels last.
#[derive(Debug, Clone)]
pub struct Convolution {
    shape: ConvolutionShape,
    output: [usize; 2],
    weights: Weights,
    /// In units of input scale times the channel's weight scale.
    bias: Vec<i32>,
    codes: CodeRange,
    reach: Vec<i64>,
}

#[derive(Debug, Clone)]
enum Weights {
    Dense(DenseWeights),
    Depthwise(DepthwiseWeights),
    Planes(PlaneWeights),
}

/// Memory that the convolutions of one thread use again and again.
#[derive(Debug, Default)]
pub struct ConvolutionScratch {
    numbers: Vec<i16>,
    codes: Vec<u8>,
    patches: Vec<i16>,
    planes: PlaneScratch,
}

impl Convolution {
    /// - `weights`: `[out_channels, in_channels / groups, kernel]`; of 1 bit they are -1 and +1
    /// - `codes`: of the image
    ///
    /// # Errors
    /// When sizes do not fit each other, a weight does not fit its bits, an accumulator could
    /// need more than 32 bits, or the kernel is for signs and an operand has others.
    pub fn new(
        shape: ConvolutionShape,
        weights: &[i8],
        weight_bits: Bits,
        bias: Vec<i32>,
        codes: CodeRange,
        kernel: Kernel,
    ) -> Result<Self, IntegerError> {
        let output = shape.output()?;
        expect_length("weights", weights.len(), shape.out_channels * shape.reduction())?;
        expect_length("bias", bias.len(), shape.out_channels)?;
        let high = i32::from(codes.high);
        if !(0..=high).contains(&codes.zero_point) {
            return Err(IntegerError::Code { index: 0, code: codes.zero_point, low: 0, high });
        }
        check_weights(weights, weight_bits)?;
        let reach = reaches(&shape, weights, &bias, codes)?;
        let rows = channels_last(&shape, weights);
        let weights = match kernel {
            Kernel::Int8 if shape.is_depthwise() => {
                Weights::Depthwise(DepthwiseWeights::pack(&shape, output, &rows))
            }
            Kernel::Int8 => Weights::Dense(DenseWeights::pack(&shape, output, &rows)),
            Kernel::BitPlanes => {
                let bits = usize::from(weight_bits.get());
                Weights::Planes(PlaneWeights::pack(&shape, output, &rows, bits, codes.bits()))
            }
            Kernel::Xnor if codes == CodeRange::SIGNS && weight_bits.get() == 1 => {
                Weights::Planes(PlaneWeights::pack_signs(&shape, output, &rows))
            }
            Kernel::Xnor => {
                return Err(IntegerError::Shape("XNOR needs signs and weights of 1 bit"));
            }
        };
        Ok(Self { shape, output, weights, bias, codes, reach })
    }

    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    pub fn shape(&self) -> &ConvolutionShape {
        &self.shape
    }

    /// By output channel, the largest magnitude an accumulator can have.
    pub fn reach(&self) -> &[i64] {
        &self.reach
    }

    /// Accumulators `[height, width, out_channels]` of one image `[height, width, in_channels]`.
    ///
    /// # Errors
    /// When the image has another size, or a code that was not promised.
    pub fn run(
        &self,
        image: &[u8],
        scratch: &mut ConvolutionScratch,
        accumulators: &mut Vec<i32>,
    ) -> Result<(), IntegerError> {
        let [height, width] = self.shape.input;
        expect_length("image", image.len(), self.shape.in_channels * height * width)?;
        self.check_codes(image)?;
        accumulators.clear();
        for _ in 0..self.output[0] * self.output[1] {
            accumulators.extend_from_slice(&self.bias);
        }
        let zero_point = self.codes.zero_point;
        let ConvolutionScratch { numbers, codes, patches, planes } = scratch;
        if let Weights::Planes(weights) = &self.weights {
            window::pad(&self.shape, image, zero_point as u8, |code| code, codes);
            weights.add_products(codes, zero_point, planes, accumulators);
            return Ok(());
        }
        let centred = |code: u8| i16::from(code) - zero_point as i16;
        window::pad(&self.shape, image, 0, centred, numbers);
        match &self.weights {
            Weights::Dense(weights) => weights.add_products(numbers, patches, accumulators),
            Weights::Depthwise(weights) => weights.add_products(numbers, accumulators),
            Weights::Planes(_) => unreachable!("planes were done above"),
        }
        Ok(())
    }

    fn check_codes(&self, image: &[u8]) -> Result<(), IntegerError> {
        let CodeRange { high, signs, .. } = self.codes;
        let odd = image.iter().fold(0, |odd, code| odd | code & 1);
        let largest = image.iter().fold(0, |largest, &code| largest.max(code));
        if largest <= high && !(signs && odd == 1) {
            return Ok(());
        }
        let wrong = |code: u8| code > high || (signs && code % 2 == 1);
        let index = image.iter().position(|&code| wrong(code)).expect("one code is wrong");
        let code = i32::from(image[index]);
        Err(IntegerError::Code { index, code, low: 0, high: i32::from(high) })
    }
}

fn check_weights(weights: &[i8], bits: Bits) -> Result<(), IntegerError> {
    let (low, high) = crate::quantization::WeightGrid::codes(bits);
    let fits = |code: i32| (low..=high).contains(&code) && !(bits.get() == 1 && code == 0);
    match weights.iter().position(|&weight| !fits(i32::from(weight))) {
        None => Ok(()),
        Some(index) => {
            let code = i32::from(weights[index]);
            Err(IntegerError::Code { index, code, low, high })
        }
    }
}

/// By output channel, the largest magnitude of a sum, of whatever image.
fn reaches(
    shape: &ConvolutionShape,
    weights: &[i8],
    bias: &[i32],
    codes: CodeRange,
) -> Result<Vec<i64>, IntegerError> {
    let rows = weights.chunks_exact(shape.reduction()).zip(bias);
    rows.map(|(row, &bias)| {
        let sum: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
        let reach = sum * codes.magnitude() + i64::from(bias).abs();
        if reach > i64::from(i32::MAX) {
            return Err(IntegerError::Accumulator { what: "convolution", reach });
        }
        Ok(reach)
    })
    .collect()
}

/// Weights `[out, in, taps]` as `[out, taps, in]`.
fn channels_last(shape: &ConvolutionShape, weights: &[i8]) -> Vec<i8> {
    let (channels, taps) = (shape.in_channels / shape.groups, shape.taps());
    let mut rows = Vec::with_capacity(weights.len());
    for row in weights.chunks_exact(channels * taps) {
        rows.extend((0..taps).flat_map(|tap| (0..channels).map(move |c| row[c * taps + tap])));
    }
    rows
}

fn expect_length(what: &'static str, found: usize, expected: usize) -> Result<(), IntegerError> {
    if found == expected { Ok(()) } else { Err(IntegerError::Length { what, found, expected }) }
}

#[cfg(test)]
mod tests;

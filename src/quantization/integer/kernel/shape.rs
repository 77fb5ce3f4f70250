//! Sizes of a two-dimensional convolution on codes.

use crate::quantization::integer::IntegerError;

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
    /// A linear layer on `rows` vectors: a 1x1 convolution over a column of them.
    pub fn linear(rows: usize, in_features: usize, out_features: usize) -> Self {
        Self {
            in_channels: in_features,
            out_channels: out_features,
            input: [rows, 1],
            kernel: [1, 1],
            stride: [1, 1],
            pad_begin: [0, 0],
            pad_end: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// Products that one accumulator sums.
    pub fn reduction(&self) -> usize {
        self.in_channels / self.groups * self.taps()
    }

    /// Places of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether each input channel has one filter of its own.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && [self.in_channels, self.out_channels] == [self.groups; 2]
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
            let padded = self.padded()[axis];
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            if reach > padded {
                return Err(IntegerError::Shape("the kernel is larger than the padded input"));
            }
            *size = (padded - reach) / self.stride[axis] + 1;
        }
        Ok(output)
    }

    /// Height and width of the input with its padding.
    pub(super) fn padded(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.input[axis] + self.pad_begin[axis] + self.pad_end[axis])
    }
}

//! Padded images with channels last, and where the windows over them lie.

use super::shape::ConvolutionShape;

/// A piece of a window that is contiguous in the padded image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// From the window's first number.
    offset: usize,
    length: usize,
}

/// Where the numbers under a window lie in a padded image `[height, width, channels]`.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    /// Of the output.
    width: usize,
    /// Between windows below and beside each other.
    row_step: usize,
    column_step: usize,
    /// In the order of the taps, then of the channels; those of the first group.
    runs: Vec<Run>,
    group_step: usize,
}

impl Windows {
    pub fn new(shape: &ConvolutionShape, output: [usize; 2]) -> Self {
        let (channels, width) = (shape.in_channels, shape.padded()[1]);
        let per_group = channels / shape.groups;
        let mut runs: Vec<Run> = Vec::new();
        for tap in 0..shape.taps() {
            let y = tap / shape.kernel[1] * shape.dilation[0];
            let x = tap % shape.kernel[1] * shape.dilation[1];
            let offset = (y * width + x) * channels;
            match runs.last_mut() {
                Some(run) if run.offset + run.length == offset => run.length += per_group,
                _ => runs.push(Run { offset, length: per_group }),
            }
        }
        Self {
            width: output[1],
            row_step: shape.stride[0] * width * channels,
            column_step: shape.stride[1] * channels,
            runs,
            group_step: per_group,
        }
    }

    /// Start and length of each piece of the window at one place of the output.
    pub fn pieces(&self, place: usize, group: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let first = place / self.width * self.row_step
            + place % self.width * self.column_step
            + group * self.group_step;
        self.runs.iter().map(move |run| (first + run.offset, run.length))
    }
}

/// Copies an image `[height, width, channels]` into the middle of its padding, each code
/// changed by `convert`.
pub(super) fn pad<T: Copy>(
    shape: &ConvolutionShape,
    image: &[u8],
    border: T,
    convert: impl Fn(u8) -> T,
    padded: &mut Vec<T>,
) {
    let [rows, columns] = shape.padded();
    let (channels, width) = (shape.in_channels, shape.input[1]);
    padded.clear();
    padded.resize(rows * columns * channels, border);
    for (y, row) in image.chunks_exact(width * channels).enumerate() {
        let start = ((y + shape.pad_begin[0]) * columns + shape.pad_begin[1]) * channels;
        let target = &mut padded[start..start + row.len()];
        target.iter_mut().zip(row).for_each(|(target, &code)| *target = convert(code));
    }
}

//! The operations a network is made of, with their attributes resolved and typed.

use super::array::{Array, ElementType};

/// Spatial attributes of a two-dimensional convolution or pooling window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Top, left, bottom, right.
    pub padding: [usize; 4],
    pub dilation: [usize; 2],
}

impl Window {
    /// Rows or columns added before and after, for axis 0 (height) or 1 (width).
    pub fn padding_of(&self, axis: usize) -> (usize, usize) {
        (self.padding[axis], self.padding[axis + 2])
    }

    /// Whether as much is added before as after.
    pub fn is_symmetric(&self) -> bool {
        self.padding[0] == self.padding[2] && self.padding[1] == self.padding[3]
    }

    /// Input rows or columns that one output covers.
    pub fn extent(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }
}

/// The grid a tensor's values are rounded to: `scale * clamp(round(x / scale), low, high)`,
/// shifted by the zero point. Ties go to the even number.
///
/// The integer `q` runs over `low..=high` and stands for `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Above 0.
    pub scale: f32,
    pub zero_point: i32,
    pub low: i32,
    pub high: i32,
}

impl Grid {
    /// The value nearest to `x` that the grid holds.
    #[inline(always)]
    pub fn round(&self, x: f32) -> f32 {
        let zero_point = self.zero_point as f32;
        let q = (x / self.scale).round_ties_even() + zero_point;
        (q.clamp(self.low as f32, self.high as f32) - zero_point) * self.scale
    }
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    Abs,
    Ceil,
    Cos,
    Erf,
    Exp,
    Floor,
    Log,
    Neg,
    Not,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Softplus,
    Sqrt,
    Tanh,
}

/// A comparison of two numbers; the result is a bool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a reduction combines numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    Mean,
    Sum,
    Max,
    Min,
    Prod,
    /// The square root of the sum of squares.
    L2,
}

/// A connective of two truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// What padding repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// The outermost number.
    Edge,
    /// The numbers before it, outermost not repeated.
    Reflect,
}

/// How numbers between two samples are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    Nearest(NearestRounding),
    Linear,
    /// With the coefficient that ONNX calls `cubic_coeff_a`.
    Cubic(f32),
}

/// Which sample a position between two belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NearestRounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
}

/// Where an output sample lies among the input's, in ONNX's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// The length of one axis after a resize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResizedLength {
    Same,
    /// Times this, rounded down.
    Scale(f32),
    Exactly(usize),
}

impl ResizedLength {
    /// The new length and the scale that positions follow.
    pub fn of(self, length: usize) -> (usize, f64) {
        match self {
            ResizedLength::Same => (length, 1.0),
            ResizedLength::Scale(scale) => {
                ((length as f64 * f64::from(scale)).floor() as usize, f64::from(scale))
            }
            ResizedLength::Exactly(new) => (new, new as f64 / length.max(1) as f64),
        }
    }
}

/// One operation. Inputs are the node's tensors in ONNX order; a constant input is a tensor
/// that the graph holds a value for.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Inputs: x `[n, c, h, w]`, weight `[out, c / groups, kh, kw]`, optional bias `[out]`.
    Conv {
        window: Window,
        groups: usize,
    },
    /// Inputs: x `[n, c, h, w]`, weight `[c, out / groups, kh, kw]`, optional bias `[out]`.
    ConvTranspose {
        window: Window,
        groups: usize,
        /// Rows and columns added at the bottom and right.
        output_padding: [usize; 2],
    },
    /// Inputs: x, weight, optional bias. `alpha * x' * w' + beta * bias`.
    Gemm {
        alpha: f32,
        beta: f32,
        transpose_a: bool,
        transpose_b: bool,
    },
    /// Inputs: x, y, and after folding an optional bias `[columns of y]`; batched product.
    MatMul,
    /// Inputs: x, scale, bias, mean, variance, each `[c]`.
    BatchNorm {
        epsilon: f32,
    },
    /// Mean 0 and variance 1 over all axes from `axis` on. Inputs: x, scale, optional bias, both
    /// of the shape of these axes.
    LayerNorm {
        axis: i64,
        epsilon: f32,
    },
    /// Mean 0 and variance 1 for each group of channels of an image. Inputs: x, scale and bias,
    /// both `[c]`. As many groups as channels make instance normalization (`groups` 0).
    GroupNorm {
        groups: usize,
        epsilon: f32,
    },
    Relu,
    /// Inputs: x, slope below 0, which broadcasts.
    PRelu,
    Elu {
        alpha: f32,
    },
    /// `x * Φ(x)`, or its approximation by a hyperbolic tangent.
    Gelu {
        tanh: bool,
    },
    /// `min(max(x, low), high)`; an absent bound is infinite.
    Clip {
        low: f32,
        high: f32,
    },
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// The remainder, with the divisor's sign, or the dividend's for `truncated`.
    Mod {
        truncated: bool,
    },
    Logic(Logic),
    Unary(Unary),
    Compare(Comparison),
    /// Inputs: condition, value where true, value where false.
    Where,
    MaxPool {
        window: Window,
        ceil: bool,
    },
    AveragePool {
        window: Window,
        ceil: bool,
        count_padding: bool,
    },
    GlobalAveragePool,
    /// Collapses the axes before and from `axis` into two.
    Flatten {
        axis: i64,
    },
    /// The target shape is the second input.
    Reshape {
        allow_zero: bool,
    },
    /// Broadcasts to the shape that is the second input.
    Expand,
    /// Axis `i` of the output is axis `axes[i]` of the input; empty reverses all.
    Transpose {
        axes: Vec<usize>,
    },
    Concat {
        axis: i64,
    },
    /// Constant padding, `before` and `after` one number an axis; negative crops.
    Pad {
        before: Vec<i64>,
        after: Vec<i64>,
        value: f32,
    },
    /// Padding with numbers of the tensor itself; amounts as for `Pad`, none negative.
    PadBorder {
        border: Border,
        before: Vec<usize>,
        after: Vec<usize>,
    },
    /// One length an axis.
    Resize {
        interpolation: Interpolation,
        coordinates: Coordinates,
        lengths: Vec<ResizedLength>,
    },
    Slice {
        cuts: Vec<Cut>,
    },
    /// Inputs: x, starts, ends, optional axes, optional steps, some of them computed.
    ComputedSlice,
    /// Inputs: x, repeats an axis.
    Tile,
    /// Inputs: start, limit, step.
    Range,
    Identity,
    Softmax {
        axis: i64,
    },
    LogSoftmax {
        axis: i64,
    },
    /// The first index of the largest number, as i64.
    ArgMax {
        axis: i64,
        keep: bool,
    },
    /// The shape of the input from `start` to `end`, as i64.
    Shape {
        start: i64,
        end: Option<i64>,
    },
    /// A tensor of the shape that is the input, filled with one value.
    ConstantOfShape {
        /// One number.
        value: Array,
    },
    /// Inputs: x, indices into `axis`.
    Gather {
        axis: i64,
    },
    /// Empty `axes` removes every axis of length 1.
    Squeeze {
        axes: Vec<i64>,
    },
    Unsqueeze {
        axes: Vec<i64>,
    },
    /// Empty `axes` reduces all.
    Reduce {
        kind: Reduction,
        axes: Vec<i64>,
        keep: bool,
    },
    Cast {
        to: ElementType,
    },
    Sigmoid,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    LeakyRelu {
        alpha: f32,
    },
    /// Rounds to a grid and back: what quantization inserts.
    FakeQuantize(Grid),
}

impl Op {
    /// The name of the operation in ONNX.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv { .. } => "Conv",
            Op::Gemm { .. } => "Gemm",
            Op::MatMul => "MatMul",
            Op::BatchNorm { .. } => "BatchNormalization",
            Op::ConvTranspose { .. } => "ConvTranspose",
            Op::LayerNorm { .. } => "LayerNormalization",
            Op::GroupNorm { groups: 0, .. } => "InstanceNormalization",
            Op::GroupNorm { .. } => "GroupNormalization",
            Op::PRelu => "PRelu",
            Op::Elu { .. } => "Elu",
            Op::Gelu { .. } => "Gelu",
            Op::Mod { .. } => "Mod",
            Op::Logic(logic) => logic.name(),
            Op::PadBorder { .. } => "Pad",
            Op::Resize { .. } => "Resize",
            Op::ComputedSlice => "Slice",
            Op::Tile => "Tile",
            Op::Range => "Range",
            Op::LogSoftmax { .. } => "LogSoftmax",
            Op::ArgMax { .. } => "ArgMax",
            Op::Relu => "Relu",
            Op::Clip { .. } => "Clip",
            Op::Add => "Add",
            Op::Sub => "Sub",
            Op::Mul => "Mul",
            Op::Div => "Div",
            Op::Pow => "Pow",
            Op::Min => "Min",
            Op::Max => "Max",
            Op::Unary(function) => function.name(),
            Op::Compare(comparison) => comparison.name(),
            Op::Where => "Where",
            Op::MaxPool { .. } => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Flatten { .. } => "Flatten",
            Op::Reshape { .. } => "Reshape",
            Op::Expand => "Expand",
            Op::Transpose { .. } => "Transpose",
            Op::Concat { .. } => "Concat",
            Op::Pad { .. } => "Pad",
            Op::Slice { .. } => "Slice",
            Op::Identity => "Identity",
            Op::Softmax { .. } => "Softmax",
            Op::Shape { .. } => "Shape",
            Op::ConstantOfShape { .. } => "ConstantOfShape",
            Op::Gather { .. } => "Gather",
            Op::Squeeze { .. } => "Squeeze",
            Op::Unsqueeze { .. } => "Unsqueeze",
            Op::Reduce { kind, .. } => kind.name(),
            Op::Cast { .. } => "Cast",
            Op::Sigmoid => "Sigmoid",
            Op::HardSigmoid { .. } => "HardSigmoid",
            Op::HardSwish => "HardSwish",
            Op::LeakyRelu { .. } => "LeakyRelu",
            Op::FakeQuantize(_) => "FakeQuantize",
        }
    }

    /// Whether no output is below 0 when no number of the first input is: selections, means,
    /// and functions that keep the sign.
    pub(super) fn keeps_non_negative(&self) -> bool {
        matches!(
            self,
            Op::MaxPool { .. }
                | Op::AveragePool { .. }
                | Op::GlobalAveragePool
                | Op::Flatten { .. }
                | Op::Reshape { .. }
                | Op::Expand
                | Op::Transpose { .. }
                | Op::Slice { .. }
                | Op::ComputedSlice
                | Op::PadBorder { .. }
                | Op::Tile
                | Op::Identity
                | Op::Gather { .. }
                | Op::Squeeze { .. }
                | Op::Unsqueeze { .. }
                | Op::Reduce { .. }
                | Op::Cast { .. }
                | Op::LeakyRelu { .. }
                | Op::Elu { .. }
                | Op::Gelu { .. }
        )
    }
}

impl Unary {
    pub const ALL: [Unary; 16] = [
        Unary::Abs,
        Unary::Ceil,
        Unary::Cos,
        Unary::Erf,
        Unary::Exp,
        Unary::Floor,
        Unary::Log,
        Unary::Neg,
        Unary::Not,
        Unary::Reciprocal,
        Unary::Round,
        Unary::Sign,
        Unary::Sin,
        Unary::Softplus,
        Unary::Sqrt,
        Unary::Tanh,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Unary::Abs => "Abs",
            Unary::Ceil => "Ceil",
            Unary::Cos => "Cos",
            Unary::Erf => "Erf",
            Unary::Exp => "Exp",
            Unary::Floor => "Floor",
            Unary::Log => "Log",
            Unary::Neg => "Neg",
            Unary::Not => "Not",
            Unary::Reciprocal => "Reciprocal",
            Unary::Round => "Round",
            Unary::Sign => "Sign",
            Unary::Sin => "Sin",
            Unary::Softplus => "Softplus",
            Unary::Sqrt => "Sqrt",
            Unary::Tanh => "Tanh",
        }
    }
}

impl Comparison {
    pub const ALL: [Comparison; 5] = [
        Comparison::Equal,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Comparison::Equal => "Equal",
            Comparison::Less => "Less",
            Comparison::LessOrEqual => "LessOrEqual",
            Comparison::Greater => "Greater",
            Comparison::GreaterOrEqual => "GreaterOrEqual",
        }
    }
}

impl Logic {
    pub const fn name(self) -> &'static str {
        match self {
            Logic::And => "And",
            Logic::Or => "Or",
            Logic::Xor => "Xor",
        }
    }
}

impl Reduction {
    pub const ALL: [Reduction; 6] = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::Prod,
        Reduction::L2,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Reduction::Mean => "ReduceMean",
            Reduction::Sum => "ReduceSum",
            Reduction::Max => "ReduceMax",
            Reduction::Min => "ReduceMin",
            Reduction::Prod => "ReduceProd",
            Reduction::L2 => "ReduceL2",
        }
    }
}

/// One axis of a slice, as ONNX defines it (negative counts from the end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub axis: i64,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Cut {
    /// First index, number of indices and step on an axis of length `n`.
    ///
    /// Out-of-range bounds are clamped, as in ONNX; a negative step runs backwards.
    pub fn resolve(&self, n: usize) -> (usize, usize, i64) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let absolute = |index: i64| if index < 0 { index.saturating_add(n) } else { index };
        let (start, end) = (absolute(self.start), absolute(self.end));
        let (start, span) = if self.step > 0 {
            let start = start.clamp(0, n);
            (start, end.clamp(0, n) - start)
        } else {
            let start = start.clamp(-1, n - 1);
            (start, start - end.clamp(-1, n - 1))
        };
        let step = self.step.unsigned_abs().max(1);
        let count = u64::try_from(span).unwrap_or(0).div_ceil(step);
        (usize::try_from(start).unwrap_or(0), usize::try_from(count).unwrap_or(0), self.step)
    }
}

/// A possibly negative axis of a tensor of this rank as an index; `None` when out of range.
pub(super) fn axis_index(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let index = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&index).then_some(index as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_follow_the_onnx_rules() {
        for (start, end, step, n, expected) in [
            (0, i64::MAX, 2, 7, (0, 4)),
            (1, -1, 1, 5, (1, 3)),
            (-3, i64::MAX, 1, 5, (2, 3)),
            (10, 20, 1, 5, (5, 0)),
            (-1, i64::MIN, -1, 4, (3, 4)),
            (i64::MAX, 0, -2, 6, (5, 3)),
            (3, 1, 1, 5, (3, 0)),
        ] {
            let cut = Cut { axis: 0, start, end, step };
            let (first, count, _) = cut.resolve(n);
            assert_eq!((first, count), expected, "{cut:?} of {n}");
        }
    }

    #[test]
    fn rounding_stays_on_the_grid_and_breaks_ties_to_even() {
        let grid = Grid { scale: 0.5, zero_point: 2, low: 0, high: 7 };
        for (x, expected) in
            [(0.0, 0.0), (0.25, 0.0), (0.75, 1.0), (-9.0, -1.0), (9.0, 2.5), (1.3, 1.5)]
        {
            assert_eq!(grid.round(x), expected, "{x}");
        }
    }
}

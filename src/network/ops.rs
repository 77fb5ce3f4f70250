//! The operations a network is made of, with their attributes resolved and typed.

use super::{
    array::{Array, ElementType},
    attributes::{
        Border, Comparison, Coordinates, Cut, Grid, Interpolation, Logic, Reduction, ResizedLength,
        Unary, Window,
    },
};

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
    /// Inputs: x, indices `[..., k]` into its first `k` axes.
    GatherNd,
    /// Inputs: x, indices into `axis` of the shape of the output.
    GatherElements {
        axis: i64,
    },
    /// Running sums along an axis.
    CumSum {
        axis: i64,
    },
    /// Products of tensors, summed over the letters that the output does not have: `bij,bjk->bik`.
    Einsum {
        equation: String,
    },
    /// Inputs: x, indices `[..., k]` into its first `k` axes, what is put there.
    ScatterNd,
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
    /// Codes of the levels nearest to the numbers, as i64. Inputs: x, scale, optional zero point:
    /// one for all, or one an index of `axis`.
    Quantize {
        axis: i64,
        /// The smallest and the largest code.
        low: i64,
        high: i64,
    },
    /// The levels that codes stand for. Inputs: codes, scale, optional zero point: one for all,
    /// one an index of `axis`, or one for each `block` indices of it.
    Dequantize {
        axis: i64,
        /// 0 where there are no blocks.
        block: usize,
    },
    /// Rounds to a grid and back: what quantization inserts.
    FakeQuantize(Grid),
    /// Rounds to the grid that covers the tensor's own values, 0 among them, with `2^bits` levels,
    /// and back: what quantization inserts where ranges are known at run time only.
    DynamicQuantize {
        /// 1 to 8.
        bits: u8,
        /// Each row of the last axis by itself.
        per_row: bool,
    },
    /// `scale` where a number is 0 or more, `-scale` where it is less: one bit of a signed
    /// tensor.
    Binarize {
        /// Above 0.
        scale: f32,
    },
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
            Op::GatherNd => "GatherND",
            Op::GatherElements { .. } => "GatherElements",
            Op::CumSum { .. } => "CumSum",
            Op::Einsum { .. } => "Einsum",
            Op::ScatterNd => "ScatterND",
            Op::Squeeze { .. } => "Squeeze",
            Op::Unsqueeze { .. } => "Unsqueeze",
            Op::Reduce { kind, .. } => kind.name(),
            Op::Cast { .. } => "Cast",
            Op::Sigmoid => "Sigmoid",
            Op::HardSigmoid { .. } => "HardSigmoid",
            Op::HardSwish => "HardSwish",
            Op::LeakyRelu { .. } => "LeakyRelu",
            Op::Quantize { .. } => "QuantizeLinear",
            Op::Dequantize { .. } => "DequantizeLinear",
            Op::FakeQuantize(_) => "FakeQuantize",
            Op::DynamicQuantize { .. } => "DynamicQuantize",
            Op::Binarize { .. } => "Binarize",
        }
    }

    /// Whether quantization inserted it: it stands in no ONNX file.
    pub fn rounds(&self) -> bool {
        matches!(self, Op::FakeQuantize(_) | Op::DynamicQuantize { .. } | Op::Binarize { .. })
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
                | Op::GatherNd
                | Op::GatherElements { .. }
                | Op::CumSum { .. }
                | Op::Squeeze { .. }
                | Op::Unsqueeze { .. }
                | Op::Reduce { .. }
                | Op::Cast { .. }
                | Op::LeakyRelu { .. }
                | Op::Elu { .. }
                | Op::Gelu { .. }
                | Op::DynamicQuantize { .. }
        )
    }
}

/// A possibly negative axis of a tensor of this rank as an index; `None` when out of range.
pub(super) fn axis_index(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let index = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&index).then_some(index as usize)
}

//! One operation on tensors, by libtorch. Grouped as in the ONNX reader.

mod arithmetic;
mod normalization;
mod pointwise;
mod quantization;
mod resize;
mod views;
mod windows;

use tch::{TchError, Tensor};

use crate::network::ops::Op;

/// Inputs of a node in ONNX order, absent ones as `None`.
pub(super) type Inputs<'a> = [Option<&'a Tensor>];

/// Computes one operation; never changes its inputs.
pub(super) fn apply(op: &Op, inputs: &Inputs<'_>) -> Result<Tensor, TchError> {
    let x = read(inputs, 0)?;
    match op {
        Op::Conv { window, groups } => {
            windows::conv(x, read(inputs, 1)?, inputs.get(2).copied().flatten(), window, *groups)
        }
        Op::ConvTranspose { window, groups, output_padding } => {
            let (weight, bias) = (read(inputs, 1)?, inputs.get(2).copied().flatten());
            windows::conv_transpose(x, weight, bias, window, *groups, *output_padding)
        }
        Op::MaxPool { window, ceil } => windows::max_pool(x, window, *ceil),
        Op::AveragePool { window, ceil, count_padding } => {
            windows::average_pool(x, window, *ceil, *count_padding)
        }
        Op::GlobalAveragePool => windows::global_average_pool(x),
        Op::Pad { before, after, value } => windows::pad(x, before, after, *value),
        Op::PadBorder { border, before, after } => windows::pad_border(x, *border, before, after),
        Op::Resize { interpolation, coordinates, lengths } => {
            resize::resize(x, *interpolation, *coordinates, lengths)
        }
        Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::GroupNorm { .. } => {
            normalization::apply(op, x, inputs)
        }
        Op::Einsum { equation } => {
            let operands: Result<Vec<&Tensor>, TchError> =
                (0..inputs.len()).map(|position| read(inputs, position)).collect();
            Tensor::f_einsum(equation, &operands?, None::<i64>)
        }
        Op::Gemm { .. } | Op::MatMul | Op::Reduce { .. } | Op::ArgMax { .. } => {
            arithmetic::apply(op, x, inputs)
        }
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Pow
        | Op::Min
        | Op::Max
        | Op::Mod { .. }
        | Op::Logic(_)
        | Op::PRelu => arithmetic::binary(op, x, read(inputs, 1)?),
        Op::Compare(comparison) => arithmetic::compare(*comparison, x, read(inputs, 1)?),
        Op::Where => read(inputs, 1)?.f_where_self(x, read(inputs, 2)?),
        Op::Relu
        | Op::Clip { .. }
        | Op::Unary(_)
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Elu { .. }
        | Op::Gelu { .. }
        | Op::Sigmoid
        | Op::HardSigmoid { .. }
        | Op::HardSwish
        | Op::LeakyRelu { .. }
        | Op::FakeQuantize(_)
        | Op::DynamicQuantize { .. }
        | Op::Binarize { .. } => pointwise::apply(op, x),
        Op::Quantize { .. } | Op::Dequantize { .. } => quantization::apply(op, x, inputs),
        Op::Cast { .. }
        | Op::Identity
        | Op::Flatten { .. }
        | Op::Reshape { .. }
        | Op::Expand
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::ComputedSlice
        | Op::Tile
        | Op::Range
        | Op::Shape { .. }
        | Op::ConstantOfShape { .. }
        | Op::Gather { .. }
        | Op::GatherNd
        | Op::GatherElements { .. }
        | Op::CumSum { .. }
        | Op::ScatterNd
        | Op::Squeeze { .. }
        | Op::Unsqueeze { .. } => views::apply(op, x, inputs),
    }
}

fn read<'a>(inputs: &Inputs<'a>, position: usize) -> Result<&'a Tensor, TchError> {
    let tensor = inputs.get(position).copied().flatten();
    tensor.ok_or_else(|| refuse(format!("input {position} is missing")))
}

/// An error of the same type as libtorch's own.
pub(super) fn refuse(reason: impl Into<String>) -> TchError {
    TchError::Torch(reason.into())
}

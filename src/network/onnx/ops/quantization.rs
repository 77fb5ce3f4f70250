//! Numbers and codes: what files hold that were quantized already, by us or by others.
//!
//! Codes are whole numbers here, whatever type a file keeps them in; a pass over the whole graph
//! ([`merge`](super::super::merge)) makes one rounding of a change to codes and back.

use super::{Lower, windows};
use crate::network::{
    array::{Array, ElementType},
    attributes::{Comparison, Reduction, Unary},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
        tensor,
    },
    ops::Op,
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("QuantizeLinear", quantize),
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", quantize_dynamically),
    ("QLinearConv", conv_of_codes),
    ("QLinearMatMul", product_of_codes),
    ("ConvInteger", conv_integer),
    ("MatMulInteger", matmul_integer),
    ("com.microsoft.QuantizeLinear", quantize),
    ("com.microsoft.DequantizeLinear", dequantize),
    ("com.microsoft.QLinearAdd", |node| sum_of_codes(node, Op::Add)),
    ("com.microsoft.QLinearMul", |node| sum_of_codes(node, Op::Mul)),
    ("com.microsoft.QLinearGlobalAveragePool", pool_of_codes),
    ("com.microsoft.QGemm", gemm_of_codes),
    ("qonnx.custom_op.general.Quant", quant),
    ("onnx.brevitas.Quant", quant),
    ("finn.custom_op.general.Quant", quant),
    ("qonnx.custom_op.general.BipolarQuant", bipolar),
    ("onnx.brevitas.BipolarQuant", bipolar),
    ("finn.custom_op.general.BipolarQuant", bipolar),
];

/// The axis of scales where none is given.
const CHANNELS: i64 = 1;

fn quantize(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 3)?;
    let axis = node.int_or("axis", CHANNELS)?;
    if node.int_or("block_size", 0)? != 0 {
        return Err(node.unsupported("a block size", "scales of whole tensors and channels are"));
    }
    let (low, high) = code_range(node, 2)?;
    Ok(Lowered::one(Op::Quantize { axis, low, high }, inputs))
}

/// The codes that the type of a zero point holds; without one, those of `output_dtype` or a byte.
fn code_range(node: &NodeReader<'_>, zero_point: usize) -> Result<(i64, i64), NetworkError> {
    let named = match node.int_or("output_dtype", 0)? {
        0 => None,
        other => Some(i32::try_from(other).unwrap_or(0)),
    };
    let Some(data_type) = node.data_type(zero_point).or(named) else { return Ok((0, 255)) };
    tensor::code_range(data_type).ok_or_else(|| {
        let name = tensor::type_name(data_type);
        node.unsupported(format!("data type {name} of codes"), "whole numbers of 2 to 32 bits are")
    })
}

fn dequantize(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 3)?;
    let axis = node.int_or("axis", CHANNELS)?;
    let block = usize::try_from(node.int_or("block_size", 0)?)
        .map_err(|_| node.wrong("block_size", "negative", "0 or more"))?;
    if node.required_fact(0)?.element != ElementType::I64 {
        return Err(node.invalid("its first input is no codes"));
    }
    Ok(Lowered::one(Op::Dequantize { axis, block }, inputs))
}

fn levels(codes: Source, scale: Source, zero_point: Source, axis: i64) -> (Op, Vec<Source>) {
    (Op::Dequantize { axis, block: 0 }, vec![codes, scale, zero_point])
}

/// The codes that the last step's numbers get, as the last step.
fn coded(
    node: &NodeReader<'_>,
    mut steps: Vec<(Op, Vec<Source>)>,
    scale: usize,
) -> Result<Lowered, NetworkError> {
    let (low, high) = code_range(node, scale + 1)?;
    let numbers = Source::Step(steps.len() - 1);
    let inputs = vec![numbers, node.source(scale), node.source(scale + 1)];
    steps.push((Op::Quantize { axis: CHANNELS, low, high }, inputs));
    Ok(Lowered::chain(steps))
}

/// Inputs: x, its scale and zero point, weight, its scale and zero point, the output's, bias.
fn conv_of_codes(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(8, 9)?;
    let mut steps = vec![
        levels(node.source(0), node.source(1), node.source(2), CHANNELS),
        levels(node.source(3), node.source(4), node.source(5), 0),
    ];
    let mut inputs = vec![Source::Step(0), Source::Step(1)];
    if node.fact(8).is_some() {
        inputs.push(Source::Step(2));
        steps.push(bias_levels(node, 8, 1, 4)?);
    }
    let conv = windows::conv_op(node, 3)?;
    steps.push((conv, inputs));
    coded(node, steps, 6)
}

/// A bias has the scale of the products it is added to.
fn bias_levels(
    node: &NodeReader<'_>,
    bias: usize,
    x_scale: usize,
    weight_scale: usize,
) -> Result<(Op, Vec<Source>), NetworkError> {
    let missing = || node.invalid("its scales need to be numbers that the file gives");
    let numbers = |position| Ok(node.constant(position)?.and_then(Array::as_f32));
    let x_scale = numbers(x_scale)?.and_then(|scale| scale.first()).ok_or_else(missing)?;
    let scales = numbers(weight_scale)?.ok_or_else(missing)?;
    let scales: Vec<f32> = scales.iter().map(|scale| scale * x_scale).collect();
    let scale = Source::Constant(Array::f32(vec![scales.len()], scales));
    Ok(levels(node.source(bias), scale, Source::Absent, 0))
}

/// Inputs: a, its scale and zero point, b, its scale and zero point, the output's.
fn product_of_codes(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(8, 8)?;
    let last = |position| Ok(node.rank(position)? as i64 - 1);
    let steps = vec![
        levels(node.source(0), node.source(1), node.source(2), last(0)? - 1),
        levels(node.source(3), node.source(4), node.source(5), last(3)?),
        (Op::MatMul, vec![Source::Step(0), Source::Step(1)]),
    ];
    coded(node, steps, 6)
}

/// Inputs: a, its scale and zero point, b, its scale and zero point, the output's.
fn sum_of_codes(node: &NodeReader<'_>, op: Op) -> Result<Lowered, NetworkError> {
    node.take(7, 8)?;
    let steps = vec![
        levels(node.source(0), node.source(1), node.source(2), CHANNELS),
        levels(node.source(3), node.source(4), node.source(5), CHANNELS),
        (op, vec![Source::Step(0), Source::Step(1)]),
    ];
    coded(node, steps, 6)
}

/// Inputs: x, its scale and zero point, the output's.
fn pool_of_codes(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(4, 5)?;
    if node.flag("channels_last", false)? {
        return Err(node.unsupported("channels_last", "channels come first here"));
    }
    let steps = vec![
        levels(node.source(0), node.source(1), node.source(2), CHANNELS),
        (Op::GlobalAveragePool, vec![Source::Step(0)]),
    ];
    coded(node, steps, 3)
}

/// Inputs: a, its scale and zero point, b, its scale and zero point, bias, the output's.
fn gemm_of_codes(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(6, 9)?;
    let transpose_b = node.flag("transB", false)?;
    let op = Op::Gemm {
        alpha: node.float_or("alpha", 1.0)?,
        beta: 1.0,
        transpose_a: node.flag("transA", false)?,
        transpose_b,
    };
    let mut steps = vec![
        levels(node.source(0), node.source(1), node.source(2), CHANNELS),
        levels(node.source(3), node.source(4), node.source(5), i64::from(!transpose_b)),
    ];
    let mut inputs = vec![Source::Step(0), Source::Step(1)];
    if node.fact(6).is_some() {
        inputs.push(Source::Step(2));
        steps.push(bias_levels(node, 6, 1, 4)?);
    }
    steps.push((op, inputs));
    if node.fact(7).is_none() { Ok(Lowered::chain(steps)) } else { coded(node, steps, 7) }
}

/// One number each: the codes of 8 bits that cover the tensor's own range, scale, zero point.
fn quantize_dynamically(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?.remove(0);
    let reduce = |kind| Op::Reduce { kind, axes: vec![], keep: false };
    let number = |number: f32| Source::Constant(Array::f32(vec![], [number]));
    let codes = 255.0;
    let steps = vec![
        (reduce(Reduction::Min), vec![x.clone()]),
        (reduce(Reduction::Max), vec![x.clone()]),
        (Op::Clip { low: f32::NEG_INFINITY, high: 0.0 }, vec![Source::Step(0)]),
        (Op::Clip { low: 0.0, high: f32::INFINITY }, vec![Source::Step(1)]),
        (Op::Sub, vec![Source::Step(3), Source::Step(2)]),
        (Op::Div, vec![Source::Step(4), number(codes)]),
        (Op::Div, vec![Source::Step(2), Source::Step(5)]),
        (Op::Sub, vec![number(0.0), Source::Step(6)]),
        (Op::Unary(Unary::Round), vec![Source::Step(7)]),
        (Op::Clip { low: 0.0, high: codes }, vec![Source::Step(8)]),
        (Op::Cast { to: ElementType::I64 }, vec![Source::Step(9)]),
        (
            Op::Quantize { axis: CHANNELS, low: 0, high: 255 },
            vec![x, Source::Step(5), Source::Step(10)],
        ),
    ];
    let outputs = vec![Source::Step(11), Source::Step(5), Source::Step(10)];
    Ok(Lowered { steps, outputs })
}

/// A tensor of codes without its zero point, as floats.
fn centred(node: &NodeReader<'_>, codes: usize, zero_point: usize, axis: i64) -> (Op, Vec<Source>) {
    let one = Source::Constant(Array::f32(vec![], [1.0]));
    levels(node.source(codes), one, node.source(zero_point), axis)
}

fn conv_integer(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(2, 4)?;
    Ok(Lowered::chain(vec![
        centred(node, 0, 2, CHANNELS),
        centred(node, 1, 3, 0),
        (windows::conv_op(node, 1)?, vec![Source::Step(0), Source::Step(1)]),
        (Op::Cast { to: ElementType::I64 }, vec![Source::Step(2)]),
    ]))
}

fn matmul_integer(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(2, 4)?;
    let last = |position| Ok(node.rank(position)? as i64 - 1);
    Ok(Lowered::chain(vec![
        centred(node, 0, 2, last(0)? - 1),
        centred(node, 1, 3, last(1)?),
        (Op::MatMul, vec![Source::Step(0), Source::Step(1)]),
        (Op::Cast { to: ElementType::I64 }, vec![Source::Step(2)]),
    ]))
}

/// QONNX: rounding to so many bits and back. Inputs: x, scale, zero point, bits.
fn quant(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(4, 4)?;
    let mode = node.text("rounding_mode")?.unwrap_or_else(|| "ROUND".into());
    if !mode.eq_ignore_ascii_case("ROUND") && !mode.eq_ignore_ascii_case("HALF_EVEN") {
        return Err(node.unsupported(format!("rounding mode {mode}"), "ROUND is"));
    }
    let bits = node.constant_float(3)?.filter(|bits| (1.0..=32.0).contains(bits));
    let bits = bits.ok_or_else(|| node.invalid("its bits need to be one number of 1 to 32"))?;
    let (is_signed, is_narrow) = (node.flag("signed", true)?, node.flag("narrow", false)?);
    let levels = bits.exp2() as i64;
    let (low, high) = match is_signed {
        true => (i64::from(is_narrow) - levels / 2, levels / 2 - 1),
        false => (0, levels - 1 - i64::from(is_narrow)),
    };
    let axis = single_axis(node, 1)?;
    let flat = |position: usize| -> Result<Source, NetworkError> {
        let array = node.constant(position)?.and_then(Array::as_f32);
        let numbers = array.ok_or_else(|| node.invalid("its scales need to be given numbers"))?;
        let shape = if numbers.len() == 1 { vec![] } else { vec![numbers.len()] };
        Ok(Source::Constant(Array::f32(shape, numbers)))
    };
    let (scale, zero_point) = (flat(1)?, whole_zero_point(node, 2, node.constant(1)?)?);
    let x = inputs.into_iter().next().unwrap_or(Source::Absent);
    Ok(Lowered::chain(vec![
        (Op::Quantize { axis, low, high }, vec![x, scale.clone(), zero_point.clone()]),
        (Op::Dequantize { axis, block: 0 }, vec![Source::Step(0), scale, zero_point]),
    ]))
}

/// A zero point of floats as whole numbers, one a scale.
fn whole_zero_point(
    node: &NodeReader<'_>,
    position: usize,
    scale: Option<&Array>,
) -> Result<Source, NetworkError> {
    let numbers = node.constant(position)?.and_then(Array::as_f32).unwrap_or(&[0.0]);
    if numbers.iter().any(|number| number.fract() != 0.0) {
        return Err(node.unsupported("a zero point between whole numbers", "whole ones are"));
    }
    let n_scales = scale.map_or(1, Array::len);
    let whole: Vec<i64> = match numbers {
        [one] => vec![*one as i64; n_scales],
        many => many.iter().map(|number| *number as i64).collect(),
    };
    let shape = if whole.len() == 1 { vec![] } else { vec![whole.len()] };
    Ok(Source::Constant(Array::i64(shape, whole)))
}

/// The one axis along which a broadcast scale varies.
fn single_axis(node: &NodeReader<'_>, position: usize) -> Result<i64, NetworkError> {
    let Some(scale) = node.constant(position)? else { return Ok(CHANNELS) };
    let rank = node.rank(0)?;
    let long: Vec<usize> =
        (0..scale.shape().len()).filter(|&axis| scale.shape()[axis] > 1).collect();
    match long[..] {
        [] => Ok(CHANNELS),
        [axis] => Ok((axis + rank - scale.shape().len().min(rank)) as i64),
        _ => Err(node.unsupported("scales along several axes", "scales of one axis are")),
    }
}

/// QONNX: the scale where a number is 0 or more, its negative elsewhere.
fn bipolar(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(2, 2)?.swap_remove(0);
    let is_computed = node.required_fact(0)?.array().is_none();
    match node.constant_float(1) {
        Ok(Some(scale)) if scale > 0.0 && is_computed => {
            Ok(Lowered::one(Op::Binarize { scale }, vec![x]))
        }
        // A scale a channel: codes -1 and 1 first.
        _ => {
            let axis = single_axis(node, 1)?;
            let scale = node.constant(1)?.and_then(Array::as_f32);
            let scale = scale.ok_or_else(|| node.invalid("its scales need to be given numbers"))?;
            let scale = Source::Constant(Array::f32(vec![scale.len()], scale));
            let zero = Source::Constant(Array::f32(vec![], [0.0]));
            let whole = |number: i64| Source::Constant(Array::i64(vec![], [number]));
            Ok(Lowered::chain(vec![
                (Op::Compare(Comparison::GreaterOrEqual), vec![x, zero]),
                (Op::Cast { to: ElementType::I64 }, vec![Source::Step(0)]),
                (Op::Mul, vec![Source::Step(1), whole(2)]),
                (Op::Sub, vec![Source::Step(2), whole(1)]),
                levels(Source::Step(3), scale, Source::Absent, axis),
            ]))
        }
    }
}

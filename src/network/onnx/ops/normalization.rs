//! Normalization layers.

use super::Lower;
use crate::network::{
    array::Array,
    attributes::{Reduction, Unary, Window},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::{Op, axis_index},
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("BatchNormalization", batch_norm),
    ("LayerNormalization", layer_norm),
    ("InstanceNormalization", |node| group_norm(node, 0)),
    ("GroupNormalization", |node| {
        let groups = node.int_or("num_groups", 0)?;
        let groups = usize::try_from(groups).ok().filter(|groups| *groups > 0);
        group_norm(node, groups.ok_or_else(|| node.wrong("num_groups", "not given", "above 0"))?)
    }),
    ("RMSNormalization", rms_norm),
    ("SimplifiedLayerNormalization", rms_norm),
    ("LpNormalization", lp_norm),
    ("LRN", local_response_norm),
];

/// By the root of the mean square over all axes from `axis` on. Inputs: x, scale.
fn rms_norm(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 2)?;
    let (x, rank) = (node.source(0), node.rank(0)?);
    let axis = node.int_or("axis", -1)?;
    let first = axis_index(axis, rank).ok_or_else(|| node.wrong("axis", axis, "one of x"))?;
    let epsilon = node.float_or("epsilon", 1e-5)?;
    let axes = (first..rank).map(|axis| axis as i64).collect();
    let step = Source::Step;
    Ok(Lowered::chain(vec![
        (Op::Mul, vec![x.clone(), x.clone()]),
        (Op::Reduce { kind: Reduction::Mean, axes, keep: true }, vec![step(0)]),
        (Op::Add, vec![step(1), Source::Constant(Array::f32(vec![], [epsilon]))]),
        (Op::Unary(Unary::Sqrt), vec![step(2)]),
        (Op::Div, vec![x, step(3)]),
        (Op::Mul, vec![step(4), inputs[1].clone()]),
    ]))
}

/// By the sum of magnitudes, or the root of the sum of squares.
fn lp_norm(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?.remove(0);
    let axes = vec![node.int_or("axis", -1)?];
    let mut steps = Vec::new();
    let (kind, of) = match node.int_or("p", 2)? {
        1 => {
            steps.push((Op::Unary(Unary::Abs), vec![x.clone()]));
            (Reduction::Sum, Source::Step(0))
        }
        2 => (Reduction::L2, x.clone()),
        other => return Err(node.wrong("p", other, "1 or 2")),
    };
    steps.push((Op::Reduce { kind, axes, keep: true }, vec![of]));
    let norm = Source::Step(steps.len() - 1);
    steps.push((Op::Div, vec![x, norm]));
    Ok(Lowered::chain(steps))
}

fn batch_norm(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(5, 5)?;
    if node.flag("training_mode", false)? {
        return Err(node.unsupported("training mode", "export the network for inference"));
    }
    if !node.flag("spatial", true)? {
        return Err(node.unsupported("spatial=0", "export it with a newer opset"));
    }
    Ok(Lowered::one(Op::BatchNorm { epsilon: node.float_or("epsilon", 1e-5)? }, inputs))
}

fn layer_norm(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let op =
        Op::LayerNorm { axis: node.int_or("axis", -1)?, epsilon: node.float_or("epsilon", 1e-5)? };
    Ok(Lowered::one(op, node.take(2, 3)?))
}

/// Up to opset 20 a group has one scale and one bias; after, each channel has its own.
fn group_norm(node: &NodeReader<'_>, groups: usize) -> Result<Lowered, NetworkError> {
    let inputs = node.take(3, 3)?;
    let op = Op::GroupNorm { groups, epsilon: node.float_or("epsilon", 1e-5)? };
    if groups == 0 || node.opset >= 21 {
        return Ok(Lowered::one(op, inputs));
    }
    let channels = node.known_dim(0, 1)?;
    let per_group = (channels / groups) as i64;
    let mut steps = Vec::new();
    let mut widened = vec![inputs[0].clone()];
    for parameter in &inputs[1..] {
        // `[groups]` to `[groups, channels of a group]` to `[channels]`.
        let list =
            |numbers: &[i64]| Source::Constant(Array::i64(vec![numbers.len()], numbers.to_vec()));
        let column = steps.len();
        steps.push((Op::Unsqueeze { axes: vec![1] }, vec![parameter.clone()]));
        steps.push((Op::Expand, vec![Source::Step(column), list(&[groups as i64, per_group])]));
        let flat = Op::Reshape { allow_zero: false };
        steps.push((flat, vec![Source::Step(column + 1), list(&[-1])]));
        widened.push(Source::Step(column + 2));
    }
    steps.push((op, widened));
    Ok(Lowered::chain(steps))
}

/// `x / (bias + alpha * mean of squares over neighbouring channels)^beta`: the mean is a pooling
/// of maps whose rows are the channels.
fn local_response_norm(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    const SIZES: std::ops::RangeInclusive<i64> = 1..=1 << 16;
    let x = node.take(1, 1)?.swap_remove(0);
    let (size, channels) = (node.int_or("size", 0)?, node.known_dim(0, 1)?);
    if !SIZES.contains(&size) {
        return Err(node.wrong("size", size, "from 1 to 65536"));
    }
    let size = size as usize;
    let window = Window {
        kernel: [size, 1],
        stride: [1, 1],
        padding: [(size - 1) / 2, 0, size / 2, 0],
        dilation: [1, 1],
    };
    let number = |name: &str, default: f32| {
        Ok::<_, NetworkError>(Source::Constant(Array::f32(vec![], [node.float_or(name, default)?])))
    };
    let maps = Source::Constant(Array::i64(vec![4], [0, 1, channels as i64, -1]));
    let pool = Op::AveragePool { window, ceil: false, count_padding: true };
    let reshape = || Op::Reshape { allow_zero: false };
    Ok(Lowered::chain(vec![
        (Op::Shape { start: 0, end: None }, vec![x.clone()]),
        (Op::Mul, vec![x.clone(), x.clone()]),
        (reshape(), vec![Source::Step(1), maps]),
        (pool, vec![Source::Step(2)]),
        (Op::Mul, vec![Source::Step(3), number("alpha", 1e-4)?]),
        (Op::Add, vec![Source::Step(4), number("bias", 1.0)?]),
        (Op::Pow, vec![Source::Step(5), number("beta", 0.75)?]),
        (reshape(), vec![Source::Step(6), Source::Step(0)]),
        (Op::Div, vec![x, Source::Step(7)]),
    ]))
}

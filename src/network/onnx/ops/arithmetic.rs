//! Matrix products, reductions and functions of two tensors.

use super::Lower;
use crate::network::{
    array::Array,
    attributes::{Comparison, Cut, Logic, Reduction, Unary},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::{Op, axis_index},
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Gemm", gemm),
    ("MatMul", |node| Ok(Lowered::one(Op::MatMul, node.take(2, 2)?))),
    ("Add", |node| binary(node, Op::Add)),
    ("Sub", |node| binary(node, Op::Sub)),
    ("Mul", |node| binary(node, Op::Mul)),
    ("Div", |node| binary(node, Op::Div)),
    ("Pow", |node| binary(node, Op::Pow)),
    ("Min", |node| variadic(node, &Op::Min)),
    ("Max", |node| variadic(node, &Op::Max)),
    ("Sum", |node| variadic(node, &Op::Add)),
    ("Mean", mean),
    ("Mod", |node| {
        let truncated = node.flag("fmod", false)?;
        binary(node, Op::Mod { truncated })
    }),
    ("And", |node| binary(node, Op::Logic(Logic::And))),
    ("Or", |node| binary(node, Op::Logic(Logic::Or))),
    ("Xor", |node| binary(node, Op::Logic(Logic::Xor))),
    ("PRelu", prelu),
    ("Equal", |node| binary(node, Op::Compare(Comparison::Equal))),
    ("Less", |node| binary(node, Op::Compare(Comparison::Less))),
    ("LessOrEqual", |node| binary(node, Op::Compare(Comparison::LessOrEqual))),
    ("Greater", |node| binary(node, Op::Compare(Comparison::Greater))),
    ("GreaterOrEqual", |node| binary(node, Op::Compare(Comparison::GreaterOrEqual))),
    ("Where", |node| Ok(Lowered::one(Op::Where, node.take(3, 3)?))),
    ("ReduceMean", |node| reduce(node, Reduction::Mean)),
    ("ReduceSum", |node| reduce(node, Reduction::Sum)),
    ("ReduceMax", |node| reduce(node, Reduction::Max)),
    ("ReduceMin", |node| reduce(node, Reduction::Min)),
    ("ReduceProd", |node| reduce(node, Reduction::Prod)),
    ("ReduceL1", |node| reduce_after(node, Op::Unary(Unary::Abs), Reduction::Sum)),
    ("ReduceL2", |node| reduce(node, Reduction::L2)),
    ("ReduceLogSumExp", |node| {
        let mut lowered = reduce_after(node, Op::Unary(Unary::Exp), Reduction::Sum)?;
        lowered.steps.push((Op::Unary(Unary::Log), vec![Source::Step(1)]));
        Ok(Lowered::chain(lowered.steps))
    }),
    ("ReduceSumSquare", reduce_sum_square),
    ("ArgMax", arg_max),
    ("ArgMin", |node| {
        let mut lowered = arg_max(node)?;
        let (op, x) = lowered.steps.remove(0);
        lowered.steps = vec![(Op::Unary(Unary::Neg), x), (op, vec![Source::Step(0)])];
        Ok(Lowered::chain(lowered.steps))
    }),
    ("CumSum", cum_sum),
    ("Einsum", |node| {
        let equation = node.text("equation")?;
        let equation =
            equation.ok_or_else(|| node.wrong("equation", "not given", "letters and an arrow"))?;
        Ok(Lowered::one(Op::Einsum { equation }, node.sources()))
    }),
];

fn gemm(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 3)?;
    let op = Op::Gemm {
        alpha: node.float_or("alpha", 1.0)?,
        beta: node.float_or("beta", 1.0)?,
        transpose_a: node.flag("transA", false)?,
        transpose_b: node.flag("transB", false)?,
    };
    Ok(Lowered::one(op, inputs))
}

/// Up to opset 6 an attribute says at which axis of the first tensor the second one's begin.
fn binary(node: &NodeReader<'_>, op: Op) -> Result<Lowered, NetworkError> {
    match node.int("axis")? {
        Some(axis) if node.opset < 7 => broadcast_from(node, op, axis),
        _ => Ok(Lowered::one(op, node.take(2, 2)?)),
    }
}

/// Up to opset 6 a slope a channel has no axes but that of the channels.
fn prelu(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let is_of_channels = node.opset < 7 && node.rank(1)? == 1 && node.known_dim(1, 0)? > 1;
    if is_of_channels { broadcast_from(node, Op::PRelu, 1) } else { binary(node, Op::PRelu) }
}

/// The second tensor's axes are the first one's from `axis` on; those behind have length 1.
fn broadcast_from(node: &NodeReader<'_>, op: Op, axis: i64) -> Result<Lowered, NetworkError> {
    let mut inputs = node.take(2, 2)?;
    let (rank, own) = (node.rank(0)?, node.rank(1)?);
    let first = axis_index(axis, rank).filter(|first| first + own <= rank);
    let first = first.ok_or_else(|| node.wrong("axis", axis, "where the second tensor fits"))?;
    if first + own == rank {
        return Ok(Lowered::one(op, inputs));
    }
    let behind = (own..rank - first).map(|axis| axis as i64).collect();
    let second = std::mem::replace(&mut inputs[1], Source::Step(0));
    Ok(Lowered::chain(vec![(Op::Unsqueeze { axes: behind }, vec![second]), (op, inputs)]))
}

/// Any number of inputs, taken two at a time.
fn variadic(node: &NodeReader<'_>, op: &Op) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, usize::MAX)?;
    let mut inputs = inputs.into_iter();
    let first = inputs.next().unwrap_or(Source::Absent);
    let mut steps = Vec::new();
    let mut joined = first;
    for input in inputs {
        steps.push((op.clone(), vec![joined, input]));
        joined = Source::Step(steps.len() - 1);
    }
    Ok(Lowered { steps, outputs: vec![joined] })
}

/// The sum over the number of inputs.
fn mean(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let mut lowered = variadic(node, &Op::Add)?;
    let count = Array::f32(vec![], [node.inputs.len() as f32]);
    let sum = lowered.outputs.swap_remove(0);
    lowered.steps.push((Op::Div, vec![sum, Source::Constant(count)]));
    Ok(Lowered::chain(lowered.steps))
}

/// A reduction of what a function makes of each number.
fn reduce_after(
    node: &NodeReader<'_>,
    function: Op,
    kind: Reduction,
) -> Result<Lowered, NetworkError> {
    let mut lowered = reduce(node, kind)?;
    let Some((_, inputs)) = lowered.steps.first_mut() else {
        return Ok(Lowered::one(function, vec![node.source(0)]));
    };
    inputs[0] = Source::Step(0);
    lowered.steps.insert(0, (function, vec![node.source(0)]));
    Ok(Lowered::chain(lowered.steps))
}

fn reduce_sum_square(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let mut lowered = reduce_after(node, Op::Mul, Reduction::Sum)?;
    // The first step is a product of the input with itself.
    lowered.steps[0].1.push(node.source(0));
    Ok(lowered)
}

/// Sums from the first or from the last number on, that number included or not.
fn cum_sum(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let mut x = node.take(2, 2)?.swap_remove(0);
    let axis = node.constant_ints(1)?.and_then(|axis| axis.first().copied());
    let axis = axis.ok_or_else(|| node.invalid("input 1 needs to be one axis"))?;
    let turned = || {
        let cut = Cut { axis, start: -1, end: i64::MIN, step: -1 };
        Op::Slice { cuts: vec![cut] }
    };
    let is_reverse = node.flag("reverse", false)?;
    let mut steps = Vec::new();
    if is_reverse {
        steps.push((turned(), vec![x]));
        x = Source::Step(0);
    }
    steps.push((Op::CumSum { axis }, vec![x.clone()]));
    if node.flag("exclusive", false)? {
        let sums = Source::Step(steps.len() - 1);
        steps.push((Op::Sub, vec![sums, x]));
    }
    if is_reverse {
        let sums = Source::Step(steps.len() - 1);
        steps.push((turned(), vec![sums]));
    }
    Ok(Lowered::chain(steps))
}

fn arg_max(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    if node.flag("select_last_index", false)? {
        return Err(node.unsupported("select_last_index", "the first index is"));
    }
    let (axis, keep) = (node.int_or("axis", 0)?, node.flag("keepdims", true)?);
    Ok(Lowered::one(Op::ArgMax { axis, keep }, node.take(1, 1)?))
}

fn reduce(node: &NodeReader<'_>, kind: Reduction) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 2)?;
    let axes = node.ints_or_input("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && node.flag("noop_with_empty_axes", false)? {
        return Ok(Lowered::alias(node.source(0)));
    }
    let keep = node.flag("keepdims", true)?;
    Ok(Lowered::one(Op::Reduce { kind, axes, keep }, inputs[..1].to_vec()))
}

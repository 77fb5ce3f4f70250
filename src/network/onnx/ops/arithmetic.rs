//! Matrix products, normalization, reductions and functions of two tensors.

use super::Lower;
use crate::network::{
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::{Comparison, Op, Reduction},
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Gemm", gemm),
    ("MatMul", |node| Ok(Lowered::one(Op::MatMul, node.take(2, 2)?))),
    ("BatchNormalization", batch_norm),
    ("Add", |node| binary(node, Op::Add)),
    ("Sub", |node| binary(node, Op::Sub)),
    ("Mul", |node| binary(node, Op::Mul)),
    ("Div", |node| binary(node, Op::Div)),
    ("Pow", |node| binary(node, Op::Pow)),
    ("Min", |node| variadic(node, &Op::Min)),
    ("Max", |node| variadic(node, &Op::Max)),
    ("Sum", |node| variadic(node, &Op::Add)),
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
    ("ReduceL2", |node| reduce(node, Reduction::L2)),
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

fn binary(node: &NodeReader<'_>, op: Op) -> Result<Lowered, NetworkError> {
    Ok(Lowered::one(op, node.take(2, 2)?))
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

fn reduce(node: &NodeReader<'_>, kind: Reduction) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 2)?;
    let axes = node.ints_or_input("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && node.flag("noop_with_empty_axes", false)? {
        return Ok(Lowered::alias(node.source(0)));
    }
    let keep = node.flag("keepdims", true)?;
    Ok(Lowered::one(Op::Reduce { kind, axes, keep }, inputs[..1].to_vec()))
}

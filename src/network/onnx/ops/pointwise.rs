//! Functions of one tensor, number by number.

use super::Lower;
use crate::network::{
    array::ElementType,
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
        tensor,
    },
    ops::{Op, Unary},
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Relu", |node| unary(node, Op::Relu)),
    ("Clip", clip),
    ("Sigmoid", |node| unary(node, Op::Sigmoid)),
    ("HardSigmoid", |node| {
        let (alpha, beta) = (node.float_or("alpha", 0.2)?, node.float_or("beta", 0.5)?);
        unary(node, Op::HardSigmoid { alpha, beta })
    }),
    ("HardSwish", |node| unary(node, Op::HardSwish)),
    ("LeakyRelu", |node| {
        let alpha = node.float_or("alpha", 0.01)?;
        unary(node, Op::LeakyRelu { alpha })
    }),
    ("Softmax", softmax),
    ("Cast", cast),
    ("Identity", |node| Ok(Lowered::alias(node.take(1, 1)?.remove(0)))),
    ("Dropout", |node| Ok(Lowered::alias(node.take(1, 3)?.remove(0)))),
    ("Abs", |node| unary(node, Op::Unary(Unary::Abs))),
    ("Ceil", |node| unary(node, Op::Unary(Unary::Ceil))),
    ("Cos", |node| unary(node, Op::Unary(Unary::Cos))),
    ("Erf", |node| unary(node, Op::Unary(Unary::Erf))),
    ("Exp", |node| unary(node, Op::Unary(Unary::Exp))),
    ("Floor", |node| unary(node, Op::Unary(Unary::Floor))),
    ("Log", |node| unary(node, Op::Unary(Unary::Log))),
    ("Neg", |node| unary(node, Op::Unary(Unary::Neg))),
    ("Not", |node| unary(node, Op::Unary(Unary::Not))),
    ("Reciprocal", |node| unary(node, Op::Unary(Unary::Reciprocal))),
    ("Round", |node| unary(node, Op::Unary(Unary::Round))),
    ("Sign", |node| unary(node, Op::Unary(Unary::Sign))),
    ("Sin", |node| unary(node, Op::Unary(Unary::Sin))),
    ("Softplus", |node| unary(node, Op::Unary(Unary::Softplus))),
    ("Sqrt", |node| unary(node, Op::Unary(Unary::Sqrt))),
    ("Tanh", |node| unary(node, Op::Unary(Unary::Tanh))),
];

fn unary(node: &NodeReader<'_>, op: Op) -> Result<Lowered, NetworkError> {
    Ok(Lowered::one(op, node.take(1, 1)?))
}

/// Bounds are attributes up to opset 10 and inputs after.
fn clip(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 3)?.swap_remove(0);
    let low = match node.constant_float(1)? {
        Some(low) => low,
        None => node.float_or("min", f32::NEG_INFINITY)?,
    };
    let high = match node.constant_float(2)? {
        Some(high) => high,
        None => node.float_or("max", f32::INFINITY)?,
    };
    if low.is_nan() || high.is_nan() {
        return Err(node.invalid("a bound is not a number"));
    }
    Ok(Lowered::one(Op::Clip { low, high }, vec![x]))
}

/// Up to opset 12 a softmax runs over all axes from `axis` on.
fn softmax(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?;
    let axis = node.int_or("axis", if node.opset < 13 { 1 } else { -1 })?;
    let rank = node.rank(0)?;
    let is_last = axis == -1 || usize::try_from(axis + 1) == Ok(rank);
    if node.opset >= 13 || is_last {
        return Ok(Lowered::one(Op::Softmax { axis }, x));
    }
    let shape = (Op::Shape { start: 0, end: None }, x.clone());
    let flat = (Op::Flatten { axis }, x);
    let softmax = (Op::Softmax { axis: 1 }, vec![Source::Step(1)]);
    let back = (Op::Reshape { allow_zero: false }, vec![Source::Step(2), Source::Step(0)]);
    Ok(Lowered::chain(vec![shape, flat, softmax, back]))
}

fn cast(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let mut x = node.take(1, 1)?;
    let to = node.int("to")?.ok_or_else(|| node.wrong("to", "not given", "a data type"))?;
    let to = i32::try_from(to).unwrap_or(0);
    let element = tensor::element_of(to).ok_or_else(|| {
        node.unsupported(format!("data type {}", tensor::type_name(to)), "floats and integers are")
    })?;
    let from = node.required_fact(0)?.element;
    if from == element {
        return Ok(Lowered::alias(x.remove(0)));
    }
    debug_assert!(matches!(element, ElementType::F32 | ElementType::I64 | ElementType::Bool));
    Ok(Lowered::one(Op::Cast { to: element }, x))
}

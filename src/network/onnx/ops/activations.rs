//! Activation functions that are more than one row of a table, most of them made of others.

use super::Lower;
use crate::network::{
    array::{Array, ElementType},
    attributes::{Comparison, Unary},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::Op,
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Clip", clip),
    ("Softmax", |node| softmax(node, |axis| Op::Softmax { axis })),
    ("LogSoftmax", |node| softmax(node, |axis| Op::LogSoftmax { axis })),
    ("Elu", |node| {
        let alpha = node.float_or("alpha", 1.0)?;
        Ok(Lowered::one(Op::Elu { alpha }, node.take(1, 1)?))
    }),
    ("Selu", selu),
    ("Celu", celu),
    ("Gelu", gelu),
    ("Mish", mish),
    ("Softsign", softsign),
    ("Swish", swish),
    ("Shrink", shrink),
];

fn number(number: f32) -> Source {
    Source::Constant(Array::f32(vec![], [number]))
}

/// Bounds are attributes up to opset 10 and inputs after.
fn clip(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let mut inputs = node.take(1, 3)?;
    if node.required_fact(0)?.element == ElementType::I64 {
        return Ok(clip_whole_numbers(inputs));
    }
    let x = inputs.swap_remove(0);
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

/// `min(max(x, low), high)` as two operations, either of which may be absent.
fn clip_whole_numbers(inputs: Vec<Source>) -> Lowered {
    let mut inputs = inputs.into_iter();
    let mut output = inputs.next().unwrap_or(Source::Absent);
    let mut steps = Vec::new();
    for (op, bound) in [Op::Max, Op::Min].into_iter().zip(inputs) {
        if !matches!(bound, Source::Absent) {
            steps.push((op, vec![output, bound]));
            output = Source::Step(steps.len() - 1);
        }
    }
    Lowered { steps, outputs: vec![output] }
}

/// Up to opset 12 a softmax runs over all axes from `axis` on.
fn softmax(node: &NodeReader<'_>, make: fn(i64) -> Op) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?;
    let axis = node.int_or("axis", if node.opset < 13 { 1 } else { -1 })?;
    let rank = node.rank(0)?;
    let is_last = axis == -1 || axis.checked_add(1) == i64::try_from(rank).ok();
    if node.opset >= 13 || is_last {
        return Ok(Lowered::one(make(axis), x));
    }
    let shape = (Op::Shape { start: 0, end: None }, x.clone());
    let flat = (Op::Flatten { axis }, x);
    let softmax = (make(1), vec![Source::Step(1)]);
    let back = (Op::Reshape { allow_zero: false }, vec![Source::Step(2), Source::Step(0)]);
    Ok(Lowered::chain(vec![shape, flat, softmax, back]))
}

fn selu(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    // The defaults are ONNX's, from Klambauer et al. 2017.
    let alpha = node.float_or("alpha", 1.673_263_2)?;
    let gamma = node.float_or("gamma", 1.050_701)?;
    Ok(Lowered::chain(vec![
        (Op::Elu { alpha }, node.take(1, 1)?),
        (Op::Mul, vec![Source::Step(0), number(gamma)]),
    ]))
}

/// `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`, which is an ELU of `x / alpha`, scaled
/// where it is above 0 as well.
fn celu(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let alpha = node.float_or("alpha", 1.0)?;
    let mut x = node.take(1, 1)?;
    Ok(Lowered::chain(vec![
        (Op::Div, vec![x.remove(0), number(alpha)]),
        (Op::Elu { alpha: 1.0 }, vec![Source::Step(0)]),
        (Op::Mul, vec![Source::Step(1), number(alpha)]),
    ]))
}

/// `x + bias` below `-lambd`, `x - bias` above `lambd`, 0 between.
fn shrink(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let (lambd, bias) = (node.float_or("lambd", 0.5)?, node.float_or("bias", 0.0)?);
    let x = node.take(1, 1)?.swap_remove(0);
    let with = |op: Op, value: f32| (op, vec![x.clone(), number(value)]);
    let step = Source::Step;
    Ok(Lowered::chain(vec![
        with(Op::Compare(Comparison::Less), -lambd),
        with(Op::Add, bias),
        with(Op::Compare(Comparison::Greater), lambd),
        with(Op::Sub, bias),
        (Op::Where, vec![step(2), step(3), number(0.0)]),
        (Op::Where, vec![step(0), step(1), step(4)]),
    ]))
}

fn gelu(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let approximation = node.text("approximate")?.unwrap_or_else(|| "none".into());
    let tanh = match approximation.as_str() {
        "none" => false,
        "tanh" => true,
        other => return Err(node.wrong("approximate", other, "none or tanh")),
    };
    Ok(Lowered::one(Op::Gelu { tanh }, node.take(1, 1)?))
}

fn mish(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?;
    Ok(Lowered::chain(vec![
        (Op::Unary(Unary::Softplus), x.clone()),
        (Op::Unary(Unary::Tanh), vec![Source::Step(0)]),
        (Op::Mul, vec![x[0].clone(), Source::Step(1)]),
    ]))
}

fn softsign(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?;
    Ok(Lowered::chain(vec![
        (Op::Unary(Unary::Abs), x.clone()),
        (Op::Add, vec![Source::Step(0), number(1.0)]),
        (Op::Div, vec![x[0].clone(), Source::Step(1)]),
    ]))
}

fn swish(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?;
    let alpha = node.float_or("alpha", 1.0)?;
    Ok(Lowered::chain(vec![
        (Op::Mul, vec![x[0].clone(), number(alpha)]),
        (Op::Sigmoid, vec![Source::Step(0)]),
        (Op::Mul, vec![x[0].clone(), Source::Step(1)]),
    ]))
}

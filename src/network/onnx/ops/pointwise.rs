//! Functions of one tensor, number by number.

use super::Lower;
use crate::network::{
    array::Array,
    attributes::{Comparison, Unary},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
        tensor,
    },
    ops::Op,
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Relu", |node| unary(node, Op::Relu)),
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
    ("Cast", cast),
    ("Identity", |node| Ok(Lowered::alias(node.take(1, 1)?.remove(0)))),
    ("CastLike", |node| {
        let mut x = node.take(2, 2)?;
        let (from, to) = (node.required_fact(0)?.element, node.required_fact(1)?.element);
        let x = x.swap_remove(0);
        Ok(if from == to { Lowered::alias(x) } else { Lowered::one(Op::Cast { to }, vec![x]) })
    }),
    ("Dropout", |node| Ok(Lowered::alias(node.take(1, 3)?.remove(0)))),
    ("Abs", |node| unary(node, Op::Unary(Unary::Abs))),
    ("Ceil", |node| unary(node, Op::Unary(Unary::Ceil))),
    ("Cos", |node| unary(node, Op::Unary(Unary::Cos))),
    ("Erf", |node| unary(node, Op::Unary(Unary::Erf))),
    ("Exp", |node| unary(node, Op::Unary(Unary::Exp))),
    ("Floor", |node| unary(node, Op::Unary(Unary::Floor))),
    ("IsNaN", |node| {
        // What is none is not even equal to itself.
        let x = node.take(1, 1)?.remove(0);
        Ok(Lowered::chain(vec![
            (Op::Compare(Comparison::Equal), vec![x.clone(), x]),
            (Op::Unary(Unary::Not), vec![Source::Step(0)]),
        ]))
    }),
    ("IsInf", is_infinite),
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

/// Either sign, or one of them.
fn is_infinite(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 1)?;
    let signs = (node.flag("detect_negative", true)?, node.flag("detect_positive", true)?);
    let number = |number: f32| Source::Constant(Array::f32(vec![], [number]));
    let equals = |x: Source, to: f32| (Op::Compare(Comparison::Equal), vec![x, number(to)]);
    let source = node.source(0);
    Ok(match signs {
        (true, true) => {
            Lowered::chain(vec![(Op::Unary(Unary::Abs), x), equals(Source::Step(0), f32::INFINITY)])
        }
        (true, false) => Lowered::chain(vec![equals(source, f32::NEG_INFINITY)]),
        (false, true) => Lowered::chain(vec![equals(source, f32::INFINITY)]),
        // No number is none that is not infinite: false everywhere.
        (false, false) => {
            Lowered::chain(vec![(Op::Compare(Comparison::Less), vec![source.clone(), source])])
        }
    })
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
    Ok(Lowered::one(Op::Cast { to: element }, x))
}

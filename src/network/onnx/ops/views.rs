//! Operations that rearrange, join or describe tensors.

use super::Lower;
use crate::network::{
    array::Array,
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::{Cut, Op, axis_index},
};

pub(super) const OPS: &[(&str, Lower)] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Shape", shape),
    ("Reshape", reshape),
    ("Flatten", |node| {
        Ok(Lowered::one(Op::Flatten { axis: node.int_or("axis", 1)? }, node.take(1, 1)?))
    }),
    ("Expand", |node| Ok(Lowered::one(Op::Expand, node.take(2, 2)?))),
    ("Transpose", transpose),
    ("Concat", concat),
    ("Slice", slice),
    ("Split", split),
    ("Gather", |node| {
        Ok(Lowered::one(Op::Gather { axis: node.int_or("axis", 0)? }, node.take(2, 2)?))
    }),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
];

fn constant(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let value = if let Some(array) = node.tensor("value")? {
        array
    } else if node.proto.attribute.iter().any(|attribute| attribute.name() == "value_float") {
        Array::f32(vec![], [node.float_or("value_float", 0.0)?])
    } else if let Some(int) = node.int("value_int")? {
        Array::i64(vec![], [int])
    } else if let Some(ints) = node.ints("value_ints")? {
        Array::i64(vec![ints.len()], ints)
    } else if let Some(floats) = node.floats("value_floats")? {
        Array::f32(vec![floats.len()], floats)
    } else {
        return Err(node.unsupported("a value that is not numbers", "dense numbers are"));
    };
    Ok(Lowered::alias(Source::Constant(value)))
}

fn constant_of_shape(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let value = node.tensor("value")?.unwrap_or_else(|| Array::f32(vec![1], [0.0]));
    if value.len() != 1 {
        return Err(node.wrong("value", format!("{} numbers", value.len()), "one number"));
    }
    Ok(Lowered::one(Op::ConstantOfShape { value }, node.take(1, 1)?))
}

fn shape(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let (start, end) = (node.int_or("start", 0)?, node.int("end")?);
    Ok(Lowered::one(Op::Shape { start, end }, node.take(1, 1)?))
}

fn reshape(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(2, 2)?;
    Ok(Lowered::one(Op::Reshape { allow_zero: node.flag("allowzero", false)? }, inputs))
}

fn transpose(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let rank = node.rank(0)?;
    let axes = node.counts("perm", 0, rank)?.unwrap_or_default();
    Ok(Lowered::one(Op::Transpose { axes }, node.take(1, 1)?))
}

fn concat(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let axis =
        node.int("axis")?.ok_or_else(|| node.wrong("axis", "not given", "a whole number"))?;
    Ok(Lowered::one(Op::Concat { axis }, node.take(1, usize::MAX)?))
}

/// Bounds are attributes up to opset 9 and inputs after.
fn slice(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 5)?;
    let required = |name: &str, position| {
        node.ints_or_input(name, position)?
            .ok_or_else(|| node.wrong(name, "not given", "one number an axis"))
    };
    let (starts, ends) = (required("starts", 1)?, required("ends", 2)?);
    let axes = match node.ints_or_input("axes", 3)? {
        Some(axes) => axes,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = node.constant_ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|length| *length != starts.len()) {
        return Err(node.invalid("its starts, ends, axes and steps differ in number"));
    }
    if steps.contains(&0) {
        return Err(node.invalid("a step is 0"));
    }
    let cut = |at: usize| Cut { axis: axes[at], start: starts[at], end: ends[at], step: steps[at] };
    let cuts = (0..starts.len()).map(cut).collect();
    Ok(Lowered::one(Op::Slice { cuts }, inputs[..1].to_vec()))
}

/// Every part is a slice of its own.
fn split(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 2)?.swap_remove(0);
    let axis = node.int_or("axis", 0)?;
    let at = axis_index(axis, node.rank(0)?)
        .ok_or_else(|| node.invalid(format!("axis {axis} does not exist")))?;
    let n_parts = node.proto.output.len();
    let lengths = match node.ints_or_input("split", 1)? {
        Some(lengths) => lengths,
        None => {
            let whole = node.known_dim(0, at)?;
            let part = whole.div_ceil(n_parts.max(1)) as i64;
            let rest = whole as i64;
            (0..n_parts as i64).map(|i| (rest - i * part).clamp(0, part)).collect()
        }
    };
    if lengths.len() != n_parts || lengths.iter().any(|length| *length < 0) {
        let expected = format!("{n_parts} lengths of at least 0");
        return Err(node.wrong("split", format!("{lengths:?}"), expected));
    }
    let mut start = 0i64;
    let mut steps = Vec::with_capacity(n_parts);
    for length in lengths {
        let end = start.saturating_add(length);
        let cuts = vec![Cut { axis, start, end, step: 1 }];
        steps.push((Op::Slice { cuts }, vec![x.clone()]));
        start = end;
    }
    let outputs = (0..steps.len()).map(Source::Step).collect();
    Ok(Lowered { steps, outputs })
}

fn squeeze(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let axes = node.ints_or_input("axes", 1)?;
    let x = node.take(1, 2)?[..1].to_vec();
    Ok(Lowered::one(Op::Squeeze { axes: axes.unwrap_or_default() }, x))
}

fn unsqueeze(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let axes = node
        .ints_or_input("axes", 1)?
        .ok_or_else(|| node.wrong("axes", "not given", "the axes to insert"))?;
    let x = node.take(1, 2)?[..1].to_vec();
    Ok(Lowered::one(Op::Unsqueeze { axes }, x))
}

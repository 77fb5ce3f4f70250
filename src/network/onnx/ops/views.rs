//! Operations that rearrange, join or describe tensors.

use super::Lower;
use crate::network::{
    array::{Array, ElementType},
    attributes::{Cut, Reduction},
    error::NetworkError,
    onnx::{
        lowered::{Lowered, Source},
        node::NodeReader,
    },
    ops::{Op, axis_index},
    shapes::cuts,
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
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
    ("Tile", |node| Ok(Lowered::one(Op::Tile, node.take(2, 2)?))),
    ("Range", |node| Ok(Lowered::one(Op::Range, node.take(3, 3)?))),
    ("GatherND", |node| match node.int_or("batch_dims", 0)? {
        0 => Ok(Lowered::one(Op::GatherNd, node.take(2, 2)?)),
        other => Err(node.unsupported(format!("batch_dims={other}"), "0 is")),
    }),
    ("GatherElements", |node| {
        let axis = node.int_or("axis", 0)?;
        Ok(Lowered::one(Op::GatherElements { axis }, node.take(2, 2)?))
    }),
    ("Trilu", trilu),
    ("ScatterND", scatter),
    ("Size", size),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
];

/// One triangle of the last two axes, which need to be known; zeros elsewhere.
fn trilu(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 2)?.swap_remove(0);
    let rank = node.rank(0)?;
    if rank < 2 {
        return Err(node.invalid("its input has fewer than two axes"));
    }
    let (rows, columns) = (node.known_dim(0, rank - 2)?, node.known_dim(0, rank - 1)?);
    let diagonal = node.constant_ints(1)?.and_then(|k| k.first().copied()).unwrap_or(0);
    let is_upper = node.flag("upper", true)?;
    let kept = |at: usize| {
        let ahead = (at % columns) as i64 - (at / columns) as i64;
        if is_upper { ahead >= diagonal } else { ahead <= diagonal }
    };
    let mask: Vec<bool> = (0..rows * columns).map(kept).collect();
    let zero = match node.required_fact(0)?.element {
        ElementType::F32 => Array::f32(vec![], [0.0]),
        ElementType::I64 => Array::i64(vec![], [0]),
        ElementType::Bool => Array::bool(vec![], [false]),
    };
    let mask = Source::Constant(Array::bool(vec![rows, columns], mask));
    Ok(Lowered::one(Op::Where, vec![mask, x, Source::Constant(zero)]))
}

fn scatter(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    match node.text("reduction")?.as_deref() {
        None | Some("none") => Ok(Lowered::one(Op::ScatterNd, node.take(3, 3)?)),
        Some(reduction) => Err(node.unsupported(
            format!("reduction {reduction}"),
            "numbers that replace what was there are",
        )),
    }
}

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

/// Bounds are attributes up to opset 9 and inputs after; some inputs may be computed.
fn slice(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let inputs = node.take(1, 5)?;
    let is_computed = |position| node.fact(position).is_some_and(|fact| fact.array().is_none());
    if (1..5).any(is_computed) {
        return Ok(Lowered::one(Op::ComputedSlice, inputs));
    }
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
    let cuts = cuts(&starts, &ends, &axes, &steps).map_err(|reason| node.invalid(reason))?;
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

fn list(numbers: &[i64]) -> Source {
    Source::Constant(Array::i64(vec![numbers.len()], numbers.to_vec()))
}

/// The block size and the channels, height and width of the images.
fn blocks(node: &NodeReader<'_>) -> Result<(i64, [i64; 3]), NetworkError> {
    let block = node.int_or("blocksize", 0)?;
    if !(1..=4096).contains(&block) {
        return Err(node.wrong("blocksize", block, "from 1 to 4096"));
    }
    if node.rank(0)? != 4 {
        return Err(node.invalid("its input needs 4 dimensions"));
    }
    let length = |axis| node.known_dim(0, axis).map(|n| n as i64);
    Ok((block, [length(1)?, length(2)?, length(3)?]))
}

/// A reshape to six axes, a change of their order, and a reshape back to four.
fn regroup(
    node: &NodeReader<'_>,
    apart: [i64; 6],
    order: [usize; 6],
    together: [i64; 4],
) -> Lowered {
    let reshape = || Op::Reshape { allow_zero: false };
    Lowered::chain(vec![
        (reshape(), vec![node.source(0), list(&apart)]),
        (Op::Transpose { axes: order.to_vec() }, vec![Source::Step(0)]),
        (reshape(), vec![Source::Step(1), list(&together)]),
    ])
}

fn depth_to_space(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(1, 1)?;
    let (b, [c, h, w]) = blocks(node)?;
    if c % (b * b) != 0 {
        return Err(node.invalid(format!("{c} channels can not be split into {b} by {b} blocks")));
    }
    let (fewer, together) = (c / (b * b), [0, c / (b * b), h * b, w * b]);
    match node.text("mode")?.as_deref() {
        None | Some("DCR") => {
            Ok(regroup(node, [0, b, b, fewer, h, w], [0, 3, 4, 1, 5, 2], together))
        }
        Some("CRD") => Ok(regroup(node, [0, fewer, b, b, h, w], [0, 1, 4, 2, 5, 3], together)),
        Some(other) => Err(node.wrong("mode", other, "DCR or CRD")),
    }
}

fn space_to_depth(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    node.take(1, 1)?;
    let (b, [c, h, w]) = blocks(node)?;
    if h % b != 0 || w % b != 0 {
        return Err(node.invalid(format!("{h} by {w} can not be split into {b} by {b} blocks")));
    }
    let apart = [0, c, h / b, b, w / b, b];
    Ok(regroup(node, apart, [0, 3, 5, 1, 2, 4], [0, c * b * b, h / b, w / b]))
}

/// The product of the shape.
fn size(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let product = Op::Reduce { kind: Reduction::Prod, axes: vec![], keep: false };
    Ok(Lowered::chain(vec![
        (Op::Shape { start: 0, end: None }, node.take(1, 1)?),
        (product, vec![Source::Step(0)]),
    ]))
}

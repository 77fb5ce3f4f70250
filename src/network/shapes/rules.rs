//! One shape rule for each operation.

use super::{
    einsum,
    fact::{Dim, Entry, Fact},
    views, windows,
};
use crate::network::{
    array::ElementType,
    error::show_shape,
    ops::{Op, axis_index},
};

/// What is known of an operation's output, or the reason why it can not work.
pub(super) fn infer(op: &Op, inputs: &[Option<&Fact>]) -> Result<Fact, String> {
    let input = |position: usize| {
        inputs
            .get(position)
            .copied()
            .flatten()
            .ok_or_else(|| format!("input {position} is missing"))
    };
    let x = input(0)?;
    let same = |shape| Fact::new(x.element, shape);
    Ok(match op {
        Op::Conv { window, groups } => {
            let bias = inputs.get(2).copied().flatten();
            same(windows::conv(x, input(1)?, bias, window, *groups)?)
        }
        Op::ConvTranspose { window, groups, output_padding } => {
            let (weight, bias) = (input(1)?, inputs.get(2).copied().flatten());
            same(windows::conv_transpose(x, weight, bias, window, *groups, *output_padding)?)
        }
        Op::MaxPool { window, ceil } | Op::AveragePool { window, ceil, .. } => {
            same(windows::pool(x, window, *ceil)?)
        }
        Op::Gemm { transpose_a, transpose_b, .. } => {
            same(gemm(x, *transpose_a, input(1)?, *transpose_b)?)
        }
        Op::MatMul => same(matmul(x, input(1)?)?),
        Op::BatchNorm { .. } => same(batch_norm(x, &inputs[1..])?),
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Pow
        | Op::Min
        | Op::Max
        | Op::Mod { .. }
        | Op::Logic(_)
        | Op::PRelu => same(broadcast(&x.shape, &input(1)?.shape)?),
        Op::LayerNorm { axis, .. } => same(layer_norm(x, *axis, &inputs[1..])?),
        Op::GroupNorm { groups, .. } => same(group_norm(x, *groups, &inputs[1..])?),
        Op::Compare(_) => Fact::new(ElementType::Bool, broadcast(&x.shape, &input(1)?.shape)?),
        Op::Where => {
            let (yes, no) = (input(1)?, input(2)?);
            let shape = broadcast(&x.shape, &broadcast(&yes.shape, &no.shape)?)?;
            Fact::new(yes.element, shape)
        }
        Op::Relu
        | Op::Clip { .. }
        | Op::Unary(_)
        | Op::Sigmoid
        | Op::HardSigmoid { .. }
        | Op::HardSwish
        | Op::LeakyRelu { .. }
        | Op::Elu { .. }
        | Op::Gelu { .. }
        | Op::FakeQuantize(_)
        | Op::DynamicQuantize { .. }
        | Op::Binarize { .. } => same(x.shape.clone()),
        Op::Quantize { axis, .. } => {
            scaled(x, *axis, 0, &inputs[1..])?;
            Fact::new(ElementType::I64, x.shape.clone())
        }
        Op::Dequantize { axis, block } => {
            scaled(x, *axis, *block, &inputs[1..])?;
            Fact::new(ElementType::F32, x.shape.clone())
        }
        Op::Identity => x.clone(),
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            views::axis_of(*axis, x.rank())?;
            same(x.shape.clone())
        }
        Op::Cast { to } => cast(x, *to),
        Op::GlobalAveragePool => same(global_pool(x)?),
        Op::Flatten { axis } => same(flatten(x, *axis)?),
        Op::Reshape { allow_zero } => {
            let shape = views::reshape(x, input(1)?, *allow_zero)?;
            match (x.as_entries(), shape.as_slice()) {
                (Some(entries), [] | [_]) => Fact::entries(entries, shape.is_empty()),
                _ => same(shape),
            }
        }
        Op::Expand => same(broadcast(&x.shape, &views::described(input(1)?)?)?),
        Op::Transpose { axes } => same(views::transpose(x, axes)?),
        Op::Concat { axis } => {
            let parts: Result<Vec<&Fact>, String> = (0..inputs.len()).map(input).collect();
            views::concat(&parts?, *axis)?
        }
        Op::Pad { before, after, .. } => same(views::pad(x, before, after)?),
        Op::PadBorder { border, before, after } => {
            same(views::pad_border(x, *border, before, after)?)
        }
        Op::Resize { lengths, .. } => same(views::resize(x, lengths)?),
        Op::Slice { cuts } => views::slice(x, cuts)?,
        Op::ComputedSlice => views::computed_slice(x, &inputs[1..])?,
        Op::Tile => same(views::tile(x, input(1)?)?),
        Op::Range => range(x, input(1)?, input(2)?)?,
        Op::ArgMax { axis, keep } => {
            views::axis_of(*axis, x.rank())?;
            Fact::new(ElementType::I64, views::reduce(x, &[*axis], *keep)?)
        }
        Op::Shape { start, end } => shape_of(x, *start, *end),
        Op::ConstantOfShape { value } => Fact::new(value.element(), views::described(x)?),
        Op::Gather { axis } => views::gather(x, input(1)?, *axis)?,
        Op::GatherNd => same(views::gather_nd(x, input(1)?)?),
        Op::GatherElements { axis } => {
            views::axis_of(*axis, x.rank())?;
            same(input(1)?.shape.clone())
        }
        Op::CumSum { axis } => {
            views::axis_of(*axis, x.rank())?;
            same(x.shape.clone())
        }
        Op::Einsum { equation } => {
            let operands: Result<Vec<&Fact>, String> = (0..inputs.len()).map(input).collect();
            same(einsum::shape(equation, &operands?)?)
        }
        Op::ScatterNd => same(views::scatter(x, input(1)?)?),
        Op::Squeeze { axes } => views::squeeze(x, axes)?,
        Op::Unsqueeze { axes } => views::unsqueeze(x, axes)?,
        Op::Reduce { axes, keep, .. } => same(views::reduce(x, axes, *keep)?),
    })
}

pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Dim], axis: usize| {
        (axis + dims.len()).checked_sub(rank).map_or(Dim::Known(1), |axis| dims[axis])
    };
    let join = |axis| at(a, axis).broadcast(at(b, axis));
    (0..rank)
        .map(join)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("shapes {} and {} do not fit", show_shape(a), show_shape(b)))
}

fn gemm(a: &Fact, transpose_a: bool, b: &Fact, transpose_b: bool) -> Result<Vec<Dim>, String> {
    let (&[a0, a1], &[b0, b1]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        let (a, b) = (show_shape(&a.shape), show_shape(&b.shape));
        return Err(format!("its operands have shapes {a} and {b}; both need 2 dimensions"));
    };
    let (rows, inner) = if transpose_a { (a1, a0) } else { (a0, a1) };
    let (inner_b, columns) = if transpose_b { (b1, b0) } else { (b0, b1) };
    if inner.contradicts(inner_b) {
        return Err(format!("rows of {inner} numbers meet columns of {inner_b}"));
    }
    Ok(vec![rows, columns])
}

fn matmul(a: &Fact, b: &Fact) -> Result<Vec<Dim>, String> {
    let (rank_a, rank_b) = (a.rank(), b.rank());
    if rank_a == 0 || rank_b == 0 {
        return Err("a scalar can not be an operand".into());
    }
    let inner_a = a.shape[rank_a - 1];
    let inner_b = b.shape[rank_b.saturating_sub(2)];
    if inner_a.contradicts(inner_b) {
        return Err(format!("rows of {inner_a} numbers meet columns of {inner_b}"));
    }
    let batch_a = &a.shape[..rank_a.saturating_sub(2)];
    let batch_b = &b.shape[..rank_b.saturating_sub(2)];
    let mut shape = broadcast(batch_a, batch_b)?;
    if rank_a > 1 {
        shape.push(a.shape[rank_a - 2]);
    }
    if rank_b > 1 {
        shape.push(b.shape[rank_b - 1]);
    }
    Ok(shape)
}

fn batch_norm(x: &Fact, parameters: &[Option<&Fact>]) -> Result<Vec<Dim>, String> {
    let channels = x.shape.get(1).copied().ok_or("its input has no channel axis")?;
    for parameter in parameters.iter().flatten() {
        if parameter.rank() != 1 || parameter.shape[0].contradicts(channels) {
            return Err(format!(
                "a parameter has shape {}; {channels} channels need [{channels}]",
                show_shape(&parameter.shape)
            ));
        }
    }
    if parameters.iter().flatten().count() != 4 {
        return Err("scale, bias, mean and variance are needed".into());
    }
    Ok(x.shape.clone())
}

fn layer_norm(x: &Fact, axis: i64, parameters: &[Option<&Fact>]) -> Result<Vec<Dim>, String> {
    let axis = views::axis_of(axis, x.rank())?;
    let normalized = &x.shape[axis..];
    for parameter in parameters.iter().flatten() {
        let fits = parameter.rank() == normalized.len()
            && parameter.shape.iter().zip(normalized).all(|(a, b)| !a.contradicts(*b));
        if !fits {
            let (found, expected) = (show_shape(&parameter.shape), show_shape(normalized));
            return Err(format!("a parameter has shape {found}; it needs {expected}"));
        }
    }
    Ok(x.shape.clone())
}

fn group_norm(x: &Fact, groups: usize, parameters: &[Option<&Fact>]) -> Result<Vec<Dim>, String> {
    let channels = x.shape.get(1).copied().ok_or("its input has no channel axis")?;
    if groups > 0 && channels.known().is_some_and(|channels| channels % groups != 0) {
        return Err(format!("{channels} channels can not be split into {groups} groups"));
    }
    let fits = |p: &&Fact| p.rank() == 1 && !p.shape[0].contradicts(channels);
    if parameters.iter().flatten().filter(|parameter| fits(parameter)).count() != 2 {
        return Err(format!("scale and bias of shape [{channels}] are needed"));
    }
    Ok(x.shape.clone())
}

/// Numbers from one bound towards another; the values follow where all three are known.
fn range(start: &Fact, limit: &Fact, step: &Fact) -> Result<Fact, String> {
    let one = |fact: &Fact| {
        fact.array().and_then(|array| {
            let float = array.as_f32().and_then(|data| data.first().copied().map(f64::from));
            float.or_else(|| array.as_i64()?.first().map(|n| *n as f64))
        })
    };
    let length = match (one(start), one(limit), one(step)) {
        (_, _, Some(0.0)) => return Err("its step is 0".into()),
        (Some(start), Some(limit), Some(step)) => {
            Dim::Known(((limit - start) / step).ceil().max(0.0) as usize)
        }
        _ => Dim::Unknown,
    };
    Ok(Fact::new(start.element, vec![length]))
}

/// Whether scale and zero point fit a tensor.
fn scaled(x: &Fact, axis: i64, block: usize, scaling: &[Option<&Fact>]) -> Result<(), String> {
    let scale = scaling.first().copied().flatten().ok_or("input 1 is missing")?;
    let fits = match scale.rank() {
        0 => true,
        1 if scale.shape[0] == Dim::Known(1) => true,
        1 if block == 0 => {
            let length = x.shape[views::axis_of(axis, x.rank())?];
            !scale.shape[0].contradicts(length)
        }
        rank => block > 0 && rank == x.rank() && views::axis_of(axis, rank).is_ok(),
    };
    let zero_point = scaling.get(1).copied().flatten();
    if fits && zero_point.is_none_or(|zero_point| zero_point.rank() == scale.rank()) {
        return Ok(());
    }
    let (scale, shape) = (show_shape(&scale.shape), show_shape(&x.shape));
    Err(format!("scales or zero points of shape {scale} do not fit a tensor of {shape}"))
}

fn global_pool(x: &Fact) -> Result<Vec<Dim>, String> {
    if x.rank() < 3 {
        return Err(format!("its input has shape {}; it needs a map", show_shape(&x.shape)));
    }
    let pooled = |axis: usize| if axis < 2 { x.shape[axis] } else { Dim::Known(1) };
    Ok((0..x.rank()).map(pooled).collect())
}

fn flatten(x: &Fact, axis: i64) -> Result<Vec<Dim>, String> {
    let rank = x.rank();
    let axis = if usize::try_from(axis) == Ok(rank) { rank } else { views::axis_of(axis, rank)? };
    Ok(vec![views::product(&x.shape[..axis])?, views::product(&x.shape[axis..])?])
}

fn cast(x: &Fact, to: ElementType) -> Fact {
    if to == x.element {
        return x.clone();
    }
    Fact::new(to, x.shape.clone())
}

fn shape_of(x: &Fact, start: i64, end: Option<i64>) -> Fact {
    let rank = x.rank();
    let clamp = |at: i64| axis_index(at, rank).unwrap_or(if at < 0 { 0 } else { rank });
    let (start, end) = (clamp(start), end.map_or(rank, clamp));
    let dims = x.shape.get(start..end).unwrap_or_default();
    Fact::entries(dims.iter().copied().map(Entry::from).collect(), false)
}

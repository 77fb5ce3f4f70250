//! Operations that rearrange, join or describe tensors.

use tch::{Kind, TchError, Tensor};

use super::{Inputs, read, refuse};
use crate::network::{
    attributes::Cut,
    execute::convert::kind_of,
    ops::{Op, axis_index},
    shapes::cuts,
};

pub(super) fn apply(op: &Op, x: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor, TchError> {
    match op {
        Op::Identity => Ok(x.shallow_clone()),
        Op::Cast { to } => x.f_to_kind(kind_of(*to)),
        Op::Flatten { axis } => flatten(x, *axis),
        Op::Reshape { allow_zero } => {
            let target = numbers(read(inputs, 1)?)?;
            let target: Vec<i64> = target
                .iter()
                .enumerate()
                .map(|(at, &n)| match n {
                    0 if !allow_zero => x.size().get(at).copied().unwrap_or(0),
                    n => n,
                })
                .collect();
            x.f_reshape(target)
        }
        Op::Expand => expand(x, &numbers(read(inputs, 1)?)?),
        Op::Transpose { axes } if axes.is_empty() => {
            x.f_permute((0..x.dim() as i64).rev().collect::<Vec<_>>())
        }
        Op::Transpose { axes } => x.f_permute(axes.iter().map(|&a| a as i64).collect::<Vec<_>>()),
        Op::Concat { axis } => {
            let parts: Result<Vec<&Tensor>, TchError> =
                (0..inputs.len()).map(|position| read(inputs, position)).collect();
            Tensor::f_cat(&parts?, *axis)
        }
        Op::Slice { cuts } => slice(x, cuts),
        Op::ComputedSlice => {
            let list = |position: usize| match inputs.get(position).copied().flatten() {
                Some(tensor) => numbers(tensor).map(Some),
                None => Ok(None),
            };
            let (starts, ends) = (list(1)?.unwrap_or_default(), list(2)?.unwrap_or_default());
            let axes = list(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
            let steps = list(4)?.unwrap_or_else(|| vec![1; starts.len()]);
            slice(x, &cuts(&starts, &ends, &axes, &steps).map_err(refuse)?)
        }
        Op::Tile => x.f_repeat(numbers(read(inputs, 1)?)?),
        Op::Range => range(x, read(inputs, 1)?, read(inputs, 2)?),
        Op::Shape { start, end } => shape(x, *start, *end),
        Op::ConstantOfShape { value } => value
            .to_tensor()
            .f_reshape(&[] as &[i64])?
            .f_to_device(x.device())?
            .f_expand(numbers(x)?, false)?
            .f_contiguous(),
        Op::Gather { axis } => gather(x, read(inputs, 1)?, *axis),
        Op::GatherNd => {
            let by_axis = read(inputs, 1)?.f_unbind(-1)?;
            x.f_index(&by_axis.into_iter().map(Some).collect::<Vec<_>>())
        }
        Op::GatherElements { axis } => {
            let axis = axis_of(*axis, x.dim())?;
            // Indices below 0 count from the end.
            let indices = read(inputs, 1)?.f_remainder(x.size()[axis])?;
            x.f_gather(axis as i64, &indices, false)
        }
        Op::CumSum { axis } => x.f_cumsum(*axis, x.kind()),
        Op::ScatterNd => scatter(x, read(inputs, 1)?, read(inputs, 2)?),
        Op::Squeeze { axes } if axes.is_empty() => x.f_squeeze(),
        Op::Squeeze { axes } => x.f_squeeze_dims(axes.as_slice()),
        Op::Unsqueeze { axes } => unsqueeze(x, axes),
        _ => Err(refuse("not a view")),
    }
}

/// - `indices`: `[..., k]`
fn scatter(x: &Tensor, indices: &Tensor, updates: &Tensor) -> Result<Tensor, TchError> {
    let by_axis = indices.f_unbind(-1)?;
    let by_axis: Vec<Option<Tensor>> = by_axis.into_iter().map(Some).collect();
    x.f_index_put(&by_axis, updates, false)
}

fn axis_of(axis: i64, rank: usize) -> Result<usize, TchError> {
    axis_index(axis, rank).ok_or_else(|| refuse(format!("axis {axis} does not exist")))
}

/// The whole numbers of a small tensor.
fn numbers(tensor: &Tensor) -> Result<Vec<i64>, TchError> {
    Vec::<i64>::try_from(tensor.f_to_kind(Kind::Int64)?.f_reshape([-1])?)
}

fn flatten(x: &Tensor, axis: i64) -> Result<Tensor, TchError> {
    let sizes = x.size();
    let axis = if axis == sizes.len() as i64 { sizes.len() } else { axis_of(axis, sizes.len())? };
    let product = |sizes: &[i64]| sizes.iter().product::<i64>();
    x.f_reshape([product(&sizes[..axis]), product(&sizes[axis..])])
}

/// Broadcasts both ways: a 1 in the target keeps the input's length.
fn expand(x: &Tensor, target: &[i64]) -> Result<Tensor, TchError> {
    let sizes = x.size();
    let rank = sizes.len().max(target.len());
    let from_end = |list: &[i64], axis: usize| {
        (axis + list.len()).checked_sub(rank).map_or(1, |axis| list[axis])
    };
    let joined: Vec<i64> = (0..rank)
        .map(|axis| match (from_end(&sizes, axis), from_end(target, axis)) {
            (n, 1) => n,
            (_, n) => n,
        })
        .collect();
    x.f_expand(joined, false)
}

fn slice(x: &Tensor, cuts: &[Cut]) -> Result<Tensor, TchError> {
    let mut view = x.shallow_clone();
    for cut in cuts {
        let axis = axis_of(cut.axis, view.dim())?;
        let (start, count, step) = cut.resolve(view.size()[axis] as usize);
        let axis = axis as i64;
        let (start, count) = (start as i64, count as i64);
        view = if step > 0 {
            let end = if count == 0 { start } else { start + (count - 1) * step + 1 };
            view.f_slice(axis, start, end, step)?
        } else {
            let wanted: Vec<i64> = (0..count).map(|i| start + i * step).collect();
            view.f_index_select(axis, &Tensor::from_slice(&wanted).f_to_device(x.device())?)?
        };
    }
    Ok(view)
}

fn shape(x: &Tensor, start: i64, end: Option<i64>) -> Result<Tensor, TchError> {
    let sizes = x.size();
    let rank = sizes.len();
    let clamp = |at: i64| axis_index(at, rank).unwrap_or(if at < 0 { 0 } else { rank });
    let (start, end) = (clamp(start), end.map_or(rank, clamp));
    Tensor::f_from_slice(sizes.get(start..end).unwrap_or_default())
}

fn gather(x: &Tensor, indices: &Tensor, axis: i64) -> Result<Tensor, TchError> {
    let axis = axis_of(axis, x.dim())?;
    let length = x.size()[axis];
    let flat = indices.f_reshape([-1])?;
    // Negative indices count from the end.
    let flat = flat.f_add(&(flat.f_lt(0)?.f_to_kind(Kind::Int64)? * length))?;
    let picked = x.f_index_select(axis as i64, &flat)?;
    let mut sizes = x.size();
    sizes.splice(axis..=axis, indices.size());
    picked.f_reshape(sizes)
}

fn range(start: &Tensor, limit: &Tensor, step: &Tensor) -> Result<Tensor, TchError> {
    let (from, to, by) = (
        start.f_double_value(&[])?,
        limit.f_reshape(&[] as &[i64])?.f_double_value(&[])?,
        step.f_reshape(&[] as &[i64])?.f_double_value(&[])?,
    );
    let count = ((to - from) / by).ceil().max(0.0) as i64;
    let steps = Tensor::f_arange(count, (start.kind(), start.device()))?;
    steps.f_mul(&step.f_to_kind(start.kind())?)?.f_add(start)
}

fn unsqueeze(x: &Tensor, axes: &[i64]) -> Result<Tensor, TchError> {
    let rank = x.dim() + axes.len();
    let mut new: Vec<usize> =
        axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_, _>>()?;
    new.sort_unstable();
    new.iter().try_fold(x.shallow_clone(), |x, &axis| x.f_unsqueeze(axis as i64))
}

//! Output shapes of operations that rearrange numbers, and the values they carry.

use super::fact::{Dim, Entry, Fact};
use crate::network::{
    attributes::{Border, Cut, ResizedLength},
    error::show_shape,
    ops::axis_index,
};

/// Libtorch's limit, and more than any network has.
const MAX_RANK: usize = 64;

/// An axis as an index, or the reason why there is none.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    axis_index(axis, rank).ok_or_else(|| format!("axis {axis} does not exist; it has {rank} axes"))
}

/// The shape a reshape asks for, worked out for an input of this shape.
pub(super) fn reshape(x: &Fact, target: &Fact, allow_zero: bool) -> Result<Vec<Dim>, String> {
    let Some(entries) = target.as_entries() else {
        return unknown_shape(target);
    };
    let mut shape = Vec::with_capacity(entries.len());
    let mut rest = None;
    for (position, entry) in entries.iter().enumerate() {
        shape.push(match entry {
            Entry::Known(0) if !allow_zero => *x.shape.get(position).ok_or_else(|| {
                format!("target position {position} copies a dimension the input does not have")
            })?,
            Entry::Known(-1) if rest.is_none() => {
                rest = Some(position);
                Dim::Unknown
            }
            Entry::Known(n) => Dim::Known(
                usize::try_from(*n)
                    .map_err(|_| format!("its target shape has {n} at position {position}"))?,
            ),
            Entry::Symbol(symbol) => Dim::Symbol(*symbol),
            Entry::Unknown => Dim::Unknown,
        });
    }
    match rest {
        Some(position) => {
            let others = shape.iter().enumerate().filter(|(at, _)| *at != position);
            shape[position] = remaining(&x.shape, others.map(|(_, dim)| *dim))
                .map_err(|()| misfit(&x.shape, &entries))?;
        }
        None => {
            let count =
                |dims: &[Dim]| dims.iter().try_fold(1usize, |n, d| n.checked_mul(d.known()?));
            let all_known = |dims: &[Dim]| dims.iter().all(|dim| dim.known().is_some());
            if all_known(&x.shape) && all_known(&shape) && count(&x.shape) != count(&shape) {
                return Err(misfit(&x.shape, &entries));
            }
        }
    }
    Ok(shape)
}

fn misfit(shape: &[Dim], target: &[Entry]) -> String {
    let target: Vec<String> = target
        .iter()
        .map(|entry| match entry {
            Entry::Known(n) => n.to_string(),
            _ => "n".to_owned(),
        })
        .collect();
    format!("shape {} can not become {}", show_shape(shape), show_shape(&target))
}

/// The dimension that is left of `whole` once all of `parts` are taken out of it.
fn remaining(whole: &[Dim], parts: impl Iterator<Item = Dim>) -> Result<Dim, ()> {
    let (mut dividend, mut divisor) = (1usize, 1usize);
    let mut symbols = Vec::new();
    for dim in whole {
        match dim {
            Dim::Known(n) => dividend = dividend.checked_mul(*n).ok_or(())?,
            other => symbols.push(*other),
        }
    }
    for part in parts {
        match part {
            Dim::Known(n) => divisor = divisor.checked_mul(n).ok_or(())?,
            other => match symbols.iter().position(|symbol| *symbol == other) {
                Some(at) if other != Dim::Unknown => {
                    symbols.swap_remove(at);
                }
                _ => return Ok(Dim::Unknown),
            },
        }
    }
    let quotient = dividend.checked_div(divisor);
    match (symbols.as_slice(), quotient) {
        ([], Some(quotient)) if quotient * divisor == dividend => Ok(Dim::Known(quotient)),
        ([], _) => Err(()),
        ([symbol], Some(1)) if dividend == divisor => Ok(*symbol),
        _ => Ok(Dim::Unknown),
    }
}

/// The product of dimensions, as one dimension.
pub(super) fn product(dims: &[Dim]) -> Result<Dim, String> {
    remaining(dims, std::iter::empty()).map_err(|()| "its shape is too large".into())
}

pub(super) fn transpose(x: &Fact, axes: &[usize]) -> Result<Vec<Dim>, String> {
    if axes.is_empty() {
        return Ok(x.shape.iter().rev().copied().collect());
    }
    let mut seen = vec![false; x.rank()];
    let valid = axes.len() == x.rank()
        && axes.iter().all(|&axis| axis < seen.len() && !std::mem::replace(&mut seen[axis], true));
    if !valid {
        return Err(format!(
            "axes {axes:?} are not an order of the {} axes of its input",
            x.rank()
        ));
    }
    Ok(axes.iter().map(|&axis| x.shape[axis]).collect())
}

pub(super) fn concat(parts: &[&Fact], axis: i64) -> Result<Fact, String> {
    let first = parts.first().ok_or("it joins nothing")?;
    let axis = axis_of(axis, first.rank())?;
    let mut shape = first.shape.clone();
    for part in &parts[1..] {
        let fits = |(at, dim): (usize, &Dim)| at == axis || !dim.contradicts(part.shape[at]);
        if part.rank() != first.rank() || !first.shape.iter().enumerate().all(fits) {
            let (a, b) = (show_shape(&first.shape), show_shape(&part.shape));
            return Err(format!("shapes {a} and {b} can not be joined on axis {axis}"));
        }
        shape[axis] = match (shape[axis], part.shape[axis]) {
            (Dim::Known(a), Dim::Known(b)) => {
                Dim::Known(a.checked_add(b).ok_or("its output is too large")?)
            }
            _ => Dim::Unknown,
        };
    }
    let entries: Option<Vec<Vec<Entry>>> = parts.iter().map(|part| part.as_entries()).collect();
    match entries {
        Some(entries) if first.rank() == 1 => Ok(Fact::entries(entries.concat(), false)),
        _ => Ok(Fact::new(first.element, shape)),
    }
}

pub(super) fn slice(x: &Fact, cuts: &[Cut]) -> Result<Fact, String> {
    let mut shape = x.shape.clone();
    let mut entries = x.as_entries().filter(|_| x.rank() == 1);
    for cut in cuts {
        let axis = axis_of(cut.axis, x.rank())?;
        if cut.step == 0 {
            return Err("its step is 0".into());
        }
        let whole = cut.start == 0 && cut.end == i64::MAX && cut.step == 1;
        shape[axis] = match shape[axis] {
            Dim::Known(n) => Dim::Known(cut.resolve(n).1),
            open if whole => open,
            _ => Dim::Unknown,
        };
        entries = entries.map(|all| {
            let (start, count, step) = cut.resolve(all.len());
            let at = |i: usize| start as i64 + i as i64 * step;
            (0..count).map(|i| all[at(i) as usize]).collect()
        });
    }
    Ok(match entries {
        Some(entries) => Fact::entries(entries, false),
        None => Fact::new(x.element, shape),
    })
}

pub(super) fn pad(x: &Fact, before: &[i64], after: &[i64]) -> Result<Vec<Dim>, String> {
    if before.len() != x.rank() || after.len() != x.rank() {
        return Err(format!("it pads {} axes; its input has {}", before.len(), x.rank()));
    }
    let padded = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(n) => i64::try_from(*n)
            .ok()
            .and_then(|n| n.checked_add(before[axis])?.checked_add(after[axis]))
            .and_then(|n| usize::try_from(n).ok())
            .map(Dim::Known)
            .ok_or_else(|| format!("it can not pad axis {axis} of length {n}")),
        open if before[axis] == 0 && after[axis] == 0 => Ok(*open),
        _ => Ok(Dim::Unknown),
    };
    x.shape.iter().enumerate().map(padded).collect()
}

/// Padding with the tensor's own numbers needs enough of them.
pub(super) fn pad_border(
    x: &Fact,
    border: Border,
    before: &[usize],
    after: &[usize],
) -> Result<Vec<Dim>, String> {
    let signed = |amounts: &[usize]| amounts.iter().map(|&n| n as i64).collect::<Vec<_>>();
    let shape = pad(x, &signed(before), &signed(after))?;
    for (axis, dim) in x.shape.iter().enumerate() {
        let widest = before[axis].max(after[axis]);
        let needed = if border == Border::Reflect { widest + 1 } else { 1 };
        if widest > 0 && dim.known().is_some_and(|n| n < needed) {
            return Err(format!("it pads axis {axis} of length {dim} with {widest} of its own"));
        }
    }
    Ok(shape)
}

pub(super) fn resize(x: &Fact, lengths: &[ResizedLength]) -> Result<Vec<Dim>, String> {
    if lengths.len() != x.rank() {
        return Err(format!("it resizes {} axes; its input has {}", lengths.len(), x.rank()));
    }
    let resized = |(dim, length): (&Dim, &ResizedLength)| match (dim, length) {
        (dim, ResizedLength::Same) => *dim,
        (_, ResizedLength::Exactly(n)) => Dim::Known(*n),
        (Dim::Known(n), length) => Dim::Known(length.of(*n).0),
        _ => Dim::Unknown,
    };
    Ok(x.shape.iter().zip(lengths).map(resized).collect())
}

pub(super) fn tile(x: &Fact, repeats: &Fact) -> Result<Vec<Dim>, String> {
    let repeats = described(repeats)?;
    if repeats.len() != x.rank() {
        return Err(format!("it repeats {} axes; its input has {}", repeats.len(), x.rank()));
    }
    let tiled = |(dim, repeat): (&Dim, &Dim)| match (dim, repeat) {
        (dim, Dim::Known(1)) => Ok(*dim),
        (Dim::Known(n), Dim::Known(repeat)) => {
            n.checked_mul(*repeat).map(Dim::Known).ok_or("its output is too large")
        }
        _ => Ok(Dim::Unknown),
    };
    Ok(x.shape.iter().zip(&repeats).map(tiled).collect::<Result<_, _>>()?)
}

/// A slice whose bounds are tensors: starts, ends, axes and steps.
pub(super) fn computed_slice(x: &Fact, bounds: &[Option<&Fact>]) -> Result<Fact, String> {
    let bound = |position: usize| bounds.get(position).copied().flatten();
    let known = |fact: &Fact| fact.array().and_then(|array| array.as_i64().map(<[i64]>::to_vec));
    let starts = bound(0).ok_or("its starts are missing")?;
    let ends = bound(1).ok_or("its ends are missing")?;
    let n = starts.shape.first().and_then(|dim| dim.known());
    let n = n.filter(|n| *n <= x.rank()).ok_or("its starts need to be one number an axis")?;
    let (axes, steps) = (bound(2).map(known), bound(3).map(known));
    let axes = axes.unwrap_or_else(|| Some((0..n as i64).collect()));
    let steps = steps.unwrap_or_else(|| Some(vec![1; n]));
    let (Some(axes), Some(steps)) = (axes, steps) else {
        return Ok(Fact::new(x.element, vec![Dim::Unknown; x.rank()]));
    };
    if let (Some(starts), Some(ends)) = (known(starts), known(ends)) {
        return slice(x, &cuts(&starts, &ends, &axes, &steps)?);
    }
    let mut shape = x.shape.clone();
    for &axis in &axes {
        let axis = axis_of(axis, x.rank())?;
        shape[axis] = Dim::Unknown;
    }
    Ok(Fact::new(x.element, shape))
}

/// The cuts of a slice, from lists of equal length.
pub(in crate::network) fn cuts(
    starts: &[i64],
    ends: &[i64],
    axes: &[i64],
    steps: &[i64],
) -> Result<Vec<Cut>, String> {
    if [ends.len(), axes.len(), steps.len()].iter().any(|length| *length != starts.len()) {
        return Err("its starts, ends, axes and steps differ in number".into());
    }
    if steps.contains(&0) {
        return Err("its step is 0".into());
    }
    let cut = |at: usize| Cut { axis: axes[at], start: starts[at], end: ends[at], step: steps[at] };
    Ok((0..starts.len()).map(cut).collect())
}

pub(super) fn gather(x: &Fact, indices: &Fact, axis: i64) -> Result<Fact, String> {
    let axis = axis_of(axis, x.rank())?;
    let mut shape = x.shape[..axis].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&x.shape[axis + 1..]);
    if let (Some(entries), Some(wanted), 1) = (x.as_entries(), indices.as_entries(), x.rank()) {
        let pick = |index: &Entry| match index {
            Entry::Known(index) => axis_index(*index, entries.len())
                .map(|index| entries[index])
                .ok_or_else(|| format!("index {index} does not exist among {}", entries.len())),
            _ => Ok(Entry::Unknown),
        };
        let picked: Result<Vec<Entry>, String> = wanted.iter().map(pick).collect();
        return Ok(Fact::entries(picked?, indices.rank() == 0));
    }
    Ok(Fact::new(x.element, shape))
}

/// One part of the tensor for each row of indices.
pub(super) fn gather_nd(x: &Fact, indices: &Fact) -> Result<Vec<Dim>, String> {
    scatter(x, indices)?;
    let n_axes = indices.shape.last().and_then(|dim| dim.known()).unwrap_or(0);
    let rows = &indices.shape[..indices.rank() - 1];
    Ok(rows.iter().chain(&x.shape[n_axes..]).copied().collect())
}

/// Numbers are put into the tensor; its shape stays.
pub(super) fn scatter(x: &Fact, indices: &Fact) -> Result<Vec<Dim>, String> {
    let n_axes = indices.shape.last().and_then(|dim| dim.known());
    match n_axes {
        Some(n_axes) if (1..=x.rank()).contains(&n_axes) => Ok(x.shape.clone()),
        _ => Err(format!(
            "its indices have shape {}; the last axis needs 1 to {} numbers",
            show_shape(&indices.shape),
            x.rank()
        )),
    }
}

pub(super) fn squeeze(x: &Fact, axes: &[i64]) -> Result<Fact, String> {
    let gone: Vec<usize> = if axes.is_empty() {
        (0..x.rank()).filter(|&axis| x.shape[axis] == Dim::Known(1)).collect()
    } else {
        axes.iter().map(|&axis| axis_of(axis, x.rank())).collect::<Result<_, _>>()?
    };
    if let Some(axis) = gone.iter().find(|&&axis| x.shape[axis].contradicts(Dim::Known(1))) {
        return Err(format!("axis {axis} has length {}; only 1 can be removed", x.shape[*axis]));
    }
    let stays = |(axis, dim): (usize, &Dim)| (!gone.contains(&axis)).then_some(*dim);
    let shape: Vec<Dim> = x.shape.iter().enumerate().filter_map(stays).collect();
    Ok(match x.as_entries() {
        Some(entries) => Fact::entries(entries, shape.is_empty()),
        None => Fact::new(x.element, shape),
    })
}

pub(super) fn unsqueeze(x: &Fact, axes: &[i64]) -> Result<Fact, String> {
    let rank = x.rank() + axes.len();
    let mut new: Vec<usize> =
        axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_, _>>()?;
    new.sort_unstable();
    new.dedup();
    if new.len() != axes.len() {
        return Err(format!("axes {axes:?} name one axis twice"));
    }
    let mut shape = x.shape.clone();
    new.iter().for_each(|&axis| shape.insert(axis, Dim::Known(1)));
    Ok(match x.as_entries() {
        Some(entries) if rank == 1 => Fact::entries(entries, false),
        _ => Fact::new(x.element, shape),
    })
}

pub(super) fn reduce(x: &Fact, axes: &[i64], keep: bool) -> Result<Vec<Dim>, String> {
    let reduced: Vec<usize> = if axes.is_empty() {
        (0..x.rank()).collect()
    } else {
        axes.iter().map(|&axis| axis_of(axis, x.rank())).collect::<Result<_, _>>()?
    };
    let left = |(axis, dim): (usize, &Dim)| match (reduced.contains(&axis), keep) {
        (true, true) => Some(Dim::Known(1)),
        (true, false) => None,
        (false, _) => Some(*dim),
    };
    Ok(x.shape.iter().enumerate().filter_map(left).collect())
}

/// The shape that a list of whole numbers describes.
pub(super) fn described(target: &Fact) -> Result<Vec<Dim>, String> {
    let Some(entries) = target.as_entries() else { return unknown_shape(target) };
    let dim = |entry: &Entry| match entry {
        Entry::Known(n) => {
            usize::try_from(*n).map(Dim::Known).map_err(|_| format!("its target shape has {n}"))
        }
        Entry::Symbol(symbol) => Ok(Dim::Symbol(*symbol)),
        Entry::Unknown => Ok(Dim::Unknown),
    };
    entries.iter().map(dim).collect()
}

/// The shape of which a tensor of unknown numbers says only the rank.
fn unknown_shape(target: &Fact) -> Result<Vec<Dim>, String> {
    match target.shape[..] {
        [Dim::Known(rank)] if rank <= MAX_RANK => Ok(vec![Dim::Unknown; rank]),
        [Dim::Known(rank)] => Err(format!("its target shape has {rank} dimensions")),
        _ => Err("the rank of its target shape is not known".into()),
    }
}

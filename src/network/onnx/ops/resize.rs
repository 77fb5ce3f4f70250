//! Resizing images: `Resize`, and `Upsample` of older files.

use super::Lower;
use crate::network::{
    attributes::{Coordinates, Interpolation, NearestRounding, ResizedLength},
    error::NetworkError,
    onnx::{lowered::Lowered, node::NodeReader},
    ops::{Op, axis_index},
    shapes::{Dim, Entry},
};

pub(super) const OPS: &[(&str, Lower)] = &[("Resize", resize), ("Upsample", upsample)];

/// No axis may become longer than this.
const MAX_LENGTH: i64 = 1 << 24;

fn resize(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 4)?.swap_remove(0);
    if node.flag("antialias", false)? {
        return Err(node.unsupported("antialias", "export it without"));
    }
    if node.text("keep_aspect_ratio_policy")?.is_some_and(|policy| policy != "stretch") {
        return Err(node.unsupported("keep_aspect_ratio_policy", "stretch is"));
    }
    // Opset 10 has scales as its second input and positions as in `Upsample`.
    let (scales, sizes) = if node.opset < 11 { (1, 3) } else { (2, 3) };
    let lengths = match sizes_input(node, sizes)? {
        Some(lengths) => lengths,
        None => scaled(node, scales)?,
    };
    let coordinates = match node.text("coordinate_transformation_mode")?.as_deref() {
        None if node.opset < 11 => Coordinates::Asymmetric,
        None | Some("half_pixel") => Coordinates::HalfPixel,
        Some("pytorch_half_pixel") => Coordinates::PytorchHalfPixel,
        Some("align_corners") => Coordinates::AlignCorners,
        Some("asymmetric") => Coordinates::Asymmetric,
        Some(other) => {
            let what = format!("coordinate_transformation_mode {other}");
            let known = "half_pixel, pytorch_half_pixel, align_corners and asymmetric are";
            return Err(node.unsupported(what, known));
        }
    };
    let interpolation = interpolation(node)?;
    Ok(Lowered::one(Op::Resize { interpolation, coordinates, lengths }, vec![x]))
}

fn upsample(node: &NodeReader<'_>) -> Result<Lowered, NetworkError> {
    let x = node.take(1, 2)?.swap_remove(0);
    let lengths = match node.floats("scales")? {
        Some(scales) => lengths_of(node, &scales, None)?,
        None => scaled(node, 1)?,
    };
    let interpolation = match interpolation(node)? {
        Interpolation::Nearest(_) => Interpolation::Nearest(NearestRounding::Floor),
        other => other,
    };
    let coordinates = Coordinates::Asymmetric;
    Ok(Lowered::one(Op::Resize { interpolation, coordinates, lengths }, vec![x]))
}

fn interpolation(node: &NodeReader<'_>) -> Result<Interpolation, NetworkError> {
    let rounding = match node.text("nearest_mode")?.as_deref() {
        None if node.opset < 11 => NearestRounding::Floor,
        None | Some("round_prefer_floor") => NearestRounding::HalfDown,
        Some("round_prefer_ceil") => NearestRounding::HalfUp,
        Some("floor") => NearestRounding::Floor,
        Some("ceil") => NearestRounding::Ceil,
        Some(other) => {
            let known = "round_prefer_floor, round_prefer_ceil, floor or ceil";
            return Err(node.wrong("nearest_mode", other, known));
        }
    };
    if node.flag("exclude_outside", false)? {
        return Err(node.unsupported("exclude_outside", "export it without"));
    }
    match node.text("mode")?.as_deref() {
        None | Some("nearest") => Ok(Interpolation::Nearest(rounding)),
        Some("linear" | "bilinear") => Ok(Interpolation::Linear),
        Some("cubic") => Ok(Interpolation::Cubic(node.float_or("cubic_coeff_a", -0.75)?)),
        Some(other) => Err(node.wrong("mode", other, "nearest, linear or cubic")),
    }
}

/// The axes that lengths are given for; all where none are named.
fn axes(node: &NodeReader<'_>) -> Result<Option<Vec<usize>>, NetworkError> {
    let rank = node.rank(0)?;
    let Some(axes) = node.ints("axes")? else { return Ok(None) };
    let axes: Option<Vec<usize>> = axes.iter().map(|&axis| axis_index(axis, rank)).collect();
    axes.map(Some).ok_or_else(|| node.invalid("an axis does not exist"))
}

fn scaled(node: &NodeReader<'_>, position: usize) -> Result<Vec<ResizedLength>, NetworkError> {
    let scales = node.constant(position)?.and_then(|array| array.as_f32());
    let scales =
        scales.ok_or_else(|| node.invalid("neither scales nor sizes are given as numbers"))?;
    lengths_of(node, scales, axes(node)?)
}

fn lengths_of(
    node: &NodeReader<'_>,
    scales: &[f32],
    axes: Option<Vec<usize>>,
) -> Result<Vec<ResizedLength>, NetworkError> {
    let rank = node.rank(0)?;
    let axes = axes.unwrap_or_else(|| (0..rank).collect());
    let sane = |scale: &f32| *scale > 0.0 && *scale <= 4096.0;
    if scales.len() != axes.len() || !scales.iter().all(sane) {
        let expected = format!("{} numbers above 0, at most 4096", axes.len());
        return Err(node.wrong("scales", format!("{scales:?}"), expected));
    }
    let mut lengths = vec![ResizedLength::Same; rank];
    for (axis, &scale) in axes.into_iter().zip(scales) {
        if scale != 1.0 {
            lengths[axis] = ResizedLength::Scale(scale);
        }
    }
    Ok(lengths)
}

/// Exact lengths; one that is computed must be the input's own, as for an open batch.
fn sizes_input(
    node: &NodeReader<'_>,
    position: usize,
) -> Result<Option<Vec<ResizedLength>>, NetworkError> {
    let Some(fact) = node.fact(position) else { return Ok(None) };
    let entries = fact.as_entries().unwrap_or_default();
    if entries.is_empty() {
        return Ok(None);
    }
    let rank = node.rank(0)?;
    let axes = axes(node)?.unwrap_or_else(|| (0..rank).collect());
    if entries.len() != axes.len() {
        return Err(node.invalid(format!(
            "{} sizes are given for {} axes",
            entries.len(),
            axes.len()
        )));
    }
    let shape = &node.required_fact(0)?.shape;
    let mut lengths = vec![ResizedLength::Same; rank];
    for (axis, entry) in axes.into_iter().zip(entries) {
        lengths[axis] = match (entry, shape[axis]) {
            (Entry::Known(n), Dim::Known(own)) if usize::try_from(n) == Ok(own) => {
                ResizedLength::Same
            }
            (Entry::Known(n), _) if (1..=MAX_LENGTH).contains(&n) => {
                ResizedLength::Exactly(n as usize)
            }
            (Entry::Symbol(size), Dim::Symbol(own)) if size == own => ResizedLength::Same,
            (Entry::Known(n), _) => {
                return Err(node.invalid(format!("axis {axis} can not become {n} long")));
            }
            _ => {
                let what = format!("a computed size of axis {axis}");
                return Err(node.unsupported(what, "fix the image size when exporting"));
            }
        };
    }
    Ok(Some(lengths))
}

//! Resizing, one axis after the other: ONNX's positions and weights, libtorch's selections.

use tch::{TchError, Tensor};

use crate::network::attributes::{Coordinates, Interpolation, NearestRounding, ResizedLength};

pub(super) fn resize(
    x: &Tensor,
    interpolation: Interpolation,
    coordinates: Coordinates,
    lengths: &[ResizedLength],
) -> Result<Tensor, TchError> {
    let mut output = x.shallow_clone();
    for (axis, length) in lengths.iter().enumerate() {
        let old = output.size()[axis] as usize;
        let (new, scale) = length.of(old);
        if *length == ResizedLength::Same || (new == old && scale == 1.0) {
            continue;
        }
        let at = |i| position(coordinates, i, old, new, scale);
        output = along_axis(&output, axis, &(0..new).map(at).collect::<Vec<_>>(), interpolation)?;
    }
    Ok(output)
}

/// Where output sample `i` lies among the input's samples.
fn position(coordinates: Coordinates, i: usize, old: usize, new: usize, scale: f64) -> f64 {
    let i = i as f64;
    match coordinates {
        Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
        Coordinates::PytorchHalfPixel if new > 1 => (i + 0.5) / scale - 0.5,
        Coordinates::PytorchHalfPixel => 0.0,
        Coordinates::AlignCorners if new > 1 => i * (old as f64 - 1.0) / (new as f64 - 1.0),
        Coordinates::AlignCorners => 0.0,
        Coordinates::Asymmetric => i / scale,
    }
}

/// How much a neighbour counts, from the position behind the sample before it, 0 to 1, and the
/// cubic coefficient.
type Weight = fn(f64, f64) -> f64;

/// The samples of one axis at these positions: a weighted sum of the neighbours of each.
fn along_axis(
    x: &Tensor,
    axis: usize,
    positions: &[f64],
    interpolation: Interpolation,
) -> Result<Tensor, TchError> {
    let length = x.size()[axis];
    let select = |indices: Vec<i64>| {
        let inside: Vec<i64> = indices.iter().map(|i| (*i).clamp(0, length - 1)).collect();
        x.f_index_select(axis as i64, &Tensor::from_slice(&inside).f_to_device(x.device())?)
    };
    let neighbours: Vec<(i64, Weight)> = match interpolation {
        Interpolation::Nearest(rounding) => {
            return select(positions.iter().map(|&p| nearest(p, rounding)).collect());
        }
        Interpolation::Linear => vec![(0, |t, _| 1.0 - t), (1, |t, _| t)],
        Interpolation::Cubic(_) => vec![
            (-1, |t, a| ((a * (t + 1.0) - 5.0 * a) * (t + 1.0) + 8.0 * a) * (t + 1.0) - 4.0 * a),
            (0, |t, a| ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0),
            (1, |t, a| ((a + 2.0) * (1.0 - t) - (a + 3.0)) * (1.0 - t) * (1.0 - t) + 1.0),
            (2, |t, a| ((a * (2.0 - t) - 5.0 * a) * (2.0 - t) + 8.0 * a) * (2.0 - t) - 4.0 * a),
        ],
    };
    let coefficient = match interpolation {
        Interpolation::Cubic(coefficient) => f64::from(coefficient),
        _ => 0.0,
    };
    let mut broadcast = vec![1i64; x.dim()];
    broadcast[axis] = positions.len() as i64;
    let mut output: Option<Tensor> = None;
    for (offset, weight) in neighbours {
        let indices = positions.iter().map(|p| p.floor() as i64 + offset).collect();
        let weights: Vec<f32> =
            positions.iter().map(|p| weight(p - p.floor(), coefficient) as f32).collect();
        let weights = Tensor::from_slice(&weights)
            .f_reshape(broadcast.as_slice())?
            .f_to_device(x.device())?;
        let part = select(indices)?.f_mul(&weights)?;
        output = Some(match output {
            None => part,
            Some(sum) => sum.f_add(&part)?,
        });
    }
    Ok(output.unwrap_or_else(|| x.shallow_clone()))
}

fn nearest(position: f64, rounding: NearestRounding) -> i64 {
    (match rounding {
        NearestRounding::HalfDown => (position - 0.5).ceil(),
        NearestRounding::HalfUp => (position + 0.5).floor(),
        NearestRounding::Floor => position.floor(),
        NearestRounding::Ceil => position.ceil(),
    }) as i64
}

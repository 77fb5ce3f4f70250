//! Functions of one tensor, number by number.

use tch::{Device, Kind, TchError, Tensor};

use super::refuse;
use crate::network::{
    attributes::{Grid, Unary},
    ops::Op,
};

pub(super) fn apply(op: &Op, x: &Tensor) -> Result<Tensor, TchError> {
    match op {
        Op::Relu => x.f_relu(),
        Op::Clip { low, high } => x.f_clamp(f64::from(*low), f64::from(*high)),
        Op::Unary(function) => unary(*function, x),
        Op::Softmax { axis } => x.f_softmax(*axis, None::<Kind>),
        Op::LogSoftmax { axis } => x.f_log_softmax(*axis, None::<Kind>),
        Op::Gelu { tanh } => x.f_gelu(if *tanh { "tanh" } else { "none" }),
        Op::Elu { alpha } => {
            let below = x.f_clamp_max(0.0)?.f_expm1()?.f_mul_scalar(f64::from(*alpha))?;
            x.f_clamp_min(0.0)?.f_add(&below)
        }
        Op::Sigmoid => x.f_sigmoid(),
        Op::HardSigmoid { alpha, beta } => {
            x.f_mul_scalar(f64::from(*alpha))?.f_add_scalar(f64::from(*beta))?.f_clamp(0.0, 1.0)
        }
        Op::HardSwish => x.f_hardswish(),
        Op::LeakyRelu { alpha } => {
            let alpha = single(*alpha, x.device())?;
            x.f_clamp_min(0.0)?.f_add(&x.f_clamp_max(0.0)?.f_mul(&alpha)?)
        }
        Op::FakeQuantize(grid) => fake_quantize(x, grid),
        Op::DynamicQuantize { bits, per_row } => dynamic_quantize(x, *bits, *per_row),
        Op::Binarize { scale } => binarize(x, *scale),
        _ => Err(refuse("not a pointwise operation")),
    }
}

fn unary(function: Unary, x: &Tensor) -> Result<Tensor, TchError> {
    match function {
        Unary::Abs => x.f_abs(),
        Unary::Ceil => x.f_ceil(),
        Unary::Cos => x.f_cos(),
        Unary::Erf => x.f_erf(),
        Unary::Exp => x.f_exp(),
        Unary::Floor => x.f_floor(),
        Unary::Log => x.f_log(),
        Unary::Neg => x.f_neg(),
        Unary::Not => x.f_logical_not(),
        Unary::Reciprocal => x.f_reciprocal(),
        Unary::Round => x.f_round(),
        Unary::Sign => x.f_sign(),
        Unary::Sin => x.f_sin(),
        Unary::Softplus => x.f_softplus(),
        Unary::Sqrt => x.f_sqrt(),
        Unary::Tanh => x.f_tanh(),
    }
}

/// A number as a tensor `[1]`, written where it is read: a copy to a device would wait for it.
fn single(value: f32, device: Device) -> Result<Tensor, TchError> {
    Tensor::f_full([1], f64::from(value), (Kind::Float, device))
}

/// `-scale` or `scale`; 0 counts as positive.
fn binarize(x: &Tensor, scale: f32) -> Result<Tensor, TchError> {
    let positive = x.f_ge(0.0)?.f_to_kind(x.kind())?;
    positive.f_mul_scalar(2.0 * f64::from(scale))?.f_sub_scalar(f64::from(scale))
}

/// [`Grid::round`] on every number, to the last bit.
fn fake_quantize(x: &Tensor, grid: &Grid) -> Result<Tensor, TchError> {
    // The scale is a tensor, since a division by a plain number may be done as a
    // multiplication by its inverse.
    let scale = single(grid.scale, x.device())?;
    let zero_point = f64::from(grid.zero_point);
    let mut q = x.f_div(&scale)?.f_round_()?.f_add_scalar_(zero_point)?;
    q = q.f_clamp_(f64::from(grid.low), f64::from(grid.high))?;
    q.f_sub_scalar_(zero_point)?.f_mul_(&scale)
}

/// The affine grid of the tensor's own values, or of each row's, and rounding to it. A number
/// that is none makes all that share its range none.
fn dynamic_quantize(x: &Tensor, bits: u8, per_row: bool) -> Result<Tensor, TchError> {
    if x.numel() == 0 {
        return Ok(x.shallow_clone());
    }
    let (low, high) = if per_row && x.dim() > 0 {
        (x.f_amin([-1].as_slice(), true)?, x.f_amax([-1].as_slice(), true)?)
    } else {
        (x.f_min()?, x.f_max()?)
    };
    let (low, high) = (low.f_clamp_max(0.0)?, high.f_clamp_min(0.0)?);
    let last = f64::from((1u32 << bits) - 1);
    let levels = single(last as f32, x.device())?;
    let whole = high.f_sub(&low)?;
    // A range may be wider than f32 can say; its parts are not.
    let parts = high.f_div(&levels)?.f_sub(&low.f_div(&levels)?)?;
    let scale = whole.f_div(&levels)?.f_where_self(&whole.f_isfinite()?, &parts)?;
    let scale = scale.f_clamp_min(f64::from(Grid::TINY_SCALE))?;
    let zero_point = low.f_neg()?.f_div(&scale)?.f_round()?.f_clamp(0.0, last)?;
    let q = x.f_div(&scale)?.f_round_()?.f_add(&zero_point)?.f_clamp_(0.0, last)?;
    q.f_sub(&zero_point)?.f_mul(&scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(values: &[f32], shape: &[i64], bits: u8, per_row: bool) -> Vec<f32> {
        let x = Tensor::from_slice(values).view(shape);
        let rounded = dynamic_quantize(&x, bits, per_row).unwrap();
        assert_eq!(rounded.size(), shape);
        Vec::try_from(rounded.contiguous().view(-1)).unwrap()
    }

    #[test]
    fn a_tensor_is_rounded_on_the_range_of_its_own_values() {
        for (name, values, bits, expected) in [
            ("unsigned", [0.0, 0.9, 2.2, 3.0], 2, [0.0, 1.0, 2.0, 3.0]),
            ("zero is a level", [1.0, 1.4, 2.0, 3.0], 2, [1.0, 1.0, 2.0, 3.0]),
            ("both signs", [-1.0, 0.4, 0.6, 2.0], 2, [-1.0, 0.0, 1.0, 2.0]),
            ("below zero", [-3.0, -1.2, -0.2, -2.0], 2, [-3.0, -1.0, 0.0, -2.0]),
            ("one bit", [0.0, 0.4, 0.6, 1.0], 1, [0.0, 0.0, 1.0, 1.0]),
            ("zeros", [0.0; 4], 8, [0.0; 4]),
        ] {
            assert_eq!(rounded(&values, &[2, 2], bits, false), expected, "{name}");
        }
    }

    #[test]
    fn rows_have_ranges_of_their_own() {
        let values = [0.0, 0.3, 0.9, 3.0, 3.0, 90.0, 30.0, 0.0];
        let apart = rounded(&values, &[2, 1, 4], 2, true);
        for (row, values) in apart.chunks(4).zip(values.chunks(4)) {
            assert_eq!(row, rounded(values, &[4], 2, false));
        }
        assert_ne!(apart, rounded(&values, &[2, 1, 4], 2, false));
    }

    #[test]
    fn strange_values_stay_with_those_that_share_their_range() {
        // Its width is more than f32 can say.
        let huge = rounded(&[2e38, -2e38, 0.0, 1.0], &[4], 8, false);
        assert!(huge.iter().all(|x| x.is_finite()) && huge[2] == 0.0, "{huge:?}");
        let apart = rounded(&[f32::NAN, 1.0, 1.0, 0.5], &[2, 2], 1, true);
        assert!(apart[..2].iter().all(|x| x.is_nan()), "{apart:?}");
        assert_eq!(apart[2..], [1.0, 0.0], "halves go to even");
        assert!(rounded(&[], &[0, 4], 8, true).is_empty());
    }
}

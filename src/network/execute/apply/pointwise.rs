//! Functions of one tensor, number by number.

use tch::{Kind, TchError, Tensor};

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
            let alpha = Tensor::from(*alpha).f_to_device(x.device())?;
            x.f_clamp_min(0.0)?.f_add(&x.f_clamp_max(0.0)?.f_mul(&alpha)?)
        }
        Op::FakeQuantize(grid) => fake_quantize(x, grid),
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

/// `-scale` or `scale`; 0 counts as positive.
fn binarize(x: &Tensor, scale: f32) -> Result<Tensor, TchError> {
    let positive = x.f_ge(0.0)?.f_to_kind(x.kind())?;
    positive.f_mul_scalar(2.0 * f64::from(scale))?.f_sub_scalar(f64::from(scale))
}

/// [`Grid::round`] on every number, to the last bit.
fn fake_quantize(x: &Tensor, grid: &Grid) -> Result<Tensor, TchError> {
    // The scale is a tensor, since a division by a plain number may be done as a
    // multiplication by its inverse.
    let scale = Tensor::from_slice(&[grid.scale]).f_to_device(x.device())?;
    let zero_point = f64::from(grid.zero_point);
    let mut q = x.f_div(&scale)?.f_round_()?.f_add_scalar_(zero_point)?;
    q = q.f_clamp_(f64::from(grid.low), f64::from(grid.high))?;
    q.f_sub_scalar_(zero_point)?.f_mul_(&scale)
}

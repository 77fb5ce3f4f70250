//! Numbers to codes and back, with scales that are tensors themselves.

use tch::{Kind, TchError, Tensor};

use super::{Inputs, read, refuse};
use crate::network::ops::{Op, axis_index};

pub(super) fn apply(op: &Op, x: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor, TchError> {
    let (axis, block) = match *op {
        Op::Quantize { axis, .. } => (axis, 0),
        Op::Dequantize { axis, block } => (axis, block),
        _ => return Err(refuse("not a change between numbers and codes")),
    };
    let scale = spread(x, read(inputs, 1)?, axis, block)?;
    let zero_point = match inputs.get(2).copied().flatten() {
        Some(zero_point) => Some(spread(x, zero_point, axis, block)?),
        None => None,
    };
    match op {
        Op::Quantize { low, high, .. } => {
            let mut codes = x.f_div(&scale)?.f_round_()?;
            if let Some(zero_point) = &zero_point {
                codes = codes.f_add_(zero_point)?;
            }
            codes.f_clamp_(*low as f64, *high as f64)?.f_to_kind(Kind::Int64)
        }
        _ => {
            let codes = match &zero_point {
                Some(zero_point) => x.f_sub(zero_point)?,
                None => x.shallow_clone(),
            };
            codes.f_to_kind(scale.kind())?.f_mul(&scale)
        }
    }
}

/// Scales or zero points in a shape that broadcasts over `x`.
fn spread(x: &Tensor, scaling: &Tensor, axis: i64, block: usize) -> Result<Tensor, TchError> {
    if scaling.numel() == 1 {
        return scaling.f_reshape([0i64; 0]);
    }
    let axis = axis_index(axis, x.dim()).ok_or_else(|| refuse("the axis is missing"))?;
    if block > 0 {
        let spread = scaling.f_repeat_interleave_self_int(block as i64, axis as i64, None)?;
        return spread.f_narrow(axis as i64, 0, x.size()[axis]);
    }
    let mut shape = vec![1; x.dim()];
    shape[axis] = -1;
    scaling.f_reshape(shape)
}

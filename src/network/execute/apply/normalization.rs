//! Normalization by stored, layer or group statistics.

use tch::{TchError, Tensor};

use super::{Inputs, refuse};
use crate::network::ops::{Op, axis_index};

pub(super) fn apply(op: &Op, x: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor, TchError> {
    let optional = |position: usize| inputs.get(position).copied().flatten();
    match op {
        Op::BatchNorm { epsilon } => x.f_batch_norm(
            optional(1),
            optional(2),
            optional(3),
            optional(4),
            false,
            0.0,
            f64::from(*epsilon),
            true,
        ),
        Op::LayerNorm { axis, epsilon } => {
            let axis = axis_index(*axis, x.dim()).ok_or_else(|| refuse("the axis is missing"))?;
            let normalized = x.size()[axis..].to_vec();
            x.f_layer_norm(normalized, optional(1), optional(2), f64::from(*epsilon), true)
        }
        Op::GroupNorm { groups, epsilon } => {
            let channels = x.size().get(1).copied().unwrap_or(1);
            let groups = if *groups == 0 { channels } else { *groups as i64 };
            x.f_group_norm(groups, optional(1), optional(2), f64::from(*epsilon), true)
        }
        _ => Err(refuse("not a normalization")),
    }
}

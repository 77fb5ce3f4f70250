//! Matrix products, reductions, and functions of two tensors.

use tch::{Kind, TchError, Tensor};

use super::{Inputs, read, refuse};
use crate::network::{
    attributes::{Comparison, Logic, Reduction},
    ops::Op,
};

pub(super) fn apply(op: &Op, x: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor, TchError> {
    let optional = |position: usize| inputs.get(position).copied().flatten();
    match op {
        Op::Gemm { alpha, beta, transpose_a, transpose_b } => {
            let (weight, bias) = (read(inputs, 1)?, optional(2));
            let scales = (f64::from(*alpha), f64::from(*beta));
            gemm(x, *transpose_a, weight, *transpose_b, bias, scales)
        }
        Op::MatMul => {
            let product = x.f_matmul(read(inputs, 1)?)?;
            match optional(2) {
                Some(bias) => product.f_add(bias),
                None => Ok(product),
            }
        }
        Op::ArgMax { axis, keep } => x.f_argmax(*axis, *keep),
        Op::Reduce { kind, axes, keep } => reduce(*kind, x, axes, *keep),
        _ => Err(refuse("not arithmetic")),
    }
}

fn gemm(
    x: &Tensor,
    transpose_x: bool,
    weight: &Tensor,
    transpose_weight: bool,
    bias: Option<&Tensor>,
    (alpha, beta): (f64, f64),
) -> Result<Tensor, TchError> {
    let x = if transpose_x { x.f_tr()? } else { x.shallow_clone() };
    if transpose_weight && alpha == 1.0 && beta == 1.0 && bias.is_none_or(|b| b.dim() == 1) {
        return x.f_linear(weight, bias);
    }
    let weight = if transpose_weight { weight.f_tr()? } else { weight.shallow_clone() };
    let mut product = x.f_matmul(&weight)?;
    if alpha != 1.0 {
        product = product.f_mul_scalar_(alpha)?;
    }
    match bias {
        Some(bias) if beta != 0.0 => product.f_add(&bias.f_mul_scalar(beta)?),
        _ => Ok(product),
    }
}

pub(super) fn binary(op: &Op, a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    match op {
        Op::Add => a.f_add(b),
        Op::Sub => a.f_sub(b),
        Op::Mul => a.f_mul(b),
        // Whole numbers divide towards 0, as in C.
        Op::Div if a.kind() == Kind::Int64 => a.f_div_tensor_mode(b, "trunc"),
        Op::Div => a.f_div(b),
        Op::Pow => a.f_pow(b)?.f_to_kind(a.kind()),
        Op::Min => a.f_minimum(b),
        Op::Max => a.f_maximum(b),
        Op::Mod { truncated: true } => a.f_fmod_tensor(b),
        Op::Mod { truncated: false } => a.f_remainder_tensor(b),
        Op::Logic(Logic::And) => a.f_logical_and(b),
        Op::Logic(Logic::Or) => a.f_logical_or(b),
        Op::Logic(Logic::Xor) => a.f_logical_xor(b),
        Op::PRelu => a.f_clamp_min(0.0)?.f_add(&a.f_clamp_max(0.0)?.f_mul(b)?),
        _ => Err(refuse("not a function of two tensors")),
    }
}

pub(super) fn compare(comparison: Comparison, a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    match comparison {
        Comparison::Equal => a.f_eq_tensor(b),
        Comparison::Less => a.f_lt_tensor(b),
        Comparison::LessOrEqual => a.f_le_tensor(b),
        Comparison::Greater => a.f_gt_tensor(b),
        Comparison::GreaterOrEqual => a.f_ge_tensor(b),
    }
}

fn reduce(kind: Reduction, x: &Tensor, axes: &[i64], keep: bool) -> Result<Tensor, TchError> {
    let all: Vec<i64> = (0..x.dim() as i64).collect();
    let axes = if axes.is_empty() { all.as_slice() } else { axes };
    let none = None::<Kind>;
    match kind {
        Reduction::Mean => x.f_mean_dim(axes, keep, none),
        Reduction::Sum => x.f_sum_dim_intlist(axes, keep, none),
        Reduction::Max => x.f_amax(axes, keep),
        Reduction::Min => x.f_amin(axes, keep),
        Reduction::L2 => x.f_square()?.f_sum_dim_intlist(axes, keep, none)?.f_sqrt(),
        Reduction::Prod => {
            let mut product = x.shallow_clone();
            let mut descending: Vec<i64> =
                axes.iter().map(|axis| axis.rem_euclid(x.dim().max(1) as i64)).collect();
            descending.sort_unstable_by_key(|axis| -axis);
            for axis in descending {
                product = product.f_prod_dim_int(axis, keep, none)?;
            }
            Ok(product)
        }
    }
}

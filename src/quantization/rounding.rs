//! Rounding weights to their grid: each to the nearest level, or one after the other so that
//! later weights make up for the error of earlier ones (GPTQ).
//!
//! Source: Frantar et al. 2022, "GPTQ", on the objective of Hassibi and Stork 1993.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::quantization::{
    error::QuantizationError, layer_matrix::WeightRows, moments::Moments, uniform::WeightGrid,
};

/// Added to the diagonal, as a share of its mean, so that the matrix can be inverted.
const DAMPING: f64 = 0.01;

/// Every weight to its nearest level.
pub fn nearest(weights: &WeightRows, grids: &[WeightGrid]) -> Vec<f32> {
    let mut rounded = weights.values.clone();
    for (row, grid) in rounded.chunks_mut(weights.n_columns).zip(grids) {
        row.iter_mut().for_each(|w| *w = grid.round(*w));
    }
    rounded
}

/// What second-order rounding needs to know of one layer's input, made once for all bitwidths.
pub struct SecondOrder {
    groups: Vec<ColumnOrder>,
}

/// One group's columns in rounding order, with the Cholesky factor of the inverse
/// second-moment matrix in that order.
struct ColumnOrder {
    order: Vec<usize>,
    /// Upper triangular, row-major `[n_columns, n_columns]`.
    factor: Vec<f32>,
}

impl SecondOrder {
    /// # Errors
    /// [`QuantizationError::Singular`] when the moments cannot be inverted even with damping.
    pub fn new(moments: &Moments, layer: &str) -> Result<Self, QuantizationError> {
        let groups = (0..moments.n_groups())
            .map(|group| ColumnOrder::new(moments, group, layer))
            .collect::<Result<_, _>>()?;
        Ok(Self { groups })
    }

    /// Rounds all rows; the loss is `(w - rounded)' H (w - rounded)` with the damped moments.
    pub fn round(&self, weights: &WeightRows, grids: &[WeightGrid]) -> Vec<f32> {
        let mut rounded = weights.values.clone();
        rounded.par_chunks_mut(weights.n_columns).enumerate().for_each(|(row, values)| {
            self.groups[weights.group_of(row)].round(values, &grids[row]);
        });
        rounded
    }
}

impl ColumnOrder {
    fn new(moments: &Moments, group: usize, layer: &str) -> Result<Self, QuantizationError> {
        let n = moments.n_columns();
        let second = moments.second(group);
        let diagonal: Vec<f64> = (0..n).map(|i| second[i * n + i]).collect();
        let mean = diagonal.iter().sum::<f64>() / n as f64;
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]).then(a.cmp(&b)));
        let mut permuted = vec![0.0f64; n * n];
        for (i, &from_row) in order.iter().enumerate() {
            for (j, &from_column) in order.iter().enumerate() {
                permuted[i * n + j] = second[from_row * n + from_column];
            }
            permuted[i * n + i] += damping;
        }
        let factor = upper_factor_of_inverse(&permuted, n)
            .ok_or_else(|| QuantizationError::Singular { layer: layer.to_owned() })?;
        Ok(Self { order, factor })
    }

    fn round(&self, values: &mut [f32], grid: &WeightGrid) {
        let n = self.order.len();
        let mut pending: Vec<f32> = self.order.iter().map(|&column| values[column]).collect();
        for i in 0..n {
            let row = &self.factor[i * n..(i + 1) * n];
            let level = grid.round(pending[i]);
            let error = (pending[i] - level) / row[i];
            values[self.order[i]] = level;
            for (later, &share) in pending[i + 1..].iter_mut().zip(&row[i + 1..]) {
                *later -= error * share;
            }
        }
    }
}

/// `U` with `U' U = A⁻¹`, upper triangular; `None` when `A` is not positive definite.
fn upper_factor_of_inverse(a: &[f64], n: usize) -> Option<Vec<f32>> {
    let a = Tensor::from_slice(a).view([n as i64, n as i64]);
    let factor = a.f_linalg_cholesky(false).and_then(|lower| lower.f_cholesky_inverse(false));
    let upper = factor.and_then(|inverse| inverse.f_linalg_cholesky(true)).ok()?;
    let values: Vec<f32> = Vec::try_from(upper.to_kind(Kind::Float).contiguous().view(-1)).ok()?;
    values.iter().all(|value| value.is_finite()).then_some(values)
}

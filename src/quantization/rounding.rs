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
pub const DAMPING: f64 = 0.01;

/// Columns whose errors are gathered before later columns make up for them: so much of the
/// factor stays near the processor while all rows use it.
const BLOCK_COLUMNS: usize = 128;

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
    /// - `damping`: above 0, usually [`DAMPING`]; more of it moves rounding towards nearest
    ///
    /// # Errors
    /// [`QuantizationError::Singular`] when the moments cannot be inverted even with damping.
    pub fn new(moments: &Moments, damping: f64, layer: &str) -> Result<Self, QuantizationError> {
        let groups = (0..moments.n_groups())
            .map(|group| ColumnOrder::new(moments, group, damping, layer))
            .collect::<Result<_, _>>()?;
        Ok(Self { groups })
    }

    /// Rounds all rows; the loss is `(w - rounded)' H (w - rounded)` with the damped moments.
    pub fn round(&self, weights: &WeightRows, grids: &[WeightGrid]) -> Vec<f32> {
        let mut rounded = weights.values.clone();
        let n_rows = weights.n_rows / weights.n_groups;
        let groups = rounded.par_chunks_mut(n_rows * weights.n_columns).zip(&self.groups);
        groups.zip(grids.par_chunks(n_rows)).for_each(|((values, group), grids)| {
            group.round(values, grids);
        });
        rounded
    }
}

impl ColumnOrder {
    fn new(
        moments: &Moments,
        group: usize,
        damping: f64,
        layer: &str,
    ) -> Result<Self, QuantizationError> {
        let n = moments.n_columns();
        let second = moments.second(group);
        let diagonal: Vec<f64> = (0..n).map(|i| second[i * n + i]).collect();
        let mean = diagonal.iter().sum::<f64>() / n as f64;
        let damping = if mean > 0.0 { damping * mean } else { 1.0 };
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

    /// Rounds all rows, one block of columns after the other. Later blocks make up for the
    /// errors of a block when it is done, in the order of its columns: blocks of any size give
    /// the same numbers.
    ///
    /// - `values`: `[n_rows, n_columns]`, one grid a row
    fn round(&self, values: &mut [f32], grids: &[WeightGrid]) {
        let n = self.order.len();
        let mut pending: Vec<f32> =
            values.chunks(n).flat_map(|row| self.order.iter().map(|&column| row[column])).collect();
        for start in (0..n).step_by(BLOCK_COLUMNS) {
            let rows = pending.par_chunks_mut(n).zip(values.par_chunks_mut(n)).zip(grids);
            rows.for_each(|((pending, values), grid)| {
                self.round_block(start, pending, values, grid);
            });
        }
    }

    /// Rounds one block of one row and takes its errors off all later columns.
    fn round_block(
        &self,
        start: usize,
        pending: &mut [f32],
        values: &mut [f32],
        grid: &WeightGrid,
    ) {
        let n = self.order.len();
        let end = (start + BLOCK_COLUMNS).min(n);
        let mut errors = [0.0f32; BLOCK_COLUMNS];
        for i in start..end {
            let row = &self.factor[i * n..(i + 1) * n];
            let level = grid.round(pending[i]);
            let error = (pending[i] - level) / row[i];
            values[self.order[i]] = level;
            errors[i - start] = error;
            make_up(&mut pending[i + 1..end], &row[i + 1..end], error);
        }
        for (i, &error) in (start..end).zip(&errors) {
            make_up(&mut pending[end..], &self.factor[i * n + end..(i + 1) * n], error);
        }
    }
}

/// Takes each later weight's share of an error off it.
fn make_up(later: &mut [f32], shares: &[f32], error: f32) {
    for (later, &share) in later.iter_mut().zip(shares) {
        *later -= error * share;
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::Bits;

    /// Made by tests/reference/make_rounding_reference.py.
    const REFERENCE: &str = include_str!("../../tests/reference/rounding.json");

    #[derive(Deserialize)]
    struct Case {
        bits: u8,
        second: Vec<f64>,
        mean: Vec<f64>,
        rows: Vec<Vec<f32>>,
        scales: Vec<f32>,
        rounded: Vec<Vec<f32>>,
    }

    impl Case {
        fn layer(&self) -> (WeightRows, Moments, Vec<WeightGrid>) {
            let n_columns = self.rows[0].len();
            let weights = WeightRows::of_dense(self.rows.concat(), n_columns);
            let moments = Moments::new(1, self.mean.clone(), self.second.clone());
            let bits = Bits::new(self.bits).unwrap();
            let grids = self.scales.iter().map(|&scale| WeightGrid::new(bits, scale)).collect();
            (weights, moments, grids)
        }
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(REFERENCE).unwrap()
    }

    /// `Σ (w - rounded)' H (w - rounded)` over the rows.
    fn loss(case: &Case, rounded: &[f32]) -> f64 {
        let n = case.rows[0].len();
        let rows = case.rows.iter().zip(rounded.chunks(n));
        rows.map(|(row, rounded)| {
            let error: Vec<f64> = row.iter().zip(rounded).map(|(w, r)| f64::from(w - r)).collect();
            let product = |i: usize| -> f64 {
                case.second[i * n..(i + 1) * n].iter().zip(&error).map(|(h, e)| h * e).sum()
            };
            (0..n).map(|i| error[i] * product(i)).sum::<f64>()
        })
        .sum()
    }

    #[test]
    fn second_order_rounding_equals_the_textbook_form() {
        for case in cases() {
            let (weights, moments, grids) = case.layer();
            let rounded =
                SecondOrder::new(&moments, DAMPING, "layer").unwrap().round(&weights, &grids);
            let expected = case.rounded.concat();
            let n = rounded.len();
            for (index, (ours, theirs)) in rounded.iter().zip(&expected).enumerate() {
                let close = (ours - theirs).abs() < 1e-4 * theirs.abs().max(1e-3);
                assert!(close, "{} bits, weight {index} of {n}: {ours} {theirs}", case.bits);
            }
        }
    }

    /// More columns than one block has, against the plain loop over columns.
    #[test]
    fn blocks_of_columns_change_nothing() {
        let (n, n_rows) = (BLOCK_COLUMNS * 2 + 37, 3);
        let noise = |i: usize| ((i * 2_654_435_761) % 1_000_003) as f32 / 500_000.0 - 1.0;
        let rows = WeightRows::of_dense((0..n * n_rows).map(noise).collect(), n);
        let mut second = vec![0.0f64; n * n];
        for i in 0..n {
            for j in 0..n {
                second[i * n + j] = 0.9f64.powi(i.abs_diff(j) as i32);
            }
        }
        let grids = [WeightGrid::new(Bits::new(3).unwrap(), 0.3); 3];
        let moments = Moments::new(1, vec![0.0; n], second);
        let blocked = SecondOrder::new(&moments, DAMPING, "layer").unwrap();
        let order = &blocked.groups[0];
        let mut plain = rows.values.clone();
        for values in plain.chunks_mut(n) {
            let mut pending: Vec<f32> = order.order.iter().map(|&column| values[column]).collect();
            for i in 0..n {
                let row = &order.factor[i * n..(i + 1) * n];
                let level = grids[0].round(pending[i]);
                let error = (pending[i] - level) / row[i];
                values[order.order[i]] = level;
                for j in i + 1..n {
                    pending[j] -= error * row[j];
                }
            }
        }
        assert_eq!(blocked.round(&rows, &grids), plain);
        assert_ne!(plain, nearest(&rows, &grids));
    }

    #[test]
    fn heavy_damping_leaves_nearest_rounding() {
        for case in cases() {
            let (weights, moments, grids) = case.layer();
            let heavy = SecondOrder::new(&moments, 1e9, "layer").unwrap();
            assert_eq!(heavy.round(&weights, &grids), nearest(&weights, &grids));
        }
    }

    /// Each single layer need not gain: later weights can run into the ends of the grid.
    #[test]
    fn second_order_rounding_loses_less_than_nearest_rounding_over_all() {
        let (mut ours, mut theirs) = (0.0, 0.0);
        for case in cases().iter().filter(|case| case.bits < 8) {
            let (weights, moments, grids) = case.layer();
            let second_order = SecondOrder::new(&moments, DAMPING, "layer").unwrap();
            ours += loss(case, &second_order.round(&weights, &grids));
            theirs += loss(case, &nearest(&weights, &grids));
        }
        assert!(ours < 0.7 * theirs, "{ours} {theirs}");
    }

    #[test]
    fn inputs_that_are_always_zero_leave_nearest_rounding() {
        let weights = WeightRows::of_dense(vec![0.3, -0.8, 0.1, 0.9], 4);
        let grids = [WeightGrid::new(Bits::new(3).unwrap(), 0.25)];
        let moments = Moments::new(1, vec![0.0; 4], vec![0.0; 16]);
        let rounded = SecondOrder::new(&moments, DAMPING, "layer").unwrap().round(&weights, &grids);
        assert_eq!(rounded, nearest(&weights, &grids));
    }

    #[test]
    fn moments_that_are_no_numbers_are_named() {
        let moments = Moments::new(1, vec![0.0; 2], vec![f64::NAN; 4]);
        let error = SecondOrder::new(&moments, DAMPING, "conv7").err().unwrap().to_string();
        assert!(error.contains("conv7"), "{error}");
    }
}

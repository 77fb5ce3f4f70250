//! Rounded channels get the mean and the spread of their float weights back.

use crate::quantization::{layer_matrix::WeightRows, uniform::WeightGrid};

/// Stretches each rounded row around its mean until its spread is that of the float row, and
/// moves it until the mean is. The new levels are evenly spaced too; the grids say where.
///
/// - `rounded`: row-major like `weights`, levels of `grids`, one grid a row
///
/// Source: Banner et al. 2019, equations 12 and 13, in the order of the authors' program: spread
/// first, so that the mean is met exactly. A row that has no spread before or after rounding is
/// only moved.
pub fn correct_moments(weights: &WeightRows, rounded: &mut [f32], grids: &mut [WeightGrid]) {
    let rows = rounded.chunks_mut(weights.n_columns).zip(grids);
    for (row, (rounded, grid)) in rows.enumerate() {
        let (mean, spread) = mean_and_spread(weights.row(row));
        let (rounded_mean, rounded_spread) = mean_and_spread(rounded);
        let factor = spread / rounded_spread;
        let usable = factor.is_finite() && factor > 0.0;
        let factor = if usable { factor } else { 1.0 };
        let corrected = grid.stretched(factor as f32, (mean - rounded_mean * factor) as f32);
        rounded.iter_mut().for_each(|weight| *weight = corrected.level(grid.code(*weight)));
        *grid = corrected;
    }
}

/// Mean and standard deviation.
pub fn mean_and_spread(values: &[f32]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let square = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    (mean, square.sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::{domain::Bits, quantization::rounding::nearest};

    /// Made by tests/reference/make_ranges_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/ranges.json");

    #[derive(Deserialize)]
    struct Reference {
        moments: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        bits: u8,
        row: Vec<f32>,
        scale: f32,
        corrected: Vec<f64>,
    }

    #[test]
    fn corrected_weights_equal_the_reference() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().moments {
            let n_columns = case.row.len();
            let weights = WeightRows::of_dense(case.row, n_columns);
            let mut grids = vec![WeightGrid::new(Bits::new(case.bits).unwrap(), case.scale)];
            let mut rounded = nearest(&weights, &grids);
            correct_moments(&weights, &mut rounded, &mut grids);
            for (found, expected) in rounded.iter().zip(&case.corrected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    proptest! {
        #[test]
        fn mean_and_spread_are_those_of_the_float_weights(
            values in prop::collection::vec(-1f32..1.0, 12..60), bits in 2u8..=8
        ) {
            let n_columns = values.len();
            let weights = WeightRows::of_dense(values, n_columns);
            let mut grids = vec![WeightGrid::new(Bits::new(bits).unwrap(), 0.3)];
            let mut rounded = nearest(&weights, &grids);
            let had_spread = mean_and_spread(&rounded).1 > 0.0;
            correct_moments(&weights, &mut rounded, &mut grids);
            let ((mean, spread), (new_mean, new_spread)) =
                (mean_and_spread(weights.row(0)), mean_and_spread(&rounded));
            prop_assert!((mean - new_mean).abs() < 1e-6, "{mean} {new_mean}");
            prop_assert!(!had_spread || (spread - new_spread).abs() < 1e-6, "{spread} {new_spread}");
            for &weight in &rounded {
                prop_assert_eq!(grids[0].round(weight), weight, "a level is rounded to itself");
            }
        }
    }

    #[test]
    fn a_channel_of_no_bits_becomes_its_mean() {
        let weights = WeightRows::of_dense(vec![1.0, 2.0, 6.0], 3);
        let mut grids = vec![WeightGrid::zero()];
        let mut rounded = nearest(&weights, &grids);
        assert_eq!(rounded, [0.0; 3]);
        correct_moments(&weights, &mut rounded, &mut grids);
        assert_eq!(rounded, [3.0; 3]);
    }
}

//! Ranges with the least squared error, found by trying many.

use crate::{
    domain::Bits,
    network::Grid,
    quantization::uniform::{ActivationLevels, WeightGrid, activation_grid, round_small},
};

/// Candidate clip values between nothing and the largest magnitude.
const CLIP_STEPS: u32 = 100;

/// The grid of one weight row with the least squared error, each weight's error counted as often
/// as `importance` says (the mean square of the input it multiplies).
///
/// - `row`: one output channel's weights, finite
/// - `importance`: one non-negative number a weight
/// - `of_scale`: the kind of grid
/// - returns: for a row of zeros a grid with a tiny scale, so that it stays zero
pub fn weight_grid(
    row: &[f32],
    importance: &[f32],
    bits: Bits,
    of_scale: fn(Bits, f32) -> WeightGrid,
) -> WeightGrid {
    let largest = largest(row);
    if largest == 0.0 {
        return of_scale(bits, Grid::TINY_SCALE);
    }
    if bits.get() == 1 {
        return of_scale(bits, binary_scale(row, importance).max(largest * 1e-6));
    }
    let widest = widest_scale(row, bits);
    let error = |scale: f32| weighted_error(row, importance, of_scale(bits, scale));
    let scales = (1..=CLIP_STEPS).map(|step| widest * step as f32 / CLIP_STEPS as f32);
    of_scale(bits, best_of(scales, error))
}

/// The affine grid of one weight row with the least error, counted as by [`weight_grid`].
pub fn affine_weight_grid(row: &[f32], importance: &[f32], bits: Bits) -> WeightGrid {
    let (low, high) = ends(row);
    let grid = |(low, high)| WeightGrid::affine(bits, low, high);
    grid(best_ends(low, high, |ends| weighted_error(row, importance, grid(ends))))
}

/// The scale at which no weight is clipped: the largest magnitude is the largest code, on the
/// side that has fewer of them.
pub fn widest_scale(row: &[f32], bits: Bits) -> f32 {
    let (_, high) = WeightGrid::codes(bits);
    (largest(row) / high as f32).max(Grid::TINY_SCALE)
}

/// The largest magnitude.
pub fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |max, x| max.max(x.abs()))
}

/// The smallest and the largest number, 0 between them.
pub fn ends(values: &[f32]) -> (f32, f32) {
    values.iter().fold((0.0, 0.0), |(low, high), &x| (x.min(low), x.max(high)))
}

/// `scale * sign(w)` is nearest to `w` at the weighted mean magnitude.
pub fn binary_scale(row: &[f32], importance: &[f32]) -> f32 {
    let total: f32 = importance.iter().sum();
    if total == 0.0 {
        return row.iter().map(|w| w.abs()).sum::<f32>() / row.len() as f32;
    }
    row.iter().zip(importance).map(|(w, h)| w.abs() * h).sum::<f32>() / total
}

/// - `grid`: without offset
fn weighted_error(row: &[f32], importance: &[f32], grid: WeightGrid) -> f64 {
    let (low, high) = grid.code_range();
    let (low, high, inverse) = (low as f32, high as f32, 1.0 / grid.scale());
    let chunks = row.chunks(64).zip(importance.chunks(64)).map(|(row, importance)| {
        let sum: f32 = row
            .iter()
            .zip(importance)
            .map(|(&w, &h)| {
                let rounded = round_small((w * inverse).max(low).min(high)) * grid.scale();
                (rounded - w) * (rounded - w) * h
            })
            .sum();
        f64::from(sum)
    });
    chunks.sum()
}

/// The range of an activation tensor with the least squared error.
///
/// - `sample`: sorted ascending, at least one
pub fn activation_range(bits: Bits, sample: &[f32]) -> Grid {
    let (low, high) = (sample[0].min(0.0), sample[sample.len() - 1].max(0.0));
    let grid = |(low, high)| activation_grid(bits, low, high);
    grid(best_ends(low, high, |ends| rounding_error(&grid(ends), sample)))
}

/// Shrinks both ends together, then each alone, and keeps what has the least error.
fn best_ends(low: f32, high: f32, error: impl Fn((f32, f32)) -> f64) -> (f32, f32) {
    let shares = || (1..=CLIP_STEPS).map(|step| step as f32 / CLIP_STEPS as f32);
    let together = shares().map(|share| (low * share, high * share));
    let (mut best_low, mut best_high) = best_of(together, &error);
    if low < 0.0 {
        for _ in 0..2 {
            best_low = best_of(shares().map(|share| low * share), |end| error((end, best_high)));
            best_high = best_of(shares().map(|share| high * share), |end| error((best_low, end)));
        }
    }
    (best_low, best_high)
}

/// Mean square of what rounding adds to a sample, over the sample's variance; 0 for a sample
/// that is constant.
pub fn relative_noise(levels: &ActivationLevels, sample: &[f32]) -> f64 {
    let n = sample.len() as f64;
    let mean = sample.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = sample.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let error = match levels {
        ActivationLevels::Grid(grid) => rounding_error(grid, sample),
        signs => sample.iter().map(|&x| f64::from(x - signs.round(x)).powi(2)).sum(),
    };
    if variance > 0.0 { error / n / variance } else { 0.0 }
}

fn rounding_error(grid: &Grid, sample: &[f32]) -> f64 {
    let inverse = 1.0 / grid.scale;
    let (low, high) = ((grid.low - grid.zero_point) as f32, (grid.high - grid.zero_point) as f32);
    let chunks = sample.chunks(256).map(|chunk| {
        let sum: f32 = chunk
            .iter()
            .map(|&x| {
                let rounded = round_small((x * inverse).max(low).min(high)) * grid.scale;
                (rounded - x) * (rounded - x)
            })
            .sum();
        sum as f64
    });
    chunks.sum()
}

/// The candidate with the least error; of equal ones the last, which is the wider range. An error
/// too large for a number is no less than any.
fn best_of<T: Copy>(candidates: impl Iterator<Item = T>, error: impl Fn(T) -> f64) -> T {
    let mut best: Option<(f64, T)> = None;
    for candidate in candidates {
        let error = Some(error(candidate)).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY);
        if best.is_none_or(|(least, _)| error <= least) {
            best = Some((error, candidate));
        }
    }
    best.expect("there is at least one candidate").1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    fn scale(row: &[f32], importance: &[f32], width: u8) -> f32 {
        weight_grid(row, importance, bits(width), WeightGrid::new).scale()
    }

    /// A bell-shaped row with tails, made without a random generator.
    fn bell(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| {
                let u = (i as f32 + 0.5) / n as f32 * 2.0 - 1.0;
                u.signum() * -(1.0 - u.abs()).ln()
            })
            .collect()
    }

    #[test]
    fn low_bits_clip_more_than_high_bits() {
        let (row, even) = (bell(4096), vec![1.0; 4096]);
        let clip = |b: u8| scale(&row, &even, b) * (1 << (b - 1)) as f32;
        assert!(clip(2) < clip(3) && clip(3) < clip(4) && clip(4) < clip(8));
    }

    #[test]
    fn the_error_falls_with_every_bit() {
        let (row, even) = (bell(4096), vec![1.0; 4096]);
        let errors: Vec<f64> = (1..=8)
            .map(|b| {
                let grid = weight_grid(&row, &even, bits(b), WeightGrid::new);
                weighted_error(&row, &even, grid)
            })
            .collect();
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    }

    #[test]
    fn important_weights_pull_the_clip() {
        let row = [0.1, -0.1, 0.12, 4.0];
        let ignoring = scale(&row, &[1.0, 1.0, 1.0, 0.0], 3);
        let heeding = scale(&row, &[1.0, 1.0, 1.0, 1e3], 3);
        assert!(ignoring < 0.2 && heeding > 1.0, "{ignoring} {heeding}");
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        for b in 2..=8 {
            let grid = weight_grid(&[0.0; 9], &[1.0; 9], bits(b), WeightGrid::new);
            assert_eq!(grid.round(0.0), 0.0);
        }
    }
}

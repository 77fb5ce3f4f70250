//! Where to clip: the scale that loses least, for weights and for activations.

use crate::{
    domain::Bits,
    network::Grid,
    quantization::uniform::{ActivationLevels, WeightGrid, activation_grid, round_small},
};

/// Candidate clip values between nothing and the largest magnitude.
const CLIP_STEPS: u32 = 100;

/// The scale of one weight row with the least squared error, each weight's error counted as
/// often as `importance` says (the mean square of the input it multiplies).
///
/// - `row`: one output channel's weights, finite
/// - `importance`: one non-negative number a weight
/// - returns: above 0; a row of zeros gets a tiny scale, so that it stays zero
pub fn weight_scale(row: &[f32], importance: &[f32], bits: Bits) -> f32 {
    let largest = row.iter().fold(0.0f32, |max, w| max.max(w.abs()));
    if largest == 0.0 {
        return f32::MIN_POSITIVE * 1e6;
    }
    if bits.get() == 1 {
        return binary_scale(row, importance).max(largest * 1e-6);
    }
    let widest = widest_scale(row, bits);
    let error = |scale: f32| weighted_error(row, importance, WeightGrid::new(bits, scale));
    best_of((1..=CLIP_STEPS).map(|step| widest * step as f32 / CLIP_STEPS as f32), error)
}

/// The scale at which no weight is clipped: the largest magnitude is the largest code, on the
/// side that has fewer of them.
pub fn widest_scale(row: &[f32], bits: Bits) -> f32 {
    let largest = row.iter().fold(0.0f32, |max, w| max.max(w.abs()));
    let (_, high) = WeightGrid::codes(bits);
    (largest / high as f32).max(f32::MIN_POSITIVE * 1e6)
}

/// `scale * sign(w)` is nearest to `w` at the weighted mean magnitude.
fn binary_scale(row: &[f32], importance: &[f32]) -> f32 {
    let total: f32 = importance.iter().sum();
    if total == 0.0 {
        return row.iter().map(|w| w.abs()).sum::<f32>() / row.len() as f32;
    }
    row.iter().zip(importance).map(|(w, h)| w.abs() * h).sum::<f32>() / total
}

fn weighted_error(row: &[f32], importance: &[f32], grid: WeightGrid) -> f64 {
    let (low, high) = WeightGrid::codes(grid.bits());
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

/// How an activation range is chosen from what calibration saw.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeRule {
    /// From the smallest to the largest value.
    MinMax,
    /// Without the given share of values, in percent, cut from the ends together.
    Percentile(f64),
    /// The range with the least mean squared error after rounding.
    Mse,
}

/// The grid an activation tensor gets at `bits`.
///
/// - `sample`: values of the tensor, sorted ascending, finite, at least one
pub fn activation_range(rule: RangeRule, bits: Bits, sample: &[f32]) -> Grid {
    let (low, high) = (sample[0], sample[sample.len() - 1]);
    match rule {
        RangeRule::MinMax => activation_grid(bits, low, high),
        RangeRule::Percentile(kept) => {
            let cut = (1.0 - kept / 100.0).clamp(0.0, 1.0);
            let one_sided = low >= 0.0;
            let below = if one_sided { 0.0 } else { cut / 2.0 };
            let above = if one_sided { cut } else { cut / 2.0 };
            activation_grid(bits, quantile(sample, below), quantile(sample, 1.0 - above))
        }
        RangeRule::Mse => mse_range(bits, sample),
    }
}

/// What an activation tensor is rounded to at `bits`: its grid, but one bit of a tensor that
/// holds numbers below 0 is its sign, at the scale with the least squared error.
///
/// - `sample`: as for [`activation_range`]
pub fn activation_levels(rule: RangeRule, bits: Bits, sample: &[f32]) -> ActivationLevels {
    if bits.get() > 1 || sample[0] >= 0.0 {
        return ActivationLevels::Grid(activation_range(rule, bits, sample));
    }
    let total: f64 = sample.iter().map(|x| f64::from(x.abs())).sum();
    ActivationLevels::Signs { scale: (total / sample.len() as f64) as f32 }
}

/// The value below which the given share of a sorted sample lies.
fn quantile(sample: &[f32], share: f64) -> f32 {
    sample[((sample.len() - 1) as f64 * share).round() as usize]
}

/// Shrinks both ends together, then each alone, and keeps what rounds best.
fn mse_range(bits: Bits, sample: &[f32]) -> Grid {
    let (low, high) = (sample[0].min(0.0), sample[sample.len() - 1].max(0.0));
    let error =
        |&(low, high): &(f32, f32)| rounding_error(&activation_grid(bits, low, high), sample);
    let shares = || (1..=CLIP_STEPS).map(|step| step as f32 / CLIP_STEPS as f32);
    let together = shares().map(|share| (low * share, high * share));
    let (mut best_low, mut best_high) = best_of(together, |range| error(&range));
    if low < 0.0 {
        for _ in 0..2 {
            best_low = best_of(shares().map(|share| low * share), |end| error(&(end, best_high)));
            best_high = best_of(shares().map(|share| high * share), |end| error(&(best_low, end)));
        }
    }
    activation_grid(bits, best_low, best_high)
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

/// The candidate with the least error; of equal ones the last, which is the wider range.
fn best_of<T: Copy>(candidates: impl Iterator<Item = T>, error: impl Fn(T) -> f64) -> T {
    let mut best: Option<(f64, T)> = None;
    for candidate in candidates {
        let error = error(candidate);
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
        let clip = |b: u8| weight_scale(&row, &even, bits(b)) * (1 << (b - 1)) as f32;
        assert!(clip(2) < clip(3) && clip(3) < clip(4) && clip(4) < clip(8));
    }

    #[test]
    fn the_error_falls_with_every_bit() {
        let (row, even) = (bell(4096), vec![1.0; 4096]);
        let errors: Vec<f64> = (1..=8)
            .map(|b| {
                let grid = WeightGrid::new(bits(b), weight_scale(&row, &even, bits(b)));
                weighted_error(&row, &even, grid)
            })
            .collect();
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    }

    #[test]
    fn important_weights_pull_the_clip() {
        let row = [0.1, -0.1, 0.12, 4.0];
        let ignoring = weight_scale(&row, &[1.0, 1.0, 1.0, 0.0], bits(3));
        let heeding = weight_scale(&row, &[1.0, 1.0, 1.0, 1e3], bits(3));
        assert!(ignoring < 0.2 && heeding > 1.0, "{ignoring} {heeding}");
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        for b in 2..=8 {
            let grid = WeightGrid::new(bits(b), weight_scale(&[0.0; 9], &[1.0; 9], bits(b)));
            assert_eq!(grid.round(0.0), 0.0);
        }
    }

    #[test]
    fn rules_give_their_ranges() {
        let mut sample: Vec<f32> = (0..=1000).map(|i| i as f32 / 100.0).collect();
        let top = |grid: Grid| grid.scale * grid.high as f32;
        assert!((top(activation_range(RangeRule::MinMax, bits(8), &sample)) - 10.0).abs() < 1e-4);
        let cut = activation_range(RangeRule::Percentile(99.0), bits(8), &sample);
        assert!((top(cut) - 9.9).abs() < 1e-3);
        *sample.last_mut().unwrap() = 100.0;
        let clipped = activation_range(RangeRule::Mse, bits(2), &sample);
        assert!(top(clipped) < 50.0, "one outlier of a thousand does not set the range");
    }

    #[test]
    fn signed_tensors_keep_both_ends() {
        let sample: Vec<f32> = (-300..=100).map(|i| i as f32 / 100.0).collect();
        let grid = activation_range(RangeRule::Mse, bits(8), &sample);
        let (low, high) = (grid.round(-100.0), grid.round(100.0));
        assert!((low + 3.0).abs() < 0.05 && (high - 1.0).abs() < 0.05, "{low} {high}");
    }

    #[test]
    fn one_bit_is_the_sign_where_there_are_two_signs() {
        let one = Bits::new(1).unwrap();
        let signed: Vec<f32> = (-20..=35).map(|n| n as f32 * 0.1).collect();
        let unsigned: Vec<f32> = signed.iter().copied().filter(|x| *x >= 0.0).collect();
        for rule in [RangeRule::MinMax, RangeRule::Percentile(99.0), RangeRule::Mse] {
            let ActivationLevels::Signs { scale } = activation_levels(rule, one, &signed) else {
                panic!("a signed tensor keeps its sign")
            };
            let noise = |scale| relative_noise(&ActivationLevels::Signs { scale }, &signed);
            assert!(noise(scale) < noise(scale * 1.05) && noise(scale) < noise(scale * 0.95));
            let ActivationLevels::Grid(grid) = activation_levels(rule, one, &unsigned) else {
                panic!("a tensor that is never negative has a grid")
            };
            assert_eq!((grid.zero_point, grid.low, grid.high), (0, 0, 1));
            let two = activation_levels(rule, Bits::new(2).unwrap(), &signed);
            assert!(matches!(two, ActivationLevels::Grid(_)), "{two:?}");
        }
    }
}

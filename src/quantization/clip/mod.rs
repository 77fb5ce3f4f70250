//! Where to clip: the range that loses least, for weights and for activations.

mod haq;
mod kl;
mod mse;
mod weights;

use serde::{Deserialize, Serialize};

pub use mse::relative_noise;
pub use weights::{WeightClip, WeightLevels, WeightRule, weight_grid};

use crate::{
    domain::Bits,
    network::Grid,
    quantization::{
        aciq::{AciqForm, activation_limits},
        uniform::{ActivationLevels, activation_grid},
    },
};

/// How an activation range is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeRule {
    /// From the smallest to the largest value.
    MinMax,
    /// Without the given share of values, in percent, cut from the ends together.
    Percentile(f64),
    /// The range with the least mean squared error after rounding.
    Mse,
    /// From the smallest to the largest value of a batch, as an exponential moving average over
    /// the batches of calibration in their order. The number is what stays of the old average
    /// with every batch, from 0 to below 1.
    ///
    /// Source: Jacob et al. 2018, section 3.1.
    Ema(f64),
    /// The range whose rounded histogram says most of the whole one, as TensorRT does.
    Kl,
    /// From moments, as of a Laplace or a normal number.
    Aciq(AciqForm),
    /// HAQ's own search below 5 bits, else the largest value, and never beyond 6.
    Haq,
    /// From the smallest to the largest value of each tensor at run time. What depends on
    /// calibration (bias correction, the noise estimate) takes the range of all its images.
    Dynamic {
        /// Each row of a linear layer's input by itself; other tensors whole.
        per_row: bool,
    },
    /// Not rounded at all.
    Float,
}

/// What calibration saw of one tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorSample {
    /// Sorted ascending, finite, at least one.
    pub values: Vec<f32>,
    /// The smallest and the largest value of each batch, in the order of calibration.
    pub batches: Vec<(f32, f32)>,
    /// Values before the rectifier that wrote the tensor, where there is one and the rule asks.
    pub before: Option<Vec<f32>>,
}

/// The grid an activation tensor gets at `bits`.
fn activation_range(rule: RangeRule, bits: Bits, sample: &TensorSample) -> Grid {
    let values = sample.values.as_slice();
    let (low, high) = (values[0], values[values.len() - 1]);
    match rule {
        RangeRule::MinMax | RangeRule::Dynamic { .. } | RangeRule::Float => {
            activation_grid(bits, low, high)
        }
        RangeRule::Percentile(kept) => {
            let cut = (1.0 - kept / 100.0).clamp(0.0, 1.0);
            let one_sided = low >= 0.0;
            let below = if one_sided { 0.0 } else { cut / 2.0 };
            let above = if one_sided { cut } else { cut / 2.0 };
            activation_grid(bits, quantile(values, below), quantile(values, 1.0 - above))
        }
        RangeRule::Mse => mse::activation_range(bits, values),
        RangeRule::Ema(kept) => {
            let (low, high) = moving_average(kept, &sample.batches);
            activation_grid(bits, low, high)
        }
        RangeRule::Kl => {
            let levels = if low >= 0.0 { 1 << bits.get() } else { 1 << (bits.get() - 1) };
            let threshold = kl::threshold(values, levels);
            activation_grid(bits, low.max(-threshold), high.min(threshold))
        }
        RangeRule::Aciq(form) => {
            let (low, high) = activation_limits(form, bits, values, sample.before.as_deref());
            activation_grid(bits, low, high)
        }
        RangeRule::Haq => haq::activation_range(bits, values),
    }
}

/// What an activation tensor is rounded to at `bits`: its grid, but one bit of a tensor that
/// holds numbers below 0 is its sign, at the scale with the least squared error.
pub fn activation_levels(rule: RangeRule, bits: Bits, sample: &TensorSample) -> ActivationLevels {
    let values = sample.values.as_slice();
    if bits.get() > 1 || values[0] >= 0.0 {
        return ActivationLevels::Grid(activation_range(rule, bits, sample));
    }
    let total: f64 = values.iter().map(|x| f64::from(x.abs())).sum();
    ActivationLevels::Signs { scale: (total / values.len() as f64) as f32 }
}

/// The value below which the given share of a sorted sample lies.
fn quantile(sample: &[f32], share: f64) -> f32 {
    sample[((sample.len() - 1) as f64 * share).round() as usize]
}

/// The first batch starts the average.
fn moving_average(kept: f64, batches: &[(f32, f32)]) -> (f32, f32) {
    let mix = |old: f64, new: f32| kept * old + (1.0 - kept) * f64::from(new);
    let first = (f64::from(batches[0].0), f64::from(batches[0].1));
    let average = |old: (f64, f64), new: &(f32, f32)| (mix(old.0, new.0), mix(old.1, new.1));
    let (low, high) = batches[1..].iter().fold(first, average);
    (low as f32, high as f32)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::quantization::uniform::LARGEST_MAGNITUDE;

    /// Made by tests/reference/make_ranges_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/ranges.json");

    #[derive(Deserialize)]
    struct Reference {
        ranges: Vec<Tensor>,
    }

    #[derive(Deserialize)]
    struct Tensor {
        name: String,
        values: Vec<f32>,
        batches: Vec<(f32, f32)>,
        before: Option<Vec<f32>>,
        at_bits: Vec<Ranges>,
    }

    #[derive(Deserialize)]
    struct Ranges {
        bits: u8,
        min_max: Expected,
        percentile: Expected,
        ema: Expected,
        mse_error: f64,
        kl: Expected,
        haq: Expected,
        aciq: Expected,
        aciq_finite: Expected,
    }

    #[derive(Deserialize)]
    struct Expected {
        scale: f64,
        zero_point: i32,
        low: i32,
        high: i32,
    }

    const RULES: [RangeRule; 9] = [
        RangeRule::MinMax,
        RangeRule::Percentile(99.0),
        RangeRule::Mse,
        RangeRule::Ema(0.9),
        RangeRule::Kl,
        RangeRule::Aciq(AciqForm::Closed),
        RangeRule::Aciq(AciqForm::Finite),
        RangeRule::Haq,
        RangeRule::Dynamic { per_row: false },
    ];

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    fn sample(mut values: Vec<f32>) -> TensorSample {
        values.sort_by(f32::total_cmp);
        let ends = (values[0], values[values.len() - 1]);
        TensorSample { values, batches: vec![ends], before: None }
    }

    #[test]
    fn every_rule_gives_the_range_of_the_reference() {
        for tensor in serde_json::from_str::<Reference>(REFERENCE).unwrap().ranges {
            let (values, batches) = (tensor.values, tensor.batches);
            let sample = TensorSample { values, batches, before: tensor.before };
            for at in tensor.at_bits {
                // The clips of finite grids were sought to four digits.
                for (rule, expected, tolerance) in [
                    (RangeRule::MinMax, at.min_max, 1e-6),
                    (RangeRule::Percentile(99.0), at.percentile, 1e-6),
                    (RangeRule::Ema(0.9), at.ema, 1e-6),
                    (RangeRule::Kl, at.kl, 1e-6),
                    (RangeRule::Haq, at.haq, 1e-6),
                    (RangeRule::Aciq(AciqForm::Closed), at.aciq, 1e-6),
                    (RangeRule::Aciq(AciqForm::Finite), at.aciq_finite, 3e-3),
                ] {
                    let found = activation_range(rule, bits(at.bits), &sample);
                    let name = format!("{} at {} bits, {rule:?}: {found:?}", tensor.name, at.bits);
                    let scale = f64::from(found.scale);
                    assert!((scale - expected.scale).abs() < tolerance * expected.scale, "{name}");
                    let codes = (expected.zero_point, expected.low, expected.high);
                    assert_eq!((found.zero_point, found.low, found.high), codes, "{name}");
                }
                let found = activation_range(RangeRule::Mse, bits(at.bits), &sample);
                let error: f64 =
                    sample.values.iter().map(|&x| f64::from(x - found.round(x)).powi(2)).sum();
                assert!(error <= at.mse_error * 1.0001, "{}: {error}", tensor.name);
            }
        }
    }

    #[test]
    fn outliers_set_no_range_that_is_cut() {
        let mut values: Vec<f32> = (0..=1000).map(|i| i as f32 / 100.0).collect();
        *values.last_mut().unwrap() = 100.0;
        let outlier = sample(values);
        let top = |rule, width| {
            let grid = activation_range(rule, bits(width), &outlier);
            grid.scale * grid.high as f32
        };
        assert!((top(RangeRule::MinMax, 8) - 100.0).abs() < 1e-3);
        assert!((top(RangeRule::Percentile(99.0), 8) - 9.9).abs() < 1e-3);
        for rule in [RangeRule::Mse, RangeRule::Kl, RangeRule::Aciq(AciqForm::Closed)] {
            assert!(top(rule, 2) < 50.0, "{rule:?}: {}", top(rule, 2));
        }
    }

    #[test]
    fn the_least_error_falls_with_every_bit() {
        let tail = |i: i32| -(1.0 - (i as f32 / 500.5).abs()).ln() * (i as f32 + 0.1).signum();
        let signed: Vec<f32> = (-500..=500).map(tail).collect();
        let rectified = signed.iter().map(|x| x.max(0.0)).collect();
        for sample in [signed, rectified].map(sample) {
            let noise = |width| {
                let grid = activation_range(RangeRule::Mse, bits(width), &sample);
                relative_noise(&ActivationLevels::Grid(grid), &sample.values)
            };
            assert!((1..8).all(|width| noise(width + 1) < noise(width)), "{}", sample.values[0]);
        }
    }

    #[test]
    fn signed_tensors_keep_both_ends() {
        let sample = sample((-300..=100).map(|i| i as f32 / 100.0).collect());
        for rule in [RangeRule::Mse, RangeRule::MinMax, RangeRule::Ema(0.5)] {
            let grid = activation_range(rule, bits(8), &sample);
            let (low, high) = (grid.round(-100.0), grid.round(100.0));
            assert!((low + 3.0).abs() < 0.05 && (high - 1.0).abs() < 0.05, "{low} {high}");
        }
    }

    #[test]
    fn strange_tensors_have_finite_ranges_that_hold_zero() {
        for (name, values) in [
            ("zeros", vec![0.0; 50]),
            ("constant above 0", vec![3.0; 50]),
            ("constant below 0", vec![-3.0; 50]),
            ("one value", vec![7.0]),
            ("two ends", vec![-LARGEST_MAGNITUDE, LARGEST_MAGNITUDE]),
            ("tiny", vec![1e-44, 3e-44]),
            ("a lone negative", [vec![1.0; 60], vec![-1e-30]].concat()),
        ] {
            let sample = sample(values);
            for rule in RULES {
                for width in 1..=8 {
                    let grid = activation_range(rule, bits(width), &sample);
                    let named = || format!("{name}, {rule:?} at {width} bits: {grid:?}");
                    assert!(grid.scale > 0.0 && grid.scale.is_finite(), "{}", named());
                    assert_eq!(grid.round(0.0), 0.0, "{}", named());
                    assert!(grid.high - grid.low < 1 << width, "{}", named());
                    let ends = sample.batches[0];
                    assert!(grid.round(ends.0).is_finite() && grid.round(ends.1).is_finite());
                }
            }
        }
    }

    #[test]
    fn haq_never_goes_beyond_six() {
        let grid = activation_range(RangeRule::Haq, bits(8), &sample(vec![0.0, 1.0, 60.0]));
        assert!((grid.round(60.0) - 6.0).abs() < 1e-5);
    }

    #[test]
    fn one_bit_is_the_sign_where_there_are_two_signs() {
        let one = bits(1);
        let signed = sample((-20..=35).map(|n| n as f32 * 0.1).collect());
        let unsigned = sample(signed.values.iter().copied().filter(|x| *x >= 0.0).collect());
        for rule in RULES {
            let ActivationLevels::Signs { scale } = activation_levels(rule, one, &signed) else {
                panic!("a signed tensor keeps its sign")
            };
            let noise = |scale| relative_noise(&ActivationLevels::Signs { scale }, &signed.values);
            assert!(noise(scale) < noise(scale * 1.05) && noise(scale) < noise(scale * 0.95));
            let ActivationLevels::Grid(grid) = activation_levels(rule, one, &unsigned) else {
                panic!("a tensor that is never negative has a grid")
            };
            assert_eq!((grid.zero_point, grid.low, grid.high), (0, 0, 1), "{rule:?}");
            let two = activation_levels(rule, bits(2), &signed);
            assert!(matches!(two, ActivationLevels::Grid(_)), "{two:?}");
        }
    }
}

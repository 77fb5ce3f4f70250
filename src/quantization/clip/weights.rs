//! The grid of one weight channel, or of a whole layer's weights.

use serde::{Deserialize, Serialize};

use super::{haq, kl, mse};
use crate::{
    domain::Bits,
    network::Grid,
    quantization::{
        aciq::{AciqForm, Points, weight_limits, weight_step},
        uniform::WeightGrid,
    },
};

/// How the range of weights is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightClip {
    /// The largest magnitude stays inside.
    MinMax,
    /// The least squared error, weighted by the mean square of each weight's input.
    Mse,
    /// The range whose rounded histogram of magnitudes says most of the whole one.
    Kl,
    /// From moments, as of a Laplace or a normal number.
    Aciq(AciqForm),
    /// HAQ's own search below 5 bits, else the largest magnitude.
    Haq,
}

/// Where the levels of weights lie. One bit is a sign with a scale on all grids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightLevels {
    /// Symmetric to 0 but for one more below it: every code of a two's complement integer.
    #[default]
    Full,
    /// Symmetric to 0.
    Narrow,
    /// Evenly spaced over a range that holds 0 somewhere.
    Affine,
    /// Anywhere: the centroids of all weights of a layer. The clip does not matter.
    Codebook,
}

/// How grids of weights are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightRule {
    pub clip: WeightClip,
    pub levels: WeightLevels,
}

/// The grid of these weights at `bits`.
///
/// - `row`: one output channel's weights or several channels', finite, at least one
/// - `importance`: one non-negative number a weight, for [`WeightClip::Mse`] alone
pub fn weight_grid(rule: WeightRule, bits: Bits, row: &[f32], importance: &[f32]) -> WeightGrid {
    if rule.clip == WeightClip::MinMax {
        return unclipped(rule.levels, bits, row);
    }
    if rule.clip == WeightClip::Mse {
        return match rule.levels {
            WeightLevels::Affine if bits.get() > 1 => {
                mse::affine_weight_grid(row, importance, bits)
            }
            WeightLevels::Narrow => mse::weight_grid(row, importance, bits, WeightGrid::narrow),
            _ => mse::weight_grid(row, importance, bits, WeightGrid::new),
        };
    }
    if bits.get() == 1 {
        return WeightGrid::new(bits, mse::binary_scale(row, &[]).max(Grid::TINY_SCALE));
    }
    match (rule.clip, rule.levels) {
        (WeightClip::Aciq(form), WeightLevels::Affine) => {
            let (low, high) = weight_limits(form, bits, row);
            within(bits, row, low, high)
        }
        (WeightClip::Aciq(form), levels) => {
            let points = match levels {
                WeightLevels::Narrow => Points::Symmetric,
                _ => Points::TwosComplement,
            };
            of_scale(levels, bits, row, weight_step(form, points, bits, row))
        }
        (clip, levels) => {
            let threshold = match clip {
                WeightClip::Kl => kl::threshold(row, 1 << (bits.get() - 1)),
                _ => haq::weight_threshold(bits, row),
            };
            match levels {
                WeightLevels::Affine => within(bits, row, -threshold, threshold),
                _ => of_scale(levels, bits, row, threshold / WeightGrid::codes(bits).1 as f32),
            }
        }
    }
}

fn unclipped(levels: WeightLevels, bits: Bits, row: &[f32]) -> WeightGrid {
    match levels {
        WeightLevels::Affine if bits.get() > 1 => {
            let (low, high) = mse::ends(row);
            WeightGrid::affine(bits, low, high)
        }
        WeightLevels::Narrow => WeightGrid::narrow(bits, mse::widest_scale(row, bits)),
        _ => WeightGrid::new(bits, mse::widest_scale(row, bits)),
    }
}

/// A grid on which 0 is the middle code; never wider than the weights.
fn of_scale(levels: WeightLevels, bits: Bits, row: &[f32], scale: f32) -> WeightGrid {
    let scale = scale.min(mse::widest_scale(row, bits)).max(Grid::TINY_SCALE);
    match levels {
        WeightLevels::Narrow => WeightGrid::narrow(bits, scale),
        _ => WeightGrid::new(bits, scale),
    }
}

/// An affine grid; never wider than the weights.
fn within(bits: Bits, row: &[f32], low: f32, high: f32) -> WeightGrid {
    let (lowest, highest) = mse::ends(row);
    WeightGrid::affine(bits, low.max(lowest), high.min(highest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::quantization::uniform::LARGEST_MAGNITUDE;

    /// Made by tests/reference/make_ranges_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/ranges.json");

    #[derive(Deserialize)]
    struct Reference {
        weights: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        bits: u8,
        row: Vec<f32>,
        full: Vec<f64>,
        narrow: Vec<f64>,
        affine: Vec<f64>,
    }

    const CLIPS: [WeightClip; 6] = [
        WeightClip::MinMax,
        WeightClip::Mse,
        WeightClip::Kl,
        WeightClip::Aciq(AciqForm::Closed),
        WeightClip::Aciq(AciqForm::Finite),
        WeightClip::Haq,
    ];
    const LEVELS: [WeightLevels; 3] =
        [WeightLevels::Full, WeightLevels::Narrow, WeightLevels::Affine];

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    fn grid(clip: WeightClip, levels: WeightLevels, width: u8, row: &[f32]) -> WeightGrid {
        weight_grid(WeightRule { clip, levels }, bits(width), row, &vec![1.0; row.len()])
    }

    fn error(grid: &WeightGrid, row: &[f32]) -> f64 {
        row.iter().map(|&w| f64::from(w - grid.round(w)).powi(2)).sum()
    }

    #[test]
    fn unclipped_weights_equal_the_reference_on_every_kind_of_grid() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().weights {
            for (levels, expected) in [
                (WeightLevels::Full, &case.full),
                (WeightLevels::Narrow, &case.narrow),
                (WeightLevels::Affine, &case.affine),
            ] {
                let grid = grid(WeightClip::MinMax, levels, case.bits, &case.row);
                for (&weight, expected) in case.row.iter().zip(expected) {
                    let found = f64::from(grid.round(weight));
                    let close = (found - expected).abs() < 1e-6;
                    assert!(close, "{levels:?} at {} bits: {found} {expected}", case.bits);
                }
            }
        }
    }

    #[test]
    fn the_least_error_falls_with_every_bit_on_every_kind_of_grid() {
        let tail = |i: i32| -(1.0 - (i as f32 / 500.5).abs()).ln() * (i as f32 + 0.1).signum();
        let row: Vec<f32> = (-500..=500).map(tail).collect();
        for levels in LEVELS {
            let errors: Vec<f64> = (1..=8)
                .map(|width| error(&grid(WeightClip::Mse, levels, width, &row), &row))
                .collect();
            assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{levels:?}: {errors:?}");
        }
    }

    #[test]
    fn strange_channels_have_finite_grids() {
        for (name, row) in [
            ("zeros", vec![0.0; 30]),
            ("constant", vec![0.25; 30]),
            ("constant below 0", vec![-0.25; 30]),
            ("one weight", vec![1.5]),
            ("the largest", vec![LARGEST_MAGNITUDE, -LARGEST_MAGNITUDE, 1.0]),
            ("the smallest", vec![f32::from_bits(1); 5]),
            ("one outlier", [vec![0.01; 40], vec![1e6]].concat()),
        ] {
            for (clip, levels) in CLIPS.into_iter().flat_map(|c| LEVELS.map(|l| (c, l))) {
                for width in 1..=8 {
                    let grid = grid(clip, levels, width, &row);
                    for &weight in &row {
                        let rounded = grid.round(weight);
                        assert!(
                            rounded.is_finite(),
                            "{name}, {clip:?} {levels:?} {width}: {grid:?}"
                        );
                        assert_eq!(grid.round(rounded), rounded, "{name}, {clip:?} {levels:?}");
                    }
                    let (low, high) = grid.code_range();
                    assert!(high - low < 1 << width || grid.is_sign(), "{grid:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn searched_grids_lose_no_more_than_unclipped_ones(
            row in prop::collection::vec(-1f32..1.0, 5..80), width in 2u8..=8
        ) {
            for levels in LEVELS {
                let searched = error(&grid(WeightClip::Mse, levels, width, &row), &row);
                let unclipped = error(&grid(WeightClip::MinMax, levels, width, &row), &row);
                prop_assert!(searched <= unclipped * 1.0001 + 1e-12, "{levels:?}: {searched} {unclipped}");
            }
        }

        #[test]
        fn grids_follow_the_unit_of_the_weights(
            row in prop::collection::vec(-1f32..1.0, 5..80), width in 1u8..=8
        ) {
            let doubled: Vec<f32> = row.iter().map(|w| w * 2.0).collect();
            for (clip, levels) in CLIPS.into_iter().flat_map(|c| LEVELS.map(|l| (c, l))) {
                let (one, two) = (grid(clip, levels, width, &row), grid(clip, levels, width, &doubled));
                prop_assert!((one.scale() * 2.0 - two.scale()).abs() <= 1e-5 * two.scale(), "{clip:?} {levels:?}");
                prop_assert_eq!(one.code_range(), two.code_range());
            }
        }

        #[test]
        fn an_affine_grid_of_a_symmetric_row_has_its_zero_in_the_middle(
            largest in 0.1f32..10.0, width in 2u8..=8
        ) {
            let row = [-largest, 0.0, largest];
            let (low, high) = grid(WeightClip::MinMax, WeightLevels::Affine, width, &row).code_range();
            prop_assert!((low + high).abs() <= 1);
            let narrow = grid(WeightClip::MinMax, WeightLevels::Narrow, width, &row);
            prop_assert_eq!(narrow.round(-largest), -narrow.round(largest));
            prop_assert!((narrow.round(largest) - largest).abs() <= 1e-6 * largest);
        }
    }
}

//! What rounding a layer's weights is taken to lose: measured, or worked out from the curvature of
//! the loss.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{Bits, Operand},
    quantization::{HessianSettings, TraceEstimate},
    search::{
        loss_table::LossTable,
        space::{Decision, SearchSpace},
    },
};

/// Where the losses of weights come from; those of activations are always measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightLosses {
    /// The KL divergence from float with the weights of one layer rounded.
    #[default]
    Measured,
    /// Half the mean curvature along a layer's weights times the sum of their squared changes.
    ///
    /// Source: Dong et al. 2020, "HAWQ-V2", section 3; Yao et al. 2021, "HAWQ-V3", section 3.3.
    Hessian,
}

/// Search images that traces are estimated on at most.
pub const HESSIAN_IMAGES: usize = 64;

/// Enough for a standard error of a few hundredths of most layers' traces.
pub fn hessian_settings(seed: u64, threads: usize) -> HessianSettings {
    const PROBES: u32 = 128;
    HessianSettings { probes: PROBES, seed, threads }
}

impl WeightLosses {
    pub const ALL: [WeightLosses; 2] = [WeightLosses::Measured, WeightLosses::Hessian];

    pub const fn word(self) -> &'static str {
        match self {
            WeightLosses::Measured => "measured",
            WeightLosses::Hessian => "hessian",
        }
    }
}

impl fmt::Display for WeightLosses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for WeightLosses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = WeightLosses::ALL.into_iter().find(|losses| losses.word() == text);
        found
            .ok_or_else(|| format!("{text:?} gives no losses of weights; measured or hessian does"))
    }
}

/// Puts the curvature's losses in the place of the measured ones.
///
/// The loss is the divergence from float, which is 0 and flat at the float weights `w`: to second
/// order `½ Δw' H Δw`, taken as `½ (trace H / n) |Δw|²`. An estimate below 0 is chance, for the
/// curvature is not: such a layer loses nothing here.
///
/// - `traces`: of every layer, in nats by squared weight
/// - `n_weights`: of every layer
/// - `squared_error`: `|Δw|²` of a layer at a width
pub fn put_curvature(
    table: &mut LossTable,
    space: &SearchSpace,
    traces: &[TraceEstimate],
    n_weights: &[u64],
    squared_error: &dyn Fn(usize, Bits) -> f64,
) {
    let weights = space.decisions().iter().filter(|d| d.operand == Operand::Weight);
    for &decision in weights {
        let Decision { layer, .. } = decision;
        let mean_curvature = traces[layer].trace.max(0.0) / n_weights[layer] as f64;
        for &bits in space.widths(decision) {
            table.set(decision, bits, 0.5 * mean_curvature * squared_error(layer, bits));
        }
    }
    table.rise_with_fewer_bits(space);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::space::tests::layer;

    #[test]
    fn weights_lose_half_their_curvature_times_what_moved_and_activations_what_was_measured() {
        let space = SearchSpace::new((0..2).map(|i| layer(i, &[2, 4], &[4, 8])).collect()).unwrap();
        let mut table = LossTable::measured(&space, |_, _| Some(7.0)).unwrap();
        let traces = [6.0, -1.0].map(|trace| TraceEstimate { trace, standard_error: 0.5 });
        let squared_error = |layer: usize, bits: Bits| match (layer, bits.get()) {
            (_, 2) => 0.5,
            _ => 0.1,
        };
        put_curvature(&mut table, &space, &traces, &[3, 8], &squared_error);
        let at = |layer: usize, operand: Operand, bits: u8| {
            table.get(Decision { layer, operand }, Bits::new(bits).unwrap())
        };
        assert!((at(0, Operand::Weight, 2) - 0.5).abs() < 1e-12, "6 / 3 · 0.5 / 2");
        assert!((at(0, Operand::Weight, 4) - 0.1).abs() < 1e-12);
        assert_eq!(at(1, Operand::Weight, 2), 0.0);
        assert_eq!(at(1, Operand::Activation, 4), 7.0);
    }

    #[test]
    fn words_are_read_back() {
        for losses in WeightLosses::ALL {
            assert_eq!(losses.to_string().parse(), Ok(losses));
        }
        let message = "fisher".parse::<WeightLosses>().unwrap_err();
        assert!(message.contains("\"fisher\"") && message.contains("hessian"), "{message}");
    }
}

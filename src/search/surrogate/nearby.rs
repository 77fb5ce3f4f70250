//! Forecasts beside one policy, from what a change changes: a local search asks for thousands.

use crate::{
    domain::{Bits, BitwidthPolicy},
    search::{
        loss_table::{WIDTHS, width_index},
        refine::Forecaster,
        surrogate::{Forecast, Surrogate},
    },
};

/// One version of the model at one policy.
pub struct Nearby<'a> {
    surrogate: &'a Surrogate,
    forecast: &'a Forecast,
    /// `s θ` of each decision, by width.
    corrections: Vec<[f64; WIDTHS]>,
    /// Of each decision: those whose errors meet its own, with the pair's `ρ`.
    meeting: Vec<Vec<(usize, f64)>>,
    /// Of each decision where this stands.
    widths: Vec<usize>,
    /// There: `S`, and `Σ θ s + Σ ρ √(s s')`.
    sum: f64,
    corrected: f64,
}

impl<'a> Nearby<'a> {
    pub fn new(surrogate: &'a Surrogate, forecast: &'a Forecast, policy: &BitwidthPolicy) -> Self {
        let rows = surrogate.alone.iter().zip(&forecast.factors);
        let corrections =
            rows.map(|(alone, factors)| std::array::from_fn(|w| alone[w] * factors[w])).collect();
        let mut meeting = vec![Vec::new(); surrogate.alone.len()];
        for (&(i, j), &rho) in surrogate.pairs.iter().zip(&forecast.pairs) {
            meeting[i].push((j, rho));
            meeting[j].push((i, rho));
        }
        let widths = Vec::new();
        let mut nearby =
            Self { surrogate, forecast, corrections, meeting, widths, sum: 0.0, corrected: 0.0 };
        nearby.stand_at(policy);
        nearby
    }
}

impl Forecaster for Nearby<'_> {
    fn stand_at(&mut self, policy: &BitwidthPolicy) -> f64 {
        self.widths = self.surrogate.widths(policy);
        (self.sum, self.corrected) = self.surrogate.sums(self.forecast, &self.widths);
        self.forecast.log_loss(self.sum, self.corrected)
    }

    fn beside(&self, changes: &[(usize, Bits)]) -> f64 {
        let Surrogate { alone, roots, .. } = self.surrogate;
        let (mut sum, mut corrected) = (self.sum, self.corrected);
        for (n_before, &(index, bits)) in changes.iter().enumerate() {
            let (old, new) = (self.widths[index], width_index(bits));
            sum += alone[index][new] - alone[index][old];
            corrected += self.corrections[index][new] - self.corrections[index][old];
            let risen = roots[index][new] - roots[index][old];
            for &(other, rho) in &self.meeting[index] {
                let changed = changes[..n_before].iter().find(|(changed, _)| *changed == other);
                let width = changed.map_or(self.widths[other], |&(_, bits)| width_index(bits));
                corrected += rho * risen * roots[other][width];
            }
        }
        self.forecast.log_loss(sum, corrected)
    }
}

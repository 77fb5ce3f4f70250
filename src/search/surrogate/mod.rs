//! What a policy will lose, foretold without an evaluation: the losses of single tensors, each
//! corrected by all policies that were judged.
//!
//! With `s` the loss a tensor brings alone at its width and `S` their sum,
//! `ln loss = ln S + a + c ln S + Σ θ s/S + Σ ρ √(s s')/S`: every tensor and width has its factor
//! `1 + θ`, and errors of neighbouring tensors may add up (`ρ > 0`) or cancel. All corrections are
//! 0 until policies that were judged say otherwise.

mod cholesky;
mod nearby;
mod regression;

use rand_chacha::ChaCha8Rng;

pub use self::nearby::Nearby;
use self::regression::{Posterior, Regression};
use crate::{
    domain::{Bits, BitwidthPolicy},
    search::{
        loss_table::{LossTable, WIDTHS, width_index},
        space::{Decision, SearchSpace},
    },
};

/// Below this a loss is none.
const LEAST_LOSS: f64 = 1e-7;

/// A loss of which the logarithm is half as certain as a small one's: large ones saturate.
const UNCERTAIN_LOSS: f64 = 0.3;

/// Standard deviations before anything was judged: of `a`, `c`, a tensor's `θ`, what a width adds
/// to it, and `ρ`.
const PRIOR: Prior = Prior { offset: 2.0, slope: 0.3, tensor: 0.5, width: 0.3, pair: 0.3 };

struct Prior {
    offset: f64,
    slope: f64,
    tensor: f64,
    width: f64,
    pair: f64,
}

/// A model of the loss that learns from judged policies.
#[derive(Debug, Clone)]
pub struct Surrogate {
    space: SearchSpace,
    /// Loss of each decision alone, by width.
    alone: Vec<[f64; WIDTHS]>,
    /// The root of each of those.
    roots: Vec<[f64; WIDTHS]>,
    /// Decisions, by index, whose errors meet.
    pairs: Vec<(usize, usize)>,
    regression: Regression,
}

/// One version of the model.
#[derive(Debug, Clone)]
pub struct Forecast {
    offset: f64,
    slope: f64,
    /// `θ` of each decision, by width.
    factors: Vec<[f64; WIDTHS]>,
    pairs: Vec<f64>,
}

impl Surrogate {
    pub fn new(space: SearchSpace, losses: &LossTable) -> Self {
        let decisions = space.decisions();
        let alone = decisions.iter().map(|&decision| {
            let mut by_width = [LEAST_LOSS; WIDTHS];
            for &bits in space.widths(decision) {
                by_width[width_index(bits)] = losses.get(decision, bits).max(LEAST_LOSS);
            }
            by_width
        });
        let alone: Vec<[f64; WIDTHS]> = alone.collect();
        let roots = alone.iter().map(|row| row.map(f64::sqrt)).collect();
        let near = |(i, j): &(usize, usize)| decisions[*j].layer - decisions[*i].layer <= 1;
        let of = |i: usize| (i + 1..decisions.len()).map(move |j| (i, j)).take_while(near);
        let pairs = (0..decisions.len()).flat_map(of).collect();
        Self { space, alone, roots, pairs, regression: Regression::default() }
    }

    /// Learns what a policy lost.
    pub fn add(&mut self, policy: &BitwidthPolicy, loss: f64) {
        if !loss.is_finite() {
            return;
        }
        let loss = loss.max(LEAST_LOSS);
        let (features, log_sum) = self.features(policy);
        self.regression.add(features, loss.ln() - log_sum, 1.0 + loss / UNCERTAIN_LOSS);
    }

    /// The most likely version.
    pub fn mean(&mut self) -> Forecast {
        let mean = self.posterior().mean();
        self.forecast(&mean)
    }

    /// A version drawn from what is still possible.
    ///
    /// - `boldness`: 0 gives the most likely one, 1 one that is as likely drawn as it is true
    pub fn sample(&mut self, boldness: f64, rng: &mut ChaCha8Rng) -> Forecast {
        let posterior = self.posterior();
        let drawn = posterior.mean().into_iter().zip(posterior.sample(rng));
        let weights: Vec<f64> =
            drawn.map(|(mean, drawn)| mean + boldness * (drawn - mean)).collect();
        self.forecast(&weights)
    }

    /// `ln` of what a policy will lose.
    pub fn log_loss(&self, forecast: &Forecast, policy: &BitwidthPolicy) -> f64 {
        let (sum, corrected) = self.sums(forecast, &self.widths(policy));
        forecast.log_loss(sum, corrected)
    }

    /// The place of each decision's width in the tables.
    fn widths(&self, policy: &BitwidthPolicy) -> Vec<usize> {
        let decisions = self.space.decisions().iter();
        decisions.map(|&decision| width_index(self.space.get(policy, decision))).collect()
    }

    /// `S`, and `Σ θ s + Σ ρ √(s s')`.
    fn sums(&self, forecast: &Forecast, widths: &[usize]) -> (f64, f64) {
        let (mut sum, mut corrected) = (0.0, 0.0);
        for ((alone, factors), &width) in self.alone.iter().zip(&forecast.factors).zip(widths) {
            sum += alone[width];
            corrected += alone[width] * factors[width];
        }
        for (&(i, j), factor) in self.pairs.iter().zip(&forecast.pairs) {
            corrected += factor * self.roots[i][widths[i]] * self.roots[j][widths[j]];
        }
        (sum, corrected)
    }

    /// What one decision alone loses.
    pub fn alone(&self, decision_index: usize, bits: Bits) -> f64 {
        self.alone[decision_index][width_index(bits)]
    }

    /// The part of the loss that is one tensor's, with its factor; 0 for what is not decided.
    pub fn part(&self, forecast: &Forecast, decision: Decision, bits: Bits) -> f64 {
        /// A factor below says that errors cancel, which no sum of parts can.
        const LEAST_FACTOR: f64 = 0.1;
        match self.space.decisions().iter().position(|&d| d == decision) {
            Some(index) => {
                let factor = 1.0 + forecast.factors[index][width_index(bits)];
                self.alone(index, bits) * factor.max(LEAST_FACTOR)
            }
            None => 0.0,
        }
    }

    fn posterior(&mut self) -> Posterior<'_> {
        let n_weights = 2 + self.alone.len() * (1 + WIDTHS) + self.pairs.len();
        self.regression.posterior(n_weights)
    }

    /// Features, each times its prior's standard deviation, and `ln S`.
    fn features(&self, policy: &BitwidthPolicy) -> (Vec<f64>, f64) {
        let widths = self.widths(policy);
        let alone: Vec<f64> = self.alone.iter().zip(&widths).map(|(row, &w)| row[w]).collect();
        let sum: f64 = alone.iter().sum();
        let mut features = vec![PRIOR.offset, PRIOR.slope * sum.ln()];
        features.extend(alone.iter().map(|alone| PRIOR.tensor * alone / sum));
        for (alone, &width) in alone.iter().zip(&widths) {
            let start = features.len();
            features.resize(start + WIDTHS, 0.0);
            features[start + width] = PRIOR.width * alone / sum;
        }
        let meeting = |&(i, j): &(usize, usize)| PRIOR.pair * (alone[i] * alone[j]).sqrt() / sum;
        features.extend(self.pairs.iter().map(meeting));
        (features, sum.ln())
    }

    /// - `weights`: of the features
    fn forecast(&self, weights: &[f64]) -> Forecast {
        let n = self.alone.len();
        let (tensors, rest) = weights[2..].split_at(n);
        let (widths, pairs) = rest.split_at(n * WIDTHS);
        let factors = tensors.iter().zip(widths.chunks(WIDTHS)).map(|(tensor, widths)| {
            std::array::from_fn(|width| PRIOR.tensor * tensor + PRIOR.width * widths[width])
        });
        Forecast {
            offset: PRIOR.offset * weights[0],
            slope: PRIOR.slope * weights[1],
            factors: factors.collect(),
            pairs: pairs.iter().map(|pair| PRIOR.pair * pair).collect(),
        }
    }
}

impl Forecast {
    /// - `sum`: `S`
    /// - `corrected`: `Σ θ s + Σ ρ √(s s')`
    fn log_loss(&self, sum: f64, corrected: f64) -> f64 {
        let log_sum = sum.ln();
        log_sum + self.offset + self.slope * log_sum + corrected / sum
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::search::refine::Forecaster as _;
    use crate::search::space::tests::layer;

    const WIDTHS_OFFERED: [u8; 4] = [2, 3, 4, 8];

    fn space() -> SearchSpace {
        let layers = (0..4).map(|i| layer(i, &WIDTHS_OFFERED, &WIDTHS_OFFERED)).collect();
        SearchSpace::new(layers).unwrap()
    }

    fn measured(space: &SearchSpace) -> LossTable {
        let mut table = LossTable::new(4);
        for &decision in space.decisions() {
            for &bits in space.widths(decision) {
                let loss = (1.0 + decision.layer as f64) * 0.3f64.powi(bits.get().into());
                table.set(decision, bits, loss);
            }
        }
        table
    }

    /// The third layer's weights are four times as bad as they seem alone.
    fn truth(space: &SearchSpace, table: &LossTable, policy: &BitwidthPolicy) -> f64 {
        let of = |&decision: &Decision| {
            let is_worse = decision == space.decisions()[4];
            let loss = table.get(decision, space.get(policy, decision));
            if is_worse { 4.0 * loss } else { loss }
        };
        space.decisions().iter().map(of).sum()
    }

    fn random_policy(space: &SearchSpace, rng: &mut ChaCha8Rng) -> BitwidthPolicy {
        let mut policy = space.widest();
        for &decision in space.decisions() {
            let widths = space.widths(decision);
            space.set(&mut policy, decision, widths[rng.random_range(0..widths.len())]);
        }
        policy
    }

    /// Judges so many policies by [`truth`].
    fn teach(surrogate: &mut Surrogate, table: &LossTable, n: usize, rng: &mut ChaCha8Rng) {
        let space = surrogate.space.clone();
        for _ in 0..n {
            let policy = random_policy(&space, rng);
            surrogate.add(&policy, truth(&space, table, &policy));
        }
    }

    #[test]
    fn before_anything_was_judged_losses_add_up() {
        let space = space();
        let table = measured(&space);
        let mut surrogate = Surrogate::new(space.clone(), &table);
        let forecast = surrogate.mean();
        let policy = space.narrowest();
        let sum: f64 = space.decisions().iter().map(|&d| table.get(d, space.get(&policy, d))).sum();
        assert!((surrogate.log_loss(&forecast, &policy) - sum.ln()).abs() < 1e-12);
    }

    #[test]
    fn what_was_judged_corrects_the_forecast_of_what_was_not() {
        let space = space();
        let table = measured(&space);
        let mut surrogate = Surrogate::new(space.clone(), &table);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        teach(&mut surrogate, &table, 60, &mut rng);
        let before = Surrogate::new(space.clone(), &table).mean();
        let after = surrogate.mean();
        let (mut error_before, mut error_after) = (0.0, 0.0);
        for _ in 0..40 {
            let policy = random_policy(&space, &mut rng);
            let truth = truth(&space, &table, &policy).ln();
            error_before += (surrogate.log_loss(&before, &policy) - truth).abs();
            error_after += (surrogate.log_loss(&after, &policy) - truth).abs();
        }
        assert!(error_after < 0.35 * error_before, "{error_after} {error_before}");
    }

    #[test]
    fn a_forecast_beside_a_policy_is_that_of_the_changed_policy() {
        let space = space();
        let table = measured(&space);
        let mut surrogate = Surrogate::new(space.clone(), &table);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        teach(&mut surrogate, &table, 30, &mut rng);
        let forecast = surrogate.mean();
        let at = random_policy(&space, &mut rng);
        let mut nearby = Nearby::new(&surrogate, &forecast, &space.narrowest());
        let there = nearby.stand_at(&at);
        assert!((there - surrogate.log_loss(&forecast, &at)).abs() < 1e-12);
        let n = space.decisions().len();
        for (first, second) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let (from, mut changed) = (random_policy(&space, &mut rng), at.clone());
            let mut changes = Vec::new();
            for index in [first, second].into_iter().take(if first == second { 1 } else { 2 }) {
                let decision = space.decisions()[index];
                let bits = space.get(&from, decision);
                changes.push((index, bits));
                space.set(&mut changed, decision, bits);
            }
            let (beside, whole) =
                (nearby.beside(&changes), surrogate.log_loss(&forecast, &changed));
            assert!((beside - whole).abs() < 1e-9, "{changes:?}: {beside} {whole}");
        }
    }

    #[test]
    fn a_loss_that_is_no_number_teaches_nothing() {
        let space = space();
        let mut surrogate = Surrogate::new(space.clone(), &measured(&space));
        surrogate.add(&space.narrowest(), f64::NAN);
        surrogate.add(&space.narrowest(), f64::INFINITY);
        let forecast = surrogate.mean();
        assert_eq!(forecast.offset, 0.0);
    }
}

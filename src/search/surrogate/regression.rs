//! Bayesian linear regression with more weights than observations: everything is worked out in
//! the space of observations.
//!
//! Source: Rasmussen and Williams 2006, "Gaussian processes for machine learning", chapter 2, and
//! Matheron's rule for samples of the posterior.

use rand_chacha::ChaCha8Rng;

use super::cholesky::Cholesky;
use crate::search::proposer::normal;

/// Standard deviations of the weights that are tried, all weights alike.
const WEIGHT_SCALES: [f64; 4] = [0.3, 0.6, 1.0, 1.6];

/// Standard deviations of the noise in a target that are tried.
const NOISES: [f64; 4] = [0.01, 0.03, 0.1, 0.3];

/// Scales are chosen anew with every so many observations.
const OBSERVATIONS_BETWEEN_CHOICES: usize = 16;

/// Observations that scales are chosen by at most; more would tell little new.
const CHOSEN_BY_MOST: usize = 1024;

/// Before there are enough to choose by.
const FIRST_SCALES: Scales = Scales { weight: 1.0, noise: 0.1 };

/// Observations of `target = features · weights + noise`, each weight around 0.
#[derive(Debug, Clone, Default)]
pub struct Regression {
    rows: Vec<Vec<f64>>,
    targets: Vec<f64>,
    /// How much noisier an observation is than a good one.
    noise_factors: Vec<f64>,
    /// `rows · rowsᵀ`, row by row, each up to the diagonal.
    gram: Vec<Vec<f64>>,
    /// The scales chosen last.
    chosen: Option<Chosen>,
    /// Of scales that others may be chosen against, as far as they were asked for.
    candidates: Vec<Candidate>,
}

#[derive(Debug, Clone)]
struct Chosen {
    /// Observations they were chosen by.
    by: usize,
    candidate: Candidate,
}

/// Scales, and the factor of the covariance of the first targets under them.
#[derive(Debug, Clone)]
struct Candidate {
    scales: Scales,
    factor: Cholesky,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Scales {
    weight: f64,
    noise: f64,
}

/// What the observations say of the weights.
pub struct Posterior<'a> {
    regression: &'a Regression,
    scales: Scales,
    factor: &'a Cholesky,
    n_weights: usize,
}

impl Regression {
    /// - `noise_factor`: 1 for an observation as good as any, more for one to trust less
    pub fn add(&mut self, features: Vec<f64>, target: f64, noise_factor: f64) {
        let mut products: Vec<f64> = self.rows.iter().map(|row| dot(row, &features)).collect();
        products.push(dot(&features, &features));
        self.gram.push(products);
        self.rows.push(features);
        self.targets.push(target);
        self.noise_factors.push(noise_factor);
    }

    /// What is known now. With no observation that is the prior.
    ///
    /// - `n_weights`: features of an observation
    pub fn posterior(&mut self, n_weights: usize) -> Posterior<'_> {
        let n_observations = self.rows.len();
        // By a number of observations that does not depend on when this is asked.
        let by = n_observations - n_observations % OBSERVATIONS_BETWEEN_CHOICES;
        let by = by.min(CHOSEN_BY_MOST);
        let mut chosen = match self.chosen.take() {
            Some(chosen) if chosen.by == by => chosen,
            _ => Chosen { by, candidate: self.most_likely(by) },
        };
        self.grow(&mut chosen.candidate, n_observations);
        self.chosen = Some(chosen);
        let Chosen { candidate, .. } = self.chosen.as_ref().expect("they were just chosen");
        let Candidate { scales, factor } = candidate;
        Posterior { regression: self, scales: *scales, factor, n_weights }
    }

    /// The scales under which the first `by` targets were the most to be expected.
    fn most_likely(&mut self, by: usize) -> Candidate {
        if by == 0 {
            return Candidate { scales: FIRST_SCALES, factor: Cholesky::default() };
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        if candidates.is_empty() {
            let scales = |weight| NOISES.map(|noise| Scales { weight, noise });
            let of = |scales| Candidate { scales, factor: Cholesky::default() };
            candidates = WEIGHT_SCALES.into_iter().flat_map(scales).map(of).collect();
        }
        let first = candidates.iter().position(|candidate| candidate.scales == FIRST_SCALES);
        let mut best = (f64::NEG_INFINITY, first.unwrap_or_default());
        for (index, candidate) in candidates.iter_mut().enumerate() {
            self.grow(candidate, by);
            let whitened = candidate.factor.solve_lower(&self.targets[..by]);
            let spread = dot(&whitened, &whitened);
            let evidence = -0.5 * spread - candidate.factor.half_log_determinant(by);
            if evidence > best.0 {
                best = (evidence, index);
            }
        }
        let likeliest = candidates[best.1].clone();
        // After the last choice nobody asks for the others again.
        self.candidates = if by == CHOSEN_BY_MOST { Vec::new() } else { candidates };
        likeliest
    }

    /// Takes the observations in that a factor lacks.
    fn grow(&self, candidate: &mut Candidate, n_observations: usize) {
        let Candidate { scales, factor } = candidate;
        let variance = scales.weight * scales.weight;
        for index in factor.n_rows()..n_observations {
            let products = self.gram[index].iter();
            let mut row: Vec<f64> = products.map(|product| variance * product).collect();
            let noise = scales.noise * self.noise_factors[index];
            *row.last_mut().expect("a row reaches the diagonal") += noise * noise;
            factor.push(row);
        }
    }
}

impl Posterior<'_> {
    /// The mean of the weights.
    pub fn mean(&self) -> Vec<f64> {
        self.corrected(vec![0.0; self.n_weights], &self.regression.targets)
    }

    /// Weights drawn from what is still possible.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let regression = self.regression;
        let prior: Vec<f64> =
            (0..self.n_weights).map(|_| self.scales.weight * normal(rng)).collect();
        let observations = regression.rows.iter().zip(&regression.targets);
        let left: Vec<f64> = observations
            .zip(&regression.noise_factors)
            .map(|((row, target), factor)| {
                target - dot(row, &prior) - self.scales.noise * factor * normal(rng)
            })
            .collect();
        self.corrected(prior, &left)
    }

    /// `weights` moved as far as the prior allows towards explaining what is left.
    fn corrected(&self, mut weights: Vec<f64>, left: &[f64]) -> Vec<f64> {
        let variance = self.scales.weight * self.scales.weight;
        let solved = self.factor.solve(left);
        for (row, share) in self.regression.rows.iter().zip(solved) {
            for (weight, feature) in weights.iter_mut().zip(row) {
                *weight += variance * feature * share;
            }
        }
        weights
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    #[test]
    fn weights_are_found_from_enough_observations_and_stay_at_zero_without() {
        let truth = [0.5, -0.3, 0.0, 0.2];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut regression = Regression::default();
        assert_eq!(regression.posterior(4).mean(), [0.0; 4]);
        for _ in 0..60 {
            let features: Vec<f64> = (0..4).map(|_| rng.random_range(-1.0..1.0)).collect();
            let target = dot(&features, &truth) + 0.01 * normal(&mut rng);
            regression.add(features, target, 1.0);
        }
        let posterior = regression.posterior(4);
        let (mean, sample) = (posterior.mean(), posterior.sample(&mut rng));
        for (index, truth) in truth.iter().enumerate() {
            assert!((mean[index] - truth).abs() < 0.02, "{mean:?}");
            assert!((sample[index] - truth).abs() < 0.05, "{sample:?}");
        }
    }

    #[test]
    fn what_is_known_does_not_depend_on_when_it_was_asked_before() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (mut often, mut once) = (Regression::default(), Regression::default());
        for _ in 0..70 {
            let features: Vec<f64> = (0..5).map(|_| rng.random_range(-1.0..1.0)).collect();
            let (target, noise_factor) = (normal(&mut rng), rng.random_range(1.0..3.0));
            often.add(features.clone(), target, noise_factor);
            once.add(features, target, noise_factor);
            often.posterior(5);
        }
        assert_eq!(often.posterior(5).mean(), once.posterior(5).mean());
    }

    #[test]
    fn a_noisy_observation_counts_little() {
        let mut regression = Regression::default();
        for (target, factor) in [(1.0, 1.0), (1.0, 1.0), (-5.0, 100.0)] {
            regression.add(vec![1.0], target, factor);
        }
        let mean = regression.posterior(1).mean();
        assert!((mean[0] - 1.0).abs() < 0.1, "{mean:?}");
    }
}

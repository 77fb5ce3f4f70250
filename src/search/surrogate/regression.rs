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

/// Before there are as many as that.
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
    /// The scales chosen last, and the observations they were chosen by.
    chosen: Option<(usize, Scales)>,
}

#[derive(Debug, Clone, Copy)]
struct Scales {
    weight: f64,
    noise: f64,
}

/// What the observations say of the weights.
pub struct Posterior<'a> {
    regression: &'a Regression,
    scales: Scales,
    factor: Cholesky,
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
        let scales = match self.chosen {
            Some((n, scales)) if n == by => scales,
            _ => self.most_likely_scales(by),
        };
        self.chosen = Some((by, scales));
        let factor = self.factor(scales, n_observations);
        Posterior { regression: self, scales, factor, n_weights }
    }

    /// The scales under which the first `n_observations` targets were the most to be expected.
    fn most_likely_scales(&self, n_observations: usize) -> Scales {
        let mut best = (f64::NEG_INFINITY, FIRST_SCALES);
        if n_observations == 0 {
            return FIRST_SCALES;
        }
        for weight in WEIGHT_SCALES {
            for noise in NOISES {
                let scales = Scales { weight, noise };
                let factor = self.factor(scales, n_observations);
                let whitened = factor.solve_lower(&self.targets[..n_observations]);
                let evidence = -0.5 * dot(&whitened, &whitened) - factor.half_log_determinant();
                if evidence > best.0 {
                    best = (evidence, scales);
                }
            }
        }
        best.1
    }

    /// Of the covariance of the first targets.
    fn factor(&self, scales: Scales, n_observations: usize) -> Cholesky {
        let variance = scales.weight * scales.weight;
        let observations = self.gram.iter().zip(&self.noise_factors).take(n_observations);
        let rows = observations.map(|(products, factor)| {
            let mut row: Vec<f64> = products.iter().map(|product| variance * product).collect();
            let noise = scales.noise * factor;
            *row.last_mut().expect("a row reaches the diagonal") += noise * noise;
            row
        });
        Cholesky::of(rows.collect())
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
    fn a_noisy_observation_counts_little() {
        let mut regression = Regression::default();
        for (target, factor) in [(1.0, 1.0), (1.0, 1.0), (-5.0, 100.0)] {
            regression.add(vec![1.0], target, factor);
        }
        let mean = regression.posterior(1).mean();
        assert!((mean[0] - 1.0).abs() < 0.1, "{mean:?}");
    }
}

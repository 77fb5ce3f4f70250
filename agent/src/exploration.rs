//! Exploration noise: a normal distribution around the actor's action, truncated to [0, 1].

use std::f64::consts::{PI, TAU};

use rand::RngExt;

use crate::config::DdpgConfig;

/// The normal distribution N(`mean`, `sigma`²) under the condition that the value lies in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruncatedNormal {
    mean: f64,
    sigma: f64,
}

impl TruncatedNormal {
    /// - `mean`: of the normal before truncation, in [0, 1]
    /// - `sigma`: its standard deviation, at least 0; 0 always gives the mean
    ///
    /// # Panics
    /// If either is out of range or not a number.
    pub fn new(mean: f64, sigma: f64) -> Self {
        assert!((0.0..=1.0).contains(&mean), "an action's mean is in [0, 1], not {mean}");
        assert!(sigma >= 0.0 && sigma.is_finite(), "sigma is finite and not negative, not {sigma}");
        Self { mean, sigma }
    }

    /// An exact draw, by rejection.
    ///
    /// Candidates come from the untruncated normal while it is narrower than the interval, else from the interval
    /// itself: whichever is accepted more often. For a mean in [0, 1] that is at least 2 times in 5.
    pub fn sample(self, rng: &mut impl RngExt) -> f64 {
        if self.sigma * TAU.sqrt() < 1.0 {
            self.sample_from_normal(rng)
        } else {
            self.sample_from_interval(rng)
        }
    }

    fn sample_from_normal(self, rng: &mut impl RngExt) -> f64 {
        loop {
            // Box and Muller's transform; 1 − u is never 0.
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            let value = self.mean + self.sigma * radius * (2.0 * PI * rng.random::<f64>()).cos();
            if (0.0..=1.0).contains(&value) {
                return value;
            }
        }
    }

    fn sample_from_interval(self, rng: &mut impl RngExt) -> f64 {
        loop {
            let value: f64 = rng.random();
            let deviation = (value - self.mean) / self.sigma;
            if rng.random::<f64>() < (-0.5 * deviation * deviation).exp() {
                return value;
            }
        }
    }
}

/// σ of an episode, counted from 0; none during warm-up, where actions are uniform.
pub(crate) fn sigma_of_episode(config: &DdpgConfig, episode: u64) -> Option<f64> {
    let after_warmup = episode.checked_sub(config.warmup_episodes)?;
    Some(config.noise_sigma * config.noise_decay.powf(after_warmup as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Stream;

    /// Mean and variance of N(mean, sigma²) truncated to [0, 1], as scipy.stats.truncnorm 1.17 computes them from
    /// the closed form: μ + σ (φ(α) − φ(β)) / Z and its companion.
    const CLOSED_FORM: [(f64, f64, f64, f64); 8] = [
        (0.5, 0.5, 0.50000000, 0.0727812737),
        (0.0, 0.5, 0.36139488, 0.0628290694),
        (1.0, 0.5, 0.63860512, 0.0628290694),
        (0.2, 0.3, 0.32426846, 0.0451065068),
        (0.9, 0.3, 0.72218078, 0.0384853433),
        (0.7, 0.05, 0.70000000, 0.0024999999),
        (0.0, 0.01, 0.00797885, 0.0000363380),
        (0.3, 5.0, 0.49933422, 0.0832220095),
    ];

    #[test]
    fn mean_and_variance_equal_the_closed_form() {
        const DRAWS: usize = 40_000;
        for (mean, sigma, expected_mean, expected_variance) in CLOSED_FORM {
            let noise = TruncatedNormal::new(mean, sigma);
            let mut rng = Stream::Exploration.rng(7, 0);
            let draws: Vec<f64> = (0..DRAWS).map(|_| noise.sample(&mut rng)).collect();
            let found_mean = draws.iter().sum::<f64>() / DRAWS as f64;
            let found_variance =
                draws.iter().map(|x| (x - found_mean).powi(2)).sum::<f64>() / DRAWS as f64;

            // Four standard errors of the mean; the variance within 5 %.
            let tolerance = 4.0 * (expected_variance / DRAWS as f64).sqrt();
            let case = format!("mean {mean}, sigma {sigma}");
            assert!((found_mean - expected_mean).abs() < tolerance, "{case}: mean {found_mean}");
            assert!(
                (found_variance / expected_variance - 1.0).abs() < 0.05,
                "{case}: variance {found_variance}"
            );
        }
    }

    #[test]
    fn sigma_decays_from_the_first_episode_after_warmup() {
        let config = DdpgConfig { warmup_episodes: 20, ..DdpgConfig::default() };
        let cases =
            [(0, None), (19, None), (20, Some(0.5)), (21, Some(0.495)), (22, Some(0.49005))];
        for (episode, expected) in cases {
            let found = sigma_of_episode(&config, episode);
            assert_eq!(found.is_some(), expected.is_some(), "episode {episode}");
            let difference = found.unwrap_or(0.0) - expected.unwrap_or(0.0);
            assert!(difference.abs() < 1e-12, "episode {episode}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn draws_stay_between_zero_and_one(mean in 0.0..=1.0_f64, sigma in 0.0..10.0_f64, seed: u64) {
            let mut rng = Stream::Exploration.rng(seed, 0);
            let value = TruncatedNormal::new(mean, sigma).sample(&mut rng);
            prop_assert!((0.0..=1.0).contains(&value));
        }

        #[test]
        fn without_spread_a_draw_is_the_mean(mean in 0.0..=1.0_f64, seed: u64) {
            let mut rng = Stream::Exploration.rng(seed, 0);
            prop_assert_eq!(TruncatedNormal::new(mean, 0.0).sample(&mut rng), mean);
        }
    }
}

//! Quality change → reward, and what rounding costs.

use crate::domain::{Measure, Quality};

/// Reward for one point of quality, a point being a hundredth (HAQ's λ with accuracy in percent).
pub const REWARD_PER_POINT: f64 = 0.1;

/// `λ (quality - quality of the float network)`, quality in hundredths.
///
/// - both: larger is better, as [`crate::domain::Measure::of`] gives them
pub fn reward(quality: f64, float_quality: f64) -> f64 {
    REWARD_PER_POINT * 100.0 * (quality - float_quality)
}

/// What a policy loses, 0 at best: the KL divergence from the float network, or for outputs that
/// are no classes the mean squared error, which tell small differences that a count of right
/// answers does not.
///
/// - `float_quality`: of the float network, by `measure`
pub fn loss(quality: &Quality, measure: Measure, float_quality: f64) -> f64 {
    let counted = || measure.of(quality).map(|value| (float_quality - value).max(0.0));
    quality.kl.or(quality.mse).or_else(counted).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_point_of_accuracy_is_a_tenth() {
        assert!((super::reward(0.91, 0.92) + 0.1).abs() < 1e-12);
        assert_eq!(super::reward(0.92, 0.92), 0.0);
    }
}

//! Quality change → reward.

/// Reward for one point of quality, a point being a hundredth (HAQ's λ with accuracy in percent).
pub const REWARD_PER_POINT: f64 = 0.1;

/// `λ (quality - quality of the float network)`, quality in hundredths.
///
/// - both: larger is better, as [`crate::domain::Measure::of`] gives them
pub fn reward(quality: f64, float_quality: f64) -> f64 {
    REWARD_PER_POINT * 100.0 * (quality - float_quality)
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_point_of_accuracy_is_a_tenth() {
        assert!((super::reward(0.91, 0.92) + 0.1).abs() < 1e-12);
        assert_eq!(super::reward(0.92, 0.92), 0.0);
    }
}

//! Batch norm and a sign after it as one comparison of the accumulator.

/// What a float path computes on an accumulator before it takes the sign of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormSign {
    /// What one unit of the accumulator is worth, above 0.
    pub accumulator_scale: f64,
    pub mean: f64,
    /// `sqrt(variance + epsilon)`, above 0.
    pub deviation: f64,
    pub gamma: f64,
    pub beta: f64,
}

impl BatchNormSign {
    /// The sign of the sum itself.
    pub fn plain(accumulator_scale: f64) -> Self {
        Self { accumulator_scale, mean: 0.0, deviation: 1.0, gamma: 1.0, beta: 0.0 }
    }

    /// Whether the float path answers +1.
    pub fn is_positive(&self, accumulator: i32) -> bool {
        let value = f64::from(accumulator) * self.accumulator_scale;
        (value - self.mean) / self.deviation * self.gamma + self.beta >= 0.0
    }
}

/// +1 from a threshold up, or, where gamma is negative, up to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignThreshold {
    /// The smallest accumulator with the upper answer; one past the reach where there is none.
    threshold: i64,
    /// Whether the upper answer is -1.
    flipped: bool,
}

impl SignThreshold {
    /// The threshold for accumulators from `-reach` to `reach`.
    ///
    /// It is found by bisection over the float path itself, whose every step keeps order when
    /// it rounds; so the two agree on each accumulator, however the floats round.
    ///
    /// # Panics
    /// When `reach` is negative.
    pub fn fold(layer: &BatchNormSign, reach: i32) -> Self {
        assert!(reach >= 0, "accumulators reach at least 0, not {reach}");
        let flipped = layer.gamma < 0.0;
        let (mut low, mut high) = (-i64::from(reach), i64::from(reach) + 1);
        while low < high {
            let middle = (low + high).div_euclid(2);
            if layer.is_positive(middle as i32) != flipped {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Self { threshold: low, flipped }
    }

    /// +1 or -1.
    #[inline]
    pub fn apply(&self, accumulator: i32) -> i32 {
        if (i64::from(accumulator) >= self.threshold) != self.flipped { 1 } else { -1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_threshold_answers_as_the_float_path_on_every_accumulator(
            accumulator_scale in 0.001f64..2.0, mean in -90f64..90.0, deviation in 0.01f64..9.0,
            gamma in prop_oneof![-3f64..3.0, Just(0.0), Just(1.0), Just(-1.0)],
            beta in prop_oneof![-4f64..4.0, Just(0.0)], reach in 0i32..300,
            on_a_tie: bool,
        ) {
            let (mean, beta) = if on_a_tie { (accumulator_scale * 7.0, 0.0) } else { (mean, beta) };
            let layer = BatchNormSign { accumulator_scale, mean, deviation, gamma, beta };
            let folded = SignThreshold::fold(&layer, reach);
            for accumulator in -reach..=reach {
                let expected = if layer.is_positive(accumulator) { 1 } else { -1 };
                prop_assert_eq!(folded.apply(accumulator), expected, "{}", accumulator);
            }
        }
    }
}

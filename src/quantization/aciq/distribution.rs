//! Which of two bell curves a tensor's numbers follow, and how wide it is.

/// A distribution around 0 with one parameter: its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// The unit is the mean distance from the middle, `b`.
    Laplace,
    /// The unit is the standard deviation.
    Gauss,
}

impl Distribution {
    pub const ALL: [Distribution; 2] = [Distribution::Laplace, Distribution::Gauss];
}

/// A distribution fitted to some numbers by their moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    pub distribution: Distribution,
    pub mean: f64,
    /// The distribution's unit, in units of the numbers; 0 or more.
    pub unit: f64,
}

impl Fit {
    /// Around the numbers' own mean.
    pub fn around_mean(values: &[f32]) -> Self {
        let n = values.len().max(1) as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        Self::around(mean, values.iter().map(|&x| f64::from(x)))
    }

    /// Around 0, as a grid that is symmetric to 0 sees them.
    pub fn around_zero(values: &[f32]) -> Self {
        Self::around(0.0, values.iter().map(|&x| f64::from(x)))
    }

    /// What the positive half of a distribution around 0 says of the whole.
    pub fn of_positive_half(values: &[f32]) -> Self {
        Self::around(0.0, values.iter().filter(|x| **x > 0.0).map(|&x| f64::from(x)))
    }

    /// The likelier of the two distributions. With `b` the mean distance from `mean` and `s` the
    /// root mean square, the logarithms of the likelihoods are `-n (ln 2b + 1)` and
    /// `-n (ln 2πs² + 1) / 2`, so all depends on `s / b`.
    fn around(mean: f64, values: impl Iterator<Item = f64>) -> Self {
        /// `√(2e / π)`: where both are equally likely. Laplace numbers have √2, normal ones
        /// `√(π / 2)`.
        const EVEN: f64 = 1.315_489_246_958_914;
        let (mut n, mut distance, mut square) = (0.0f64, 0.0, 0.0);
        for value in values {
            n += 1.0;
            distance += (value - mean).abs();
            square += (value - mean) * (value - mean);
        }
        let (distance, deviation) = (distance / n.max(1.0), (square / n.max(1.0)).sqrt());
        if deviation > EVEN * distance {
            Self { distribution: Distribution::Laplace, mean, unit: distance }
        } else {
            Self { distribution: Distribution::Gauss, mean, unit: deviation }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evenly likely numbers of the standard distributions.
    fn laplace(n: usize) -> Vec<f32> {
        let quantile = |u: f64| if u < 0.5 { (2.0 * u).ln() } else { -(2.0 - 2.0 * u).ln() };
        (0..n).map(|i| quantile((i as f64 + 0.5) / n as f64) as f32).collect()
    }

    fn gauss(n: usize) -> Vec<f32> {
        // The sum of twelve even numbers, arranged so that every combination is met equally.
        let mut state = 1u64;
        let mut even = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        (0..n).map(|_| ((0..12).map(|_| even()).sum::<f64>() - 6.0) as f32).collect()
    }

    #[test]
    fn the_likelier_distribution_is_found_with_its_unit() {
        for (name, values, distribution, unit) in [
            ("laplace", laplace(20_000), Distribution::Laplace, 1.0),
            ("gauss", gauss(20_000), Distribution::Gauss, 1.0),
            ("constant", vec![3.0; 7], Distribution::Gauss, 0.0),
            ("two values", vec![-2.0, 2.0], Distribution::Gauss, 2.0),
        ] {
            let fit = Fit::around_mean(&values);
            assert_eq!(fit.distribution, distribution, "{name}");
            assert!((fit.unit - unit).abs() < 0.02, "{name}: {}", fit.unit);
        }
    }

    #[test]
    fn a_rectified_tensor_tells_of_what_was_rectified() {
        let rectified: Vec<f32> = laplace(20_000).into_iter().map(|x| x.max(0.0)).collect();
        let fit = Fit::of_positive_half(&rectified);
        assert_eq!((fit.distribution, fit.mean), (Distribution::Laplace, 0.0));
        assert!((fit.unit - 1.0).abs() < 0.01, "{}", fit.unit);
        assert_eq!(Fit::of_positive_half(&[0.0; 5]).unit, 0.0);
    }
}

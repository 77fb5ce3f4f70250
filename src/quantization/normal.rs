//! The normal distribution in double precision.

/// The standard normal density.
pub fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The standard normal distribution function, to about 1e-15.
pub fn distribution(x: f64) -> f64 {
    let upper = 0.5 * erfc(x.abs() / std::f64::consts::SQRT_2);
    if x < 0.0 { upper } else { 1.0 - upper }
}

/// The complementary error function for `x >= 0`: its series near 0, its continued fraction
/// (Lentz's method) beyond.
fn erfc(x: f64) -> f64 {
    if x > 27.0 {
        return 0.0;
    }
    if x < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return 1.0 - sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    let fraction = (1..=60).rev().fold(x, |rest, k| x + 0.5 * f64::from(k) / rest);
    (-x * x).exp() / (fraction * std::f64::consts::PI.sqrt())
}

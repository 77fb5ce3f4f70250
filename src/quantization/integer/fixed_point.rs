//! Multiplying an accumulator by a real number without floats.
//!
//! Source: Jacob et al. 2018, section 2.2; the rounding rules are those of gemmlowp.

use super::IntegerError;

/// A real multiplier as `mantissa * 2^(shift - 31)`, the mantissa in `2^30 ..= 2^31 - 1`, or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPointMultiplier {
    mantissa: i32,
    /// Above 0 to the left, below 0 to the right; from -31 to 30.
    shift: i32,
}

impl FixedPointMultiplier {
    const LARGEST_SHIFT: i32 = 30;

    /// The multiplier nearest to `real`. One below `2^-32` is 0: no accumulator notices it.
    ///
    /// # Errors
    /// When `real` is negative, not finite, or rounds to `2^30` and more.
    pub fn from_real(real: f64) -> Result<Self, IntegerError> {
        const FRACTION_BITS: u32 = 52;
        const HALF_EXPONENT: u64 = 1022;
        if !real.is_finite() || real < 0.0 {
            return Err(IntegerError::Multiplier(real));
        }
        if real < f64::exp2(-32.0) {
            return Ok(Self { mantissa: 0, shift: 0 });
        }
        let bits = real.to_bits();
        let mut shift = (bits >> FRACTION_BITS) as i32 - HALF_EXPONENT as i32;
        let fraction = bits & ((1 << FRACTION_BITS) - 1);
        let half_to_one = f64::from_bits(fraction | (HALF_EXPONENT << FRACTION_BITS));
        let mut mantissa = (half_to_one * f64::exp2(31.0)).round() as i64;
        if mantissa == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        if shift > Self::LARGEST_SHIFT {
            return Err(IntegerError::Multiplier(real));
        }
        Ok(Self { mantissa: mantissa as i32, shift })
    }

    pub fn mantissa(&self) -> i32 {
        self.mantissa
    }

    pub fn shift(&self) -> i32 {
        self.shift
    }

    /// The number this multiplies by.
    pub fn to_real(&self) -> f64 {
        f64::from(self.mantissa) * f64::from(self.shift - 31).exp2()
    }

    /// `accumulator` times this, rounded; a left shift saturates.
    #[inline]
    pub fn apply(&self, accumulator: i32) -> i32 {
        let shifted = i64::from(accumulator) << self.shift.max(0);
        let saturated = shifted.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        let product = saturating_rounding_doubling_high_mul(saturated, self.mantissa);
        rounding_divide_by_power_of_two(product, (-self.shift).max(0) as u32)
    }
}

/// `a * b / 2^31`, rounded to the nearest, ties up; `i32::MIN` squared saturates.
#[inline]
pub fn saturating_rounding_doubling_high_mul(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// `x / 2^exponent`, rounded to the nearest, ties away from zero.
///
/// # Panics
/// When the exponent is above 31.
#[inline]
pub fn rounding_divide_by_power_of_two(x: i32, exponent: u32) -> i32 {
    assert!(exponent <= 31, "an exponent is 0 to 31, not {exponent}");
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (i64::from(x) >> exponent) as i32 + i32::from(remainder > threshold)
}

/// Binary digits behind the point that a code has between its two roundings.
pub const FRACTION_BITS: i32 = 22;

/// From an accumulator to the codes of a tensor, a fused ReLU or clip as bounds.
///
/// The accumulator is first shifted left, with saturation, as gemmlowp does for multipliers of
/// 1 and more: the high product is then the code with [`FRACTION_BITS`] digits behind the point,
/// which the division rounds. What saturates is more than 8 bits hold, and ends at a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requantization {
    multiplier: FixedPointMultiplier,
    /// Bits to the left before the multiplication.
    left: u32,
    /// Bits to the right after it.
    right: u32,
    zero_point: i32,
    low: i32,
    high: i32,
}

impl Requantization {
    /// - `ratio`: scale of the accumulator over the scale of the codes
    /// - `low`, `high`: the smallest and the largest code, of at most 8 bits
    ///
    /// # Errors
    /// As [`FixedPointMultiplier::from_real`].
    pub fn new(ratio: f64, zero_point: i32, (low, high): (i32, i32)) -> Result<Self, IntegerError> {
        const LARGEST: i32 = 31;
        let multiplier = FixedPointMultiplier::from_real(ratio)?;
        let left = (FRACTION_BITS + multiplier.shift).clamp(0, LARGEST);
        let right = (left - multiplier.shift).clamp(0, LARGEST);
        Ok(Self { multiplier, left: left as u32, right: right as u32, zero_point, low, high })
    }

    /// What the accumulator is multiplied by in all.
    pub fn ratio(&self) -> f64 {
        self.multiplier.to_real()
    }

    /// Bits that the accumulator is shifted by before and after the multiplication.
    pub(super) fn shifts(&self) -> (u32, u32) {
        (self.left, self.right)
    }

    pub(super) fn mantissa(&self) -> i32 {
        self.multiplier.mantissa
    }

    pub(super) fn zero_point(&self) -> i32 {
        self.zero_point
    }

    pub(super) fn bounds(&self) -> (i32, i32) {
        (self.low, self.high)
    }

    #[inline]
    pub fn apply(&self, accumulator: i32) -> i32 {
        let shifted = i64::from(accumulator) << self.left;
        let saturated = shifted.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        let product = saturating_rounding_doubling_high_mul(saturated, self.multiplier.mantissa);
        let code = rounding_divide_by_power_of_two(product, self.right);
        code.saturating_add(self.zero_point).max(self.low).min(self.high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rounding_rules_meet_the_published_check_values() {
        let high_mul = saturating_rounding_doubling_high_mul;
        assert_eq!(high_mul(1 << 30, 1 << 30), 1 << 29);
        assert_eq!(high_mul(-1, 1 << 30), 0);
        assert_eq!(high_mul(1, 1 << 30), 1);
        assert_eq!(high_mul(i32::MIN, i32::MIN), i32::MAX);
        for (x, exponent, expected) in
            [(-1, 1, -1), (1, 1, 1), (-3, 1, -2), (7, 0, 7), (i32::MIN, 31, -1), (i32::MAX, 31, 1)]
        {
            assert_eq!(rounding_divide_by_power_of_two(x, exponent), expected, "{x} >> {exponent}");
        }
    }

    #[test]
    fn a_mantissa_that_rounds_to_one_is_halved() {
        let multiplier = FixedPointMultiplier::from_real(1.0 - f64::exp2(-40.0)).unwrap();
        assert_eq!((multiplier.mantissa(), multiplier.shift()), (1 << 30, 1));
    }

    #[test]
    fn multipliers_of_one_and_more_saturate() {
        let large = FixedPointMultiplier::from_real(1024.0).unwrap();
        assert_eq!(large.apply(3), 3072);
        assert_eq!(large.apply(-3), -3072);
        // The shift by 11 saturates first; the mantissa is one half.
        assert_eq!(large.apply(i32::MAX), 1 << 30);
        assert_eq!(large.apply(i32::MIN), -(1 << 30));
    }

    #[test]
    fn multipliers_without_a_form_are_refused_and_tiny_ones_are_zero() {
        for real in [-0.5, f64::NAN, f64::INFINITY, f64::exp2(30.0)] {
            assert!(FixedPointMultiplier::from_real(real).is_err(), "{real}");
        }
        for real in [0.0, 1e-300, f64::exp2(-33.0)] {
            assert_eq!(FixedPointMultiplier::from_real(real).unwrap().apply(i32::MAX), 0, "{real}");
        }
    }

    #[test]
    fn codes_stay_between_the_bounds_of_a_fused_relu() {
        let relu = Requantization::new(0.5, 10, (10, 255)).unwrap();
        for (accumulator, code) in
            [(-40, 10), (40, 30), (41, 31), (1000, 255), (i32::MAX, 255), (i32::MIN, 10)]
        {
            assert_eq!(relu.apply(accumulator), code, "{accumulator}");
        }
    }

    proptest! {
        #[test]
        fn the_high_product_is_the_exact_one_rounded_half_up(a: i32, b: i32) {
            let exact = (i128::from(a) * i128::from(b) + (1 << 30)).div_euclid(1 << 31);
            let expected = exact.min(i128::from(i32::MAX));
            prop_assert_eq!(i128::from(saturating_rounding_doubling_high_mul(a, b)), expected);
        }

        #[test]
        fn division_rounds_ties_away_from_zero(x: i32, small in -64i32..64, exponent in 0u32..=31) {
            for x in [x, small] {
                // f64 holds the quotient exactly, and its `round` takes ties away from zero.
                let exact = (f64::from(x) / f64::from(exponent).exp2()).round();
                prop_assert_eq!(f64::from(rounding_divide_by_power_of_two(x, exponent)), exact);
            }
        }

        #[test]
        fn a_multiplier_is_within_half_a_unit_of_its_mantissa(log in -30f64..29.9) {
            let real = log.exp2();
            let fixed = FixedPointMultiplier::from_real(real).unwrap();
            prop_assert!(fixed.mantissa() >= 1 << 30);
            prop_assert!((fixed.to_real() - real).abs() <= real * f64::exp2(-31.0));
        }

        #[test]
        fn codes_are_the_rounded_quotient_but_next_to_ties(log in -30f64..20.0, real in -900f64..900.0) {
            let ratio = log.exp2();
            let accumulator = (real / ratio).clamp(-2e9, 2e9) as i32;
            let made = Requantization::new(ratio, 100, (0, 255)).unwrap();
            let exact = f64::from(accumulator) * ratio;
            let to_tie = ((exact - exact.floor()) - 0.5).abs();
            prop_assume!(to_tie > f64::from(-FRACTION_BITS).exp2());
            prop_assert_eq!(f64::from(made.apply(accumulator)), (exact.round() + 100.0).clamp(0.0, 255.0));
        }

        #[test]
        fn a_product_is_within_one_of_the_real_one(x in -(1i32 << 20)..1 << 20, log in -20f64..8.0) {
            let fixed = FixedPointMultiplier::from_real(log.exp2()).unwrap();
            let real = f64::from(x) * fixed.to_real();
            prop_assert!((f64::from(fixed.apply(x)) - real).abs() <= 1.0, "{real}");
        }
    }
}

//! Evenly spaced levels: what a weight or an activation becomes at a bitwidth.

use crate::{
    domain::Bits,
    network::{Grid, Op},
};

/// The largest magnitude that is quantized: squares of millions of such numbers can be summed up in
/// f32.
pub const LARGEST_MAGNITUDE: f32 = 1e15;

/// The nearest integer, ties to the even one, for magnitudes up to 2^22.
///
/// Adding 1.5 * 2^23 leaves no room for a fraction. Unlike `round_ties_even` this is two plain
/// additions on every processor, so loops over it become vector code.
#[inline(always)]
pub fn round_small(x: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (x + NO_FRACTION) - NO_FRACTION
}

/// The levels of one output channel's weights: evenly spaced, one scale.
///
/// A level is `scale * q + offset`. With two bits and more [`WeightGrid::new`] has `q` from
/// `-2^(b-1)` to `2^(b-1) - 1`, every code of a two's complement integer. One bit is
/// binarization: `-scale` or `+scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightGrid {
    bits: Bits,
    /// Above 0, in units of the weights.
    scale: f32,
    offset: f32,
    low: i32,
    high: i32,
}

impl WeightGrid {
    /// # Panics
    /// When the scale is not above 0.
    pub fn new(bits: Bits, scale: f32) -> Self {
        Self::of_codes(bits, scale, Self::codes(bits))
    }

    /// As many levels on both sides of zero: `q` from `-(2^(b-1) - 1)` to `2^(b-1) - 1`.
    ///
    /// # Panics
    /// When the scale is not above 0.
    pub fn narrow(bits: Bits, scale: f32) -> Self {
        let (_, high) = Self::codes(bits);
        Self::of_codes(bits, scale, (-high, high))
    }

    /// Covers `low..=high` with `2^b` levels, zero among them, wherever the range lies; see
    /// [`activation_grid`]. One bit is binarization here too, at half the range's width.
    pub fn affine(bits: Bits, low: f32, high: f32) -> Self {
        if bits.get() == 1 {
            return Self::new(bits, (high / 2.0 - low / 2.0).max(Grid::TINY_SCALE));
        }
        let grid = activation_grid(bits, low, high);
        Self::of_codes(bits, grid.scale, (-grid.zero_point, grid.high - grid.zero_point))
    }

    /// The grid of no bits at all, whose one level is 0.
    pub fn zero() -> Self {
        Self::of_codes(Bits::MIN, 1.0, (0, 0))
    }

    fn of_codes(bits: Bits, scale: f32, (low, high): (i32, i32)) -> Self {
        assert!(scale > 0.0 && scale.is_finite(), "a scale is finite and above 0, not {scale}");
        Self { bits, scale, offset: 0.0, low, high }
    }

    /// The same codes, whose levels are stretched around 0 by `factor` and then moved.
    ///
    /// # Panics
    /// When the factor is not above 0, or leaves a scale that is not.
    #[must_use]
    pub fn stretched(self, factor: f32, shift: f32) -> Self {
        let grid = Self::of_codes(self.bits, self.scale * factor, (self.low, self.high));
        Self { offset: self.offset * factor + shift, ..grid }
    }

    /// What a code is stored in; 1 for the grid of no bits.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Added to every level; 0 unless moments were corrected.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// The smallest and the largest code of a grid from [`WeightGrid::new`].
    pub fn codes(bits: Bits) -> (i32, i32) {
        let half = 1 << (bits.get() - 1);
        if bits.get() == 1 { (-1, 1) } else { (-half, half - 1) }
    }

    /// The smallest and the largest code of this grid.
    pub fn code_range(&self) -> (i32, i32) {
        (self.low, self.high)
    }

    /// Whether its only codes are -1 and 1.
    pub fn is_sign(&self) -> bool {
        self.bits.get() == 1 && self.low < self.high
    }

    /// The level nearest to `weight`.
    #[inline]
    pub fn round(&self, weight: f32) -> f32 {
        self.level(self.code(weight))
    }

    /// The code of the level nearest to `weight`, a whole number.
    #[inline]
    pub fn code(&self, weight: f32) -> f32 {
        let weight = weight - self.offset;
        if self.is_sign() {
            return if weight >= 0.0 { 1.0 } else { -1.0 };
        }
        (weight / self.scale).round_ties_even().clamp(self.low as f32, self.high as f32)
    }

    /// The level of a code.
    #[inline]
    pub fn level(&self, code: f32) -> f32 {
        // Adding 0 would take the sign off a zero.
        if self.offset == 0.0 { code * self.scale } else { code * self.scale + self.offset }
    }
}

/// The grid that covers `low..=high` evenly with `2^bits` levels, zero among them.
///
/// A range that does not hold zero is widened to it. Where nothing is negative the zero
/// point is 0 (unsigned); else it is the code nearest to zero (affine). An empty range
/// gives a grid whose only value is close to zero.
///
/// Source: Krishnamoorthi 2018, section 2.1.
pub fn activation_grid(bits: Bits, low: f32, high: f32) -> Grid {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let levels = (1i32 << bits.get()) - 1;
    let scale = width(low, high, levels as f32).max(Grid::TINY_SCALE);
    let zero_point = (-low / scale).round_ties_even().clamp(0.0, levels as f32) as i32;
    Grid { scale, zero_point, low: 0, high: levels }
}

/// The width of one of `n` equal parts of a range, which itself may be wider than f32 can say.
fn width(low: f32, high: f32, n: f32) -> f32 {
    let all = high - low;
    if all.is_finite() { all / n } else { high / n - low / n }
}

/// What a tensor is rounded to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationLevels {
    Grid(Grid),
    /// One bit of a tensor that holds numbers below 0: `-scale` or `scale`.
    Signs {
        /// Above 0.
        scale: f32,
    },
}

impl ActivationLevels {
    /// The level a number becomes.
    #[inline]
    pub fn round(&self, x: f32) -> f32 {
        match self {
            Self::Grid(grid) => grid.round(x),
            Self::Signs { scale } if x >= 0.0 => *scale,
            Self::Signs { scale } => -scale,
        }
    }

    /// The operation that rounds.
    pub fn op(&self) -> Op {
        match *self {
            Self::Grid(grid) => Op::FakeQuantize(grid),
            Self::Signs { scale } => Op::Binarize { scale },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    #[test]
    fn weights_round_to_the_nearest_level_and_saturate() {
        for (width, weight, expected) in [
            (1, 0.3, 0.5),
            (1, 0.0, 0.5),
            (1, -7.0, -0.5),
            (2, 0.26, 0.5),
            (2, 0.24, 0.0),
            (2, 9.0, 0.5),
            (2, -9.0, -1.0),
            (4, 3.6, 3.5),
            (4, -4.0, -4.0),
            (8, 1.3, 1.5),
            (8, 0.75, 1.0),
            (8, 0.25, 0.0),
        ] {
            let grid = WeightGrid::new(bits(width), 0.5);
            assert_eq!(grid.round(weight), expected, "{weight} at {width} bits");
        }
    }

    #[test]
    fn an_activation_range_without_negatives_is_unsigned() {
        let grid = activation_grid(bits(4), 0.0, 3.0);
        assert_eq!(grid, Grid { scale: 0.2, zero_point: 0, low: 0, high: 15 });
        assert_eq!(activation_grid(bits(4), 1.0, 3.0), grid);
    }

    #[test]
    fn a_range_wider_than_f32_can_say_still_has_levels() {
        for width in 2..=8 {
            let grid = activation_grid(bits(width), -f32::MAX, f32::MAX);
            assert!(grid.scale.is_finite() && grid.round(1e37).is_finite(), "{grid:?}");
            assert_eq!(grid.round(0.0), 0.0);
        }
    }

    proptest! {
        #[test]
        fn small_numbers_round_as_the_standard_library_rounds(x in -4e6f32..4e6, half in -1000i32..1000) {
            prop_assert_eq!(round_small(x), x.round_ties_even());
            let tie = half as f32 + 0.5;
            prop_assert_eq!(round_small(tie), tie.round_ties_even());
        }

        #[test]
        fn quantizing_twice_is_quantizing_once(
            width in 1u8..=8, scale in 1e-3f32..10.0, weight in -50f32..50.0
        ) {
            let bits = bits(width);
            for grid in [
                WeightGrid::new(bits, scale),
                WeightGrid::narrow(bits, scale),
                WeightGrid::affine(bits, -scale, 3.0 * scale),
                WeightGrid::new(bits, scale).stretched(1.7, 0.3),
                WeightGrid::zero(),
            ] {
                let once = grid.round(weight);
                prop_assert_eq!(grid.round(once), once, "{:?}", grid);
            }
        }

        #[test]
        fn symmetric_grids_treat_both_signs_alike(
            width in 2u8..=8, scale in 1e-3f32..10.0, weight in -50f32..50.0
        ) {
            let grid = WeightGrid::narrow(bits(width), scale);
            prop_assert_eq!(grid.round(-weight), -grid.round(weight));
            let full = WeightGrid::new(bits(width), scale).round(weight);
            prop_assert!(full == grid.round(weight) || full < 0.0, "only one level more, below 0");
            let affine = activation_grid(bits(width), 0.0, scale);
            prop_assert_eq!(affine.zero_point, 0);
            prop_assert_eq!(affine.round(-weight.abs()), 0.0);
        }

        #[test]
        fn an_activation_grid_holds_zero_and_its_ends_closely(
            width in 1u8..=8, low in -10f32..0.0, high in 0.01f32..10.0, x in -10f32..10.0
        ) {
            let grid = activation_grid(bits(width), low, high);
            prop_assert_eq!(grid.round(0.0), 0.0);
            prop_assert_eq!(grid.round(grid.round(x)), grid.round(x));
            let inside = x.clamp(low, high);
            prop_assert!((grid.round(inside) - inside).abs() <= grid.scale * 1.01);
        }
    }
}

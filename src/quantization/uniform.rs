//! Evenly spaced levels: what a weight or an activation becomes at a bitwidth.

use crate::{
    domain::Bits,
    network::{Grid, Op},
};

/// The nearest integer, ties to the even one, for magnitudes up to 2^22.
///
/// Adding 1.5 * 2^23 leaves no room for a fraction. Unlike `round_ties_even` this is two plain
/// additions on every processor, so loops over it become vector code.
#[inline(always)]
pub fn round_small(x: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (x + NO_FRACTION) - NO_FRACTION
}

/// The levels of one output channel's weights: symmetric around zero, one scale.
///
/// At 2 bits and more a level is `scale * q` with `q` from `-2^(b-1)` to `2^(b-1) - 1`, every
/// code of a two's complement integer. One bit is binarization: `-scale` or `+scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightGrid {
    bits: Bits,
    /// Above 0, in units of the weights.
    scale: f32,
}

impl WeightGrid {
    /// # Panics
    /// When the scale is not above 0.
    pub fn new(bits: Bits, scale: f32) -> Self {
        assert!(scale > 0.0 && scale.is_finite(), "a scale is finite and above 0, not {scale}");
        Self { bits, scale }
    }

    pub fn bits(&self) -> Bits {
        self.bits
    }

    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The smallest and the largest code.
    pub fn codes(bits: Bits) -> (i32, i32) {
        let half = 1 << (bits.get() - 1);
        if bits.get() == 1 { (-1, 1) } else { (-half, half - 1) }
    }

    /// The level nearest to `weight`.
    #[inline]
    pub fn round(&self, weight: f32) -> f32 {
        if self.bits.get() == 1 {
            return if weight >= 0.0 { self.scale } else { -self.scale };
        }
        let (low, high) = Self::codes(self.bits);
        let q = (weight / self.scale).round_ties_even().clamp(low as f32, high as f32);
        q * self.scale
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
    let scale = ((high - low) / levels as f32).max(f32::MIN_POSITIVE * 1e6);
    let zero_point = (-low / scale).round_ties_even().clamp(0.0, levels as f32) as i32;
    Grid { scale, zero_point, low: 0, high: levels }
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
            let grid = WeightGrid::new(bits(width), scale);
            let once = grid.round(weight);
            prop_assert_eq!(grid.round(once), once);
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

//! What is known of a tensor before any image is seen: where it is kept and what its integers
//! stand for.

use crate::{
    network::Grid,
    quantization::integer::{BatchNormSign, CodeRange, IntegerError},
};

/// A tensor of one image.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// With the batch axis, of length 1.
    pub shape: Vec<usize>,
    pub form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    /// Real numbers of the image itself, at these places of it where it was moved.
    Image {
        moved: Option<Vec<Option<u32>>>,
    },
    Codes {
        slot: usize,
        grid: CodeGrid,
    },
    /// A function of codes that no grid holds yet: its values by code.
    Function {
        slot: usize,
        values: Vec<f64>,
    },
    Sums {
        slot: usize,
        sums: Sums,
    },
}

/// What codes stand for: `scale * (code - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CodeGrid {
    pub scale: f64,
    pub range: CodeRange,
}

impl CodeGrid {
    /// The grid with its codes moved to start at 0.
    pub fn of(grid: &Grid, tensor: &str) -> Result<Self, IntegerError> {
        let &Grid { low, high, zero_point, .. } = grid;
        let levels = u8::try_from(i64::from(high) - i64::from(low)).ok().filter(|n| *n > 0);
        match levels {
            Some(levels) if (low..=high).contains(&zero_point) => {
                let range = CodeRange::unsigned(zero_point - low, levels);
                Ok(Self { scale: f64::from(grid.scale), range })
            }
            _ => Err(IntegerError::Grid { tensor: tensor.to_owned(), low, high, zero_point }),
        }
    }

    /// -scale and +scale.
    pub fn signs(scale: f32) -> Self {
        Self { scale: f64::from(scale), range: CodeRange::SIGNS }
    }

    /// The code nearest to a real number, ties to the even one.
    pub fn code(&self, x: f64) -> u8 {
        if self.range.signs {
            return if x >= 0.0 { 2 } else { 0 };
        }
        let code = (x / self.scale).round_ties_even() + f64::from(self.range.zero_point);
        code.clamp(0.0, f64::from(self.range.high)) as u8
    }

    /// The real numbers of all codes.
    pub fn values(&self) -> Vec<f64> {
        (0..=i32::from(self.range.high)).map(|code| self.value(code)).collect()
    }

    fn value(&self, code: i32) -> f64 {
        f64::from(code - self.range.zero_point) * self.scale
    }
}

/// What 32-bit sums stand for. Channel `i % channels.len()` is that of place `i`.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    pub channels: Vec<SumChannel>,
    /// Bounds in real numbers that are still to be applied.
    pub clip: [f64; 2],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SumChannel {
    /// What one unit is worth, at least 0.
    pub scale: f64,
    /// The largest magnitude.
    pub reach: i64,
    /// A normalization that is still to be applied; only a sign can follow.
    pub norm: Option<BatchNormSign>,
}

impl SumChannel {
    pub fn new(scale: f64, reach: i64) -> Self {
        Self { scale, reach, norm: None }
    }
}

impl Sums {
    pub fn new(channels: Vec<SumChannel>) -> Self {
        Self { channels, clip: [f64::NEG_INFINITY, f64::INFINITY] }
    }

    pub fn has_norm(&self) -> bool {
        self.channels.iter().any(|channel| channel.norm.is_some())
    }

    pub fn is_clipped(&self) -> bool {
        self.clip != [f64::NEG_INFINITY, f64::INFINITY]
    }

    /// These sums with one more clip behind them.
    pub fn clipped(&self, low: f64, high: f64) -> Self {
        let clip = self.clip.map(|bound| bound.max(low).min(high));
        Self { channels: self.channels.clone(), clip }
    }
}

/// Numbers of a tensor of this shape.
pub(super) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The channels of a tensor as it lies in memory: the last axis, which for images is the
/// channel axis.
pub(super) fn channels_of(shape: &[usize]) -> usize {
    match *shape {
        [_, channels, _, _] => channels,
        ref shape => shape.last().copied().unwrap_or(1),
    }
}

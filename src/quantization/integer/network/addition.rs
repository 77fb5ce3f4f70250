//! Sums of two tensors with different scales.

use crate::quantization::integer::{FixedPointMultiplier, IntegerError};

/// Codes are shifted this far before they are rescaled, as in gemmlowp's quantized addition.
const LEFT_SHIFT: u32 = 20;

/// `a + b`, or `a - b`, in a common unit: twice the larger scale, over `2^20`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addition {
    operands: [Operand; 2],
    /// What one unit of the sum is worth.
    pub scale: f64,
    /// The largest magnitude of a sum.
    pub reach: i64,
    subtract: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    multiplier: FixedPointMultiplier,
    zero_point: i32,
}

impl Addition {
    /// - `scales`, `zero_points`: of the two tensors' codes, which have at most 8 bits
    ///
    /// # Errors
    /// As [`FixedPointMultiplier::from_real`].
    pub fn new(
        scales: [f64; 2],
        zero_points: [i32; 2],
        subtract: bool,
    ) -> Result<Self, IntegerError> {
        let twice_larger = 2.0 * scales[0].max(scales[1]);
        let operand = |index: usize| -> Result<Operand, IntegerError> {
            let multiplier = FixedPointMultiplier::from_real(scales[index] / twice_larger)?;
            Ok(Operand { multiplier, zero_point: zero_points[index] })
        };
        // Two codes of at most 255, each at most halved.
        let reach = 255 << LEFT_SHIFT;
        let scale = twice_larger / f64::from(1u32 << LEFT_SHIFT);
        Ok(Self { operands: [operand(0)?, operand(1)?], scale, reach, subtract })
    }

    pub fn run(&self, a: &[u8], b: &[u8], sums: &mut Vec<i32>) {
        let [first, second] = self.operands.map(|operand| operand.rescaled());
        let sign = if self.subtract { -1 } else { 1 };
        sums.clear();
        sums.extend(
            a.iter().zip(b).map(|(&a, &b)| first[usize::from(a)] + sign * second[usize::from(b)]),
        );
    }
}

impl Operand {
    /// Every code in the common unit.
    fn rescaled(&self) -> [i32; 256] {
        std::array::from_fn(|code| {
            self.multiplier.apply((code as i32 - self.zero_point) << LEFT_SHIFT)
        })
    }
}

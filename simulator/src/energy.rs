//! Energy of the arithmetic: picojoules a multiply-accumulate at any pair of widths.

use crate::precision::Promotion;

/// The `[energy]` table of a profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyModel {
    /// One 8 by 8 bit multiplication.
    pub mac_pj_8x8: f64,
    /// One 32-bit addition.
    pub add_pj_32: f64,
    /// Multiplies the idle power.
    pub leak_scale: f64,
}

impl EnergyModel {
    /// Picojoules of one multiply-accumulate at promoted widths.
    ///
    /// A multiplier's energy follows the product of its operand widths (Horowitz, ISSCC 2014:
    /// 0.2 pJ at 8 bits, 3.1 pJ at 32), on bit-serial hardware exactly so.
    pub fn mac_pj(&self, promotion: &Promotion, acc_bits: u64) -> f64 {
        let (weight, activation) = (promotion.bits.weight, promotion.bits.activation);
        let product = f64::from(weight.get()) * f64::from(activation.get()) / 64.0;
        let multiply = match promotion.mac_pj {
            Some(listed) => listed * promotion.passes as f64,
            None => self.mac_pj_8x8 * product,
        };
        multiply + self.add_pj_32 * acc_bits as f64 / 32.0
    }
}

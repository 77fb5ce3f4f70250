//! What each decision alone takes from the network's quality, at each width: the table that
//! greedy descents and integer programmes read.

use crate::{
    domain::{Bits, Operand},
    search::space::{Decision, SearchSpace},
};

/// Widths a table has places for: 1 to 8 bits.
pub const WIDTHS: usize = 8;

/// Losses by decision and width; the unit is the maker's, such as KL or relative noise.
#[derive(Debug, Clone, PartialEq)]
pub struct LossTable {
    /// By layer: weights, then the tensor it reads.
    layers: Vec<[[f64; WIDTHS]; 2]>,
}

impl LossTable {
    /// No loss anywhere.
    pub fn new(n_layers: usize) -> Self {
        Self { layers: vec![[[0.0; WIDTHS]; 2]; n_layers] }
    }

    /// Losses that never fall with fewer bits, from those that were measured; `None` where one of
    /// an offered width was not.
    pub fn measured(
        space: &SearchSpace,
        alone: impl Fn(Decision, Bits) -> Option<f64>,
    ) -> Option<Self> {
        let mut table = Self::new(space.layers().len());
        for &decision in space.decisions() {
            for &bits in space.widths(decision) {
                table.set(decision, bits, alone(decision, bits)?);
            }
        }
        table.rise_with_fewer_bits(space);
        Some(table)
    }

    pub fn get(&self, decision: Decision, bits: Bits) -> f64 {
        self.layers[decision.layer][operand_index(decision.operand)][width_index(bits)]
    }

    pub fn set(&mut self, decision: Decision, bits: Bits, loss: f64) {
        self.layers[decision.layer][operand_index(decision.operand)][width_index(bits)] = loss;
    }

    /// Raises losses until no narrower width loses less than a wider one that is offered: where
    /// a measurement says otherwise, it is noise that no choice should rest on.
    pub fn rise_with_fewer_bits(&mut self, space: &SearchSpace) {
        for &decision in space.decisions() {
            let mut least = 0.0f64;
            for &bits in space.widths(decision).iter().rev() {
                least = least.max(self.get(decision, bits));
                self.set(decision, bits, least);
            }
        }
    }
}

fn operand_index(operand: Operand) -> usize {
    match operand {
        Operand::Weight => 0,
        Operand::Activation => 1,
    }
}

pub fn width_index(bits: Bits) -> usize {
    usize::from(bits.get()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::space::tests::{layer, widths};

    #[test]
    fn noise_of_a_measurement_is_levelled_from_the_wide_side() {
        let space = SearchSpace::new(vec![layer(0, &[2, 4, 8], &[8])]).unwrap();
        let decision = space.decisions()[0];
        let mut table = LossTable::new(1);
        for (bits, loss) in widths(&[2, 4, 8]).into_iter().zip([0.5, 0.01, 0.02]) {
            table.set(decision, bits, loss);
        }
        table.rise_with_fewer_bits(&space);
        let levelled: Vec<f64> =
            widths(&[2, 4, 8]).into_iter().map(|bits| table.get(decision, bits)).collect();
        assert_eq!(levelled, [0.5, 0.02, 0.02]);
    }
}

//! Rounding nodes whose step is learned, with straight-through gradients.

use tch::{Kind, TchError, Tensor};

use crate::network::{Grid, Op};

/// A rounding node's step as `scale * exp(u)`, so that it stays above 0.
///
/// The gradient of the step is LSQ's. Its scale by the number of values is left out: Adam
/// divides it away.
pub struct ActivationStep {
    op: Op,
    /// `u`, one number.
    pub log: Tensor,
}

impl ActivationStep {
    /// Whether an operation rounds with a step of its own: ranges of run time have none.
    pub fn fits(op: &Op) -> bool {
        matches!(op, Op::FakeQuantize(_) | Op::Binarize { .. })
    }

    /// # Panics
    /// When the operation does not round with a step of its own.
    pub fn new(op: &Op) -> Self {
        assert!(Self::fits(op), "the operation rounds with a step");
        let log = Tensor::from_slice(&[0.0f32]).set_requires_grad(true);
        Self { op: op.clone(), log }
    }

    /// Rounds `x`; gradients flow to `x` inside the grid's range, and to the step.
    pub fn round(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let learned = self.log.f_exp()?;
        match &self.op {
            Op::FakeQuantize(grid) => round_to(x, grid, &(learned * f64::from(grid.scale))),
            Op::Binarize { scale } => sign_of(x, &(learned * f64::from(*scale))),
            op => unreachable!("{op:?} does not round"),
        }
    }

    /// The operation with the learned step.
    pub fn learned(&self) -> Op {
        let factor = self.log.detach().exp().double_value(&[0]) as f32;
        match &self.op {
            Op::FakeQuantize(grid) => {
                Op::FakeQuantize(Grid { scale: grid.scale * factor, ..*grid })
            }
            Op::Binarize { scale } => Op::Binarize { scale: scale * factor },
            op => unreachable!("{op:?} does not round"),
        }
    }
}

/// Exactly the value, with the first's gradient.
fn straight_through(smooth: &Tensor, value: &Tensor) -> Tensor {
    value.detach() + (smooth - smooth.detach())
}

fn round_to(x: &Tensor, grid: &Grid, scale: &Tensor) -> Result<Tensor, TchError> {
    let (low, high) = (grid.low - grid.zero_point, grid.high - grid.zero_point);
    let inside = x.f_div(scale)?.f_clamp(f64::from(low), f64::from(high))?;
    straight_through(&inside, &inside.f_round()?).f_mul(scale)
}

fn sign_of(x: &Tensor, scale: &Tensor) -> Result<Tensor, TchError> {
    let inside = x.f_div(scale)?.f_clamp(-1.0, 1.0)?;
    let sign = x.f_ge(0.0)?.f_to_kind(Kind::Float)? * 2.0 - 1.0;
    straight_through(&inside, &sign).f_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[value, gradient of x, gradient of the scale]` at scale 0.5 and codes -1 to 2.
    #[test]
    fn gradients_are_those_of_learned_step_sizes() {
        let grid = Grid { scale: 0.5, zero_point: 1, low: 0, high: 3 };
        for (x, value, of_x, of_scale) in [
            (0.3, 0.5, 1.0, 1.0 - 0.6),
            (0.2, 0.0, 1.0, -0.4),
            (7.0, 1.0, 0.0, 2.0),
            (-7.0, -0.5, 0.0, -1.0),
        ] {
            let step = ActivationStep::new(&Op::FakeQuantize(grid));
            let x = Tensor::from_slice(&[x as f32]).set_requires_grad(true);
            let y = step.round(&x).unwrap();
            y.backward();
            // The scale is 0.5 exp(u), whose slope at 0 is 0.5.
            let found = [
                y.double_value(&[0]),
                x.grad().double_value(&[0]),
                step.log.grad().double_value(&[0]) / 0.5,
            ];
            for (found, expected) in found.into_iter().zip([value, of_x, of_scale]) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn an_unlearned_step_rounds_as_the_network_does() {
        let grid = Grid { scale: 0.3, zero_point: 2, low: 0, high: 7 };
        let x = Tensor::arange(200, (Kind::Float, tch::Device::Cpu)) * 0.031 - 2.0;
        let rounded = ActivationStep::new(&Op::FakeQuantize(grid)).round(&x).unwrap();
        for i in 0..200 {
            let expected = f64::from(grid.round(x.double_value(&[i]) as f32));
            assert!((rounded.double_value(&[i]) - expected).abs() < 1e-6);
        }
        let signs = ActivationStep::new(&Op::Binarize { scale: 0.7 }).round(&x).unwrap();
        assert!((signs.abs() - 0.7).abs().max().double_value(&[]) < 1e-6);
    }
}

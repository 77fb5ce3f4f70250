//! Stochastic gradient descent with momentum, weight decay and a cosine schedule.
//!
//! Sources: Sutskever et al. 2013 (momentum, in the form `v = m v + g; w = w - rate v`);
//! Loshchilov and Hutter 2017, equation 5 (one cosine, no restarts).

use tch::{TchError, Tensor};

/// What a variable may not go beyond.
#[derive(Debug)]
pub enum Bound {
    None,
    /// At least so much, number by number: of the variable's shape.
    AtLeast(Tensor),
    /// From -1 to 1: latent weights behind a sign.
    Unit,
}

/// A trained tensor with what descent keeps of it.
#[derive(Debug)]
pub struct Variable {
    /// Unique; names it in checkpoints.
    pub name: String,
    pub value: Tensor,
    /// Running sum of gradients, of the value's shape.
    pub velocity: Tensor,
    /// What its gradient is multiplied by.
    pub gradient_factor: f64,
    /// Whether weight decay pulls at it.
    pub decays: bool,
    pub bound: Bound,
}

impl Variable {
    pub fn new(name: String, value: Tensor) -> Self {
        let velocity = value.zeros_like();
        Self { name, value, velocity, gradient_factor: 1.0, decays: false, bound: Bound::None }
    }

    /// One step against `gradient`.
    ///
    /// # Errors
    /// When the gradient has another shape.
    pub fn descend(&mut self, gradient: &Tensor, step: &DescentStep) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        let mut gradient = gradient.f_mul_scalar(self.gradient_factor)?;
        if self.decays && step.weight_decay > 0.0 {
            gradient = gradient.f_add(&self.value.f_mul_scalar(step.weight_decay)?)?;
        }
        let _ = self.velocity.f_mul_scalar_(step.momentum)?.f_add_(&gradient)?;
        let _ = self.value.f_sub_(&self.velocity.f_mul_scalar(step.rate)?)?;
        let _ = match &self.bound {
            Bound::None => return Ok(()),
            Bound::AtLeast(lowest) => self.value.f_clamp_min_tensor_(lowest)?,
            Bound::Unit => self.value.f_clamp_(-1.0, 1.0)?,
        };
        Ok(())
    }
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DescentStep {
    pub rate: f64,
    pub momentum: f64,
    pub weight_decay: f64,
}

/// The learning rate of one step of `n_steps`, counted from 0: `initial` at first, then along a
/// half cosine to 0.
pub fn cosine_rate(initial: f64, step: u64, n_steps: u64) -> f64 {
    let done = step as f64 / n_steps.max(1) as f64;
    0.5 * initial * (1.0 + (std::f64::consts::PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::training::reference::{assert_close, reference};

    #[test]
    fn momentum_decay_and_the_cosine_equal_the_reference() {
        let case = reference().descent;
        let mut variable = Variable::new("w".into(), Tensor::from_slice(&case.start));
        variable.decays = true;
        let n_steps = case.rates.len() as u64;
        for (number, gradient) in (0..n_steps).zip(&case.gradients) {
            let index = number as usize;
            let rate = cosine_rate(case.rate, number, n_steps);
            assert!((rate - case.rates[index]).abs() < 1e-12, "{rate}");
            let step = DescentStep { rate, momentum: case.momentum, weight_decay: case.decay };
            variable.descend(&Tensor::from_slice(gradient), &step).unwrap();
            assert_close(&variable.value, &case.values[index], "value");
        }
        assert!(cosine_rate(0.1, 10, 10).abs() < 1e-12, "it ends at 0");
    }

    #[test]
    fn bounds_hold_and_only_what_decays_decays() {
        let step = DescentStep { rate: 1.0, momentum: 0.0, weight_decay: 0.5 };
        let bound = |bound| {
            let mut variable = Variable::new("w".into(), Tensor::from_slice(&[0.5, -0.5]));
            variable.bound = bound;
            variable.descend(&Tensor::from_slice(&[3.0, -3.0]), &step).unwrap();
            Vec::<f64>::try_from(&variable.value).unwrap()
        };
        assert_eq!(bound(Bound::None), [-2.5, 2.5]);
        assert_eq!(bound(Bound::Unit), [-1.0, 1.0]);
        assert_eq!(bound(Bound::AtLeast(Tensor::from_slice(&[0.1, 0.2]))), [0.1, 2.5]);
    }
}

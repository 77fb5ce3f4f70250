//! Adam on a few tensors, each with its own learning rate.

use tch::Tensor;

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// Source: Kingma and Ba 2015, algorithm 1.
pub struct Adam {
    parameters: Vec<Parameter>,
    step: i32,
}

struct Parameter {
    value: Tensor,
    rate: f64,
    mean: Tensor,
    square: Tensor,
}

impl Adam {
    /// - `parameters`: leaves that need gradients, and their learning rates
    pub fn new(parameters: Vec<(Tensor, f64)>) -> Self {
        let parameter = |(value, rate): (Tensor, f64)| {
            let zeros = || value.detach().zeros_like();
            Parameter { mean: zeros(), square: zeros(), value, rate }
        };
        Self { parameters: parameters.into_iter().map(parameter).collect(), step: 0 }
    }

    /// One step down the gradients of `loss`.
    ///
    /// # Errors
    /// When no gradient can be taken, as of a loss that does not depend on a parameter.
    pub fn descend(&mut self, loss: &Tensor) -> Result<(), tch::TchError> {
        let values: Vec<&Tensor> = self.parameters.iter().map(|p| &p.value).collect();
        let gradients = Tensor::f_run_backward(&[loss], &values, false, false)?;
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        let [mean_correction, square_correction] = BETAS.map(|beta| 1.0 - beta.powi(self.step));
        for (parameter, gradient) in self.parameters.iter_mut().zip(&gradients) {
            let _ = parameter.mean.f_lerp_(gradient, 1.0 - BETAS[0])?;
            let _ = parameter.square.f_lerp_(&gradient.f_square()?, 1.0 - BETAS[1])?;
            let spread = (&parameter.square / square_correction).f_sqrt()?.f_add_scalar(EPSILON)?;
            let change = &parameter.mean / spread * (-parameter.rate / mean_correction);
            let _ = parameter.value.f_add_(&change)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// With a constant gradient every step is the learning rate long.
    #[test]
    fn the_first_steps_are_as_long_as_the_rate() {
        let x = Tensor::from_slice(&[1.0, -2.0]).set_requires_grad(true);
        let y = Tensor::from_slice(&[5.0]).set_requires_grad(true);
        let mut adam = Adam::new(vec![(x.shallow_clone(), 0.1), (y.shallow_clone(), 0.5)]);
        for _ in 0..3 {
            let slopes = Tensor::from_slice(&[3.0, -0.01]);
            let loss = (&x * slopes).sum(Kind::Double) + y.sum(Kind::Double) * 7.0;
            adam.descend(&loss).unwrap();
        }
        for (found, expected) in
            [(x.double_value(&[0]), 0.7), (x.double_value(&[1]), -1.7), (y.double_value(&[0]), 3.5)]
        {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

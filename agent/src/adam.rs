//! Adam (Kingma & Ba, ICLR 2015, algorithm 1), written out so that its moments can be saved and restored.

use tch::Tensor;

use crate::config::DdpgConfig;
use crate::parameters::Parameters;

/// The optimizer of one network.
#[derive(Debug)]
pub(crate) struct Adam {
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    pub(crate) first_moment: Tensor,
    pub(crate) second_moment: Tensor,
    /// Steps taken so far; the bias correction depends on it.
    pub(crate) n_steps: u64,
    /// Intermediate results: memory of this size is expensive to ask for again at each step.
    scratch: [Tensor; 2],
}

impl Adam {
    pub(crate) fn new(learning_rate: f64, config: &DdpgConfig, parameters: &Parameters) -> Self {
        Self {
            learning_rate,
            beta1: config.adam_beta1,
            beta2: config.adam_beta2,
            epsilon: config.adam_epsilon,
            first_moment: parameters.flat().zeros_like(),
            second_moment: parameters.flat().zeros_like(),
            n_steps: 0,
            scratch: [parameters.flat().zeros_like(), parameters.flat().zeros_like()],
        }
    }

    /// Moves the parameters one step against `gradient`, with the roundings of PyTorch's single-tensor form.
    pub(crate) fn step(&mut self, parameters: &mut Parameters, gradient: &Tensor) {
        self.n_steps += 1;
        let correction1 = 1.0 - self.beta1.powf(self.n_steps as f64);
        let correction2 = 1.0 - self.beta2.powf(self.n_steps as f64);

        let [scaled, denominator] = &mut self.scratch;
        let _ = self.first_moment.lerp_(gradient, 1.0 - self.beta1);
        let _ = gradient.mul_scalar_out(scaled, 1.0 - self.beta2);
        self.second_moment *= self.beta2;
        let _ = self.second_moment.addcmul_(scaled, gradient);

        let _ = self.second_moment.sqrt_out(denominator);
        *denominator /= correction2.sqrt();
        *denominator += self.epsilon;
        let _ = self.first_moment.mul_scalar_out(scaled, -self.learning_rate / correction1);
        let _ = parameters.flat_mut().addcdiv_(scaled, denominator);
    }
}

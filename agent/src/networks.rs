//! Actor and critic, the two functions DDPG learns, and their gradients.
//!
//! Layout as the code published with HAQ runs it: two hidden ReLU layers each; the critic adds separate linear
//! images of observation and action before its first ReLU. Networks this small cost less than recording what was
//! done to them, so the chain rule is written out.

use tch::Tensor;

use crate::parameters::{LinearShape, Parameters};

/// μ: what to do, given an observation.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) parameters: Parameters,
}

/// What the actor computed on its way to actions.
pub(crate) struct ActorPass<'a> {
    observations: &'a Tensor,
    hidden: [Tensor; 2],
    /// `[batch, 1]` in [0, 1]
    pub(crate) actions: Tensor,
}

impl Actor {
    pub(crate) fn shapes(observation_len: usize, [first, second]: [usize; 2]) -> [LinearShape; 3] {
        [
            LinearShape::new(observation_len, first),
            LinearShape::new(first, second),
            LinearShape::new(second, 1),
        ]
    }

    pub(crate) fn new(values: &[f32], shapes: &[LinearShape; 3]) -> Self {
        Self { parameters: Parameters::new(values, shapes) }
    }

    /// - `observations`: `[batch, observation_len]`
    pub(crate) fn forward<'a>(&self, observations: &'a Tensor) -> ActorPass<'a> {
        let layer = |index| self.parameters.layer(index);
        let first = layer(0).forward(observations).relu_();
        let second = layer(1).forward(&first).relu_();
        let actions = layer(2).forward(&second).sigmoid_();
        ActorPass { observations, hidden: [first, second], actions }
    }

    /// Overwrites `gradient` by a loss's gradient of the weights.
    ///
    /// - `by_actions`: what the loss loses by the actions, `[batch, 1]`
    pub(crate) fn set_gradient(
        &self,
        gradient: &Parameters,
        pass: &ActorPass<'_>,
        by_actions: &Tensor,
    ) {
        let [first, second] = &pass.hidden;
        let by_output = Tensor::sigmoid_backward(by_actions, &pass.actions);
        gradient.layer(2).set_gradient(second, &by_output);
        let by_second = through_relu(&self.parameters.layer(2).backward(&by_output), second);
        gradient.layer(1).set_gradient(first, &by_second);
        let by_first = through_relu(&self.parameters.layer(1).backward(&by_second), first);
        gradient.layer(0).set_gradient(pass.observations, &by_first);
    }
}

/// Q: the return to expect from an action under an observation.
#[derive(Debug)]
pub(crate) struct Critic {
    pub(crate) parameters: Parameters,
}

/// What the critic computed on its way to values.
pub(crate) struct CriticPass<'a> {
    observations: &'a Tensor,
    actions: &'a Tensor,
    hidden: [Tensor; 2],
    /// `[batch, 1]`
    pub(crate) values: Tensor,
}

impl Critic {
    pub(crate) fn shapes(observation_len: usize, [first, second]: [usize; 2]) -> [LinearShape; 4] {
        [
            LinearShape::new(observation_len, first),
            LinearShape::new(1, first),
            LinearShape::new(first, second),
            LinearShape::new(second, 1),
        ]
    }

    pub(crate) fn new(values: &[f32], shapes: &[LinearShape; 4]) -> Self {
        Self { parameters: Parameters::new(values, shapes) }
    }

    /// - `observations`: `[batch, observation_len]`, `actions`: `[batch, 1]`
    pub(crate) fn forward<'a>(
        &self,
        observations: &'a Tensor,
        actions: &'a Tensor,
    ) -> CriticPass<'a> {
        let layer = |index| self.parameters.layer(index);
        let first = (layer(0).forward(observations) + layer(1).forward(actions)).relu_();
        let second = layer(2).forward(&first).relu_();
        let values = layer(3).forward(&second);
        CriticPass { observations, actions, hidden: [first, second], values }
    }

    /// Overwrites `gradient` by a loss's gradient of the weights.
    ///
    /// - `by_values`: what the loss loses by the values, `[batch, 1]`
    pub(crate) fn set_gradient(
        &self,
        gradient: &Parameters,
        pass: &CriticPass<'_>,
        by_values: &Tensor,
    ) {
        let [first, second] = &pass.hidden;
        gradient.layer(3).set_gradient(second, by_values);
        let by_second = self.by_second(pass, by_values);
        gradient.layer(2).set_gradient(first, &by_second);
        let by_first = self.by_first(pass, &by_second);
        gradient.layer(1).set_gradient(pass.actions, &by_first);
        gradient.layer(0).set_gradient(pass.observations, &by_first);
    }

    /// What a loss loses by the actions, `[batch, 1]`, from what it loses by the values.
    pub(crate) fn by_actions(&self, pass: &CriticPass<'_>, by_values: &Tensor) -> Tensor {
        let by_second = self.by_second(pass, by_values);
        self.parameters.layer(1).backward(&self.by_first(pass, &by_second))
    }

    fn by_second(&self, pass: &CriticPass<'_>, by_values: &Tensor) -> Tensor {
        through_relu(&self.parameters.layer(3).backward(by_values), &pass.hidden[1])
    }

    fn by_first(&self, pass: &CriticPass<'_>, by_second: &Tensor) -> Tensor {
        through_relu(&self.parameters.layer(2).backward(by_second), &pass.hidden[0])
    }
}

/// The gradient before a ReLU that gave `output`.
fn through_relu(gradient: &Tensor, output: &Tensor) -> Tensor {
    output.threshold_backward(gradient, 0)
}

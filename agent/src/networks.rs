//! Actor and critic, the two functions DDPG learns.
//!
//! Layout as the code published with HAQ runs it: two hidden ReLU layers each; the critic adds separate linear
//! images of observation and action before its first ReLU.

use tch::Tensor;

use crate::parameters::{LinearShape, Parameters, Role};

/// μ: what to do, given an observation.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) parameters: Parameters,
}

impl Actor {
    pub(crate) fn shapes(observation_len: usize, [first, second]: [usize; 2]) -> [LinearShape; 3] {
        [
            LinearShape::new(observation_len, first),
            LinearShape::new(first, second),
            LinearShape::new(second, 1),
        ]
    }

    pub(crate) fn new(values: &[f32], shapes: &[LinearShape; 3], role: Role) -> Self {
        Self { parameters: Parameters::new(values, shapes, role) }
    }

    /// - `observations`: `[batch, observation_len]`
    /// - returns: `[batch, 1]` in [0, 1]
    pub(crate) fn forward(&self, observations: &Tensor) -> Tensor {
        let hidden = self.parameters.linear(0, observations).relu();
        let hidden = self.parameters.linear(1, &hidden).relu();
        self.parameters.linear(2, &hidden).sigmoid()
    }
}

/// Q: the return to expect from an action under an observation.
#[derive(Debug)]
pub(crate) struct Critic {
    pub(crate) parameters: Parameters,
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

    pub(crate) fn new(values: &[f32], shapes: &[LinearShape; 4], role: Role) -> Self {
        Self { parameters: Parameters::new(values, shapes, role) }
    }

    /// - `observations`: `[batch, observation_len]`, `actions`: `[batch, 1]`
    /// - returns: `[batch, 1]`
    pub(crate) fn forward(&self, observations: &Tensor, actions: &Tensor) -> Tensor {
        let seen = self.parameters.linear(0, observations);
        let done = self.parameters.linear(1, actions);
        let hidden = (seen + done).relu();
        let hidden = self.parameters.linear(2, &hidden).relu();
        self.parameters.linear(3, &hidden)
    }
}

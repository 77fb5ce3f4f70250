//! What the paper's agent sees before a decision.
//!
//! Source: HAQ, equations 1 and 2. We differ from its code in the flag, which is 1 for weights
//! and 0 for activations everywhere, and in that nothing is carried over between episodes.

use crate::{
    domain::{Layer, Operand},
    search::{
        observation::{N_LAYER_FEATURES, layer_features},
        space::{Decision, SearchSpace},
    },
};

/// The layer's features, whether weights are decided, and the width chosen before: ten numbers
/// from 0 to 1; nine where only weights are decided and the flag would tell nothing, as in the
/// size mode of HAQ's code.
#[derive(Debug, Clone, PartialEq)]
pub struct HaqObserver {
    layers: Vec<[f32; N_LAYER_FEATURES]>,
    with_flag: bool,
}

impl HaqObserver {
    pub fn new(layers: &[Layer], space: &SearchSpace) -> Self {
        Self { layers: layer_features(layers), with_flag: space.decides_activations() }
    }

    /// Numbers in one observation.
    pub fn n_features(&self) -> usize {
        N_LAYER_FEATURES + 1 + usize::from(self.with_flag)
    }

    /// - `previous_width`: the bits chosen just before over the widest offered; 1 at the start
    pub fn observe(&self, decision: Decision, previous_width: f32) -> Vec<f32> {
        let mut observation = self.layers[decision.layer].to_vec();
        if self.with_flag {
            observation.push(f32::from(decision.operand == Operand::Weight));
        }
        observation.push(previous_width);
        observation
    }
}

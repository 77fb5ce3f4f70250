//! What the paper's agent sees before a decision.

use crate::{
    domain::Layer,
    search::{
        observation::{FEATURES, Observer},
        space::{Decision, SearchSpace},
    },
};

/// Equations 1 and 2 in ten numbers from 0 to 1; in nine where only weights are decided and the
/// flag would tell nothing, as in the size mode of HAQ's code.
#[derive(Debug, Clone, PartialEq)]
pub struct HaqObserver {
    layers: Observer,
    /// Where the flag stands that is left out, if it is.
    left_out: Option<usize>,
}

impl HaqObserver {
    pub fn new(layers: &[Layer], space: &SearchSpace) -> Self {
        let layers = Observer::new(layers, false);
        let flag = FEATURES.iter().position(|&name| name == "is_weight_decision");
        let left_out = if space.decides_activations() { None } else { flag };
        Self { layers, left_out }
    }

    /// Numbers in one observation.
    pub fn n_features(&self) -> usize {
        self.layers.n_features() - usize::from(self.left_out.is_some())
    }

    /// - `previous_width`: the bits chosen just before over the widest offered; 1 at the start
    pub fn observe(&self, decision: Decision, previous_width: f32) -> Vec<f32> {
        let mut observation = self.layers.observe(decision, previous_width, 0.0);
        if let Some(flag) = self.left_out {
            observation.remove(flag);
        }
        observation
    }
}

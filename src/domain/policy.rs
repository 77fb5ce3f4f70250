//! A bitwidth policy: how many bits each layer's weights and activations have.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::domain::{Bits, LayerBits};

/// One [`LayerBits`] for each quantizable layer, in the network's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitwidthPolicy {
    layers: Vec<LayerBits>,
}

impl BitwidthPolicy {
    pub fn new(layers: Vec<LayerBits>) -> Self {
        Self { layers }
    }

    pub fn uniform(n_layers: usize, bits: LayerBits) -> Self {
        Self { layers: vec![bits; n_layers] }
    }

    pub fn layers(&self) -> &[LayerBits] {
        &self.layers
    }

    pub fn layers_mut(&mut self) -> &mut [LayerBits] {
        &mut self.layers
    }

    pub fn len(&self) -> usize {
        self.layers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub fn weight_bits(&self) -> impl Iterator<Item = Bits> + '_ {
        self.layers.iter().map(|layer| layer.weight)
    }

    pub fn activation_bits(&self) -> impl Iterator<Item = Bits> + '_ {
        self.layers.iter().map(|layer| layer.activation)
    }

    /// A short text that two policies share only when they are equal: `8/8 4/6 3/5`.
    pub fn key(&self) -> String {
        let mut key = String::with_capacity(self.layers.len() * 4);
        for (index, bits) in self.layers.iter().enumerate() {
            if index > 0 {
                key.push(' ');
            }
            write!(key, "{bits}").expect("a string takes any text");
        }
        key
    }
}

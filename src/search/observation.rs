//! What the agent sees before a decision: the layer in ten numbers from 0 to 1.
//!
//! Source: HAQ, equations 1 and 2. We differ from its code in the flag, which is 1 for weights
//! and 0 for activations everywhere, and in that nothing is carried over between episodes.

use crate::{
    domain::{Layer, LayerKind, Operand},
    search::space::Decision,
};

/// The features in their order. The last is there only when budgets vary between episodes.
pub const FEATURES: [&str; 11] = [
    "layer_index",
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "input_map_size",
    "n_weights",
    "is_depthwise",
    "is_weight_decision",
    "previous_width",
    "episode_budget",
];

/// Features that depend on the layer alone.
pub const N_LAYER_FEATURES: usize = 8;

/// The fixed part of every layer's observation.
#[derive(Debug, Clone, PartialEq)]
pub struct Observer {
    layers: Vec<[f32; N_LAYER_FEATURES]>,
    with_budget: bool,
}

impl Observer {
    /// - `with_budget`: whether the budget varies between episodes and has to be seen
    pub fn new(layers: &[Layer], with_budget: bool) -> Self {
        Self { layers: layer_features(layers), with_budget }
    }

    /// Numbers in one observation.
    pub fn n_features(&self) -> usize {
        FEATURES.len() - usize::from(!self.with_budget)
    }

    /// - `previous_width`: the bits chosen just before over the widest offered; 1 at the start
    /// - `episode_budget`: where the episode's budget lies between the cheapest and the 8/8 policy
    pub fn observe(
        &self,
        decision: Decision,
        previous_width: f32,
        episode_budget: f32,
    ) -> Vec<f32> {
        let mut observation = self.layers[decision.layer].to_vec();
        observation.push(f32::from(decision.operand == Operand::Weight));
        observation.push(previous_width);
        if self.with_budget {
            observation.push(episode_budget);
        }
        observation
    }
}

/// The features that depend on the layer alone, in their order, each scaled to 0..1 over the layers.
pub fn layer_features(layers: &[Layer]) -> Vec<[f32; N_LAYER_FEATURES]> {
    let mut columns: Vec<[f64; N_LAYER_FEATURES]> =
        layers.iter().enumerate().map(|(index, layer)| raw_features(index, layer)).collect();
    for feature in 0..N_LAYER_FEATURES {
        scale_to_unit(&mut columns, feature);
    }
    columns.iter().map(|row| row.map(|value| value as f32)).collect()
}

fn raw_features(index: usize, layer: &Layer) -> [f64; N_LAYER_FEATURES] {
    let linear = layer.kind == LayerKind::Linear;
    let n_weights =
        layer.out_channels * (layer.in_channels / layer.groups) * layer.kernel_h * layer.kernel_w;
    [
        index as f64,
        layer.in_channels as f64,
        layer.out_channels as f64,
        layer.kernel_h as f64,
        if linear { 0.0 } else { layer.stride_h as f64 },
        (layer.in_h * layer.in_w) as f64,
        n_weights as f64,
        f64::from(u8::from(layer.kind == LayerKind::Depthwise)),
    ]
}

/// Min-max over the layers of this network; a constant feature becomes 0.
fn scale_to_unit(columns: &mut [[f64; N_LAYER_FEATURES]], feature: usize) {
    let values = columns.iter().map(|row| row[feature]);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    for row in columns {
        row[feature] = if high > low { (row[feature] - low) / (high - low) } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(in_channels: u64, out_channels: u64, map: u64, groups: u64) -> Layer {
        Layer {
            name: String::new(),
            kind: if groups > 1 { LayerKind::Depthwise } else { LayerKind::Conv },
            in_channels,
            out_channels,
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            pad_top: 1,
            pad_left: 1,
            pad_bottom: 1,
            pad_right: 1,
            dilation_h: 1,
            dilation_w: 1,
            groups,
            in_h: map,
            in_w: map,
            bias: true,
        }
    }

    #[test]
    fn every_feature_lies_in_the_unit_interval_and_has_its_place() {
        let observer = Observer::new(&[conv(3, 16, 32, 1), conv(16, 16, 16, 16)], true);
        let weight = Decision { layer: 1, operand: Operand::Weight };
        let observation = observer.observe(weight, 0.5, 0.25);
        let named: Vec<_> = FEATURES.iter().zip(&observation).collect();
        assert_eq!(observation.len(), observer.n_features());
        assert!(observation.iter().all(|v| (0.0..=1.0).contains(v)), "{named:?}");
        assert_eq!(observation, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5, 0.25]);
        let activation = Decision { layer: 0, operand: Operand::Activation };
        assert_eq!(observer.observe(activation, 1.0, 1.0)[8], 0.0);
        assert_eq!(Observer::new(&[conv(3, 16, 32, 1)], false).n_features(), 10);
    }
}

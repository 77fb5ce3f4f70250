//! What agents see of a layer, in eight numbers from 0 to 1.
//!
//! Source: HAQ, equations 1 and 2.

use crate::domain::{Layer, LayerKind};

/// The features in their order.
pub const LAYER_FEATURES: [&str; 8] = [
    "layer_index",
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "input_map_size",
    "n_weights",
    "is_depthwise",
];

/// Numbers that stand for a layer.
pub const N_LAYER_FEATURES: usize = LAYER_FEATURES.len();

/// One row a layer, in the order of [`LAYER_FEATURES`], each feature scaled to 0..1 over the layers.
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
        let features = layer_features(&[conv(3, 16, 32, 1), conv(16, 16, 16, 16)]);
        let named: Vec<_> = LAYER_FEATURES.iter().zip(features[1]).collect();
        assert_eq!(features[1], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], "{named:?}");
        assert!(features.iter().flatten().all(|v| (0.0..=1.0).contains(v)));
    }
}

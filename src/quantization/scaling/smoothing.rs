//! SmoothQuant: outliers of activations moved into the weights of the linear layers that read
//! them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    network::{Array, Graph, Op, QuantizableKind, QuantizableLayer, TensorId},
    quantization::{
        error::QuantizationError,
        scaling::{
            channels::{LayerWeights, check_finite},
            source::Source,
            statistics::ChannelStatistics,
        },
    },
};

/// What smoothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Smoothing {
    /// Tensors whose inverse factors went into the node that writes them.
    pub n_folded: usize,
    /// Tensors that a multiplication was put behind.
    pub n_multiplied: usize,
}

/// Divides each channel of what linear layers read by `s` and multiplies the weights that read
/// it by `s`, which leaves the function the same: `s = max|X|^alpha / max|W|^(1 - alpha)`.
///
/// The division goes into the layer or normalization that writes the tensor where nothing else
/// reads it, else into a multiplication in front of the linear layers.
///
/// - `alpha`: 0 to 1; 0.5 shares evenly, more moves more into the weights
/// - `statistics`: of what linear layers read; others are left alone
///
/// # Errors
/// When a weight is not finite.
///
/// Source: Xiao et al. 2023, equation 4. Layers that read one tensor share one `s`, from the
/// largest of their weights.
pub fn smooth(
    mut graph: Graph,
    alpha: f64,
    statistics: &BTreeMap<TensorId, ChannelStatistics>,
) -> Result<(Graph, Smoothing), QuantizationError> {
    let layers = graph.quantizable_layers();
    check_finite(&graph, &layers)?;
    let mut done = Smoothing::default();
    let tensors: BTreeSet<TensorId> = layers
        .iter()
        .filter(|layer| layer.kind == QuantizableKind::Linear)
        .map(|layer| layer.input)
        .collect();
    for tensor in tensors {
        let readers: Vec<&QuantizableLayer> = layers
            .iter()
            .filter(|layer| layer.input == tensor && is_smoothable(&graph, layer))
            .collect();
        let Some(seen) = statistics.get(&tensor).filter(|_| !readers.is_empty()) else { continue };
        let Some(factors) = smoothing_factors(&graph, &readers, &seen.largest, alpha) else {
            continue;
        };
        for layer in &readers {
            let scaled = LayerWeights::of(&graph, layer).scaled(|_, input| factors[input]);
            graph.set_constant(layer.weight, scaled);
        }
        let inverse: Vec<f32> = factors.iter().map(|s| 1.0 / s).collect();
        let all = graph.readers(tensor).len() == readers.len() && !graph.is_output(tensor);
        let source = Source::of(&graph, tensor).filter(|s| all && s.n_channels == inverse.len());
        match source {
            Some(source) => {
                source.scale(&mut graph, &inverse);
                done.n_folded += 1;
            }
            None => {
                let outputs: BTreeSet<TensorId> = readers.iter().map(|r| r.output).collect();
                let inverse = Array::f32(vec![inverse.len()], inverse);
                graph.insert_with_constant(tensor, Op::Mul, inverse, |node| {
                    outputs.contains(&node.output)
                });
                done.n_multiplied += 1;
            }
        }
    }
    Ok((graph, done))
}

/// Whether the layer's weight is its own and its input's channels are the last axis.
fn is_smoothable(graph: &Graph, layer: &QuantizableLayer) -> bool {
    let node = &graph.nodes()[graph.producer(layer.output).expect("a layer writes it")];
    let transposed = matches!(node.op, Op::Gemm { transpose_a: true, .. });
    layer.kind == QuantizableKind::Linear
        && !transposed
        && graph.readers(layer.weight).len() == 1
        && node.input(1) != Some(layer.input)
}

/// One `s` a channel; none where the layers and the statistics have different channels.
fn smoothing_factors(
    graph: &Graph,
    readers: &[&QuantizableLayer],
    largest: &[f64],
    alpha: f64,
) -> Option<Vec<f32>> {
    let mut of_weights = vec![0.0f32; largest.len()];
    for layer in readers {
        let ranges = LayerWeights::of(graph, layer).ranges().1;
        if ranges.len() != largest.len() {
            return None;
        }
        of_weights.iter_mut().zip(&ranges).for_each(|(most, range)| *most = most.max(*range));
    }
    let factors = largest.iter().zip(&of_weights).map(|(&x, &w)| factor(x, f64::from(w), alpha));
    Some(factors.collect())
}

/// 1 for a channel that is always 0, or that no weight reads.
fn factor(activation: f64, weight: f64, alpha: f64) -> f32 {
    let factor = (activation.powf(alpha) / weight.powf(1.0 - alpha)) as f32;
    let usable = activation > 0.0 && weight > 0.0 && factor.is_normal();
    if usable { factor } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::network::Executable;

    /// Made by tests/reference/make_reconstruction_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/reconstruction.json");

    #[derive(Deserialize)]
    struct Reference {
        smoothing: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        largest: Vec<f64>,
        weights: Vec<f32>,
        factors: HashMap<String, Vec<f32>>,
    }

    fn case() -> Case {
        serde_json::from_str::<Reference>(REFERENCE).unwrap().smoothing
    }

    const GEMM: Op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };

    fn statistics(tensor: TensorId) -> BTreeMap<TensorId, ChannelStatistics> {
        let (mean, deviation) = (vec![0.0; 6], vec![1.0; 6]);
        BTreeMap::from([(tensor, ChannelStatistics { mean, deviation, largest: case().largest })])
    }

    fn output(graph: &Graph) -> Tensor {
        let x = (Tensor::arange(24, (Kind::Float, Device::Cpu)) * 0.7).sin().view([4, 6]);
        Executable::new(graph, Device::Cpu).unwrap().run(&x).unwrap()
    }

    fn assert_same_function(graph: &Graph, smoothed: &Graph, name: &str) {
        let moved = (output(graph) - output(smoothed)).abs().max().double_value(&[]);
        assert!(moved < 1e-5, "{name}: {moved}");
    }

    #[test]
    fn factors_equal_the_reference_and_go_into_a_multiplication() {
        for alpha in [0.5, 0.8] {
            let (mut graph, x) = Graph::sketch(&[0, 6]);
            let weight = graph.hold("w", Array::f32(vec![4, 6], case().weights));
            graph.draw(GEMM, &[x, weight]);
            let (smoothed, done) = smooth(graph.clone(), alpha, &statistics(x)).unwrap();
            assert_eq!(done, Smoothing { n_folded: 0, n_multiplied: 1 });
            let scaled = smoothed.constant(weight).unwrap().as_f32().unwrap();
            let factors = &case().factors[&alpha.to_string()];
            for (position, (scaled, weight)) in scaled.iter().zip(case().weights).enumerate() {
                let expected = weight * factors[position % 6];
                assert!((scaled - expected).abs() < 1e-5 * expected.abs(), "{scaled} {expected}");
            }
            assert_same_function(&graph, &smoothed, "a multiplication");
        }
    }

    #[test]
    fn factors_go_into_what_writes_the_tensor() {
        let vector = |graph: &mut Graph, name, n| {
            let values: Vec<f32> = (0..n).map(|i| 0.5 + i as f32 * 0.3).collect();
            graph.hold(name, Array::f32(vec![n], values))
        };
        for name in ["linear", "rectified linear", "layer norm"] {
            let (mut graph, x) = Graph::sketch(&[0, 6]);
            let bias = vector(&mut graph, "bias", 6);
            let read = if name == "layer norm" {
                let scale = vector(&mut graph, "scale", 6);
                graph.draw(Op::LayerNorm { axis: -1, epsilon: 1e-5 }, &[x, scale, bias])
            } else {
                let first: Vec<f32> = (0..36).map(|i| ((i * 7 % 11) as f32 - 5.0) * 0.2).collect();
                let first = graph.hold("first", Array::f32(vec![6, 6], first));
                let written = graph.draw(Op::MatMul, &[x, first, bias]);
                let rectified = name == "rectified linear";
                if rectified { graph.draw(Op::Relu, &[written]) } else { written }
            };
            let weight = graph.hold("w", Array::f32(vec![4, 6], case().weights));
            graph.draw(GEMM, &[read, weight]);
            let (smoothed, done) = smooth(graph.clone(), 0.5, &statistics(read)).unwrap();
            assert_eq!(done, Smoothing { n_folded: 1, n_multiplied: 0 }, "{name}");
            assert_eq!(smoothed.nodes().len(), graph.nodes().len(), "{name}");
            assert_ne!(smoothed, graph, "{name}");
            assert_same_function(&graph, &smoothed, name);
        }
    }
}

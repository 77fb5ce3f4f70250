//! High biases moved behind a ReLU: what a channel always has is added where it is read.

use std::collections::BTreeMap;

use crate::{
    network::{Array, Graph, Op, QuantizableLayer, TensorId},
    quantization::scaling::{
        channels::LayerWeights, source::Source, statistics::ChannelStatistics,
    },
};

/// How many standard deviations below the mean a channel counts as always reaching.
const SPREADS: f64 = 3.0;

/// Lowers the bias of each channel that is always well above 0 before its ReLU, and makes up for
/// it in the bias of the layer that reads the channel.
///
/// `c = max(0, β - 3 γ)` for mean `β` and standard deviation `γ` of what the layer writes. A
/// ReLU then still passes all but about 0.1 % of a normal distribution, so the function changes
/// by little. A convolution that pads is left out: its border would need a bias of its own.
///
/// - `statistics`: of what layers write, before the activation; others are left alone
/// - returns: the network, and how many channels were lowered
///
/// Source: Nagel et al. 2019, section 4.1.3.
pub fn absorb_high_biases(
    mut graph: Graph,
    statistics: &BTreeMap<TensorId, ChannelStatistics>,
) -> (Graph, usize) {
    let mut n_channels = 0;
    for reader in graph.quantizable_layers() {
        let alone = graph.readers(reader.input).len() == 1 && !graph.is_output(reader.input);
        let source = Source::of(&graph, reader.input).filter(|s| alone && s.only_rectified);
        let Some(source) = source else { continue };
        let Some(written) = statistics.get(&source.written) else { continue };
        let shifts: Vec<f64> =
            written.mean.iter().zip(&written.deviation).map(|(m, d)| high_bias(*m, *d)).collect();
        if shifts.iter().all(|shift| *shift == 0.0) {
            continue;
        }
        if let Some((lowered, raised)) = biases(&graph, &source, &reader, &shifts) {
            graph.set_bias(source.written, lowered);
            graph.set_bias(reader.output, raised);
            n_channels += shifts.iter().filter(|shift| **shift > 0.0).count();
        }
    }
    (graph, n_channels)
}

/// How much of a channel's mean lies below all but the rarest of its values.
pub fn high_bias(mean: f64, deviation: f64) -> f64 {
    (mean - SPREADS * deviation).max(0.0)
}

/// The new biases of the layer that writes the channels and of the one that reads them; none
/// where one of them has no bias of its own, or pads.
fn biases(
    graph: &Graph,
    source: &Source,
    reader: &QuantizableLayer,
    shifts: &[f64],
) -> Option<(Array, Array)> {
    let bias = |output: TensorId| -> Option<Vec<f32>> {
        let node = &graph.nodes()[graph.producer(output)?];
        let plain = match &node.op {
            Op::Gemm { alpha, beta, .. } => *alpha == 1.0 && *beta == 1.0,
            Op::Conv { .. } | Op::MatMul => true,
            _ => false,
        };
        let array = graph.constant(node.input(2)?).filter(|_| plain)?;
        array.as_f32().map(<[f32]>::to_vec)
    };
    let reads = &graph.nodes()[graph.producer(reader.output)?].op;
    if matches!(reads, Op::Conv { window, .. } if window.padding != [0; 4]) {
        return None;
    }
    let (mut lowered, mut raised) = (bias(source.written)?, bias(reader.output)?);
    let moved = LayerWeights::of(graph, reader).of_constant_input(|input| shifts[input]);
    if lowered.len() != shifts.len() || raised.len() != moved.len() {
        return None;
    }
    lowered.iter_mut().zip(shifts).for_each(|(bias, shift)| *bias -= *shift as f32);
    raised.iter_mut().zip(&moved).for_each(|(bias, moved)| *bias += *moved as f32);
    Some((Array::f32(vec![lowered.len()], lowered), Array::f32(vec![raised.len()], raised)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Made by tests/reference/make_reconstruction_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/reconstruction.json");

    #[derive(Deserialize)]
    struct Reference {
        absorption: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        mean: Vec<f64>,
        deviation: Vec<f64>,
        weights: Vec<f32>,
        bias: Vec<f32>,
        next_bias: Vec<f32>,
        shift: Vec<f64>,
        lowered: Vec<f32>,
        raised: Vec<f32>,
    }

    fn absorbed(activation: Op, case: &Case) -> (Graph, usize) {
        let (mut graph, x) = Graph::sketch(&[0, 1]);
        let first = graph.hold("w", Array::f32(vec![1, 5], [1.0; 5]));
        let bias = graph.hold("b", Array::f32(vec![5], case.bias.clone()));
        let written = graph.draw(Op::MatMul, &[x, first, bias]);
        let read = graph.draw(activation, &[written]);
        let second = graph.hold("v", Array::f32(vec![2, 5], case.weights.clone()));
        let next_bias = graph.hold("c", Array::f32(vec![2], case.next_bias.clone()));
        let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
        graph.draw(gemm, &[read, second, next_bias]);
        let (mean, deviation) = (case.mean.clone(), case.deviation.clone());
        let statistics = ChannelStatistics { largest: vec![9.0; 5], mean, deviation };
        absorb_high_biases(graph, &BTreeMap::from([(written, statistics)]))
    }

    #[test]
    fn high_biases_move_behind_the_rectifier_as_in_the_reference() {
        let case = serde_json::from_str::<Reference>(REFERENCE).unwrap().absorption;
        let (graph, n_channels) = absorbed(Op::Relu, &case);
        assert_eq!(n_channels, case.shift.iter().filter(|shift| **shift > 0.0).count());
        assert!(n_channels > 0);
        for (layer, expected) in
            graph.quantizable_layers().iter().zip([&case.lowered, &case.raised])
        {
            let found = graph.constant(layer.bias.unwrap()).unwrap().as_f32().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }

    #[test]
    fn a_clip_from_above_keeps_its_biases() {
        let case = serde_json::from_str::<Reference>(REFERENCE).unwrap().absorption;
        assert_eq!(absorbed(Op::Clip { low: 0.0, high: 6.0 }, &case).1, 0);
        assert_eq!(absorbed(Op::LeakyRelu { alpha: 0.1 }, &case).1, 0);
    }
}

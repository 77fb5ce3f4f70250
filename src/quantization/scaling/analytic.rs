//! Bias correction without data: the mean of an activation from the mean and spread before it.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::{
    network::{Array, Graph, Op, QuantizableLayer, TensorId},
    quantization::{
        error::QuantizationError,
        normal::{density, distribution},
        scaling::{channels::LayerWeights, statistics::ChannelStatistics},
    },
};

/// The mean of each channel that each layer reads. Behind a ReLU or a clip it is that of a
/// clipped normal number with the mean and spread before it; elsewhere it is the measured one.
///
/// - `images`: `[n, ...]` as the network reads them, f32, at least one
///
/// # Errors
/// When the network does not run, or an activation is not finite.
pub fn analytic_input_means(
    graph: &Graph,
    layers: &[QuantizableLayer],
    images: &Tensor,
) -> Result<Vec<Vec<f64>>, QuantizationError> {
    let known: Vec<(TensorId, f64, f64)> =
        layers.iter().map(|layer| before_clip(graph, layer.input)).collect();
    let mut tensors: Vec<TensorId> = known.iter().map(|(tensor, ..)| *tensor).collect();
    tensors.sort_unstable();
    tensors.dedup();
    let statistics: BTreeMap<TensorId, ChannelStatistics> =
        ChannelStatistics::measure(graph, &tensors, images)?;
    let means = known.iter().map(|(tensor, low, high)| {
        let seen = &statistics[tensor];
        let channels = seen.mean.iter().zip(&seen.deviation);
        if low.is_infinite() && high.is_infinite() {
            return seen.mean.clone();
        }
        channels.map(|(mean, spread)| clipped_gaussian_mean(*mean, *spread, *low, *high)).collect()
    });
    Ok(means.collect())
}

/// What is clipped to make a tensor, and the bounds; the tensor itself where nothing clips it.
pub fn before_clip(graph: &Graph, tensor: TensorId) -> (TensorId, f64, f64) {
    let node = graph.producer(tensor).map(|index| &graph.nodes()[index]);
    match node.map(|node| (&node.op, node.input(0))) {
        Some((Op::Relu, Some(before))) => (before, 0.0, f64::INFINITY),
        Some((Op::Clip { low, high }, Some(before))) => (before, f64::from(*low), f64::from(*high)),
        _ => (tensor, f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// The mean of `max(0, x)` for a normal `x`.
///
/// - `deviation`: 0 or more
///
/// Source: Nagel et al. 2019, equation 19.
pub fn rectified_gaussian_mean(mean: f64, deviation: f64) -> f64 {
    clipped_gaussian_mean(mean, deviation, 0.0, f64::INFINITY)
}

/// The mean of `min(max(x, low), high)` for a normal `x`; the bounds may be infinite.
///
/// - `deviation`: 0 or more
pub fn clipped_gaussian_mean(mean: f64, deviation: f64, low: f64, high: f64) -> f64 {
    if deviation <= 0.0 {
        return mean.clamp(low, high);
    }
    let (a, b) = ((low - mean) / deviation, (high - mean) / deviation);
    let inside = distribution(b) - distribution(a);
    let at_low = if low.is_finite() { low * distribution(a) } else { 0.0 };
    let at_high = if high.is_finite() { high * distribution(-b) } else { 0.0 };
    mean * inside + deviation * (density(a) - density(b)) + at_low + at_high
}

/// What rounded weights add to each output's mean, `ε E[x]` with `ε = Ŵ - W`: to be taken off
/// the bias.
///
/// - `rounded`: the weights as rounded, in the layer's own layout
/// - `input_mean`: of each input channel
/// - returns: one number an output channel; borders of a padded convolution count as inside;
///   zeros where there are not as many means as input channels
///
/// # Panics
/// When the rounded weights are not f32 numbers of the layer's shape.
///
/// Source: Nagel et al. 2019, equation 17.
pub fn analytic_bias_error(
    float: &Graph,
    layer: &QuantizableLayer,
    rounded: &Array,
    input_mean: &[f64],
) -> Vec<f64> {
    let weights = LayerWeights::of(float, layer);
    let rounded = rounded.as_f32().expect("rounded weights are f32");
    assert_eq!(rounded.len(), weights.values.len(), "rounded weights have the layer's shape");
    let mut errors = vec![0.0; weights.channels.n_out];
    if input_mean.len() != weights.channels.n_in {
        return errors;
    }
    for (position, (rounded, weight)) in rounded.iter().zip(weights.values).enumerate() {
        let (out, input) = weights.channels.at(position);
        errors[out] += (f64::from(*rounded) - f64::from(*weight)) * input_mean[input];
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::network::Op;

    /// Made by tests/reference/make_reconstruction_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/reconstruction.json");

    #[derive(Deserialize)]
    struct Reference {
        analytic: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        mean: f64,
        deviation: f64,
        low: f64,
        high: Option<f64>,
        expected: f64,
    }

    #[test]
    fn means_of_clipped_normal_numbers_equal_the_reference() {
        for case in serde_json::from_str::<Reference>(REFERENCE).unwrap().analytic {
            let high = case.high.unwrap_or(f64::INFINITY);
            let found = clipped_gaussian_mean(case.mean, case.deviation, case.low, high);
            let close = (found - case.expected).abs() < 1e-12 + 1e-10 * case.expected.abs();
            assert!(close, "{} {}: {found} {}", case.mean, case.deviation, case.expected);
        }
        assert_eq!(rectified_gaussian_mean(-2.0, 0.0), 0.0);
        assert_eq!(clipped_gaussian_mean(7.0, 0.0, 0.0, 6.0), 6.0);
    }

    #[test]
    fn input_means_are_analytic_behind_a_clip_and_measured_elsewhere() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let hold =
            |graph: &mut Graph| graph.hold("w", Array::f32(vec![2, 2], [1.0, 0.0, 0.0, 1.0]));
        let weight = hold(&mut graph);
        let product = graph.draw(Op::MatMul, &[x, weight]);
        let clipped = graph.draw(Op::Clip { low: 0.0, high: 6.0 }, &[product]);
        let weight = hold(&mut graph);
        graph.draw(Op::MatMul, &[clipped, weight]);
        let images = Tensor::from_slice(&[1.0f32, -4.0, 3.0, 8.0]).view([2, 2]);
        let layers = graph.quantizable_layers();
        let means = analytic_input_means(&graph, &layers, &images).unwrap();
        assert_eq!(means[0], [2.0, 2.0]);
        assert_eq!(means[1][0], clipped_gaussian_mean(2.0, 1.0, 0.0, 6.0));
        assert_eq!(means[1][1], clipped_gaussian_mean(2.0, 6.0, 0.0, 6.0));
    }

    #[test]
    fn the_bias_error_is_the_rounding_times_the_mean_input() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let weight = graph.hold("w", Array::f32(vec![2, 2], [1.0, 2.0, 3.0, 4.0]));
        graph.draw(Op::MatMul, &[x, weight]);
        let rounded = Array::f32(vec![2, 2], [1.5, 2.0, 3.0, 3.0]);
        let layer = &graph.quantizable_layers()[0];
        let error = analytic_bias_error(&graph, layer, &rounded, &[2.0, 10.0]);
        assert_eq!(error, [1.0, -10.0]);
    }
}

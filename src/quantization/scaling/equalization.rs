//! Cross-layer equalization: each channel gets the same range where it is written as where it
//! is read.

use crate::{
    network::{Graph, QuantizableLayer, TensorId},
    quantization::{
        error::QuantizationError,
        scaling::{
            channels::{LayerWeights, check_finite},
            source::Source,
        },
    },
};

/// Rounds over all pairs at most.
const LARGEST_SWEEPS: usize = 50;
/// Factors nearer to 1 than this are not worth another sweep.
const STABLE: f32 = 1e-3;

/// What equalization did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equalization {
    /// Pairs of layers that share their channels.
    pub n_pairs: usize,
    /// Rounds over all pairs until nothing changed.
    pub n_sweeps: usize,
}

/// One layer's output channels as another's input channels.
struct Pair {
    source: Source,
    writer: QuantizableLayer,
    reader: QuantizableLayer,
    /// Product of all factors so far.
    total: Vec<f32>,
}

/// Equalizes all pairs of layers that only functions lie between which a positive factor passes
/// through: ReLU, leaky and parametric ReLU, pooling. Chains of three and more come of sweeping
/// over their pairs until nothing changes.
///
/// The function stays the same. A ReLU6 between two layers becomes a ReLU and a minimum with
/// one bound a channel: with one bound for all, scaled channels would be clipped elsewhere.
///
/// # Errors
/// When a weight is not finite.
///
/// Source: Nagel et al. 2019, equation 11: `s = √(r₁ r₂) / r₂`.
pub fn equalize(graph: Graph) -> Result<(Graph, Equalization), QuantizationError> {
    let mut graph = graph;
    let layers = graph.quantizable_layers();
    check_finite(&graph, &layers)?;
    let mut pairs = pairs(&graph, &layers);
    let mut n_sweeps = 0;
    while n_sweeps < LARGEST_SWEEPS && !pairs.is_empty() {
        n_sweeps += 1;
        let changes = pairs.iter_mut().map(|pair| pair.equalize(&mut graph));
        if changes.fold(0.0, f32::max) < STABLE {
            break;
        }
    }
    for pair in &pairs {
        pair.source.scale_clips(&mut graph, &pair.total);
    }
    Ok((graph, Equalization { n_pairs: pairs.len(), n_sweeps }))
}

fn pairs(graph: &Graph, layers: &[QuantizableLayer]) -> Vec<Pair> {
    let written_by = |tensor: TensorId| layers.iter().find(|layer| layer.output == tensor);
    let pair = |reader: &QuantizableLayer| {
        let alone = graph.readers(reader.input).len() == 1
            && graph.readers(reader.weight).len() == 1
            && !graph.is_output(reader.input);
        let source = Source::of(graph, reader.input).filter(|_| alone)?;
        let writer = written_by(source.written)?.clone();
        let fits = LayerWeights::of(graph, reader).channels.n_in == source.n_channels;
        let total = vec![1.0; source.n_channels];
        fits.then(|| Pair { source, writer, reader: reader.clone(), total })
    };
    layers.iter().filter_map(pair).collect()
}

impl Pair {
    /// Equalizes once; returns how far the factors were from 1.
    fn equalize(&mut self, graph: &mut Graph) -> f32 {
        let written = LayerWeights::of(graph, &self.writer).ranges().0;
        let read = LayerWeights::of(graph, &self.reader).ranges().1;
        let factors: Vec<f32> = written.iter().zip(&read).map(|(&w, &r)| factor(w, r)).collect();
        let smaller: Vec<f32> = factors.iter().map(|s| 1.0 / s).collect();
        self.source.scale_weights(graph, &smaller);
        let scaled = LayerWeights::of(graph, &self.reader).scaled(|_, input| factors[input]);
        graph.set_constant(self.reader.weight, scaled);
        self.total.iter_mut().zip(&smaller).for_each(|(total, factor)| *total *= factor);
        factors.iter().map(|s| (s - 1.0).abs()).fold(0.0, f32::max)
    }
}

/// `√(r₁ / r₂)`; 1 for a channel that is zero on one side, which no factor can equalize.
fn factor(written: f32, read: f32) -> f32 {
    let factor = (written / read).sqrt();
    if factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::network::{Array, Executable, Op, Window};

    /// Made by tests/reference/make_reconstruction_reference.py.
    const REFERENCE: &str = include_str!("../../../tests/reference/reconstruction.json");

    #[derive(Deserialize)]
    struct Reference {
        equalization: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        before: Vec<Vec<f32>>,
        biases: Vec<Vec<f32>>,
        after: Vec<Vec<f32>>,
        biases_after: Vec<Vec<f32>>,
    }

    fn case() -> Case {
        serde_json::from_str::<Reference>(REFERENCE).unwrap().equalization
    }

    fn window(kernel: usize) -> Window {
        let pad = kernel / 2;
        Window { kernel: [kernel; 2], stride: [1, 1], padding: [pad; 4], dilation: [1, 1] }
    }

    /// Pointwise, depthwise and pointwise convolution with activations between them.
    fn separable(activation: impl Fn(&mut Graph, TensorId) -> TensorId) -> Graph {
        let case = case();
        let (mut graph, x) = Graph::sketch(&[0, 3, 5, 5]);
        let conv = |graph: &mut Graph,
                    input,
                    shape: [usize; 4],
                    groups,
                    weight: &[f32],
                    bias: Option<&[f32]>| {
            let weight = graph.hold("w", Array::f32(shape.to_vec(), weight));
            let bias = bias.map(|bias| graph.hold("b", Array::f32(vec![bias.len()], bias)));
            let op = Op::Conv { window: window(shape[2]), groups };
            graph.draw(
                op,
                &[Some(input), Some(weight), bias].into_iter().flatten().collect::<Vec<_>>(),
            )
        };
        let a = conv(&mut graph, x, [4, 3, 1, 1], 1, &case.before[0], Some(&case.biases[0]));
        let a = activation(&mut graph, a);
        let b = conv(&mut graph, a, [4, 1, 3, 3], 4, &case.before[1], Some(&case.biases[1]));
        let b = activation(&mut graph, b);
        conv(&mut graph, b, [2, 4, 1, 1], 1, &case.before[2], None);
        graph
    }

    fn output(graph: &Graph) -> Tensor {
        let x = (Tensor::arange(150, (Kind::Float, Device::Cpu)) * 0.7).sin().view([2, 3, 5, 5]);
        Executable::new(graph, Device::Cpu).unwrap().run(&(x * 3.0)).unwrap()
    }

    #[test]
    fn a_chain_of_three_is_equalized_as_in_the_reference() {
        let case = case();
        let graph = separable(|graph, x| graph.draw(Op::Relu, &[x]));
        let (equalized, done) = equalize(graph).unwrap();
        assert_eq!(done.n_pairs, 2);
        for (index, layer) in equalized.quantizable_layers().iter().enumerate() {
            let bias = layer.bias.map(|bias| (bias, &case.biases_after[index]));
            for (tensor, expected) in [(layer.weight, &case.after[index])].into_iter().chain(bias) {
                let found = equalized.constant(tensor).unwrap().as_f32().unwrap();
                for (found, expected) in found.iter().zip(expected) {
                    let close = (found - expected).abs() < 5e-3 * expected.abs();
                    assert!(close, "layer {index}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn the_function_stays_the_same_through_every_activation() {
        let slope = |graph: &mut Graph| {
            graph.hold("slope", Array::f32(vec![4, 1, 1], [0.1, 0.5, 0.0, 2.0]))
        };
        type Draw<'a> = Box<dyn Fn(&mut Graph, TensorId) -> TensorId + 'a>;
        let plain = |op: Op| -> Draw<'_> { Box::new(move |graph, x| graph.draw(op.clone(), &[x])) };
        let parametric: Draw<'_> = Box::new(move |graph, x| {
            let slope = slope(graph);
            graph.draw(Op::PRelu, &[x, slope])
        });
        for (name, activation) in [
            ("relu", plain(Op::Relu)),
            ("leaky relu", plain(Op::LeakyRelu { alpha: 0.1 })),
            ("parametric relu", parametric),
            ("nothing", plain(Op::Identity)),
            ("relu6", plain(Op::Clip { low: 0.0, high: 6.0 })),
            ("pooling", plain(Op::MaxPool { window: window(3), ceil: false })),
        ] {
            let graph = separable(activation);
            let (equalized, done) = equalize(graph.clone()).unwrap();
            assert_eq!(done.n_pairs, 2, "{name}");
            assert_ne!(equalized, graph, "{name}");
            let (before, after) = (output(&graph), output(&equalized));
            let moved = (&after - &before).abs().max().double_value(&[]);
            assert!(moved < 1e-4 * before.abs().max().double_value(&[]), "{name}: {moved}");
        }
    }

    #[test]
    fn other_activations_and_second_readers_are_left_alone() {
        let sigmoid = separable(|graph, x| graph.draw(Op::Sigmoid, &[x]));
        assert_eq!(equalize(sigmoid.clone()).unwrap().0, sigmoid);
        let summed = separable(|graph, x| {
            let relu = graph.draw(Op::Relu, &[x]);
            graph.draw(Op::Add, &[relu, x])
        });
        assert_eq!(equalize(summed.clone()).unwrap().1.n_pairs, 0);
    }

    #[test]
    fn channels_of_zeros_stay_and_weights_that_are_no_numbers_are_refused() {
        let graph = separable(|graph, x| graph.draw(Op::Relu, &[x]));
        let layer = &graph.quantizable_layers()[0];
        let mut values = graph.constant(layer.weight).unwrap().as_f32().unwrap().to_vec();
        values[..3].fill(0.0);
        let shape = vec![4, 3, 1, 1];
        let zeros =
            graph.clone().with_constant(layer.weight, Array::f32(shape.clone(), values.clone()));
        let (equalized, _) = equalize(zeros.clone()).unwrap();
        let moved = (output(&zeros) - output(&equalized)).abs().max().double_value(&[]);
        assert!(moved < 1e-4 * output(&zeros).abs().max().double_value(&[]), "{moved}");
        values[4] = f32::NAN;
        let broken = graph.with_constant(layer.weight, Array::f32(shape, values));
        let error = equalize(broken).unwrap_err().to_string();
        assert!(error.contains("weight 4 is NaN"), "{error}");
    }
}

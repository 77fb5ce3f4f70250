//! Parts of a network that are learned at once: single layers, or blocks between cut points.

use std::collections::BTreeSet;

use crate::{
    network::{Graph, Op, QuantizableLayer, TensorId},
    quantization::reconstruction::{ReconstructionSettings, ReconstructionUnit},
};

/// A part of the network with one tensor in and one out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub input: TensorId,
    pub output: TensorId,
    /// Positions among the quantizable layers, rising.
    pub layers: Vec<usize>,
}

impl Segment {
    /// All segments in network order; every layer is in exactly one.
    pub fn all(
        graph: &Graph,
        layers: &[QuantizableLayer],
        settings: &ReconstructionSettings,
    ) -> Vec<Self> {
        let single = |index: usize| of_layer(graph, layers, index);
        match settings.unit {
            ReconstructionUnit::Layer => (0..layers.len()).map(single).collect(),
            ReconstructionUnit::Block => {
                let mut segments = Vec::new();
                let blocks = blocks(graph, layers);
                let covered: BTreeSet<usize> =
                    blocks.iter().flat_map(|block| block.layers.iter().copied()).collect();
                let uncovered = (0..layers.len()).filter(|index| !covered.contains(index));
                segments.extend(uncovered.map(single));
                for block in blocks {
                    if block.layers.len() > settings.largest_block {
                        segments.extend(block.layers.iter().copied().map(single));
                    } else {
                        segments.push(block);
                    }
                }
                segments.sort_by_key(|segment| segment.layers[0]);
                segments
            }
        }
    }
}

/// Tensors that carry everything the rest of the network needs, in network order: the input is
/// the first of them, where there is one input, and the output the last.
pub fn cut_points(graph: &Graph) -> Vec<TensorId> {
    let mut last_reader = vec![0; graph.n_tensors()];
    for (index, node) in graph.nodes().iter().enumerate() {
        node.reads().for_each(|tensor| last_reader[tensor.index()] = index + 1);
    }
    for output in graph.outputs() {
        last_reader[output.index()] = graph.nodes().len() + 1;
    }
    let mut live: BTreeSet<TensorId> = graph.inputs().iter().map(|input| input.tensor).collect();
    let mut cuts = Vec::new();
    let mut note = |live: &BTreeSet<TensorId>| {
        if let (Some(&only), 1) = (live.first(), live.len())
            && cuts.last() != Some(&only)
        {
            cuts.push(only);
        }
    };
    note(&live);
    for (index, node) in graph.nodes().iter().enumerate() {
        live.insert(node.output);
        live.retain(|tensor| last_reader[tensor.index()] > index + 1);
        note(&live);
    }
    cuts
}

/// A layer, with the activation behind it where nothing else reads the layer's output.
fn of_layer(graph: &Graph, layers: &[QuantizableLayer], index: usize) -> Segment {
    let layer = &layers[index];
    let mut output = layer.output;
    if let [reader] = *graph.readers(output).as_slice()
        && !graph.is_output(output)
        && is_activation(&graph.nodes()[reader].op)
        && graph.nodes()[reader].input(0) == Some(output)
    {
        output = graph.nodes()[reader].output;
    }
    Segment { input: layer.input, output, layers: vec![index] }
}

/// What lies between cut points. Activations between two blocks go with the block before them,
/// other layers without weights (pooling, say) with the block behind them.
fn blocks(graph: &Graph, layers: &[QuantizableLayer]) -> Vec<Segment> {
    let cuts = cut_points(graph);
    let position = |tensor: TensorId| graph.producer(tensor).map_or(0, |index| index + 1);
    let mut blocks: Vec<Segment> = Vec::new();
    let mut input = None;
    for pair in cuts.windows(2) {
        let nodes = position(pair[0])..position(pair[1]);
        let inside: Vec<usize> =
            (0..layers.len()).filter(|&layer| nodes.contains(&layers[layer].node)).collect();
        let only_activations = graph.nodes()[nodes].iter().all(|node| is_activation(&node.op));
        match blocks.last_mut() {
            Some(block) if inside.is_empty() && only_activations && input.is_none() => {
                block.output = pair[1];
            }
            _ if inside.is_empty() => {
                input.get_or_insert(pair[0]);
            }
            _ => {
                let input = input.take().unwrap_or(pair[0]);
                blocks.push(Segment { input, output: pair[1], layers: inside });
            }
        }
    }
    blocks
}

/// Functions of one number that usually follow a layer.
fn is_activation(op: &Op) -> bool {
    matches!(
        op,
        Op::Relu
            | Op::PRelu
            | Op::LeakyRelu { .. }
            | Op::Clip { .. }
            | Op::Elu { .. }
            | Op::Gelu { .. }
            | Op::Sigmoid
            | Op::HardSigmoid { .. }
            | Op::HardSwish
            | Op::Identity
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Array, Window};

    /// Layers beside each other as a network sketches them: x -> a -> relu -> (b -> relu -> c) +
    /// skip -> relu -> pool -> d.
    fn residual() -> (Graph, [TensorId; 4]) {
        let (mut graph, x) = Graph::sketch(&[0, 2, 4, 4]);
        let window = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
        let conv = |graph: &mut Graph, name: &str, input| {
            let weight = graph.hold(name, Array::f32(vec![2, 2, 1, 1], [1.0; 4]));
            graph.draw(Op::Conv { window: window.clone(), groups: 1 }, &[input, weight])
        };
        let a = conv(&mut graph, "a", x);
        let a = graph.draw(Op::Relu, &[a]);
        let b = conv(&mut graph, "b", a);
        let b = graph.draw(Op::Relu, &[b]);
        let c = conv(&mut graph, "c", b);
        let sum = graph.draw(Op::Add, &[c, a]);
        let sum = graph.draw(Op::Relu, &[sum]);
        let pooled = graph.draw(Op::GlobalAveragePool, &[sum]);
        let d = conv(&mut graph, "d", pooled);
        (graph, [x, a, sum, d])
    }

    fn segments(graph: &Graph, settings: ReconstructionSettings) -> Vec<Segment> {
        Segment::all(graph, &graph.quantizable_layers(), &settings)
    }

    #[test]
    fn blocks_lie_between_tensors_that_carry_everything() {
        let (graph, [x, a, sum, d]) = residual();
        let segment = |input, output, layers| Segment { input, output, layers };
        let expected =
            [segment(x, a, vec![0]), segment(a, sum, vec![1, 2]), segment(sum, d, vec![3])];
        assert_eq!(segments(&graph, ReconstructionSettings::blocks()), expected);
        let cuts = cut_points(&graph);
        assert_eq!((cuts.first(), cuts.last()), (Some(&x), Some(&d)));
    }

    #[test]
    fn a_block_with_too_many_layers_is_learned_layer_by_layer() {
        let (graph, [_, a, sum, _]) = residual();
        let small = ReconstructionSettings { largest_block: 1, ..ReconstructionSettings::blocks() };
        let found = segments(&graph, small);
        let layers: Vec<&[usize]> = found.iter().map(|s| s.layers.as_slice()).collect();
        assert_eq!(layers, [[0], [1], [2], [3]]);
        assert_eq!(found[1].input, a);
        assert_ne!(found[2].output, sum, "an addition is no activation");
        assert_eq!(
            found,
            segments(&graph, ReconstructionSettings::layers())
                .into_iter()
                .enumerate()
                .map(|(index, layer)| if index == 3 { found[3].clone() } else { layer })
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_layer_whose_output_is_read_twice_ends_at_its_output() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let weight = graph.hold("w", Array::f32(vec![2, 2], [1.0; 4]));
        let product = graph.draw(Op::MatMul, &[x, weight]);
        let relu = graph.draw(Op::Relu, &[product]);
        graph.draw(Op::Add, &[relu, product]);
        let found = segments(&graph, ReconstructionSettings::layers());
        assert_eq!(found, [Segment { input: x, output: product, layers: vec![0] }]);
    }
}

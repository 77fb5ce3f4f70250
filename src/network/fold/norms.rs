//! Batch normalizations that folding puts into layers, remembered so that training can have
//! them back.

use crate::network::{
    array::Array,
    graph::{Graph, Node, TensorId},
    ops::Op,
};

/// A layer and its batch normalization as they were before the one went into the other.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldedNorm {
    /// What the normalization wrote, and the folded layer writes now.
    pub output: TensorId,
    /// The layer's own weight, of the folded weight's shape.
    pub weight: Array,
    /// The layer's own bias, one number an output channel; zeros where it had none.
    pub bias: Vec<f32>,
    /// Of the normalization, one number an output channel each.
    pub gain: Vec<f32>,
    pub offset: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub epsilon: f32,
}

/// The normalizations that directly follow a layer, before they are folded.
pub(super) fn remember(graph: &Graph) -> Vec<FoldedNorm> {
    graph.nodes().iter().filter_map(|node| norm_after_layer(graph, node)).collect()
}

/// Those that went into their layers, and nothing else behind them.
pub(super) fn keep_folded(graph: &Graph, norms: Vec<FoldedNorm>) -> Vec<FoldedNorm> {
    let folded = |norm: &FoldedNorm| {
        let layer = graph.quantizable_layers().into_iter().find(|l| l.output == norm.output);
        layer.is_some_and(|layer| {
            let weight = graph.constant(layer.weight).expect("a layer's weight is constant");
            weight.shape() == norm.weight.shape()
        })
    };
    norms.into_iter().filter(folded).collect()
}

fn norm_after_layer(graph: &Graph, node: &Node) -> Option<FoldedNorm> {
    let Op::BatchNorm { epsilon } = node.op else { return None };
    let layer = &graph.nodes()[graph.producer(node.input(0)?)?];
    if !matches!(layer.op, Op::Conv { .. } | Op::Gemm { .. }) {
        return None;
    }
    let numbers = |tensor: TensorId| Some(graph.constant(tensor)?.as_f32()?.to_vec());
    let parameter = |position: usize| numbers(node.input(position)?);
    let gain = parameter(1)?;
    let bias = match layer.input(2) {
        Some(bias) => numbers(bias)?,
        None => vec![0.0; gain.len()],
    };
    Some(FoldedNorm {
        output: node.output,
        weight: graph.constant(layer.input(1)?)?.clone(),
        bias,
        gain,
        offset: parameter(2)?,
        mean: parameter(3)?,
        variance: parameter(4)?,
        epsilon,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::attributes::Window;

    fn layer_and_norm(after: Option<Op>) -> Graph {
        let (mut graph, x) = Graph::sketch(&[0, 1, 4, 4]);
        let weight = graph.hold("w", Array::f32(vec![2, 1, 1, 1], [1.0, -2.0]));
        let window = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
        let conv = graph.draw(Op::Conv { window, groups: 1 }, &[x, weight]);
        let numbers = [[4.0, 1.0], [0.5, 0.0], [0.25, -1.0], [0.75, 3.0]];
        let parameters: Vec<TensorId> =
            numbers.iter().map(|n| graph.hold("p", Array::f32(vec![2], *n))).collect();
        let inputs: Vec<TensorId> = std::iter::once(conv).chain(parameters).collect();
        let norm = graph.draw(Op::BatchNorm { epsilon: 0.25 }, &inputs);
        if let Some(op) = after {
            let constant = graph.hold("c", Array::f32(vec![1], [2.0]));
            graph.draw(op, &[norm, constant]);
        }
        graph
    }

    #[test]
    fn a_folded_norm_gives_the_layer_back() {
        let (folded, norms) = layer_and_norm(None).folded_with_norms().unwrap();
        let layer = &folded.quantizable_layers()[0];
        let [norm] = norms.as_slice() else { panic!("one norm is remembered: {norms:?}") };
        assert_eq!(norm.output, layer.output);
        let weight = folded.constant(layer.weight).unwrap().as_f32().unwrap();
        for (channel, folded) in weight.iter().enumerate() {
            let deviation = (norm.variance[channel] + norm.epsilon).sqrt();
            let own = norm.weight.as_f32().unwrap()[channel];
            assert!((folded - own * norm.gain[channel] / deviation).abs() < 1e-6);
        }
    }

    #[test]
    fn a_norm_with_more_folded_behind_it_is_forgotten() {
        let (folded, norms) = layer_and_norm(Some(Op::Mul)).folded_with_norms().unwrap();
        assert_eq!(folded.nodes().len(), 1, "both went into the layer");
        assert_eq!(norms, []);
    }
}

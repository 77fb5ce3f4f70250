//! Which layers of a network can be quantized, which tensors they read, and what is known of
//! those tensors' signs.

use super::{
    graph::{Graph, Node, TensorId},
    ops::Op,
};

/// What kind of quantizable layer a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantizableKind {
    /// Dense or grouped.
    Conv,
    /// As many groups as input channels.
    Depthwise,
    Linear,
}

/// A layer whose weights, and the tensor it reads, can be quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizableLayer {
    pub name: String,
    pub kind: QuantizableKind,
    /// Position in [`Graph::nodes`] of this graph; [`Graph::insert_after`] shifts positions.
    pub node: usize,
    /// The tensor whose bits are this layer's activation bits.
    pub input: TensorId,
    pub weight: TensorId,
    pub bias: Option<TensorId>,
    /// What the layer writes; names the layer in every graph made from this one.
    pub output: TensorId,
    /// The axis of the weight that runs over output channels.
    pub output_axis: usize,
}

impl Graph {
    /// Layers with a constant weight, in network order.
    pub fn quantizable_layers(&self) -> Vec<QuantizableLayer> {
        let layer = |(index, node)| self.quantizable(index, node);
        self.nodes.iter().enumerate().filter_map(layer).collect()
    }

    /// The bits that a file's own codes have: of the layer's weights, and of the tensor it reads;
    /// none for what the file keeps in float.
    pub fn stored_bits(&self, layer: &QuantizableLayer) -> [Option<u8>; 2] {
        let rounding = self.producer(layer.input).map(|index| &self.nodes[index].op);
        let activation = match rounding {
            Some(Op::FakeQuantize(grid)) => {
                let last = i64::from(grid.high) - i64::from(grid.low);
                Some((i64::BITS - last.leading_zeros()) as u8)
            }
            Some(Op::DynamicQuantize { bits, .. }) => Some(*bits),
            Some(Op::Binarize { .. }) => Some(1),
            _ => None,
        };
        [self.coding(layer.weight).map(|coding| coding.bits), activation]
    }

    fn quantizable(&self, index: usize, node: &Node) -> Option<QuantizableLayer> {
        let (input, weight) = (node.input(0)?, node.input(1)?);
        let shape = self.constant(weight)?.shape();
        let (kind, output_axis) = match &node.op {
            Op::Conv { groups, .. } if *groups > 1 && shape.get(1) == Some(&1) => {
                (QuantizableKind::Depthwise, 0)
            }
            Op::Conv { .. } => (QuantizableKind::Conv, 0),
            Op::Gemm { transpose_b, .. } => (QuantizableKind::Linear, usize::from(!transpose_b)),
            Op::MatMul if shape.len() == 2 => (QuantizableKind::Linear, 1),
            _ => return None,
        };
        if self.constant(input).is_some() {
            return None;
        }
        Some(QuantizableLayer {
            name: node.name.clone(),
            kind,
            node: index,
            input,
            weight,
            bias: node.input(2),
            output: node.output,
            output_axis,
        })
    }

    /// Whether no value of a tensor can be below 0, whatever the input is.
    pub fn is_non_negative(&self, tensor: TensorId) -> bool {
        let mut known = vec![false; self.n_tensors()];
        for (id, array) in self.constants() {
            known[id.0] = array.as_f32().is_some_and(|data| data.iter().all(|x| *x >= 0.0));
        }
        for node in &self.nodes {
            let all = |positions: std::ops::Range<usize>| {
                positions.filter_map(|p| node.input(p)).all(|read: TensorId| known[read.0])
            };
            known[node.output.0] = match &node.op {
                Op::Relu | Op::Sigmoid | Op::Softmax { .. } | Op::HardSigmoid { .. } => true,
                Op::Clip { low, high } => *high >= 0.0 && (*low >= 0.0 || all(0..1)),
                Op::FakeQuantize(grid) => grid.low >= grid.zero_point || all(0..1),
                Op::Add | Op::Mul | Op::Div | Op::Max | Op::Min => all(0..2),
                Op::Concat { .. } => all(0..node.inputs.len()),
                Op::Pad { value, .. } => *value >= 0.0 && all(0..1),
                op if op.keeps_non_negative() => all(0..1),
                _ => false,
            };
        }
        known[tensor.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{
        array::Array,
        attributes::{Cut, Grid, Unary, Window},
    };

    #[test]
    fn signs_are_followed_through_the_network() {
        let window =
            || Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4], dilation: [1, 1] };
        let pad = |value| Op::Pad { before: vec![0, 0, 1, 1], after: vec![0; 4], value };
        let grid = |zero_point| Op::FakeQuantize(Grid { scale: 0.1, zero_point, low: 0, high: 15 });
        let cut = Cut { axis: 2, start: 0, end: i64::MAX, step: 2 };
        for (name, ops, expected) in [
            ("the input itself", vec![], false),
            ("relu", vec![Op::Relu], true),
            ("relu6", vec![Op::Clip { low: 0.0, high: 6.0 }], true),
            ("clip below 0", vec![Op::Clip { low: -1.0, high: 6.0 }], false),
            ("sigmoid", vec![Op::Sigmoid], true),
            ("hardswish", vec![Op::HardSwish], false),
            ("max pool", vec![Op::Relu, Op::MaxPool { window: window(), ceil: false }], true),
            ("max pool of both signs", vec![Op::MaxPool { window: window(), ceil: false }], false),
            ("mean", vec![Op::Relu, Op::GlobalAveragePool, Op::Flatten { axis: 1 }], true),
            ("padding with 0", vec![Op::Relu, pad(0.0)], true),
            ("padding with -1", vec![Op::Relu, pad(-1.0)], false),
            ("slice", vec![Op::Relu, Op::Slice { cuts: vec![cut] }], true),
            ("clip below 0 of a relu", vec![Op::Relu, Op::Clip { low: -1.0, high: 6.0 }], true),
            ("negation", vec![Op::Relu, Op::Unary(Unary::Neg)], false),
            ("unsigned grid", vec![grid(0)], true),
            ("signed grid", vec![grid(7)], false),
            ("own range", vec![Op::DynamicQuantize { bits: 4, per_row: false }], false),
            (
                "own range of a relu",
                vec![Op::Relu, Op::DynamicQuantize { bits: 4, per_row: true }],
                true,
            ),
            ("signs", vec![Op::Relu, Op::Binarize { scale: 0.5 }], false),
            ("signed grid of a relu", vec![Op::Relu, grid(7)], true),
        ] {
            let (mut graph, x) = Graph::sketch(&[0, 3, 8, 8]);
            let tensor = ops.into_iter().fold(x, |tensor, op| graph.draw(op, &[tensor]));
            assert_eq!(graph.is_non_negative(tensor), expected, "{name}");
        }
    }

    #[test]
    fn a_sum_is_non_negative_when_both_parts_are() {
        let (mut graph, x) = Graph::sketch(&[0, 3]);
        let relu = graph.draw(Op::Relu, &[x]);
        let positive = graph.add_constant("p", Array::f32(vec![1], [2.0]));
        let negative = graph.add_constant("n", Array::f32(vec![1], [-2.0]));
        for (name, other, expected) in [
            ("with itself", relu, true),
            ("with the input", x, false),
            ("with a positive constant", positive, true),
            ("with a negative constant", negative, false),
        ] {
            for op in [Op::Add, Op::Concat { axis: 1 }] {
                let sum = graph.draw(op, &[relu, other]);
                assert_eq!(graph.is_non_negative(sum), expected, "{name}");
            }
        }
    }

    #[test]
    fn only_layers_with_a_constant_weight_are_quantizable() {
        let (mut graph, x) = Graph::sketch(&[0, 4]);
        let weight = graph.add_constant("w", Array::f32(vec![4, 2], [0.5; 8]));
        let product = graph.draw(Op::MatMul, &[x, weight]);
        graph.draw(Op::MatMul, &[product, x]);
        let layers = graph.quantizable_layers();
        assert_eq!(layers.len(), 1);
        assert_eq!((layers[0].input, layers[0].weight, layers[0].output_axis), (x, weight, 1));
    }
}

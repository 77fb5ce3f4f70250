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
                Op::Add | Op::Mul | Op::Div => all(0..2),
                Op::Concat { .. } => all(0..node.inputs.len()),
                Op::Pad { value, .. } => *value >= 0.0 && all(0..1),
                op if op.selects_or_averages() => all(0..1),
                _ => false,
            };
        }
        known[tensor.0]
    }
}

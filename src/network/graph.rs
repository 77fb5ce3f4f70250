//! A network as a graph of typed operations over numbered tensors.

use std::collections::BTreeMap;

use super::{array::Array, ops::Op};

/// A tensor of one graph: an input, a constant or what a node computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub(super) usize);

impl TensorId {
    pub fn index(self) -> usize {
        self.0
    }
}

/// One operation with the tensors it reads and writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// As in the file; made from the op and its position where the file has none.
    pub name: String,
    pub op: Op,
    /// In ONNX order; an optional input that is left out in the middle is `None`.
    pub inputs: Vec<Option<TensorId>>,
    pub output: TensorId,
}

/// A network: nodes in an order in which each comes after what it reads.
///
/// One input (the images, batch first) and one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub(super) tensor_names: Vec<String>,
    pub(super) constants: BTreeMap<TensorId, Array>,
    pub(super) nodes: Vec<Node>,
    pub(super) input: TensorId,
    /// As declared: `None` where the file leaves a dimension open.
    pub(super) input_shape: Vec<Option<usize>>,
    pub(super) output: TensorId,
}

/// What kind of quantizable layer a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantizableKind {
    Conv,
    Depthwise,
    Linear,
}

/// A layer whose weights, and the tensor it reads, can be quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizableLayer {
    pub name: String,
    pub kind: QuantizableKind,
    /// Position in [`Graph::nodes`].
    pub node: usize,
    /// The tensor whose bits are this layer's activation bits.
    pub input: TensorId,
    pub weight: TensorId,
    pub bias: Option<TensorId>,
}

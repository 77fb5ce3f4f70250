//! A network as a graph of typed operations over numbered tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    array::{Array, ElementType},
    coding::Coding,
    error::NetworkError,
    ops::Op,
};

/// A tensor of one graph: an input, a constant or what a node computes.
///
/// Stays valid when the graph is changed by the methods of [`Graph`]: they only add tensors.
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

impl Node {
    /// The tensors that are really read.
    pub fn reads(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.inputs.iter().flatten().copied()
    }

    /// The tensor at one position, when it is given.
    pub fn input(&self, position: usize) -> Option<TensorId> {
        self.inputs.get(position).copied().flatten()
    }
}

/// One dimension of a declared input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputDim {
    Fixed(usize),
    /// Left open, under the name the file gives it; equal names mean equal lengths.
    Open(String),
}

/// A tensor that is fed from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphInput {
    pub tensor: TensorId,
    pub element: ElementType,
    pub dims: Vec<InputDim>,
}

/// A network: nodes in an order in which each comes after what it reads.
///
/// Graphs are equal that compute the same in the same way; what is known of where a constant came
/// from does not count.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub(super) tensor_names: Vec<String>,
    pub(super) constants: BTreeMap<TensorId, Array>,
    /// By constant that was rounded: the codes its numbers stand for.
    pub(super) codings: BTreeMap<TensorId, Coding>,
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: Vec<GraphInput>,
    pub(super) outputs: Vec<TensorId>,
    /// The network's own inputs, where they were joined to one.
    pub(super) joined: Vec<GraphInput>,
    /// What the file says beside the network, by name.
    pub(super) texts: BTreeMap<String, String>,
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        let Self { tensor_names, constants, codings: _, nodes, inputs, outputs, joined, texts: _ } =
            self;
        *tensor_names == other.tensor_names
            && *constants == other.constants
            && *nodes == other.nodes
            && *inputs == other.inputs
            && *outputs == other.outputs
            && *joined == other.joined
    }
}

impl Graph {
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn inputs(&self) -> &[GraphInput] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[TensorId] {
        &self.outputs
    }

    /// The one input.
    ///
    /// # Errors
    /// [`NetworkError::NotSingle`] when there are more, or none.
    pub fn input(&self) -> Result<&GraphInput, NetworkError> {
        match self.inputs.as_slice() {
            [input] => Ok(input),
            inputs => Err(NetworkError::NotSingle { what: "inputs", found: inputs.len() }),
        }
    }

    /// The one output.
    ///
    /// # Errors
    /// [`NetworkError::NotSingle`] when there are more, or none.
    pub fn output(&self) -> Result<TensorId, NetworkError> {
        match *self.outputs.as_slice() {
            [output] => Ok(output),
            ref outputs => Err(NetworkError::NotSingle { what: "outputs", found: outputs.len() }),
        }
    }

    /// The shape of the one input as declared: `None` where the file leaves a dimension open.
    ///
    /// # Errors
    /// [`NetworkError::NotSingle`] when there are more inputs, or none.
    pub fn input_shape(&self) -> Result<Vec<Option<usize>>, NetworkError> {
        let dims = self.input()?.dims.iter();
        Ok(dims
            .map(|dim| match dim {
                InputDim::Fixed(n) => Some(*n),
                InputDim::Open(_) => None,
            })
            .collect())
    }

    pub fn n_tensors(&self) -> usize {
        self.tensor_names.len()
    }

    pub fn tensor_name(&self, tensor: TensorId) -> &str {
        &self.tensor_names[tensor.0]
    }

    pub fn tensor_named(&self, name: &str) -> Option<TensorId> {
        self.tensor_names.iter().position(|known| known == name).map(TensorId)
    }

    /// The value of a tensor that does not depend on any input.
    pub fn constant(&self, tensor: TensorId) -> Option<&Array> {
        self.constants.get(&tensor)
    }

    /// A text that the file keeps beside the network.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Every constant, by rising id.
    pub fn constants(&self) -> impl Iterator<Item = (TensorId, &Array)> {
        self.constants.iter().map(|(&id, array)| (id, array))
    }

    /// Position in [`Graph::nodes`] of the node that writes a tensor; none for inputs and
    /// constants.
    pub fn producer(&self, tensor: TensorId) -> Option<usize> {
        self.nodes.iter().position(|node| node.output == tensor)
    }

    /// Positions in [`Graph::nodes`] of the nodes that read a tensor.
    pub fn readers(&self, tensor: TensorId) -> Vec<usize> {
        let reads = |node: &Node| node.reads().any(|read| read == tensor);
        (0..self.nodes.len()).filter(|&index| reads(&self.nodes[index])).collect()
    }

    pub fn is_output(&self, tensor: TensorId) -> bool {
        self.outputs.contains(&tensor)
    }

    /// Adds a tensor; the name gets a number when it is taken.
    pub(super) fn add_tensor(&mut self, name: &str) -> TensorId {
        let mut unique = name.to_owned();
        let mut number = 1;
        while self.tensor_named(&unique).is_some() {
            number += 1;
            unique = format!("{name}_{number}");
        }
        self.tensor_names.push(unique);
        TensorId(self.tensor_names.len() - 1)
    }

    pub(crate) fn add_constant(&mut self, name: &str, array: Array) -> TensorId {
        let tensor = self.add_tensor(name);
        self.constants.insert(tensor, array);
        tensor
    }

    /// Drops nodes whose output nothing uses, and constants that nothing reads.
    pub(super) fn remove_unused(&mut self) {
        let mut used: BTreeSet<TensorId> = self.outputs.iter().copied().collect();
        let mut kept = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.drain(..).rev() {
            if used.contains(&node.output) {
                used.extend(node.reads());
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.constants.retain(|tensor, _| used.contains(tensor));
    }
}

/// Small graphs for the tests of this module's neighbours.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    impl Graph {
        /// A graph of one f32 input `x`; a dimension of 0 is left open.
        pub fn sketch(dims: &[usize]) -> (Self, TensorId) {
            let mut graph = Self::default();
            let tensor = graph.add_tensor("x");
            let open = |(axis, &n): (usize, &usize)| match n {
                0 => InputDim::Open(format!("n{axis}")),
                n => InputDim::Fixed(n),
            };
            let dims = dims.iter().enumerate().map(open).collect();
            graph.inputs.push(GraphInput { tensor, element: ElementType::F32, dims });
            (graph, tensor)
        }

        /// Adds a constant.
        pub fn hold(&mut self, name: &str, array: Array) -> TensorId {
            self.add_constant(name, array)
        }

        /// Adds a node; what it writes is the graph's one output.
        pub fn draw(&mut self, op: Op, inputs: &[TensorId]) -> TensorId {
            let name = op.name().to_lowercase();
            let output = self.add_tensor(&name);
            let inputs = inputs.iter().copied().map(Some).collect();
            self.nodes.push(Node { name, op, inputs, output });
            self.outputs = vec![output];
            output
        }
    }
}

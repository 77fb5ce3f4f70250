//! What one ONNX node becomes: no, one or several operations of ours.

use crate::network::{array::Array, graph::TensorId, ops::Op};

/// Where an operation's input, or a node's output, comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Absent,
    Tensor(TensorId),
    Constant(Array),
    /// The output of an earlier step of the same node.
    Step(usize),
}

impl From<Option<TensorId>> for Source {
    fn from(tensor: Option<TensorId>) -> Self {
        tensor.map_or(Source::Absent, Source::Tensor)
    }
}

/// The operations, in order, and where each of the node's outputs comes from.
#[derive(Debug)]
pub(super) struct Lowered {
    pub steps: Vec<(Op, Vec<Source>)>,
    pub outputs: Vec<Source>,
}

impl Lowered {
    /// One operation that makes the one output.
    pub fn one(op: Op, inputs: Vec<Source>) -> Self {
        Self { steps: vec![(op, inputs)], outputs: vec![Source::Step(0)] }
    }

    /// No operation: the output is something that is there already.
    pub fn alias(output: Source) -> Self {
        Self { steps: vec![], outputs: vec![output] }
    }

    /// Operations of which the last makes the one output.
    pub fn chain(steps: Vec<(Op, Vec<Source>)>) -> Self {
        let last = steps.len().saturating_sub(1);
        Self { steps, outputs: vec![Source::Step(last)] }
    }
}

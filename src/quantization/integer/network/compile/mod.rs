//! From a network that rounds to steps on integers, node by node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

mod layers;
mod moves;
mod pools;
mod roundings;

use self::pools::{is_spatial, whole};
use super::{
    IntegerNetwork, WeightGrids,
    layer::ExactConstant,
    movement::{is_function, moves},
    reference::{Reference, TwoStepRounding},
    steps::{Slot, Slots, Step},
    value::{CodeGrid, Form, SumChannel, Sums, Value, count},
};
use crate::{
    network::{Executable, Graph, Node, Op, Reduction, Shapes, TensorId},
    quantization::{error::QuantizationError, integer::IntegerError},
};

/// Which kernels a network is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// Products of 16-bit numbers everywhere.
    Int8,
    /// Popcounts of packed bits where an operand has fewer than 8, XNOR where both are signs.
    Packed,
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Int8 => "int8",
            Self::Packed => "packed",
        })
    }
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = [Self::Int8, Self::Packed].into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is not a choice of kernels; int8, packed are"))
    }
}

pub(super) struct Compiler<'a> {
    /// Becomes the float network that rounds as the integers do.
    graph: Graph,
    grids: &'a WeightGrids,
    kernels: KernelChoice,
    shapes: Shapes,
    executable: Executable,
    values: BTreeMap<TensorId, Value>,
    slots: Slots,
    steps: Vec<Step>,
    exact: Vec<(TensorId, ExactConstant)>,
    roundings: BTreeMap<TensorId, TwoStepRounding>,
}

impl<'a> Compiler<'a> {
    pub fn compile(
        graph: &Graph,
        grids: &'a WeightGrids,
        image: &[usize],
        kernels: KernelChoice,
    ) -> Result<IntegerNetwork, QuantizationError> {
        let shape: Vec<usize> = std::iter::once(1).chain(image.iter().copied()).collect();
        let (input, output) = (graph.input()?.tensor, graph.output()?);
        let mut compiler = Self {
            graph: graph.clone(),
            grids,
            kernels,
            shapes: graph.shapes(&shape)?,
            executable: Executable::in_double(graph)?,
            values: BTreeMap::from([(input, Value { shape, form: Form::Image { moved: None } })]),
            slots: Slots::default(),
            steps: Vec::new(),
            exact: Vec::new(),
            roundings: BTreeMap::new(),
        };
        let nodes = graph.nodes().to_vec();
        for (position, node) in nodes.iter().enumerate() {
            if let Some(form) = compiler.form_of(node)? {
                let shape = compiler.shapes.get(node.output).to_vec();
                compiler.values.insert(node.output, Value { shape, form });
            }
            compiler.free(&nodes[position..], output);
        }
        let last = compiler.values.remove(&output);
        let last = last.expect("the shapes of all nodes were inferred, so one computes the output");
        if let Form::Image { .. } = last.form {
            let name = graph.tensor_name(output).to_owned();
            let reason = "as a network of its own; it gives the image back".to_owned();
            return Err(IntegerError::Unsupported { node: name, op: "input", reason }.into());
        }
        let Self { graph, steps, exact, roundings, .. } = compiler;
        let reference = Reference { graph, exact, roundings };
        Ok(IntegerNetwork { reference, steps, output: last, n_image: count(image) })
    }

    /// What a node's output is, after the steps that compute it were added; none for a node
    /// that has nothing to do with the image.
    fn form_of(&mut self, node: &Node) -> Result<Option<Form>, QuantizationError> {
        let computed: Vec<(TensorId, Value)> =
            node.reads().filter_map(|read| Some((read, self.values.get(&read)?.clone()))).collect();
        let Some((id, value)) = computed.first() else { return Ok(None) };
        let form = match &node.op {
            Op::FakeQuantize(grid) => {
                let grid = CodeGrid::of(grid, self.graph.tensor_name(*id))?;
                self.round(node, value, grid)?
            }
            Op::Binarize { scale } => self.round(node, value, CodeGrid::signs(*scale))?,
            Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul => self.layer(node, value)?,
            Op::Add | Op::Sub => self.add(node, &computed)?,
            Op::Relu => self.clip(node, *id, value, [0.0, f64::INFINITY])?,
            Op::Clip { low, high } => {
                self.clip(node, *id, value, [f64::from(*low), f64::from(*high)])?
            }
            Op::BatchNorm { epsilon } => self.normalize(node, value, f64::from(*epsilon))?,
            Op::MaxPool { window, .. } => self.max_pool(node, value, window)?,
            Op::AveragePool { window, count_padding, .. } => {
                let pool = self.pool(node, value, window, *count_padding)?;
                self.mean(node, value, pool, true)?
            }
            Op::GlobalAveragePool => self.mean(node, value, whole(value), true)?,
            Op::Reduce { kind: kind @ (Reduction::Mean | Reduction::Sum), axes, .. }
                if is_spatial(axes, &value.shape) =>
            {
                self.mean(node, value, whole(value), *kind == Reduction::Mean)?
            }
            Op::Concat { .. } => self.concat(node, &computed)?,
            op if moves(op) => self.move_numbers(node, &computed)?,
            op if is_function(op) => self.function(node, *id, value)?,
            Op::Softmax { .. } | Op::LogSoftmax { .. } => {
                let reason =
                    "as it is; leave it out of the network: classes rank the same without it";
                return Err(unsupported(node, reason.into()).into());
            }
            _ => {
                let reason = "as it is; convolutions, linear layers, sums, pools, functions of one number \
                              and what moves numbers they can";
                return Err(unsupported(node, reason.into()).into());
            }
        };
        Ok(Some(form))
    }

    /// Gives back the slots of values that no node from the second on reads.
    fn free(&mut self, nodes: &[Node], output: TensorId) {
        let later: BTreeSet<TensorId> =
            nodes[1..].iter().flat_map(Node::reads).chain([output]).collect();
        self.values.retain(|tensor, _| later.contains(tensor));
        let used = self.values.values().filter_map(|value| match &value.form {
            Form::Image { .. } => None,
            Form::Codes { slot, .. } | Form::Function { slot, .. } => Some(Slot::Codes(*slot)),
            Form::Sums { slot, .. } => Some(Slot::Sums(*slot)),
        });
        self.slots.keep(used.collect());
    }

    /// A value as sums: codes as their distance from the zero point.
    fn as_sums(&mut self, node: &Node, value: &Value) -> Result<(usize, Sums), IntegerError> {
        match &value.form {
            Form::Sums { slot, sums } => Ok((*slot, sums.clone())),
            Form::Codes { slot, grid } => {
                let channel = SumChannel::new(grid.scale, grid.range.magnitude());
                let (to, zero_point) = (self.slots.sums(), grid.range.zero_point);
                self.steps.push(Step::Centre { from: *slot, zero_point, to });
                Ok((to, Sums::new(vec![channel])))
            }
            _ => Err(unsupported(node, NEEDS_CODES.into())),
        }
    }
}

const NEEDS_CODES: &str = "on a tensor without a grid; give it quantization points first";

fn unsupported(node: &Node, reason: String) -> IntegerError {
    IntegerError::Unsupported { node: node.name.clone(), op: node.op.name(), reason }
}

/// Slot and grid of a tensor that holds codes.
fn codes(node: &Node, value: &Value) -> Result<(usize, CodeGrid), IntegerError> {
    match &value.form {
        Form::Codes { slot, grid } => Ok((*slot, *grid)),
        _ => Err(unsupported(node, NEEDS_CODES.into())),
    }
}

//! Which nodes of a graph work on codes, and what each such layer does in one go.

use std::collections::{BTreeMap, BTreeSet};

use super::layer::{CodedConvolution, CodedWeight, Wanted};
use crate::network::{
    attributes::Grid,
    graph::{Graph, Node, TensorId},
    ops::Op,
};

/// What is kept as codes, and what reads them.
#[derive(Default)]
pub(in crate::network::execute) struct Codings<'g> {
    /// Convolutions on codes by position.
    layers: BTreeMap<usize, CodedWeight<'g>>,
    /// Rounded tensors that only such layers read.
    grids: BTreeMap<TensorId, Grid>,
}

/// A convolution on codes and what follows it.
#[derive(Debug)]
pub(in crate::network::execute) struct CodedStep {
    pub convolution: CodedConvolution,
    pub input: TensorId,
    pub addend: Option<TensorId>,
    /// What it writes: f32, codes, or both.
    pub numbers: Option<TensorId>,
    pub codes: Option<TensorId>,
    /// Whether the numbers may take the addend's memory.
    pub overwrite_addend: bool,
}

impl<'g> Codings<'g> {
    /// - `needed`: positions of the nodes that run
    /// - `kept`: tensors that someone asks for as they are
    pub fn of(graph: &'g Graph, needed: &[usize], kept: &BTreeSet<TensorId>) -> Self {
        let coded = |&index| Some((index, CodedWeight::of(graph, &graph.nodes()[index])?));
        let mut able: BTreeMap<usize, _> = needed.iter().filter_map(coded).collect();
        let mut codings = Self::default();
        for &index in needed {
            let node = &graph.nodes()[index];
            let Op::FakeQuantize(grid) = node.op else { continue };
            let readers = graph.readers(node.output);
            let reads_once = |reader: &usize| {
                let reader = &graph.nodes()[*reader];
                reader.reads().filter(|read| *read == node.output).count() == 1
            };
            if fits_bytes(&grid)
                && !kept.contains(&node.output)
                && !readers.is_empty()
                && readers.iter().all(|reader| able.contains_key(reader) && reads_once(reader))
            {
                codings.grids.insert(node.output, grid);
            }
        }
        able.retain(|index, _| {
            let read = graph.nodes()[*index].input(0);
            read.is_some_and(|read| codings.grids.contains_key(&read))
        });
        codings.layers = able;
        codings
    }

    /// The grid of a tensor that is kept as codes.
    pub fn grid(&self, tensor: TensorId) -> Option<&Grid> {
        self.grids.get(&tensor)
    }

    /// The step of the node at `index`, if it works on codes, and the later nodes that it does
    /// too.
    ///
    /// - `readers`: by tensor, positions of the nodes that read it
    pub fn step(
        &self,
        graph: &Graph,
        index: usize,
        readers: &[Vec<usize>],
        kept: &BTreeSet<TensorId>,
    ) -> Option<(CodedStep, Vec<usize>)> {
        let node = &graph.nodes()[index];
        let (weight, input) = (self.layers.get(&index)?, node.input(0)?);
        let grid = *self.grid(input)?;
        let mut chain = Chain { end: node.output, addend: None, clip: None, nodes: Vec::new() };
        while let [next] = *readers[chain.end.index()].as_slice()
            && !kept.contains(&chain.end)
            && chain.extend(graph, index, next)
        {}
        let end = chain.end;
        let rounds = |reader: &&usize| self.grids.contains_key(&graph.nodes()[**reader].output);
        let rounding = readers[end.index()].iter().find(rounds).copied();
        let codes = rounding.map(|rounding| graph.nodes()[rounding].output);
        let is_read = readers[end.index()].iter().any(|reader| Some(*reader) != rounding);
        let numbers = (is_read || kept.contains(&end) || codes.is_none()).then_some(end);
        chain.nodes.extend(rounding);
        let wanted = Wanted {
            numbers: numbers.is_some(),
            codes: codes.and_then(|codes| self.grid(codes)).copied(),
            clip: chain.clip.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)),
        };
        let convolution = CodedConvolution::new(graph, node, weight, grid, wanted)?;
        let addend = chain.addend;
        let overwrite_addend = false;
        let step = CodedStep { convolution, input, addend, numbers, codes, overwrite_addend };
        Some((step, chain.nodes))
    }
}

/// A layer's output on its way through the operations that are done with it.
struct Chain {
    end: TensorId,
    addend: Option<TensorId>,
    clip: Option<(f32, f32)>,
    nodes: Vec<usize>,
}

impl Chain {
    /// Takes in the next node, if it can be done in the same go.
    ///
    /// - `layer`: position of the layer; what is added has to be there before it
    fn extend(&mut self, graph: &Graph, layer: usize, next: usize) -> bool {
        let node = &graph.nodes()[next];
        match node.op {
            Op::Add if self.addend.is_none() && self.clip.is_none() => {
                let Some(addend) = other_operand(node, self.end) else { return false };
                let is_early = graph.producer(addend).is_none_or(|producer| producer < layer);
                if graph.constant(addend).is_some() || !is_early {
                    return false;
                }
                self.addend = Some(addend);
            }
            Op::Relu if self.clip.is_none() => self.clip = Some((0.0, f32::INFINITY)),
            Op::Clip { low, high } if self.clip.is_none() => self.clip = Some((low, high)),
            _ => return false,
        }
        self.nodes.push(next);
        self.end = node.output;
        true
    }
}

fn other_operand(sum: &Node, operand: TensorId) -> Option<TensorId> {
    match (sum.input(0)?, sum.input(1)?) {
        (a, b) if a == operand && b != operand => Some(b),
        (a, b) if b == operand && a != operand => Some(a),
        _ => None,
    }
}

fn fits_bytes(grid: &Grid) -> bool {
    (0..=255).contains(&grid.low)
        && (grid.low..=255).contains(&grid.high)
        && (grid.low..=grid.high).contains(&grid.zero_point)
}

//! Where a float network has to round so that integers can follow it: in front of every
//! operation that computes with codes.

use std::collections::BTreeMap;

use tch::{Device, Tensor};

use super::movement::{is_function, moves};
use crate::{
    domain::Bits,
    network::{Executable, Graph, Node, Op, TensorId},
    quantization::{calibration::choose_levels, clip::RangeRule, error::QuantizationError},
};

/// What a tensor holds where integers compute it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Real numbers of the image.
    Image,
    Codes,
    /// A function of codes that no grid holds yet.
    Function,
    Sums,
}

/// The network with a grid of 8 bits for each tensor that is computed with and has none.
///
/// A tensor that has a grid of 8 bits for other readers gets no second one.
///
/// - `graph`: rounds what its layers read
/// - `images`: for the ranges, `[n, ...]` as the network reads them, at least one
///
/// # Errors
/// When the network does not run on the images, or a tensor is not finite.
pub fn with_integer_points(
    mut graph: Graph,
    images: &Tensor,
    rule: RangeRule,
) -> Result<Graph, QuantizationError> {
    let missing = missing_points(&graph);
    let unmeasured: Vec<TensorId> =
        missing.keys().copied().filter(|&tensor| wide_grid(&graph, tensor).is_none()).collect();
    let eight = usize::from(Bits::EIGHT.get()) - 1;
    let executable = Executable::new(&graph, Device::Cpu)?;
    let roundings: BTreeMap<TensorId, Op> =
        choose_levels(&graph, &executable, &unmeasured, images, rule)?
            .into_iter()
            .map(|(tensor, (levels, _))| (tensor, levels[eight].op()))
            .collect();
    for (tensor, readers) in missing {
        let reads = |node: &Node| readers.contains(&node.output);
        match (wide_grid(&graph, tensor), roundings.get(&tensor)) {
            (Some(rounded), _) => graph.redirect(tensor, rounded, reads),
            (None, Some(rounding)) => {
                graph.insert_between(tensor, rounding.clone(), reads);
            }
            (None, None) => unreachable!("a tensor without a grid was measured"),
        }
    }
    Ok(graph)
}

/// What reads codes and is given none: by tensor, the outputs of these readers.
fn missing_points(graph: &Graph) -> BTreeMap<TensorId, Vec<TensorId>> {
    let mut holds: BTreeMap<TensorId, Holds> =
        graph.inputs().iter().map(|input| (input.tensor, Holds::Image)).collect();
    let mut missing: BTreeMap<TensorId, Vec<TensorId>> = BTreeMap::new();
    for node in graph.nodes() {
        let read: Vec<(TensorId, Holds)> =
            node.reads().filter_map(|read| Some((read, *holds.get(&read)?))).collect();
        for &(tensor, held) in &read {
            if needs_codes(&node.op, held) {
                missing.entry(tensor).or_default().push(node.output);
            }
        }
        if let Some(&(_, held)) = read.first() {
            holds.insert(node.output, after(&node.op, held));
        }
    }
    missing
}

/// Whether an operation must be given codes and is not.
fn needs_codes(op: &Op, held: Holds) -> bool {
    match held {
        Holds::Codes => false,
        Holds::Image => !op.rounds() && !moves(op),
        Holds::Function => !op.rounds() && !is_function(op),
        Holds::Sums => {
            let takes_sums = matches!(
                op,
                Op::Relu | Op::Clip { .. } | Op::MaxPool { .. } | Op::BatchNorm { .. }
            );
            !takes_sums && !op.rounds() && !moves(op)
        }
    }
}

/// What the output holds, once the operation is given what it needs.
fn after(op: &Op, held: Holds) -> Holds {
    match op {
        op if op.rounds() => Holds::Codes,
        op if moves(op) => held,
        Op::MaxPool { .. } if held == Holds::Codes => Holds::Codes,
        Op::Relu | Op::Clip { .. } if held == Holds::Sums => Holds::Sums,
        op if is_function(op) => Holds::Function,
        _ => Holds::Sums,
    }
}

/// The tensor's rounded form of 8 bits, when there is one.
fn wide_grid(graph: &Graph, tensor: TensorId) -> Option<TensorId> {
    let is_wide = |node: &&Node| {
        node.input(0) == Some(tensor)
            && matches!(node.op, Op::FakeQuantize(grid) if grid.high - grid.low == 255)
    };
    graph.nodes().iter().find(is_wide).map(|node| node.output)
}

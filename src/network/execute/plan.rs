//! The order of work on one graph: what to compute, what to fuse, what to overwrite and when
//! to free. Made once, used for every batch.

use std::collections::BTreeSet;

use super::{
    codes::{CodedStep, Codings},
    kernel::Pass,
};
use crate::network::{
    attributes::Grid,
    graph::{Graph, Node, TensorId},
    ops::Op,
};

/// Steps in order.
#[derive(Debug)]
pub(super) struct Plan {
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) struct Step {
    /// Position in the graph's nodes; the first of a fused chain.
    pub node: usize,
    pub work: Work,
    pub output: TensorId,
    /// Tensors that nothing reads after this step.
    pub frees: Vec<TensorId>,
}

#[derive(Debug)]
pub(super) enum Work {
    /// The node's operation as it is.
    Apply,
    /// One pass over memory for a chain of number-by-number operations.
    Pass(FusedPass),
    /// The input's codes.
    Encode { input: TensorId, grid: Grid },
    /// A convolution on codes and what follows it.
    OnCodes(Box<CodedStep>),
}

#[derive(Debug)]
pub(super) struct FusedPass {
    pub input: TensorId,
    /// Added to the input first.
    pub addend: Option<TensorId>,
    pub pass: Pass,
    /// Whether the result may take the input's, or the addend's, memory.
    pub overwrite_input: bool,
    pub overwrite_addend: bool,
}

impl Step {
    fn new(node: usize, work: Work, output: TensorId) -> Self {
        Self { node, work, output, frees: vec![] }
    }

    fn of_layer(node: usize, layer: CodedStep) -> Self {
        let output = layer.numbers.or(layer.codes).expect("a layer writes something");
        Self::new(node, Work::OnCodes(Box::new(layer)), output)
    }
}

impl Plan {
    /// How to get from the fed tensors to the wanted ones.
    ///
    /// Tensors in `observed` are computed as such and never overwritten.
    pub fn new(
        graph: &Graph,
        fed: &[TensorId],
        wanted: &[TensorId],
        observed: &BTreeSet<TensorId>,
    ) -> Self {
        Self::with_codings(graph, fed, wanted, observed, |_, _| Codings::default())
    }

    /// The same, with layers on codes where the graph allows it.
    pub fn on_codes(graph: &Graph, fed: &[TensorId], wanted: &[TensorId]) -> Self {
        let codings =
            |needed: &[usize], kept: &BTreeSet<TensorId>| Codings::of(graph, needed, kept);
        Self::with_codings(graph, fed, wanted, &BTreeSet::new(), codings)
    }

    fn with_codings<'g>(
        graph: &'g Graph,
        fed: &[TensorId],
        wanted: &[TensorId],
        observed: &BTreeSet<TensorId>,
        codings: impl Fn(&[usize], &BTreeSet<TensorId>) -> Codings<'g>,
    ) -> Self {
        let needed = needed_nodes(graph, fed, wanted, observed);
        let kept: BTreeSet<TensorId> = wanted.iter().chain(observed).copied().collect();
        let mut steps = fuse(graph, &needed, &kept, &codings(&needed, &kept));
        let wanted: BTreeSet<TensorId> = wanted.iter().copied().collect();
        schedule_frees(graph, &mut steps, &wanted);
        allow_overwriting(graph, &mut steps, fed, &kept);
        Self { steps }
    }
}

/// Nodes one by one, with what may be freed after each; nothing fused, nothing overwritten.
pub(super) fn unfused(graph: &Graph, fed: &[TensorId], wanted: &[TensorId]) -> Plan {
    let step = |index: usize| {
        let output = graph.nodes()[index].output;
        Step::new(index, Work::Apply, output)
    };
    let needed = needed_nodes(graph, fed, wanted, &BTreeSet::new());
    let mut steps: Vec<Step> = needed.into_iter().map(step).collect();
    schedule_frees(graph, &mut steps, &wanted.iter().copied().collect());
    Plan { steps }
}

/// Positions of the nodes that the wanted and observed tensors depend on.
fn needed_nodes(
    graph: &Graph,
    fed: &[TensorId],
    wanted: &[TensorId],
    observed: &BTreeSet<TensorId>,
) -> Vec<usize> {
    let mut sought: BTreeSet<TensorId> = wanted.iter().chain(observed).copied().collect();
    let mut needed = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        if sought.contains(&node.output) && !fed.contains(&node.output) {
            sought.extend(node.reads());
            needed.push(index);
        }
    }
    needed.reverse();
    needed
}

/// One step a node, or a chain of nodes that one pass over memory can do.
fn fuse(
    graph: &Graph,
    needed: &[usize],
    kept: &BTreeSet<TensorId>,
    codings: &Codings<'_>,
) -> Vec<Step> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.n_tensors()];
    for &index in needed {
        for read in graph.nodes()[index].reads() {
            readers[read.index()].push(index);
        }
    }
    let mut done = BTreeSet::new();
    let mut steps = Vec::with_capacity(needed.len());
    for &index in needed {
        if done.contains(&index) {
            continue;
        }
        let node = &graph.nodes()[index];
        if let Some((layer, fused)) = codings.step(graph, index, &readers, kept) {
            done.extend(fused);
            steps.push(Step::of_layer(index, layer));
            continue;
        }
        if let (Some(&grid), Some(input)) = (codings.grid(node.output), node.input(0)) {
            steps.push(Step::new(index, Work::Encode { input, grid }, node.output));
            continue;
        }
        let Some(mut fused) = start_pass(graph, node) else {
            steps.push(Step::new(index, Work::Apply, node.output));
            continue;
        };
        let mut output = node.output;
        while let [next] = *readers[output.index()].as_slice()
            && !kept.contains(&output)
            && codings.grid(graph.nodes()[next].output).is_none()
            && let Some(pass) = fused.pass.then(&graph.nodes()[next].op)
        {
            fused.pass = pass;
            output = graph.nodes()[next].output;
            done.insert(next);
        }
        steps.push(Step::new(index, Work::Pass(fused), output));
    }
    steps
}

/// The pass that a node starts, when it is one.
fn start_pass(graph: &Graph, node: &Node) -> Option<FusedPass> {
    let (pass, addend) = match node.op {
        Op::Add => {
            let addend = node.input(1)?;
            let computed = |tensor| graph.constant(tensor).is_none();
            if !computed(node.input(0)?) || !computed(addend) {
                return None;
            }
            (Pass::default(), Some(addend))
        }
        _ => (Pass::default().then(&node.op)?, None),
    };
    let input = node.input(0)?;
    Some(FusedPass { input, addend, pass, overwrite_input: false, overwrite_addend: false })
}

fn reads(graph: &Graph, step: &Step) -> Vec<TensorId> {
    match &step.work {
        Work::Apply => graph.nodes()[step.node].reads().collect(),
        Work::Pass(fused) => [Some(fused.input), fused.addend].into_iter().flatten().collect(),
        Work::Encode { input, .. } => vec![*input],
        Work::OnCodes(layer) => [Some(layer.input), layer.addend].into_iter().flatten().collect(),
    }
}

/// The step after which nothing reads a tensor, for every tensor that is read at all.
fn last_uses(graph: &Graph, steps: &[Step]) -> Vec<Option<usize>> {
    let mut last = vec![None; graph.n_tensors()];
    for (position, step) in steps.iter().enumerate() {
        for read in reads(graph, step) {
            last[read.index()] = Some(position);
        }
    }
    last
}

fn schedule_frees(graph: &Graph, steps: &mut [Step], wanted: &BTreeSet<TensorId>) {
    let last = last_uses(graph, steps);
    for (index, position) in last.iter().enumerate() {
        let tensor = TensorId(index);
        if let Some(position) = *position
            && graph.constant(tensor).is_none()
            && !wanted.contains(&tensor)
        {
            steps[position].frees.push(tensor);
        }
    }
    for step in steps {
        // An observed tensor that nothing reads lives only for its observer.
        if last[step.output.index()].is_none() && !wanted.contains(&step.output) {
            step.frees.push(step.output);
        }
    }
}

/// Lets a pass write into an operand that dies with it.
///
/// Operations that may return a view make groups of tensors in one piece of memory; such a
/// piece may be overwritten once no tensor of its group is read any more. Memory that came
/// from outside, constants and kept tensors are never overwritten.
fn allow_overwriting(
    graph: &Graph,
    steps: &mut [Step],
    fed: &[TensorId],
    kept: &BTreeSet<TensorId>,
) {
    let mut memory: Vec<usize> = (0..graph.n_tensors()).collect();
    for step in &*steps {
        let node = &graph.nodes()[step.node];
        if matches!(step.work, Work::Apply) && may_return_view(&node.op) {
            let Some(viewed) = node.input(0) else { continue };
            memory[step.output.index()] = memory[viewed.index()];
        }
    }
    let last = last_uses(graph, steps);
    let mut busy_until: Vec<usize> = vec![0; graph.n_tensors()];
    for index in 0..graph.n_tensors() {
        let tensor = TensorId(index);
        let outside = fed.contains(&tensor) || graph.constant(tensor).is_some();
        let until =
            if outside || kept.contains(&tensor) { usize::MAX } else { last[index].unwrap_or(0) };
        let group = memory[index];
        busy_until[group] = busy_until[group].max(until);
    }
    for (position, step) in steps.iter_mut().enumerate() {
        if let Work::OnCodes(layer) = &mut step.work {
            let is_dead = |addend: TensorId| busy_until[memory[addend.index()]] <= position;
            layer.overwrite_addend = layer.addend.is_some_and(is_dead);
        }
        let Work::Pass(fused) = &mut step.work else { continue };
        let input = memory[fused.input.index()];
        let addend = fused.addend.map(|addend| memory[addend.index()]);
        if addend != Some(input) {
            fused.overwrite_input = busy_until[input] <= position;
            fused.overwrite_addend = addend.is_some_and(|group| busy_until[group] <= position);
        }
    }
}

/// Whether the output of an operation may share memory with its first input.
fn may_return_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Identity
            | Op::Cast { .. }
            | Op::Flatten { .. }
            | Op::Reshape { .. }
            | Op::Expand
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::ComputedSlice
            | Op::PadBorder { .. }
            | Op::Resize { .. }
            | Op::Tile
            | Op::Gather { .. }
            | Op::Einsum { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
    )
}

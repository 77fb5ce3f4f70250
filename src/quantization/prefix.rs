//! Quality of networks that differ from a base network only from some node on: what lies before
//! is computed once a batch and kept.

use std::{collections::BTreeSet, sync::Mutex};

use tch::Tensor;

use crate::{
    domain::Quality,
    network::{Executable, Graph, TensorId},
    quantization::{
        error::QuantizationError,
        evaluate::{Batch, Evaluator, Sums},
    },
};

/// Memory for kept tensors, where the caller has no wish of its own.
pub const KEPT_BYTES: usize = 1 << 30;

/// Evaluates changed networks from the first change on, on the images of an [`Evaluator`].
///
/// The cut moves forward through the base network; at each stop all tensors that something
/// behind it reads, skip connections among them, are at hand. A batch keeps its tensors if
/// they fit its share of the memory, and starts again from its images otherwise. The figures
/// are those of [`Evaluator::evaluate`] on the whole network, bit for bit.
pub struct PrefixEvaluator<'a> {
    evaluator: &'a Evaluator,
    base: Executable,
    batch_bytes: usize,
    cut: Cut,
    /// By batch: the tensors of `cut.live`; none where they did not fit.
    kept: Vec<Mutex<Option<Vec<Tensor>>>>,
}

/// A place between two nodes of the base network.
#[derive(Debug, Clone, PartialEq)]
struct Cut {
    /// Position of the node behind it.
    before: usize,
    /// What is computed or fed before it and read behind it.
    live: Vec<TensorId>,
}

impl Cut {
    fn new(graph: &Graph, before: usize) -> Self {
        let (done, rest) = graph.nodes().split_at(before);
        let mut wanted: BTreeSet<TensorId> = rest.iter().flat_map(|node| node.reads()).collect();
        wanted.extend(graph.outputs());
        let inputs = graph.inputs().iter().map(|input| input.tensor);
        let computed = done.iter().map(|node| node.output);
        let live = inputs.chain(computed).filter(|tensor| wanted.contains(tensor)).collect();
        Self { before, live }
    }
}

impl<'a> PrefixEvaluator<'a> {
    /// - `kept_bytes`: for kept tensors, over all batches
    ///
    /// # Errors
    /// When the device does not take the constants, or the network has not one input and one
    /// output.
    pub fn new(
        evaluator: &'a Evaluator,
        base: &Graph,
        kept_bytes: usize,
    ) -> Result<Self, QuantizationError> {
        let input = base.input()?.tensor;
        base.output()?;
        let n_batches = evaluator.batches().len();
        Ok(Self {
            evaluator,
            base: Executable::new(base, evaluator.device())?,
            batch_bytes: kept_bytes / n_batches,
            cut: Cut { before: 0, live: vec![input] },
            kept: (0..n_batches).map(|_| Mutex::new(None)).collect(),
        })
    }

    /// Quality of networks that equal the base before the node at position `first_changed`.
    /// Positions that do not fall from call to call cost least.
    ///
    /// # Errors
    /// When a network does not run.
    pub fn evaluate(
        &mut self,
        first_changed: usize,
        graphs: &[Graph],
    ) -> Result<Vec<Quality>, QuantizationError> {
        let input = self.base.graph().input()?.tensor;
        let start = Cut { before: 0, live: vec![input] };
        if first_changed < self.cut.before {
            self.kept.iter().for_each(|kept| *kept.lock().expect("no worker panics") = None);
            self.cut = start.clone();
        }
        let next = Cut::new(self.base.graph(), first_changed);
        let mut executables = vec![self.base.share()];
        for graph in graphs {
            executables.push(Executable::new(graph, self.evaluator.device())?);
        }
        let results = self.evaluator.for_batches(&executables, |index, batch, executables| {
            let (base, changed) = executables.split_first().expect("the base network is first");
            let kept = self.kept[index].lock().expect("no worker panics").take();
            let (from, tensors) = match kept {
                Some(tensors) => (&self.cut, tensors),
                None => (&start, vec![batch.images.shallow_clone()]),
            };
            let tensors = if from.live == next.live {
                tensors
            } else {
                base.run_between(&fed(&from.live, &tensors), &next.live)?
            };
            let sums = changed
                .iter()
                .map(|changed| judge(changed, batch, &fed(&next.live, &tensors)))
                .collect::<Result<Vec<Sums>, QuantizationError>>()?;
            if tensors.iter().map(bytes_of).sum::<usize>() <= self.batch_bytes {
                *self.kept[index].lock().expect("no worker panics") = Some(tensors);
            }
            Ok(sums)
        })?;
        self.cut = next;
        let of_graph = |index: usize| {
            let mut total = Sums::default();
            results.iter().for_each(|sums| total.add(&sums[index]));
            total.finish()
        };
        Ok((0..graphs.len()).map(of_graph).collect())
    }
}

fn fed<'t>(live: &[TensorId], tensors: &'t [Tensor]) -> Vec<(TensorId, &'t Tensor)> {
    live.iter().copied().zip(tensors).collect()
}

fn judge(
    changed: &Executable,
    batch: &Batch,
    fed: &[(TensorId, &Tensor)],
) -> Result<Sums, QuantizationError> {
    let wanted = [changed.graph().output()?];
    let outputs = changed.run_between(fed, &wanted)?.swap_remove(0);
    Ok(Sums::of(batch, &outputs.flatten(1, -1)))
}

fn bytes_of(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Op;

    #[test]
    fn a_skip_connection_is_live_until_it_is_read() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let first = graph.draw(Op::Relu, &[x]);
        let second = graph.draw(Op::Sigmoid, &[first]);
        let sum = graph.draw(Op::Add, &[first, second]);
        graph.draw(Op::Sigmoid, &[sum]);
        let live: Vec<Vec<TensorId>> = (0..4).map(|before| Cut::new(&graph, before).live).collect();
        assert_eq!(live, [vec![x], vec![first], vec![first, second], vec![sum]]);
    }
}

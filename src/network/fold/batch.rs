//! A network exported for one batch size, made to take any.

use crate::network::{
    array::Array,
    graph::{Graph, InputDim},
    ops::Op,
    shapes::Dim,
};

impl Graph {
    /// The same network for any number of images at once, when it was exported for one.
    ///
    /// `None` when the first dimension of an input is neither open nor 1, or when the network
    /// mixes images, or has the batch size in its constants, so that it can not be opened.
    pub fn with_open_batch(&self) -> Option<Self> {
        let mut graph = self.clone();
        for input in &mut graph.inputs {
            match input.dims.first_mut()? {
                InputDim::Open(_) => {}
                dim if *dim == InputDim::Fixed(1) => *dim = InputDim::Open("batch".into()),
                InputDim::Fixed(_) => return None,
            }
        }
        copy_batch_in_reshapes(&mut graph);
        let facts = graph.open_facts().ok()?;
        let is_open = |dim: Option<&Dim>| matches!(dim, Some(Dim::Symbol(_)));
        let stays_open = |tensor: &crate::network::TensorId| {
            facts[tensor.index()].as_ref().is_some_and(|fact| is_open(fact.shape.first()))
        };
        graph.outputs.iter().all(stays_open).then_some(graph)
    }
}

/// Lets reshapes whose target begins with a batch of 1 copy the batch of what they read.
fn copy_batch_in_reshapes(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if node.op != (Op::Reshape { allow_zero: false }) {
            continue;
        }
        let Some(target) = node.input(1).and_then(|id| graph.constant(id)) else { continue };
        let Some([1, rest @ ..]) = target.as_i64() else { continue };
        let numbers: Vec<i64> = std::iter::once(0).chain(rest.iter().copied()).collect();
        let array = Array::i64(vec![numbers.len()], numbers);
        let name = format!("{}/shape", node.name);
        let tensor = graph.add_constant(&name, array);
        graph.nodes[index].inputs[1] = Some(tensor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reshaped(target: &[i64]) -> Graph {
        let (mut graph, x) = Graph::sketch(&[1, 4, 6]);
        let target = Array::i64(vec![target.len()], target.to_vec());
        let target = graph.add_constant("s", target);
        graph.draw(Op::Reshape { allow_zero: false }, &[x, target]);
        graph
    }

    #[test]
    fn a_batch_of_one_is_opened() {
        for target in [&[1, 24][..], &[1, -1], &[-1, 24], &[0, 2, 12]] {
            let graph = reshaped(target).with_open_batch().expect("it can be opened");
            let shapes = graph.shapes(&[5, 4, 6]).unwrap();
            assert_eq!(shapes.get(graph.output().unwrap())[0], 5, "{target:?}");
        }
    }

    #[test]
    fn a_network_that_mixes_images_stays_closed() {
        assert_eq!(reshaped(&[24]).with_open_batch(), None);
        assert_eq!(reshaped(&[4, 6]).with_open_batch(), None);
        let (mut graph, x) = Graph::sketch(&[2, 4]);
        graph.draw(Op::Relu, &[x]);
        assert_eq!(graph.with_open_batch(), None);
    }
}

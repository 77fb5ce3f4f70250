//! Other numbers for a network's own constants.

use super::{error::NetworkError, graph::Graph, tensor_file::TensorFile};

impl Graph {
    /// The graph with constants replaced by a file's arrays of the same names.
    ///
    /// The file may hold fewer than the network has; whole numbers that the network does not have
    /// (counters of a training) are left aside.
    ///
    /// # Errors
    /// [`NetworkError::Tensor`] for an array that is no constant of the network, or has another
    /// shape.
    pub fn with_weights(mut self, file: &TensorFile) -> Result<Self, NetworkError> {
        let mut unknown = Vec::new();
        for (name, array) in &file.arrays {
            let refuse = |reason| NetworkError::Tensor { tensor: name.clone(), reason };
            let own = self.tensor_named(name).filter(|id| self.constants.contains_key(id));
            let Some(own) = own else {
                if array.as_f32().is_some() {
                    unknown.push(name.as_str());
                }
                continue;
            };
            let known = &self.constants[&own];
            if known.shape() != array.shape() {
                let (found, expected) = (array.shape(), known.shape());
                return Err(refuse(format!("its shape is {found:?}, in the network {expected:?}")));
            }
            if known.element() != array.element() {
                let (found, expected) = (array.element(), known.element());
                return Err(refuse(format!("it holds {found}, in the network {expected}")));
            }
            self.set_constant(own, array.clone());
        }
        let Some(first) = unknown.first() else { return Ok(self) };
        let constants = self.constants.keys().map(|id| self.tensor_name(*id));
        let some: Vec<&str> = constants.filter(|name| name.contains("weight")).take(4).collect();
        let more = unknown.len() - 1;
        Err(NetworkError::Tensor {
            tensor: (*first).to_owned(),
            reason: format!(
                "the network has no constant of this name (nor of {more} others of the file); it has {} and others",
                some.join(", ")
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Array, Op};

    #[test]
    fn arrays_replace_constants_by_name() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let weight = graph.hold("fc.weight", Array::f32(vec![2], [1.0, 2.0]));
        graph.draw(Op::Add, &[x, weight]);
        let file = |name: &str, array: Array| {
            let arrays = [(name.to_owned(), array)].into();
            TensorFile { arrays, texts: Default::default() }
        };
        let new = Array::f32(vec![2], [3.0, 4.0]);
        let changed = graph.clone().with_weights(&file("fc.weight", new.clone())).unwrap();
        assert_eq!(changed.constant(weight), Some(&new));
        let counter = file("steps", Array::i64(vec![1], [7]));
        assert_eq!(graph.clone().with_weights(&counter).unwrap(), graph);
        for (file, expected) in [
            (file("fc.weight", Array::f32(vec![1], [3.0])), "shape is [1], in the network [2]"),
            (file("fc.weight", Array::i64(vec![2], [3, 4])), "holds i64, in the network f32"),
            (
                file("other", new),
                "no constant of this name (nor of 0 others of the file); it has fc.weight",
            ),
        ] {
            let message = graph.clone().with_weights(&file).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}

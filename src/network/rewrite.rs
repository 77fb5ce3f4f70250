//! Changes to a graph that leave its tensors' identities alone: what quantization is made of.
//!
//! Constants are shared memory, so a changed copy of a graph costs little more than its nodes.

use super::{
    array::Array,
    graph::{Graph, Node, TensorId},
    ops::Op,
};

impl Graph {
    /// The graph with another value for one constant.
    ///
    /// # Panics
    /// When the tensor is not a constant of this shape and kind.
    #[must_use]
    pub fn with_constant(mut self, tensor: TensorId, value: Array) -> Self {
        self.set_constant(tensor, value);
        self
    }

    /// Replaces the value of one constant.
    ///
    /// # Panics
    /// When the tensor is not a constant of this shape and kind.
    pub fn set_constant(&mut self, tensor: TensorId, value: Array) {
        let known = self.constants.get_mut(&tensor).expect("the tensor is a constant");
        assert_eq!(known.shape(), value.shape(), "a constant keeps its shape");
        assert_eq!(known.element(), value.element(), "a constant keeps its kind");
        *known = value;
        self.codings.remove(&tensor);
    }

    /// Replaces the operation that writes a tensor; its inputs stay.
    ///
    /// # Panics
    /// When nothing computes the tensor.
    pub fn set_op(&mut self, output: TensorId, op: Op) {
        let index = self.producer(output).expect("a node writes the tensor");
        self.nodes[index].op = op;
    }

    /// Puts an operation of one input behind a tensor; every node that read the tensor reads
    /// the new one instead. The network's outputs stay what they are.
    ///
    /// # Panics
    /// When nothing computes the tensor and it is not an input.
    pub fn insert_after(&mut self, tensor: TensorId, op: Op) -> TensorId {
        self.insert_between(tensor, op, |_| true)
    }

    /// Puts an operation of two inputs behind a tensor, the second input a new constant; the
    /// chosen readers read what it writes.
    ///
    /// # Panics
    /// When nothing computes the tensor and it is not an input.
    pub fn insert_with_constant(
        &mut self,
        tensor: TensorId,
        op: Op,
        constant: Array,
        chosen: impl Fn(&Node) -> bool,
    ) -> TensorId {
        let output = self.insert_between(tensor, op, chosen);
        let name = format!("{}.constant", self.tensor_name(output));
        let constant = self.add_constant(&name, constant);
        let index = self.producer(output).expect("the node was inserted");
        self.nodes[index].inputs.push(Some(constant));
        output
    }

    /// As [`Graph::insert_after`], but only the chosen readers read the new tensor; the others
    /// go on reading the old one.
    ///
    /// # Panics
    /// When nothing computes the tensor and it is not an input.
    pub fn insert_between(
        &mut self,
        tensor: TensorId,
        op: Op,
        chosen: impl Fn(&Node) -> bool,
    ) -> TensorId {
        let position = match self.producer(tensor) {
            Some(producer) => producer + 1,
            None => {
                let is_input = self.inputs.iter().any(|input| input.tensor == tensor);
                assert!(is_input, "the tensor is computed or an input");
                0
            }
        };
        let suffix = if op.rounds() { "quantized" } else { op.name() };
        let name = format!("{}_{suffix}", self.tensor_name(tensor));
        let output = self.add_tensor(&name);
        self.redirect(tensor, output, chosen);
        self.nodes.insert(position, Node { name, op, inputs: vec![Some(tensor)], output });
        output
    }

    /// The graph with the first of its outputs alone.
    #[must_use]
    pub fn with_first_output(mut self) -> Self {
        if self.outputs.len() > 1 {
            self.outputs.truncate(1);
            self.remove_unused();
        }
        self
    }

    /// The graph without its roundings of tensors; constants keep their numbers, which are codes of
    /// nothing any more.
    #[must_use]
    pub fn without_roundings(mut self) -> Self {
        let is_rounding = |node: &Node| node.op.rounds();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let (true, Some(from), to) = (is_rounding(node), node.input(0), node.output) else {
                continue;
            };
            self.redirect(to, from, |_| true);
            self.outputs.iter_mut().filter(|output| **output == to).for_each(|o| *o = from);
        }
        self.nodes.retain(|node| !is_rounding(node));
        self.codings.clear();
        self
    }

    /// Lets the chosen readers of a tensor read another one, which comes before them.
    pub fn redirect(&mut self, from: TensorId, to: TensorId, chosen: impl Fn(&Node) -> bool) {
        for node in self.nodes.iter_mut().filter(|node| chosen(node)) {
            node.inputs.iter_mut().flatten().filter(|r| **r == from).for_each(|r| *r = to);
        }
    }

    /// Gives the layer that writes `output` this bias, one number an output channel, whether
    /// it had one or not.
    ///
    /// # Panics
    /// When no Conv, Gemm or MatMul writes the tensor.
    pub fn set_bias(&mut self, output: TensorId, bias: Array) {
        let index = self.producer(output).expect("a layer writes the tensor");
        let node = &self.nodes[index];
        let is_layer = matches!(node.op, Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul);
        assert!(is_layer, "a layer writes the tensor");
        let name = format!("{}.bias", node.name);
        let tensor = self.add_constant(&name, bias);
        let inputs = &mut self.nodes[index].inputs;
        inputs.resize(3, None);
        let old = inputs[2].replace(tensor);
        if let Some(old) = old
            && self.readers(old).is_empty()
        {
            self.constants.remove(&old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{
        attributes::{Grid, Unary},
        coding::Coding,
    };

    #[test]
    fn every_reader_reads_what_is_inserted() {
        let (mut graph, x) = Graph::sketch(&[0]);
        let relu = graph.draw(Op::Relu, &[x]);
        graph.draw(Op::Add, &[relu, relu]);
        let grid = Grid { scale: 1.0, zero_point: 0, low: 0, high: 3 };
        let rounded = graph.insert_after(relu, Op::FakeQuantize(grid));
        assert_eq!(graph.tensor_name(rounded), "relu_quantized");
        assert_eq!(graph.readers(relu), [1]);
        assert_eq!(graph.nodes()[2].inputs, [Some(rounded), Some(rounded)]);
    }

    #[test]
    fn another_operation_writes_the_same_tensor() {
        let (mut graph, x) = Graph::sketch(&[0]);
        let relu = graph.draw(Op::Relu, &[x]);
        graph.set_op(relu, Op::Unary(Unary::Neg));
        assert_eq!(graph.nodes()[0].op, Op::Unary(Unary::Neg));
        assert_eq!((graph.nodes()[0].input(0), graph.outputs()), (Some(x), [relu].as_slice()));
    }

    #[test]
    fn only_chosen_readers_read_what_is_inserted_between() {
        let (mut graph, x) = Graph::sketch(&[0]);
        let relu = graph.draw(Op::Relu, &[x]);
        graph.draw(Op::Add, &[relu, relu]);
        let grid = Grid { scale: 1.0, zero_point: 0, low: 0, high: 3 };
        graph.insert_between(relu, Op::FakeQuantize(grid), |_| false);
        assert_eq!(graph.readers(relu), [1, 2]);
        assert_eq!(graph.nodes()[2].inputs, [Some(relu), Some(relu)]);
    }

    #[test]
    fn roundings_can_be_left_out() {
        let (mut graph, x) = Graph::sketch(&[0]);
        let grid = Grid { scale: 1.0, zero_point: 0, low: 0, high: 3 };
        let rounded = graph.draw(Op::FakeQuantize(grid), &[x]);
        let relu = graph.draw(Op::Relu, &[rounded]);
        graph.draw(Op::FakeQuantize(grid), &[relu]);
        let levels = graph.add_constant("w", Array::f32(vec![1], [0.5]));
        let coding = Coding::of_rows([0.5].into(), 8);
        graph.set_rounded(levels, Array::f32(vec![1], [1.5]), coding);
        let plain = graph.without_roundings();
        assert_eq!((plain.nodes().len(), plain.outputs()), (1, [relu].as_slice()));
        assert!(plain.constant(levels).is_some() && plain.coding(levels).is_none());
        assert_eq!(plain.nodes()[0].inputs, [Some(x)]);
    }

    #[test]
    fn an_operation_can_bring_its_constant() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let relu = graph.draw(Op::Relu, &[x]);
        graph.draw(Op::Add, &[relu, relu]);
        let bounds = Array::f32(vec![2], [6.0, 3.0]);
        let bounded = graph.insert_with_constant(relu, Op::Min, bounds.clone(), |_| true);
        let node = &graph.nodes()[1];
        assert_eq!((node.input(0), node.output), (Some(relu), bounded));
        assert_eq!(graph.constant(node.input(1).unwrap()), Some(&bounds));
        assert_eq!(graph.nodes()[2].inputs, [Some(bounded), Some(bounded)]);
    }

    #[test]
    fn an_operation_behind_the_input_comes_first() {
        let (mut graph, x) = Graph::sketch(&[0]);
        graph.draw(Op::Relu, &[x]);
        graph.insert_after(x, Op::Unary(Unary::Neg));
        assert_eq!(graph.nodes()[0].inputs, [Some(x)]);
        assert_eq!(graph.readers(x), [0]);
    }

    #[test]
    fn outputs_stay_what_they_are() {
        let (mut graph, x) = Graph::sketch(&[0]);
        let relu = graph.draw(Op::Relu, &[x]);
        graph.insert_after(relu, Op::Unary(Unary::Neg));
        assert_eq!(graph.outputs(), [relu]);
    }

    #[test]
    #[should_panic(expected = "a constant keeps its shape")]
    fn a_constant_of_another_shape_is_refused() {
        let (mut graph, _) = Graph::sketch(&[0]);
        let tensor = graph.add_constant("c", Array::f32(vec![2], [1.0, 2.0]));
        graph.set_constant(tensor, Array::f32(vec![1], [1.0]));
    }
}

//! Several inputs as one: each sample is a row of numbers, cut up by the network's first nodes.
//!
//! What feeds a network then need not know how many inputs it has, nor of what type they are.

use super::{
    array::{Array, ArrayData, ElementType},
    attributes::Cut,
    error::{NetworkError, show_shape},
    graph::{Graph, GraphInput, InputDim, Node, TensorId},
    ops::Op,
};

/// The name of the one input.
const JOINED: &str = "inputs";

impl Graph {
    /// The graph with one f32 input `[n, numbers of a sample]` in place of its own.
    ///
    /// - `shapes`: of one sample of each input, without the batch axis
    ///
    /// # Errors
    /// [`NetworkError::InputShape`] when an input is declared otherwise.
    pub fn with_joined_inputs(mut self, shapes: &[Vec<usize>]) -> Result<Self, NetworkError> {
        let inputs = std::mem::take(&mut self.inputs);
        let joined = self.add_tensor(JOINED);
        let mut nodes = Vec::new();
        let mut start = 0;
        for (input, shape) in inputs.into_iter().zip(shapes) {
            let input = with_sample_shape(&self, input, shape)?;
            let length: usize = shape.iter().product();
            let name = self.tensor_name(input.tensor).to_owned();
            let mut add = |graph: &mut Self, op: Op, inputs: Vec<_>, output: Option<TensorId>| {
                let name = format!("{name}/{}", op.name());
                let output = output.unwrap_or_else(|| graph.add_tensor(&name));
                nodes.push(Node { name, op, inputs, output });
                Some(output)
            };
            let cut = Cut { axis: 1, start: start as i64, end: (start + length) as i64, step: 1 };
            let part = add(&mut self, Op::Slice { cuts: vec![cut] }, vec![Some(joined)], None);
            let sizes = [vec![0i64], shape.iter().map(|&n| n as i64).collect()].concat();
            let sizes = Array::i64(vec![sizes.len()], sizes);
            let sizes = self.add_constant(&format!("{name}/shape"), sizes);
            let is_float = input.element == ElementType::F32;
            let shaped = add(
                &mut self,
                Op::Reshape { allow_zero: false },
                vec![part, Some(sizes)],
                is_float.then_some(input.tensor),
            );
            if !is_float {
                add(&mut self, Op::Cast { to: input.element }, vec![shaped], Some(input.tensor));
            }
            start += length;
            self.joined.push(input);
        }
        nodes.append(&mut self.nodes);
        self.nodes = nodes;
        let dims = vec![InputDim::Open("batch".into()), InputDim::Fixed(start)];
        self.inputs = vec![GraphInput { tensor: joined, element: ElementType::F32, dims }];
        Ok(self)
    }

    /// The inputs that [`Graph::with_joined_inputs`] joined, as each then is; empty where none were.
    pub fn joined_inputs(&self) -> &[GraphInput] {
        &self.joined
    }

    /// The graph with its own inputs again.
    #[must_use]
    pub fn with_inputs_apart(mut self) -> Self {
        if self.joined.is_empty() {
            return self;
        }
        self.inputs = std::mem::take(&mut self.joined);
        let fed: Vec<_> = self.inputs.iter().map(|input| input.tensor).collect();
        self.nodes.retain(|node| !fed.contains(&node.output));
        self.remove_unused();
        self
    }

    /// What each of the network's own inputs is for these rows, by name.
    ///
    /// - `rows`: as the network reads them, joined where its inputs are
    pub fn split_inputs(&self, rows: &Array) -> Result<Vec<(String, Array)>, NetworkError> {
        let [input] = self.inputs.as_slice() else {
            return Err(NetworkError::NotSingle { what: "inputs", found: self.inputs.len() });
        };
        let numbers = rows.as_f32().unwrap_or_default();
        if self.joined.is_empty() {
            return Ok(vec![(self.tensor_name(input.tensor).to_owned(), rows.clone())]);
        }
        let n = rows.shape().first().copied().unwrap_or(0);
        let width = numbers.len() / n.max(1);
        let mut start = 0;
        let part = |input: &GraphInput| {
            let sample: Vec<usize> = input.dims[1..].iter().filter_map(fixed).collect();
            let length: usize = sample.iter().product();
            let row = |row: usize| &numbers[row * width + start..][..length];
            let own: Vec<f32> = (0..n).flat_map(row).copied().collect();
            start += length;
            let shape = [vec![n], sample].concat();
            let data = match input.element {
                ElementType::F32 => ArrayData::F32(own.into()),
                ElementType::I64 => ArrayData::I64(own.iter().map(|&x| x as i64).collect()),
                ElementType::Bool => ArrayData::Bool(own.iter().map(|&x| x != 0.0).collect()),
            };
            (self.tensor_name(input.tensor).to_owned(), Array::new(shape, data))
        };
        Ok(self.joined.iter().map(part).collect())
    }
}

fn fixed(dim: &InputDim) -> Option<usize> {
    match dim {
        InputDim::Fixed(n) => Some(*n),
        InputDim::Open(_) => None,
    }
}

/// An input whose batch is open and whose other lengths are given.
fn with_sample_shape(
    graph: &Graph,
    input: GraphInput,
    shape: &[usize],
) -> Result<GraphInput, NetworkError> {
    let fits = input.dims.len() == shape.len() + 1
        && input.dims[1..].iter().zip(shape).all(|(dim, n)| fixed(dim).is_none_or(|d| d == *n));
    if !fits || shape.contains(&0) {
        let expected: Vec<String> =
            input.dims.iter().map(|dim| fixed(dim).map_or("n".into(), |n| n.to_string())).collect();
        let found: Vec<String> =
            std::iter::once("n".into()).chain(shape.iter().map(ToString::to_string)).collect();
        return Err(NetworkError::InputShape {
            input: graph.tensor_name(input.tensor).to_owned(),
            found: show_shape(&found),
            expected: show_shape(&expected),
        });
    }
    let batch = InputDim::Open("batch".into());
    let dims = std::iter::once(batch).chain(shape.iter().map(|&n| InputDim::Fixed(n))).collect();
    Ok(GraphInput { dims, ..input })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Executable;

    /// `x + 10 * table[y]` of floats x and whole numbers y.
    fn two_inputs() -> Graph {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let y = graph.add_tensor("y");
        let dims = vec![InputDim::Open(String::new()), InputDim::Open(String::new())];
        graph.inputs.push(GraphInput { tensor: y, element: ElementType::I64, dims });
        let table = graph.hold("table", Array::f32(vec![3], [10.0, 20.0, 30.0]));
        let looked_up = graph.draw(Op::Gather { axis: 0 }, &[table, y]);
        graph.draw(Op::Add, &[x, looked_up]);
        graph
    }

    #[test]
    fn rows_are_cut_up_into_the_inputs() {
        let joined = two_inputs().with_joined_inputs(&[vec![2], vec![2]]).unwrap();
        let rows = Array::f32(vec![2, 4], [0.5, 1.0, 2.0, 0.0, -1.0, 0.0, 1.0, 1.0]);
        let network = Executable::new(&joined, tch::Device::Cpu).unwrap();
        let output = Array::from_tensor(&network.run(&rows.to_tensor()).unwrap()).unwrap();
        assert_eq!(output, Array::f32(vec![2, 2], [30.5, 11.0, 19.0, 20.0]));
        let parts = joined.split_inputs(&rows).unwrap();
        assert_eq!(parts[0], ("x".into(), Array::f32(vec![2, 2], [0.5, 1.0, -1.0, 0.0])));
        assert_eq!(parts[1], ("y".into(), Array::i64(vec![2, 2], [2, 0, 1, 1])));
    }

    #[test]
    fn joined_inputs_come_apart_again() {
        let graph = two_inputs();
        let apart = graph.clone().with_joined_inputs(&[vec![2], vec![2]]).unwrap();
        let apart = apart.with_inputs_apart();
        assert_eq!((apart.nodes(), apart.outputs()), (graph.nodes(), graph.outputs()));
        assert_eq!(apart.inputs().len(), 2);
        assert_eq!(apart.constants().count(), 1);
    }

    #[test]
    fn other_shapes_are_refused() {
        let message = two_inputs().with_joined_inputs(&[vec![3], vec![2]]).unwrap_err().to_string();
        assert_eq!(message, "input \"x\" has shape [n, 3]; the network needs [n, 2]");
    }
}

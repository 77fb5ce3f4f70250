//! Shape inference: from the shape of the input to the shape of every tensor.
//!
//! The same rules serve an open batch dimension (symbols, while a file is read) and a given
//! input (numbers). Small shape-describing tensors are followed by value.

mod einsum;
mod fact;
mod rules;
mod views;
mod windows;

use std::collections::HashMap;

pub(super) use fact::{Dim, Entry, Fact};
pub(super) use views::cuts;

use super::{
    array::Array,
    error::{NetworkError, show_shape},
    execute::compute_constant,
    graph::{Graph, GraphInput, InputDim, Node, TensorId},
    ops::Op,
};

/// Numbers a tensor that follows from constants alone may have, beside four times those it is
/// made from: a small file can not exhaust memory.
const MAX_CONSTANT: usize = 1 << 27;
/// The most numbers any tensor may have.
const MAX_TENSOR: usize = 1 << 31;

/// The shapes of all tensors for one input shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Shapes {
    shapes: Vec<Vec<usize>>,
}

impl Shapes {
    /// Empty for a tensor that nothing makes any more.
    pub fn get(&self, tensor: TensorId) -> &[usize] {
        &self.shapes[tensor.index()]
    }
}

impl Graph {
    /// The shape of every tensor when the one input has this shape.
    ///
    /// # Errors
    /// [`NetworkError::InputShape`] when it is not what the file declares, and
    /// [`NetworkError::Shape`] naming the first node that can not work with it.
    pub fn shapes(&self, input: &[usize]) -> Result<Shapes, NetworkError> {
        self.input()?;
        self.shapes_of(&[input])
    }

    /// The shape of every tensor, one given shape an input.
    ///
    /// # Errors
    /// As [`Graph::shapes`]; and [`NetworkError::Tensor`] for a tensor whose shape depends on
    /// more than shapes.
    pub fn shapes_of(&self, inputs: &[&[usize]]) -> Result<Shapes, NetworkError> {
        let mut shapes = vec![Vec::new(); self.n_tensors()];
        for (index, fact) in self.given_facts(inputs)?.into_iter().enumerate() {
            let Some(fact) = fact else { continue };
            let shape: Option<Vec<usize>> = fact.shape.iter().map(|dim| dim.known()).collect();
            shapes[index] = shape.ok_or_else(|| NetworkError::Tensor {
                tensor: self.tensor_names[index].clone(),
                reason: "its shape depends on values, not only on the input's shape".into(),
            })?;
        }
        Ok(Shapes { shapes })
    }

    /// Whether inputs of these shapes fit the network, as far as shapes alone can tell.
    pub(super) fn check_shapes(&self, inputs: &[&[usize]]) -> Result<(), NetworkError> {
        self.given_facts(inputs).map(|_| ())
    }

    fn given_facts(&self, inputs: &[&[usize]]) -> Result<Vec<Option<Fact>>, NetworkError> {
        if inputs.len() != self.inputs.len() {
            return Err(NetworkError::NotSingle { what: "inputs", found: self.inputs.len() });
        }
        let mut open = HashMap::new();
        let mut given = Vec::with_capacity(inputs.len());
        for (input, shape) in self.inputs.iter().zip(inputs) {
            check_input(self.tensor_name(input.tensor), &input.dims, shape, &mut open)?;
            let shape = shape.iter().copied().map(Dim::Known).collect();
            given.push(Fact::new(input.element, shape));
        }
        self.facts(given)
    }

    /// What is known of every tensor when open dimensions stay open.
    pub(super) fn open_facts(&self) -> Result<Vec<Option<Fact>>, NetworkError> {
        self.facts(open_input_facts(&self.inputs))
    }

    fn facts(&self, inputs: Vec<Fact>) -> Result<Vec<Option<Fact>>, NetworkError> {
        let mut facts: Vec<Option<Fact>> = vec![None; self.n_tensors()];
        for (input, fact) in self.inputs.iter().zip(inputs) {
            facts[input.tensor.index()] = Some(fact);
        }
        for (tensor, array) in self.constants() {
            facts[tensor.index()] = Some(Fact::constant(array.clone()));
        }
        for node in &self.nodes {
            let read = |input: &Option<TensorId>| facts[(*input)?.index()].as_ref();
            let inputs: Vec<Option<&Fact>> = node.inputs.iter().map(read).collect();
            let fact = infer_node(node, &inputs)?;
            facts[node.output.index()] = Some(fact);
        }
        Ok(facts)
    }
}

/// The facts of inputs as declared, one symbol for each open name.
pub(super) fn open_input_facts(inputs: &[GraphInput]) -> Vec<Fact> {
    let mut symbols: HashMap<&str, u32> = HashMap::new();
    let mut next = 0;
    let mut symbol = |name| {
        let fresh = next;
        next += 1;
        if str::is_empty(name) { fresh } else { *symbols.entry(name).or_insert(fresh) }
    };
    let mut facts = Vec::with_capacity(inputs.len());
    for input in inputs {
        let dims = input.dims.iter().map(|dim| match dim {
            InputDim::Fixed(n) => Dim::Known(*n),
            InputDim::Open(name) => Dim::Symbol(symbol(name)),
        });
        facts.push(Fact::new(input.element, dims.collect()));
    }
    facts
}

/// What is known of a node's output.
pub(super) fn infer_node(node: &Node, inputs: &[Option<&Fact>]) -> Result<Fact, NetworkError> {
    let error = |reason| NetworkError::Shape {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
        reason,
    };
    let mut fact = rules::infer(&node.op, inputs).map_err(error)?;
    if at_least(&fact.shape).is_none_or(|n| n > MAX_TENSOR) {
        let shape = show_shape(&fact.shape);
        return Err(error(format!("its output would have shape {shape}; that is too large")));
    }
    if fact.value.is_none()
        && let Some(arrays) = constant_inputs(&node.op, inputs)
    {
        let own: usize = arrays.iter().flatten().map(Array::len).sum();
        if fact.n_numbers().is_none_or(|n| n > MAX_CONSTANT + own.saturating_mul(4)) {
            let shape = show_shape(&fact.shape);
            return Err(error(format!("a constant of shape {shape} is too large")));
        }
        let array = compute_constant(node, &arrays)?;
        fact = Fact::constant(array);
    }
    Ok(fact)
}

/// How many numbers a tensor has when no open dimension is longer than 1.
fn at_least(shape: &[Dim]) -> Option<usize> {
    let longest = shape.iter().filter_map(|dim| dim.known()).max().unwrap_or(1);
    let known = shape.iter().map(|dim| dim.known().unwrap_or(1));
    let product = known.into_iter().try_fold(1usize, usize::checked_mul)?;
    // One length alone can be too much, even beside a length of 0.
    Some(product.max(longest))
}

/// The values of all inputs, when each is a constant.
fn constant_inputs(op: &Op, inputs: &[Option<&Fact>]) -> Option<Vec<Option<Array>>> {
    if op.rounds() {
        return None;
    }
    let value = |input: &Option<&Fact>| match input {
        None => Some(None),
        Some(fact) => fact.array().cloned().map(Some),
    };
    inputs.iter().map(value).collect()
}

fn check_input<'a>(
    name: &str,
    declared: &'a [InputDim],
    found: &[usize],
    open: &mut HashMap<&'a str, usize>,
) -> Result<(), NetworkError> {
    let fits = |(dim, &n): (&'a InputDim, &usize)| match dim {
        InputDim::Fixed(expected) => *expected == n,
        InputDim::Open(name) => {
            n > 0 && (name.is_empty() || *open.entry(name.as_str()).or_insert(n) == n)
        }
    };
    if declared.len() == found.len() && declared.iter().zip(found).all(fits) {
        return Ok(());
    }
    let expected: Vec<String> = declared
        .iter()
        .map(|dim| match dim {
            InputDim::Fixed(n) => n.to_string(),
            InputDim::Open(name) if name.is_empty() => "n".to_owned(),
            InputDim::Open(name) => name.clone(),
        })
        .collect();
    Err(NetworkError::InputShape {
        input: name.to_owned(),
        found: show_shape(found),
        expected: show_shape(&expected),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of the one output, open dimensions as `n` and unknown ones as `?`.
    fn open_shape(graph: &Graph) -> String {
        let facts = graph.open_facts().unwrap();
        show_shape(&facts[graph.output().unwrap().index()].as_ref().unwrap().shape)
    }

    #[test]
    fn an_open_batch_stays_open_where_it_can() {
        let target = |numbers: &[i64]| Array::i64(vec![numbers.len()], numbers.to_vec());
        let reshape = || Op::Reshape { allow_zero: false };
        for (name, op, second, expected) in [
            ("relu", Op::Relu, None, "[n, 4, 6]"),
            ("flatten", Op::Flatten { axis: 1 }, None, "[n, 24]"),
            ("flatten of the batch too", Op::Flatten { axis: 2 }, None, "[?, 6]"),
            ("copied batch", reshape(), Some(target(&[0, -1])), "[n, 24]"),
            ("batch as the rest", reshape(), Some(target(&[-1, 24])), "[n, 24]"),
            ("batch split up", reshape(), Some(target(&[-1, 12])), "[?, 12]"),
            ("transpose", Op::Transpose { axes: vec![2, 0, 1] }, None, "[6, n, 4]"),
            ("mean", Op::GlobalAveragePool, None, "[n, 4, 1]"),
        ] {
            let (mut graph, x) = Graph::sketch(&[0, 4, 6]);
            let second = second.map(|array| graph.add_constant("s", array));
            let inputs: Vec<TensorId> = std::iter::once(x).chain(second).collect();
            graph.draw(op, &inputs);
            assert_eq!(open_shape(&graph), expected, "{name}");
        }
    }

    #[test]
    fn inputs_that_share_a_name_share_a_length() {
        let (mut graph, x) = Graph::sketch(&[0, 4]);
        let y = graph.add_tensor("y");
        let mut second = graph.inputs[0].clone();
        second.tensor = y;
        graph.inputs.push(second);
        graph.draw(Op::Add, &[x, y]);
        assert_eq!(open_shape(&graph), "[n, 4]");
        assert!(graph.shapes_of(&[&[2, 4], &[2, 4]]).is_ok());
        let message = graph.shapes_of(&[&[2, 4], &[3, 4]]).unwrap_err().to_string();
        assert_eq!(message, "input \"y\" has shape [3, 4]; the network needs [n0, 4]");
    }

    #[test]
    fn a_node_that_can_not_work_with_the_input_is_named() {
        let (mut graph, x) = Graph::sketch(&[0, 0]);
        let weight = graph.add_constant("w", Array::f32(vec![3, 5], vec![0.0; 15]));
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
        graph.draw(op, &[x, weight]);
        assert_eq!(graph.shapes(&[2, 5]).unwrap().get(graph.output().unwrap()), [2, 3]);
        let message = graph.shapes(&[2, 4]).unwrap_err().to_string();
        assert_eq!(message, "node gemm (Gemm): rows of 4 numbers meet columns of 5");
    }
}

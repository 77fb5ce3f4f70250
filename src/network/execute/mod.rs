//! Running a graph on libtorch: constants are placed once, tensors are freed after their last
//! use, number-by-number operations are fused and done in place.

mod apply;
mod arithmetic;
mod codes;
mod convert;
mod kernel;
mod plan;
mod walk;

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use tch::{Device, Kind, Tensor};

pub use self::arithmetic::Arithmetic;
use self::{
    plan::{Plan, Work},
    walk::{failure, first_line},
};
use super::{
    array::Array,
    error::NetworkError,
    graph::{Graph, Node, TensorId},
    ops::Op,
};

/// What may compute a node's output in place of its operation: given the node and its inputs in
/// ONNX order, the output, or none to leave the node alone.
pub type Replacement<'a> =
    dyn FnMut(&Node, &[Option<&Tensor>]) -> Result<Option<Tensor>, tch::TchError> + 'a;

/// A graph with its constants on a device, ready to run.
///
/// It can be sent to another thread but not be used by two at once: give each thread its
/// own [`Executable::share`].
#[derive(Debug)]
pub struct Executable {
    graph: Arc<Graph>,
    plan: Arc<Plan>,
    device: Device,
    /// The kind of floats: f32, or f64 for a reference.
    floats: Kind,
    /// By tensor.
    constants: Vec<Option<Tensor>>,
    /// Input shapes that were found to fit, the last one.
    checked: RefCell<Vec<Vec<usize>>>,
}

impl Executable {
    /// Places the constants and plans the work.
    ///
    /// # Errors
    /// [`NetworkError::Execution`] when the device does not take the constants.
    pub fn new(graph: &Graph, device: Device) -> Result<Self, NetworkError> {
        Self::with_floats(graph, device, Kind::Float)
    }

    /// With the arithmetic that is asked for, where device, processor and graph allow it; as
    /// [`Executable::new`] elsewhere. Only [`Executable::run`] and [`Executable::run_all`] are
    /// done in it: everything that looks inside the network sees floats.
    ///
    /// # Errors
    /// As [`Executable::new`].
    pub fn in_arithmetic(
        graph: &Graph,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Self, NetworkError> {
        let mut executable = Self::new(graph, device)?;
        if arithmetic == Arithmetic::Codes && device == Device::Cpu {
            let fed: Vec<TensorId> = graph.inputs().iter().map(|input| input.tensor).collect();
            executable.plan = Arc::new(Plan::on_codes(graph, &fed, graph.outputs()));
        }
        Ok(executable)
    }

    /// Layers that are computed on codes.
    pub fn n_layers_on_codes(&self) -> usize {
        self.plan.steps.iter().filter(|step| matches!(step.work, Work::OnCodes(_))).count()
    }

    /// On the processor and in double precision: slow, and as good as exact.
    ///
    /// # Errors
    /// As [`Executable::new`].
    pub fn in_double(graph: &Graph) -> Result<Self, NetworkError> {
        Self::with_floats(graph, Device::Cpu, Kind::Double)
    }

    /// This with another value for one constant, of the kind that is given.
    #[must_use]
    pub fn with_constant(mut self, tensor: TensorId, value: Tensor) -> Self {
        self.constants[tensor.index()] = Some(value);
        // Codes were read from the value before.
        self.plan = Arc::new(float_plan(&self.graph));
        self
    }

    fn with_floats(graph: &Graph, device: Device, floats: Kind) -> Result<Self, NetworkError> {
        let mut constants: Vec<Option<Tensor>> = (0..graph.n_tensors()).map(|_| None).collect();
        for (tensor, array) in graph.constants() {
            let value = place(graph, tensor, array, device, floats).map_err(|error| {
                let reason = format!("it can not be placed: {}", first_line(&error));
                NetworkError::Tensor { tensor: graph.tensor_name(tensor).to_owned(), reason }
            })?;
            constants[tensor.index()] = Some(value);
        }
        Ok(Self {
            graph: Arc::new(graph.clone()),
            plan: Arc::new(float_plan(graph)),
            device,
            floats,
            constants,
            checked: RefCell::default(),
        })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// Another handle on the same constants, for another thread.
    pub fn share(&self) -> Self {
        let shallow = |constant: &Option<Tensor>| constant.as_ref().map(Tensor::shallow_clone);
        Self {
            graph: Arc::clone(&self.graph),
            plan: Arc::clone(&self.plan),
            device: self.device,
            floats: self.floats,
            constants: self.constants.iter().map(shallow).collect(),
            checked: self.checked.clone(),
        }
    }

    /// The output for a batch of inputs. The input is not changed.
    ///
    /// # Errors
    /// [`NetworkError::InputShape`] when the batch does not fit the network, and
    /// [`NetworkError::Execution`] naming the node that failed.
    pub fn run(&self, input: &Tensor) -> Result<Tensor, NetworkError> {
        self.graph.output()?;
        let mut outputs = self.run_all(&[input])?;
        Ok(outputs.swap_remove(0))
    }

    /// All outputs, one given tensor an input.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_all(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        self.check(inputs)?;
        let fed = self.graph.inputs().iter().map(|input| input.tensor).zip(inputs.iter().copied());
        self.follow(&self.plan, fed, self.graph.outputs(), &mut |_, _| {})
    }

    /// Runs one batch and shows the observed tensors as they are made, the input included.
    ///
    /// Images and feature maps are shown with their logical shape `[n, c, h, w]` and channels
    /// last in memory. A tensor that is shown may be kept: nothing writes to it later.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_observed(
        &self,
        input: &Tensor,
        observed: &[TensorId],
        observe: &mut dyn FnMut(TensorId, &Tensor),
    ) -> Result<Vec<Tensor>, NetworkError> {
        self.check(&[input])?;
        let fed = self.graph.input()?.tensor;
        let observed: BTreeSet<TensorId> = observed.iter().copied().collect();
        let plan = Plan::new(&self.graph, &[fed], self.graph.outputs(), &observed);
        self.follow(&plan, [(fed, input)].into_iter(), self.graph.outputs(), &mut |id, tensor| {
            if observed.contains(&id) {
                observe(id, tensor);
            }
        })
    }

    /// Computes only what lies between the fed and the wanted tensors.
    ///
    /// Computed tensors are taken in the memory layout they have: with those of an earlier run
    /// the parts give exactly what the whole gives.
    ///
    /// # Errors
    /// [`NetworkError::Dangling`] when a wanted tensor needs one that is neither fed nor
    /// computed, and [`NetworkError::Execution`] naming the node that failed.
    pub fn run_between(
        &self,
        fed: &[(TensorId, &Tensor)],
        wanted: &[TensorId],
    ) -> Result<Vec<Tensor>, NetworkError> {
        let ids: Vec<TensorId> = fed.iter().map(|(id, _)| *id).collect();
        let plan = Plan::new(&self.graph, &ids, wanted, &BTreeSet::new());
        self.follow(&plan, fed.iter().copied(), wanted, &mut |_, _| {})
    }

    /// Like [`Executable::run_between`], but gradients flow from the wanted tensors back to the
    /// fed ones, which may be constants (trained weights, say) as well as computed tensors.
    ///
    /// Every node is run by itself. `replace` is asked first and may compute the node's output
    /// in its own way; it is given the node and its inputs in ONNX order.
    ///
    /// # Errors
    /// As [`Executable::run_between`].
    pub fn run_recorded(
        &self,
        fed: &[(TensorId, &Tensor)],
        wanted: &[TensorId],
        replace: &mut Replacement<'_>,
    ) -> Result<Vec<Tensor>, NetworkError> {
        let ids: Vec<TensorId> = fed.iter().map(|(id, _)| *id).collect();
        let plan = plan::unfused(&self.graph, &ids, wanted);
        self.walk(&plan, fed.iter().copied(), wanted, &mut |_, _| {}, replace)
    }

    fn check(&self, inputs: &[&Tensor]) -> Result<(), NetworkError> {
        let sizes = |tensor: &&Tensor| tensor.size().iter().map(|&n| n as usize).collect();
        let shapes: Vec<Vec<usize>> = inputs.iter().map(sizes).collect();
        if *self.checked.borrow() == shapes {
            return Ok(());
        }
        let slices: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        self.graph.check_shapes(&slices)?;
        self.checked.replace(shapes);
        Ok(())
    }
}

/// What one operation makes of its inputs, in ONNX order; gradients pass.
///
/// # Errors
/// When the inputs do not fit the operation.
pub fn compute(op: &Op, inputs: &[Option<&Tensor>]) -> Result<Tensor, tch::TchError> {
    apply::apply(op, inputs)
}

fn float_plan(graph: &Graph) -> Plan {
    let fed: Vec<TensorId> = graph.inputs().iter().map(|input| input.tensor).collect();
    Plan::new(graph, &fed, graph.outputs(), &BTreeSet::new())
}

/// The value of a node whose inputs are all constants.
pub(super) fn compute_constant(
    node: &Node,
    inputs: &[Option<Array>],
) -> Result<Array, NetworkError> {
    let _no_grad = tch::no_grad_guard();
    let tensors: Vec<Option<Tensor>> =
        inputs.iter().map(|input| input.as_ref().map(Array::to_tensor)).collect();
    let views: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
    apply::apply(&node.op, &views)
        .and_then(|tensor| Array::from_tensor(&tensor))
        .map_err(|error| failure(node, &views, &error))
}

/// A constant on the device; convolution weights in the layout their images have.
fn place(
    graph: &Graph,
    tensor: TensorId,
    array: &Array,
    device: Device,
    floats: Kind,
) -> Result<Tensor, tch::TchError> {
    let is_kernel =
        |node: &Node| matches!(node.op, Op::Conv { .. }) && node.input(1) == Some(tensor);
    let mut value = array.to_tensor().f_to_device(device)?;
    if value.kind() == Kind::Float {
        value = value.f_to_kind(floats)?;
    }
    if graph.nodes().iter().any(is_kernel) { convert::channels_last(&value) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::network::attributes::Unary;

    #[test]
    fn gradients_flow_back_to_a_fed_constant_through_a_replaced_node() {
        let (mut graph, x) = Graph::sketch(&[0, 2]);
        let weight = graph.add_constant("w", Array::f32(vec![2, 1], [3.0, -1.0]));
        let negated = graph.draw(Op::Unary(Unary::Neg), &[x]);
        let product = graph.draw(Op::MatMul, &[negated, weight]);
        let executable = Executable::new(&graph, Device::Cpu).unwrap();
        let input = Tensor::from_slice(&[1.0f32, 2.0]).view([1, 2]);
        let trained = Tensor::from_slice(&[1.0f32, 1.0]).view([2, 1]).set_requires_grad(true);
        let double = &mut |node: &Node, inputs: &[Option<&Tensor>]| {
            let is_negation = node.output == negated;
            Ok(is_negation.then(|| inputs[0].expect("it reads one tensor") * 2.0))
        };
        let fed = [(x, &input), (weight, &trained)];
        let output = executable.run_recorded(&fed, &[product], double).unwrap().swap_remove(0);
        assert_eq!(output.double_value(&[0, 0]), 6.0);
        output.sum(Kind::Float).backward();
        let gradient = Vec::<f32>::try_from(trained.grad().view(-1)).unwrap();
        assert_eq!(gradient, [2.0, 4.0]);
        let plain = executable.run(&input).unwrap();
        assert_eq!(plain.double_value(&[0, 0]), -1.0);
        assert!(!plain.requires_grad());
    }
}

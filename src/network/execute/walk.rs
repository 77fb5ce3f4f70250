//! One run: step by step, each tensor freed after its last use.

use tch::{Kind, Tensor};

use super::{
    Executable, Replacement, apply,
    codes::{self, CodedStep},
    convert,
    plan::{FusedPass, Plan, Step, Work},
};
use crate::network::{
    error::{NetworkError, show_shape},
    graph::{Node, TensorId},
};

impl Executable {
    pub(super) fn follow<'a>(
        &self,
        plan: &Plan,
        fed: impl Iterator<Item = (TensorId, &'a Tensor)>,
        wanted: &[TensorId],
        observe: &mut dyn FnMut(TensorId, &Tensor),
    ) -> Result<Vec<Tensor>, NetworkError> {
        let _no_grad = tch::no_grad_guard();
        self.walk(plan, fed, wanted, observe, &mut |_, _| Ok(None))
    }

    pub(super) fn walk<'a>(
        &self,
        plan: &Plan,
        fed: impl Iterator<Item = (TensorId, &'a Tensor)>,
        wanted: &[TensorId],
        observe: &mut dyn FnMut(TensorId, &Tensor),
        replace: &mut Replacement<'_>,
    ) -> Result<Vec<Tensor>, NetworkError> {
        let mut values = Values { constants: &self.constants, computed: vec![] };
        values.computed.resize_with(self.graph.n_tensors(), || None);
        for (id, tensor) in fed {
            let tensor = self.feed(id, tensor)?;
            observe(id, &tensor);
            values.computed[id.index()] = Some(tensor);
        }
        for step in &plan.steps {
            let node = &self.graph.nodes()[step.node];
            if let Work::OnCodes(layer) = &step.work {
                self.run_layer(step, layer, node, &mut values)?;
            } else {
                let output = self.take_step(step, node, &mut values, replace)?;
                observe(step.output, &output);
                values.computed[step.output.index()] = Some(output);
            }
            step.frees.iter().for_each(|tensor| values.computed[tensor.index()] = None);
        }
        let value = |id: &TensorId| {
            values.get(*id).map(Tensor::shallow_clone).ok_or_else(|| self.dangling(*id, "output"))
        };
        wanted.iter().map(value).collect()
    }

    fn feed(&self, id: TensorId, tensor: &Tensor) -> Result<Tensor, NetworkError> {
        let declared = self.graph.inputs().iter().find(|input| input.tensor == id);
        let kind = declared.map_or(tensor.kind(), |input| match convert::kind_of(input.element) {
            Kind::Float => self.floats,
            kind => kind,
        });
        // A tensor of an earlier run is in the layout that the whole run gives it.
        let is_computed = declared.is_none() && self.graph.constant(id).is_none();
        tensor
            .f_to_device(self.device)
            .and_then(|tensor| tensor.f_to_kind(kind))
            .and_then(|tensor| match is_computed {
                true => Ok(tensor),
                false => convert::channels_last(&tensor),
            })
            .map_err(|error| NetworkError::Tensor {
                tensor: self.graph.tensor_name(id).to_owned(),
                reason: format!("it can not be placed: {}", first_line(&error)),
            })
    }

    fn take_step(
        &self,
        step: &Step,
        node: &Node,
        values: &mut Values<'_>,
        replace: &mut Replacement<'_>,
    ) -> Result<Tensor, NetworkError> {
        match &step.work {
            Work::Apply => {
                let read = |input: &Option<TensorId>| match input {
                    None => Ok(None),
                    Some(id) => match values.get(*id) {
                        Some(tensor) => Ok(Some(tensor)),
                        None => Err(self.dangling(*id, &node.name)),
                    },
                };
                let inputs: Vec<Option<&Tensor>> =
                    node.inputs.iter().map(read).collect::<Result<_, _>>()?;
                let output = match replace(node, &inputs) {
                    Ok(None) => apply::apply(&node.op, &inputs),
                    Ok(Some(output)) => Ok(output),
                    Err(error) => Err(error),
                };
                output.map_err(|error| failure(node, &inputs, &error))
            }
            Work::Pass(fused) => {
                for id in [Some(fused.input), fused.addend].into_iter().flatten() {
                    if values.get(id).is_none() {
                        return Err(self.dangling(id, &node.name));
                    }
                }
                run_pass(fused, values).map_err(|error| failure(node, &[], &error))
            }
            Work::Encode { input, grid } => {
                let x = values.get(*input).ok_or_else(|| self.dangling(*input, &node.name))?;
                codes::encode(x, grid).map_err(|error| failure(node, &[Some(x)], &error))
            }
            Work::OnCodes(_) => unreachable!("it may write two tensors, see `run_layer`"),
        }
    }

    fn run_layer(
        &self,
        step: &Step,
        layer: &CodedStep,
        node: &Node,
        values: &mut Values<'_>,
    ) -> Result<(), NetworkError> {
        let overwrite = layer.overwrite_addend;
        let addend = match layer.addend {
            Some(id) if overwrite && values.computed[id.index()].is_some() => {
                values.computed[id.index()].take()
            }
            Some(id) => {
                let addend = values.get(id).ok_or_else(|| self.dangling(id, &node.name))?;
                Some(addend.shallow_clone())
            }
            None => None,
        };
        let codes =
            values.get(layer.input).ok_or_else(|| self.dangling(layer.input, &node.name))?;
        let made = layer
            .convolution
            .run(codes, addend, overwrite)
            .map_err(|error| failure(node, &[Some(codes)], &error))?;
        if let Some(id) = layer.numbers {
            values.computed[id.index()] = made.numbers;
        }
        if let Some(id) = layer.codes {
            values.computed[id.index()] = made.codes;
        }
        debug_assert!(values.computed[step.output.index()].is_some());
        Ok(())
    }

    fn dangling(&self, tensor: TensorId, node: &str) -> NetworkError {
        let tensor = self.graph.tensor_name(tensor).to_owned();
        NetworkError::Dangling { node: node.to_owned(), tensor }
    }
}

/// Tensors of a run in progress.
struct Values<'a> {
    constants: &'a [Option<Tensor>],
    computed: Vec<Option<Tensor>>,
}

impl Values<'_> {
    fn get(&self, id: TensorId) -> Option<&Tensor> {
        self.computed[id.index()].as_ref().or(self.constants[id.index()].as_ref())
    }
}

/// A fused chain: by the loops where they can, by libtorch's operations otherwise.
fn run_pass(fused: &FusedPass, values: &mut Values<'_>) -> Result<Tensor, tch::TchError> {
    let FusedPass { input, addend, pass, overwrite_input, overwrite_addend } = fused;
    let promise = "both operands were found before the pass";
    if *overwrite_input && Some(*input) != *addend {
        let mut target = values.computed[input.index()].take().expect(promise);
        if pass.overwrite(&mut target, addend.and_then(|id| values.get(id))) {
            return Ok(target);
        }
        values.computed[input.index()] = Some(target);
    } else if let Some(addend) = addend.filter(|id| *overwrite_addend && id != input) {
        // A sum does not depend on the order of two numbers.
        let mut target = values.computed[addend.index()].take().expect(promise);
        if pass.overwrite(&mut target, values.get(*input)) {
            return Ok(target);
        }
        values.computed[addend.index()] = Some(target);
    }
    let x = values.get(*input).expect(promise);
    let addend = addend.and_then(|id| values.get(id));
    if let Some(output) = pass.compute(x, addend) {
        return Ok(output);
    }
    pass.by_operations(x, addend)
}

pub(super) fn failure(
    node: &Node,
    inputs: &[Option<&Tensor>],
    error: &tch::TchError,
) -> NetworkError {
    let shapes: Vec<String> =
        inputs.iter().flatten().map(|tensor| show_shape(&tensor.size())).collect();
    let mut reason = first_line(error);
    if !shapes.is_empty() {
        reason = format!("{reason} (inputs {})", shapes.join(", "));
    }
    NetworkError::Execution { node: node.name.clone(), op: node.op.name().to_owned(), reason }
}

/// Libtorch's messages carry a stack trace behind the first line.
pub(super) fn first_line(error: &tch::TchError) -> String {
    let text = match error {
        tch::TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().trim().to_owned()
}

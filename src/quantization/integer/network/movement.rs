//! Operations that only move numbers, as tables of where each output number comes from; and
//! functions of one number, as tables by code.
//!
//! The tables are what the operation itself does to a tensor of positions.

use tch::{Kind, Tensor};

use super::value::count;
use crate::network::{Executable, Interpolation, NetworkError, Node, Op, TensorId};

/// Whether an operation moves numbers and computes none.
pub(super) fn moves(op: &Op) -> bool {
    match op {
        Op::Flatten { .. }
        | Op::Reshape { .. }
        | Op::Expand
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::PadBorder { .. }
        | Op::Tile
        | Op::Identity
        | Op::Gather { .. }
        | Op::Squeeze { .. }
        | Op::Unsqueeze { .. } => true,
        Op::Pad { value, .. } => *value == 0.0,
        Op::Resize { interpolation, .. } => matches!(interpolation, Interpolation::Nearest(_)),
        _ => false,
    }
}

/// Whether an operation is a function of one number alone.
pub(super) fn is_function(op: &Op) -> bool {
    matches!(
        op,
        Op::Relu
            | Op::Clip { .. }
            | Op::Elu { .. }
            | Op::Gelu { .. }
            | Op::Unary(_)
            | Op::Sigmoid
            | Op::HardSigmoid { .. }
            | Op::HardSwish
            | Op::LeakyRelu { .. }
    )
}

/// For each number of the output, in memory order, the number of the inputs that it is, counted
/// through one input after the other; none where a zero is filled in.
///
/// - `inputs`: the tensors that are not constant, with their shapes for one image
pub(super) fn table(
    executable: &Executable,
    node: &Node,
    inputs: &[(TensorId, &[usize])],
) -> Result<Vec<Option<u32>>, NetworkError> {
    let mut next = 1;
    let mut fed: Vec<(TensorId, Tensor)> = Vec::with_capacity(inputs.len());
    for &(id, shape) in inputs {
        let n = count(shape) as i64;
        let places = Tensor::arange_start(next, next + n, (Kind::Double, tch::Device::Cpu));
        fed.push((id, from_memory_order(&places, shape)));
        next += n;
    }
    let fed: Vec<(TensorId, &Tensor)> = fed.iter().map(|(id, tensor)| (*id, tensor)).collect();
    let output = executable.run_between(&fed, &[node.output])?.swap_remove(0);
    let places = to_memory_order(&output);
    Ok(places.into_iter().map(|place| (place as u32).checked_sub(1)).collect())
}

/// The values a function takes at `values`.
pub(super) fn function(
    executable: &Executable,
    node: &Node,
    input: TensorId,
    values: &[f64],
) -> Result<Vec<f64>, NetworkError> {
    let fed = Tensor::from_slice(values);
    let output = executable.run_between(&[(input, &fed)], &[node.output])?.swap_remove(0);
    Ok(Vec::try_from(output.contiguous().view(-1)).expect("a flat f64 tensor is a vector"))
}

/// A tensor whose numbers lie in memory as given: images with channels last.
fn from_memory_order(numbers: &Tensor, shape: &[usize]) -> Tensor {
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    match *shape.as_slice() {
        [n, c, h, w] => numbers.view([n, h, w, c]).permute([0, 3, 1, 2]),
        _ => numbers.view(shape.as_slice()),
    }
}

fn to_memory_order(tensor: &Tensor) -> Vec<f64> {
    let ordered = match tensor.dim() {
        4 => tensor.permute([0, 2, 3, 1]),
        _ => tensor.shallow_clone(),
    };
    Vec::try_from(ordered.contiguous().view(-1)).expect("a flat f64 tensor is a vector")
}

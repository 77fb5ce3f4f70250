//! Convolutions whose operands are integers of 8 bits, on the kernels of `haq-kernels`: products
//! and sums are exact, and cost a third of what floats cost where the processor multiplies bytes.
//!
//! A layer takes part when its weights are codes times a scale a channel, and what it reads is
//! rounded to a grid. Between two such layers only codes are written, a quarter of the memory
//! of floats. What is added and clipped after a layer is done before its sums leave the
//! registers. Figures differ from those in floats only where a sum in floats was rounded to the
//! other side of a step.

mod fuse;
mod layer;
mod memory;

use tch::{Device, Kind, TchError, Tensor};

pub(super) use self::fuse::{CodedStep, Codings};
use crate::network::attributes::Grid;

/// The codes of a tensor `[n, c, h, w]`, with channels last.
///
/// # Errors
/// When the tensor is not f32 with four axes, on the processor.
pub(super) fn encode(tensor: &Tensor, grid: &Grid) -> Result<Tensor, TchError> {
    let last = tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    let mut codes = Tensor::f_empty(last.size(), (Kind::Uint8, Device::Cpu))?;
    let (source, target) = (memory::floats(&last)?, memory::bytes_mut(&mut codes)?);
    haq_kernels::encode(source, grid, target);
    codes.f_permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests;

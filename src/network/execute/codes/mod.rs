//! Convolutions whose operands are integers of 8 bits: products and sums are exact, and cost a
//! third of what floats cost where the processor multiplies bytes.
//!
//! A layer takes part when its weights are codes times a scale a channel, and what it reads is
//! rounded to a grid. Between two such layers only codes are written, a quarter of the memory
//! of floats. What is added and clipped after a layer is done before its sums leave the
//! registers. Figures differ from those in floats only where a sum in floats was rounded to the
//! other side of a step.

mod dense;
mod depthwise;
mod finish;
mod fuse;
mod layer;
mod memory;

use tch::{Device, Kind, TchError, Tensor};

pub(super) use self::fuse::{CodedStep, Codings};
use crate::network::attributes::Grid;

/// Whether the processor adds up products of bytes, sixteen sums at once.
pub(super) fn has_byte_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512vnni") && has!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The codes of a tensor `[n, c, h, w]`, with channels last.
///
/// # Errors
/// When the tensor is not f32 with four axes, on the processor.
pub(super) fn encode(tensor: &Tensor, grid: &Grid) -> Result<Tensor, TchError> {
    let last = tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    let mut codes = Tensor::f_empty(last.size(), (Kind::Uint8, Device::Cpu))?;
    let (source, target) = (memory::floats(&last)?, memory::bytes_mut(&mut codes)?);
    encode_all(source, grid, target);
    codes.f_permute([0, 3, 1, 2])
}

fn encode_all(source: &[f32], grid: &Grid, target: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if has_byte_products() {
        // SAFETY: the processor has AVX-512.
        return unsafe { encode_avx512(source, grid, target) };
    }
    encode_plain(source, grid, target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn encode_avx512(source: &[f32], grid: &Grid, target: &mut [u8]) {
    encode_plain(source, grid, target);
}

#[inline(always)]
fn encode_plain(source: &[f32], grid: &Grid, target: &mut [u8]) {
    let (low, high) = ((grid.low - grid.zero_point) as f32, (grid.high - grid.zero_point) as f32);
    for (code, x) in target.iter_mut().zip(source) {
        let steps = (x / grid.scale).max(low).min(high).round_ties_even();
        *code = (steps as i32 + grid.zero_point) as u8;
    }
}

#[cfg(test)]
mod tests;

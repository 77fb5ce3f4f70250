//! The memory of tensors as slices.

use tch::{Device, Kind, TchError, Tensor};

use super::super::apply::refuse;

fn check(tensor: &Tensor, kind: Kind) -> Result<usize, TchError> {
    let is_plain =
        tensor.device() == Device::Cpu && tensor.kind() == kind && tensor.is_contiguous();
    if is_plain {
        Ok(tensor.numel())
    } else {
        Err(refuse(format!("{:?} memory without gaps is needed, not {:?}", kind, tensor.kind())))
    }
}

macro_rules! slices {
    ($shared:ident, $unique:ident, $number:ty, $kind:expr) => {
        /// What a row-major tensor on the processor holds.
        pub fn $shared(tensor: &Tensor) -> Result<&[$number], TchError> {
            let n = check(tensor, $kind)?;
            if n == 0 {
                return Ok(&[]);
            }
            // SAFETY: `check` said that the tensor is `n` such numbers in one gapless piece of
            // processor memory, which the tensor keeps alive for the lifetime of the borrow.
            Ok(unsafe {
                std::slice::from_raw_parts(tensor.data_ptr().cast::<$number>().cast_const(), n)
            })
        }

        /// The same, to be written; no other tensor may use the memory meanwhile.
        pub fn $unique(tensor: &mut Tensor) -> Result<&mut [$number], TchError> {
            let n = check(tensor, $kind)?;
            if n == 0 {
                return Ok(&mut []);
            }
            // SAFETY: as above. The memory was just allocated, or the plan found that every
            // other tensor in it is dead.
            Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<$number>(), n) })
        }
    };
}

slices!(floats, floats_mut, f32, Kind::Float);
slices!(bytes, bytes_mut, u8, Kind::Uint8);

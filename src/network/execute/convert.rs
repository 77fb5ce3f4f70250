//! Constants to tensors and back, and memory layouts.

use tch::{Device, Kind, TchError, Tensor};

use crate::network::array::{Array, ArrayData, ElementType};

pub(super) fn kind_of(element: ElementType) -> Kind {
    match element {
        ElementType::F32 => Kind::Float,
        ElementType::I64 => Kind::Int64,
        ElementType::Bool => Kind::Bool,
    }
}

fn sizes(array: &Array) -> Vec<i64> {
    array.shape().iter().map(|&n| n as i64).collect()
}

impl Array {
    /// A copy as a tensor, row-major, on the processor.
    pub fn to_tensor(&self) -> Tensor {
        let flat = match self.data() {
            ArrayData::F32(data) => Tensor::from_slice(data),
            ArrayData::I64(data) => Tensor::from_slice(data),
            ArrayData::Bool(data) => Tensor::from_slice(data),
        };
        flat.reshape(sizes(self))
    }

    /// A copy of a tensor: floats become f32, whole numbers i64.
    ///
    /// # Errors
    /// When libtorch can not copy, as from a lost device.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self, TchError> {
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        let n = shape.iter().product();
        let flat = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
        Ok(match flat.kind() {
            Kind::Bool => {
                let mut data = vec![false; n];
                flat.f_copy_data(&mut data, n)?;
                Self::bool(shape, data)
            }
            Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16 => {
                let mut data = vec![0f32; n];
                flat.f_to_kind(Kind::Float)?.f_copy_data(&mut data, n)?;
                Self::f32(shape, data)
            }
            _ => {
                let mut data = vec![0i64; n];
                flat.f_to_kind(Kind::Int64)?.f_copy_data(&mut data, n)?;
                Self::i64(shape, data)
            }
        })
    }
}

/// The same tensor with the channels of a pixel beside each other in memory, which is the
/// layout convolutions are fastest in; tensors of another rank than 4 stay as they are.
pub(super) fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    if tensor.dim() != 4 {
        return Ok(tensor.shallow_clone());
    }
    tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

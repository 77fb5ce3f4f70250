//! Tensor messages into arrays. Narrow types are widened to f32, i64 or bool.

use std::path::Path;

use super::{
    external,
    proto::{TensorProto, tensor_proto::DataLocation, tensor_proto::DataType},
};
use crate::network::{
    array::{Array, ArrayData, ElementType},
    error::NetworkError,
};

/// The kind of numbers a data type is widened to; none for what is not supported.
pub(super) fn element_of(data_type: i32) -> Option<ElementType> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16 => {
            ElementType::F32
        }
        DataType::Int64
        | DataType::Int32
        | DataType::Int16
        | DataType::Int8
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Uint32
        | DataType::Uint64 => ElementType::I64,
        DataType::Bool => ElementType::Bool,
        _ => return None,
    })
}

/// The name of a data type, as messages print it.
pub(super) fn type_name(data_type: i32) -> String {
    DataType::try_from(data_type)
        .map_or_else(|_| data_type.to_string(), |known| known.as_str_name().to_lowercase())
}

/// Reads one tensor; external data is looked for in `base`.
pub(super) fn read(tensor: &TensorProto, base: Option<&Path>) -> Result<Array, NetworkError> {
    let error = |reason: String| NetworkError::Tensor { tensor: tensor.name().to_owned(), reason };
    let (shape, n) = shape_of(tensor).map_err(error)?;
    let unsupported =
        || error(format!("data type {} is not supported", type_name(tensor.data_type())));
    let data_type = DataType::try_from(tensor.data_type()).map_err(|_| unsupported())?;
    let width = width_bytes(data_type).ok_or_else(unsupported)?;
    let n_bytes = n.checked_mul(width).ok_or_else(|| error("its shape is too large".into()))?;
    let external = tensor.data_location() == DataLocation::External;
    let data = if external {
        from_bytes(data_type, &external::read(tensor, base, n_bytes)?)
    } else if let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty() || n == 0) {
        if raw.len() != n_bytes {
            return Err(error(format!("its shape needs {n_bytes} bytes; it has {}", raw.len())));
        }
        from_bytes(data_type, raw)
    } else {
        from_fields(data_type, tensor)
    };
    let data = data.ok_or_else(unsupported)?;
    let found = match &data {
        ArrayData::F32(data) => data.len(),
        ArrayData::I64(data) => data.len(),
        ArrayData::Bool(data) => data.len(),
    };
    if found != n {
        return Err(error(format!("its shape needs {n} numbers; it has {found}")));
    }
    Ok(Array::new(shape, data))
}

fn shape_of(tensor: &TensorProto) -> Result<(Vec<usize>, usize), String> {
    let dim = |&n: &i64| usize::try_from(n).map_err(|_| format!("it has a dimension of {n}"));
    let shape: Vec<usize> = tensor.dims.iter().map(dim).collect::<Result<_, _>>()?;
    let n = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    n.map(|n| (shape, n)).ok_or_else(|| "its shape is too large".into())
}

fn width_bytes(data_type: DataType) -> Option<usize> {
    Some(match data_type {
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        _ => return None,
    })
}

/// Little-endian numbers of fixed width.
fn from_bytes(data_type: DataType, bytes: &[u8]) -> Option<ArrayData> {
    fn each<const N: usize, T>(
        bytes: &[u8],
        read: impl Fn([u8; N]) -> T,
    ) -> impl Iterator<Item = T> {
        bytes.as_chunks::<N>().0.iter().map(move |chunk| read(*chunk))
    }
    Some(match data_type {
        DataType::Float => ArrayData::F32(each(bytes, f32::from_le_bytes).collect()),
        DataType::Double => ArrayData::F32(each(bytes, |b| f64::from_le_bytes(b) as f32).collect()),
        DataType::Float16 => ArrayData::F32(each(bytes, |b| half(u16::from_le_bytes(b))).collect()),
        DataType::Bfloat16 => {
            ArrayData::F32(each(bytes, |b| brain(u16::from_le_bytes(b))).collect())
        }
        DataType::Int64 => ArrayData::I64(each(bytes, i64::from_le_bytes).collect()),
        DataType::Uint64 => ArrayData::I64(
            each(bytes, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)).collect(),
        ),
        DataType::Int32 => ArrayData::I64(each(bytes, |b| i32::from_le_bytes(b).into()).collect()),
        DataType::Uint32 => ArrayData::I64(each(bytes, |b| u32::from_le_bytes(b).into()).collect()),
        DataType::Int16 => ArrayData::I64(each(bytes, |b| i16::from_le_bytes(b).into()).collect()),
        DataType::Uint16 => ArrayData::I64(each(bytes, |b| u16::from_le_bytes(b).into()).collect()),
        DataType::Int8 => ArrayData::I64(each(bytes, |b| i8::from_le_bytes(b).into()).collect()),
        DataType::Uint8 => ArrayData::I64(bytes.iter().map(|&b| b.into()).collect()),
        DataType::Bool => ArrayData::Bool(bytes.iter().map(|&b| b != 0).collect()),
        _ => return None,
    })
}

/// Numbers of the typed fields.
fn from_fields(data_type: DataType, tensor: &TensorProto) -> Option<ArrayData> {
    let narrow = &tensor.int32_data;
    Some(match data_type {
        DataType::Float => ArrayData::F32(tensor.float_data.as_slice().into()),
        DataType::Double => ArrayData::F32(tensor.double_data.iter().map(|&x| x as f32).collect()),
        DataType::Float16 => ArrayData::F32(narrow.iter().map(|&x| half(x as u16)).collect()),
        DataType::Bfloat16 => ArrayData::F32(narrow.iter().map(|&x| brain(x as u16)).collect()),
        DataType::Int64 => ArrayData::I64(tensor.int64_data.as_slice().into()),
        DataType::Uint32 | DataType::Uint64 => {
            let wide = |&x: &u64| i64::try_from(x).unwrap_or(i64::MAX);
            ArrayData::I64(tensor.uint64_data.iter().map(wide).collect())
        }
        DataType::Int32 | DataType::Int16 | DataType::Int8 | DataType::Uint8 | DataType::Uint16 => {
            ArrayData::I64(narrow.iter().map(|&x| x.into()).collect())
        }
        DataType::Bool => ArrayData::Bool(narrow.iter().map(|&x| x != 0).collect()),
        _ => return None,
    })
}

/// A number of IEEE 754 half precision.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    }
}

/// A number of bfloat16: the upper half of an f32.
fn brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_are_widened_exactly() {
        for (bits, expected) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits), expected, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!(brain(0x3f80), 1.0);
    }
}

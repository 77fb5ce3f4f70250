//! Tensor messages into arrays. Narrow types are widened to f32, i64 or bool.

use std::path::Path;

use super::{
    external,
    proto::{TensorProto, tensor_proto::DataLocation, tensor_proto::DataType},
};
use crate::network::{
    array::{Array, ArrayData, ElementType},
    error::NetworkError,
    narrow::{brain, half},
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
        | DataType::Uint64
        | DataType::Int4
        | DataType::Uint4
        | DataType::Int2
        | DataType::Uint2 => ElementType::I64,
        DataType::Bool => ElementType::Bool,
        _ => return None,
    })
}

/// The smallest and the largest code that whole numbers of a type hold.
pub(super) fn code_range(data_type: i32) -> Option<(i64, i64)> {
    let data_type = DataType::try_from(data_type).ok()?;
    let width = width_bits(data_type).filter(|width| *width <= 32)?;
    let all = 1i64 << width;
    match data_type {
        DataType::Int2 | DataType::Int4 | DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            Some((-all / 2, all / 2 - 1))
        }
        DataType::Uint2 | DataType::Uint4 | DataType::Uint8 | DataType::Uint16 => {
            Some((0, all - 1))
        }
        _ => None,
    }
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
    let width = width_bits(data_type).ok_or_else(unsupported)?;
    let n_bits = n.checked_mul(width).ok_or_else(|| error("its shape is too large".into()))?;
    let n_bytes = n_bits.div_ceil(8);
    let external = tensor.data_location() == DataLocation::External;
    let data = if external {
        from_bytes(data_type, &external::read(tensor, base, n_bytes)?, n)
    } else if let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty() || n == 0) {
        if raw.len() != n_bytes {
            return Err(error(format!("its shape needs {n_bytes} bytes; it has {}", raw.len())));
        }
        from_bytes(data_type, raw, n)
    } else {
        from_fields(data_type, tensor, n)
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

fn width_bits(data_type: DataType) -> Option<usize> {
    Some(match data_type {
        DataType::Double | DataType::Int64 | DataType::Uint64 => 64,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 32,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 16,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 8,
        DataType::Int4 | DataType::Uint4 => 4,
        DataType::Int2 | DataType::Uint2 => 2,
        _ => return None,
    })
}

/// Whole numbers of 2 or 4 bits, the first in the lowest bits of a byte.
fn unpack(bytes: impl Iterator<Item = u8>, n: usize, data_type: DataType) -> ArrayData {
    let width = width_bits(data_type).unwrap_or(8).min(8);
    let is_signed = matches!(data_type, DataType::Int4 | DataType::Int2);
    let (mask, half) = ((1u8 << width) - 1, 1i64 << (width - 1));
    let number = |code: u8| match i64::from(code & mask) {
        code if is_signed && code >= half => code - 2 * half,
        code => code,
    };
    let in_byte = |byte: u8| (0..8 / width).map(move |place| byte >> (place * width));
    ArrayData::I64(bytes.flat_map(in_byte).take(n).map(number).collect())
}

/// Little-endian numbers of fixed width.
fn from_bytes(data_type: DataType, bytes: &[u8], n: usize) -> Option<ArrayData> {
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
        DataType::Int4 | DataType::Uint4 | DataType::Int2 | DataType::Uint2 => {
            unpack(bytes.iter().copied(), n, data_type)
        }
        _ => return None,
    })
}

/// Numbers of the typed fields.
fn from_fields(data_type: DataType, tensor: &TensorProto, n: usize) -> Option<ArrayData> {
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
        // Each field holds one byte of packed numbers.
        DataType::Int4 | DataType::Uint4 | DataType::Int2 | DataType::Uint2 => {
            unpack(narrow.iter().map(|&x| x as u8), n, data_type)
        }
        _ => return None,
    })
}

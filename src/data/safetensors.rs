//! The .safetensors format: header length, a JSON header, then the tensors' bytes.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use serde::Deserialize;
use serde_json::Value;

use crate::data::{
    DataError,
    arrays::{Named, NumberType, StoredArray},
};

/// The format's own limit.
const LARGEST_HEADER_BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The tensors of `names` that are in the file.
///
/// # Errors
/// Files that are not in this format, are cut short, or hold a tensor of a type that cannot be read.
pub(super) fn read_named(path: &Path, names: &[&str]) -> Result<Named, DataError> {
    let mut file = File::open(path).map_err(DataError::unreadable(path))?;
    let file_bytes = file.metadata().map_err(DataError::unreadable(path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(DataError::unreadable(path))?;
    let header_bytes = u64::from_le_bytes(length);
    let data_at = header_bytes.saturating_add(8);
    let malformed = |what: String| DataError::malformed(path, "header", what);
    if header_bytes > LARGEST_HEADER_BYTES || data_at > file_bytes {
        return Err(malformed(format!(
            "claims {header_bytes} bytes in a file of {file_bytes}: no .safetensors file, or one \
             that is cut short"
        )));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(DataError::unreadable(path))?;
    let header: BTreeMap<String, Value> =
        serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
    let mut named = Named { arrays: vec![], all_names: vec![] };
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        named.all_names.push(name.clone());
        if names.contains(&name.as_str()) {
            let array = read_tensor(&mut file, file_bytes, data_at, entry)
                .map_err(|what| DataError::malformed(path, format!("tensor `{name}`"), what))?;
            named.arrays.push((name, array));
        }
    }
    Ok(named)
}

fn read_tensor(
    file: &mut File,
    file_bytes: u64,
    data_at: u64,
    entry: Value,
) -> Result<StoredArray, String> {
    let entry: Entry = serde_json::from_value(entry).map_err(|error| error.to_string())?;
    let number = number_type(&entry.dtype)
        .ok_or_else(|| format!("holds {}; integers, F32 and F64 can be read", entry.dtype))?;
    let [begin, end] = entry.data_offsets;
    let n_bytes = end.checked_sub(begin).ok_or("ends before it begins")?;
    if data_at.saturating_add(end) > file_bytes {
        let there = file_bytes.saturating_sub(data_at.saturating_add(begin));
        return Err(format!("is cut short: {there} of {n_bytes} bytes are there"));
    }
    let mut bytes = vec![0; n_bytes as usize];
    file.seek(SeekFrom::Start(data_at + begin))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| error.to_string())?;
    StoredArray::new(number, entry.shape, bytes)
}

fn number_type(dtype: &str) -> Option<NumberType> {
    let number = match dtype {
        "U8" | "BOOL" => NumberType::U8,
        "I8" => NumberType::I8,
        "U16" => NumberType::U16,
        "I16" => NumberType::I16,
        "U32" => NumberType::U32,
        "I32" => NumberType::I32,
        "U64" => NumberType::U64,
        "I64" => NumberType::I64,
        "F32" => NumberType::F32,
        "F64" => NumberType::F64,
        _ => return None,
    };
    Some(number)
}

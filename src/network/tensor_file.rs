//! Named arrays and a few texts in one .safetensors file.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    array::Array,
    narrow::{brain, half},
};

/// Where the format keeps texts.
const METADATA: &str = "__metadata__";

/// Arrays by name, beside texts by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TensorFile {
    pub texts: BTreeMap<String, String>,
    pub arrays: BTreeMap<String, Array>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl TensorFile {
    /// # Panics
    /// When an array does not hold f32.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        if !self.texts.is_empty() {
            header.insert(METADATA.into(), serde_json::json!(self.texts));
        }
        let mut data = Vec::new();
        for (name, array) in &self.arrays {
            let start = data.len();
            let numbers = array.as_f32().expect("only f32 arrays are kept");
            data.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
            let entry = Entry {
                dtype: "F32".into(),
                shape: array.shape().to_vec(),
                data_offsets: [start, data.len()],
            };
            header.insert(name.clone(), serde_json::json!(entry));
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        // The data starts at a multiple of eight bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(data);
        bytes
    }

    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (length, rest) = bytes.split_first_chunk().ok_or("it is shorter than eight bytes")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (header, data) = rest
            .split_at_checked(length)
            .ok_or("its header is longer than it; it is no .safetensors file or cut short")?;
        let header: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
        let mut file = Self::default();
        for (name, value) in header {
            if name == METADATA {
                file.texts =
                    serde_json::from_value(value).map_err(|error| format!("its texts: {error}"))?;
            } else {
                let array = array(value, data).map_err(|what| format!("tensor {name}: {what}"))?;
                file.arrays.insert(name, array);
            }
        }
        Ok(file)
    }
}

fn array(entry: serde_json::Value, data: &[u8]) -> Result<Array, String> {
    let Entry { dtype, shape, data_offsets: [start, end] } =
        serde_json::from_value(entry).map_err(|error| error.to_string())?;
    let width: usize = match dtype.as_str() {
        "F32" => 4,
        "F64" | "I64" => 8,
        "F16" | "BF16" => 2,
        _ => return Err(format!("it holds {dtype}, not F32, F64, F16, BF16 or I64")),
    };
    let bytes = data.get(start..end).ok_or("it ends behind the file")?;
    let n = shape.iter().try_fold(width, |n, &length| n.checked_mul(length));
    if n != Some(bytes.len()) {
        return Err(format!("shape {shape:?} does not hold {} bytes", bytes.len()));
    }
    let of_two = |read: fn(u16) -> f32| -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|x| read(u16::from_le_bytes(*x))).collect()
    };
    let of_eight = bytes.as_chunks().0.iter();
    Ok(match dtype.as_str() {
        "I64" => Array::i64(shape, of_eight.map(|x| i64::from_le_bytes(*x)).collect::<Vec<_>>()),
        "F64" => {
            let numbers = of_eight.map(|x| f64::from_le_bytes(*x) as f32);
            Array::f32(shape, numbers.collect::<Vec<_>>())
        }
        "F16" => Array::f32(shape, of_two(half)),
        "BF16" => Array::f32(shape, of_two(brain)),
        _ => {
            let numbers = bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x));
            Array::f32(shape, numbers.collect::<Vec<_>>())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> TensorFile {
        let mut file = TensorFile::default();
        file.texts.insert("kind".into(), "a \"test\"".into());
        file.arrays.insert("b".into(), Array::f32(vec![2, 1], [1.5, -0.0]));
        file.arrays.insert("a".into(), Array::f32(vec![], [f32::MIN_POSITIVE]));
        file.arrays.insert("none".into(), Array::f32(vec![0], []));
        file
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(TensorFile::parse(&file().to_bytes()), Ok(file()));
    }

    #[test]
    fn damage_is_told() {
        let whole = file().to_bytes();
        let other = |from: &str, to: &str| {
            assert_eq!(from.len(), to.len(), "the header keeps its length");
            let at = whole.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
            let mut changed = whole.clone();
            changed[at..at + to.len()].copy_from_slice(to.as_bytes());
            TensorFile::parse(&changed).unwrap_err()
        };
        for (what, expected) in [
            (TensorFile::parse(&whole[..4]).unwrap_err(), "shorter than eight"),
            (TensorFile::parse(&whole[..40]).unwrap_err(), "longer than it"),
            (TensorFile::parse(&whole[..whole.len() - 1]).unwrap_err(), "behind the file"),
            (other("F32", "U32"), "U32, not F32"),
            (other("[2,1]", "[2,3]"), "does not hold 8 bytes"),
            (other("data_offsets", "data_offsetz"), "missing field"),
            (other("{\"", "[\""), "its header"),
        ] {
            assert!(what.contains(expected), "{what}");
        }
    }
}

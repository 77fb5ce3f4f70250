//! .safetensors files with bytes or meaning changed at random, or cut off, as weights and as data.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use haq::{data::sample_shapes, network::TensorFile};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::damage::change_bytes;

const ROUNDS: usize = 3000;

/// A sound file: a header of JSON with its length before it, and data.
fn file(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

fn sound() -> serde_json::Value {
    json!({
        "__metadata__": { "made": "here" },
        "a": { "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24] },
        "b": { "dtype": "I64", "shape": [2, 1], "data_offsets": [24, 40] },
        "c": { "dtype": "F16", "shape": [4], "data_offsets": [40, 48] },
    })
}

/// A value of the header that is wrong: a huge, negative or missing number, another type or name.
fn change_header(header: &mut serde_json::Value, random: &mut impl Rng) {
    let name = ["a", "b", "c"][random.random_range(0..3)];
    let extreme = [0u64, 1, 1 << 31, 1 << 40, u64::MAX / 2, u64::MAX][random.random_range(0..6)];
    let entry = &mut header[name];
    let at = random.random_range(0..2);
    match random.random_range(0..8) {
        0 => entry["shape"][0] = extreme.into(),
        1 => entry["data_offsets"][at] = extreme.into(),
        2 => entry["data_offsets"] = json!([24, 0]),
        3 => entry["shape"] = json!([-1, 3]),
        4 => {
            entry["dtype"] =
                ["F64", "BF16", "U8", "BOOL", "", "F32 "][random.random_range(0..6)].into()
        }
        5 => entry["shape"] = json!(vec![2; random.random_range(0..70)]),
        6 => *entry = json!([1, 2]),
        _ => header["__metadata__"] = json!({ "made": extreme }),
    }
}

fn attempt(bytes: &[u8], path: &Path) -> bool {
    std::fs::write(path, bytes).unwrap();
    let attempt = || {
        let as_weights = TensorFile::parse(bytes).is_ok();
        let as_data = sample_shapes(path, &["a", "b"]).is_ok();
        as_weights || as_data
    };
    let result = catch_unwind(AssertUnwindSafe(attempt));
    result.unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(bytes)))
}

#[test]
fn damaged_tensors_are_refused_without_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(13);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let data: Vec<u8> = (0..48).collect();
    assert!(attempt(&file(&sound(), &data), &path));
    let mut readable = 0;
    for round in 0..ROUNDS {
        let mut header = sound();
        if round % 2 == 0 {
            change_header(&mut header, &mut random);
        }
        let mut bytes = file(&header, &data);
        if round % 2 == 1 {
            change_bytes(&mut bytes, &mut random);
        }
        readable += usize::from(attempt(&bytes, &path));
    }
    assert!((1..ROUNDS).contains(&readable), "{readable} files can still be read");
}

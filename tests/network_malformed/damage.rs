//! Files with bytes or meaning changed at random, or cut off: errors, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use haq::network::{Executable, Graph, NetworkError, TensorId};
use prost::Message as _;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    models::INT64,
    network_common::{npz, reference, shared},
    onnx,
};

/// Loads, folds and runs, and says whether that was possible.
///
/// # Panics
/// When any of it panics, with the message of `context`.
fn attempt(bytes: &[u8], context: impl Fn() -> String) -> bool {
    let attempt = || {
        let graph = Graph::from_bytes(bytes.to_vec(), None)?;
        for layer in graph.quantizable_layers() {
            graph.stored_bits(&layer);
        }
        let folded = graph.folded()?;
        let shape: Vec<usize> = folded.input_shape()?.iter().map(|dim| dim.unwrap_or(2)).collect();
        let shapes = folded.shapes(&shape)?;
        let size = |id: TensorId| shapes.get(id).iter().product::<usize>();
        let made = folded.nodes().iter().map(|node| node.output);
        let input = shape.iter().product::<usize>();
        if input < 1 << 16 && made.map(size).all(|n| n < 1 << 16) {
            let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            let zeros = tch::Tensor::zeros(shape, (tch::Kind::Float, tch::Device::Cpu));
            let _logits = Executable::new(&folded, tch::Device::Cpu)?.run(&zeros)?;
        }
        Ok(())
    };
    let result: Result<Result<_, NetworkError>, _> = catch_unwind(AssertUnwindSafe(attempt));
    result.unwrap_or_else(|_| panic!("{}", context())).is_ok()
}

#[test]
fn truncated_files_are_refused() {
    let Some(path) = shared("models/digits_cnn.onnx") else { return };
    let bytes = std::fs::read(path).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        let result = Graph::from_bytes(bytes[..length].to_vec(), None);
        assert!(result.is_err(), "{length} of {} bytes", bytes.len());
    }
}

/// The small models of the operation tests, and those that are quantized.
fn corpus() -> Vec<Vec<u8>> {
    let archives = ["network_ops.npz", "quantized.npz"];
    let mut arrays: Vec<_> = archives.iter().flat_map(|name| npz(&reference(name))).collect();
    arrays.retain(|(name, _)| name.ends_with(":model"));
    arrays.sort_by(|a, b| a.0.cmp(&b.0));
    arrays.iter().map(|(_, model)| Vec::<u8>::try_from(model).unwrap()).collect()
}

#[test]
fn files_with_changed_bytes_never_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let corpus = corpus();
    let mut sound = 0;
    for round in 0..4000 {
        let mut bytes = corpus[round % corpus.len()].clone();
        for _ in 0..random.random_range(1..4) {
            change_bytes(&mut bytes, &mut random);
        }
        sound += usize::from(attempt(&bytes, || format!("round {round}: {bytes:?}")));
    }
    assert!((1..4000).contains(&sound), "{sound} files are still sound");
}

#[test]
fn files_with_changed_meaning_never_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let models: Vec<onnx::Model> =
        corpus().iter().map(|bytes| onnx::Model::decode(bytes.as_slice()).unwrap()).collect();
    let mut sound = 0;
    for round in 0..8000 {
        let mut model = models[round % models.len()].clone();
        let other = &models[random.random_range(0..models.len())];
        for _ in 0..random.random_range(1..3) {
            change_meaning(&mut model, other, &mut random);
        }
        let bytes = model.encode_to_vec();
        sound += usize::from(attempt(&bytes, || format!("round {round}: {model:?}")));
    }
    // Most changes break a file, but not so that nothing behind the reader is reached.
    assert!((800..8000).contains(&sound), "{sound} files are still sound");
}

/// One change: a byte replaced, a bit turned, a stretch removed, repeated or cut off.
pub fn change_bytes(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    let length = random.random_range(1..9).min(bytes.len() - at);
    match random.random_range(0..6) {
        0 => bytes[at] = random.random(),
        1 => bytes[at] ^= 1 << random.random_range(0..8),
        2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
        3 => drop(bytes.drain(at..at + length)),
        4 => {
            let stretch = bytes[at..at + length].to_vec();
            bytes.splice(at..at, stretch);
        }
        _ => bytes.truncate(at),
    }
}

const EXTREMES: [i64; 11] = [0, 1, -1, 2, 3, -7, 1 << 20, 1 << 31, 1 << 40, i64::MAX, i64::MIN];

fn pick<'a, T>(list: &'a mut [T], random: &mut impl Rng) -> Option<&'a mut T> {
    let n = list.len();
    (n > 0).then(|| &mut list[random.random_range(0..n)])
}

/// One change that keeps the file readable: a number, name, operation or rank that is wrong.
fn change_meaning(model: &mut onnx::Model, other: &onnx::Model, random: &mut impl Rng) {
    let extreme = EXTREMES[random.random_range(0..EXTREMES.len())];
    let graph = model.graph.as_mut().unwrap();
    let foreign = &other.graph.as_ref().unwrap().node[0];
    let which = random.random_range(0..12);
    match which {
        0 | 1 => {
            let Some(node) = pick(&mut graph.node, random) else { return };
            let Some(attribute) = pick(&mut node.attribute, random) else { return };
            attribute.i = attribute.i.map(|_| extreme);
            attribute.f = attribute.f.map(|_| extreme as f32);
            if which == 0 {
                attribute.ints.push(extreme);
            } else if let Some(int) = pick(&mut attribute.ints, random) {
                *int = extreme;
            }
        }
        2 => {
            let Some(node) = pick(&mut graph.node, random) else { return };
            node.op_type.clone_from(&foreign.op_type);
        }
        3 => {
            let Some(node) = pick(&mut graph.node, random) else { return };
            node.attribute.clone_from(&foreign.attribute);
        }
        4 => {
            let Some(node) = pick(&mut graph.node, random) else { return };
            let name = ["", "x0", "x1", "y0", "ghost"][random.random_range(0..5)];
            node.input.insert(random.random_range(0..=node.input.len()), name.into());
        }
        5 => {
            let Some(node) = pick(&mut graph.node, random) else { return };
            node.input.pop();
        }
        6 => {
            let Some(tensor) = pick(&mut graph.initializer, random) else { return };
            match pick(&mut tensor.dims, random) {
                Some(dim) => *dim = extreme,
                None => tensor.dims.push(extreme),
            }
        }
        7 => {
            let Some(tensor) = pick(&mut graph.initializer, random) else { return };
            if tensor.data_type == INT64
                && let Some(raw) = &mut tensor.raw_data
                && raw.len() >= 8
            {
                raw[..8].copy_from_slice(&extreme.to_le_bytes());
            }
        }
        8 => {
            let Some(tensor) = pick(&mut graph.initializer, random) else { return };
            // The same numbers in another shape.
            tensor.dims = vec![tensor.dims.iter().fold(1, |n: i64, dim| n.wrapping_mul(*dim)), 1];
            tensor.dims.rotate_left(random.random_range(0..2));
        }
        9 => {
            let Some(input) = pick(&mut graph.input, random) else { return };
            let shape = input.kind.as_mut().and_then(|kind| kind.tensor.as_mut()?.shape.as_mut());
            let Some(shape) = shape else { return };
            match pick(&mut shape.dim, random) {
                Some(dim) => dim.value = Some(extreme),
                None => shape.dim.push(onnx::Dim { value: Some(extreme) }),
            }
        }
        10 => {
            let Some(input) = pick(&mut graph.input, random) else { return };
            let shape = input.kind.as_mut().and_then(|kind| kind.tensor.as_mut()?.shape.as_mut());
            shape.map(|shape| shape.dim.pop());
        }
        _ => model.opset_import[0].version = random.random_range(6..26),
    }
}

//! Broken model files: a named error every time, never a panic.

mod network_common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use haq::network::{Executable, Graph, NetworkError, TensorId};
use network_common::{npz, reference, shared};
use prost::Message;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The part of the ONNX messages these tests write, by field number.
mod onnx {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Model {
        #[prost(int64, tag = "1")]
        pub ir_version: i64,
        #[prost(message, optional, tag = "7")]
        pub graph: Option<Graph>,
        #[prost(message, repeated, tag = "8")]
        pub opset_import: Vec<Opset>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Opset {
        #[prost(string, tag = "1")]
        pub domain: String,
        #[prost(int64, tag = "2")]
        pub version: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub node: Vec<Node>,
        #[prost(message, repeated, tag = "5")]
        pub initializer: Vec<Tensor>,
        #[prost(message, repeated, tag = "11")]
        pub input: Vec<Value>,
        #[prost(message, repeated, tag = "12")]
        pub output: Vec<Value>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Node {
        #[prost(string, repeated, tag = "1")]
        pub input: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub output: Vec<String>,
        #[prost(string, tag = "3")]
        pub name: String,
        #[prost(string, tag = "4")]
        pub op_type: String,
        #[prost(message, repeated, tag = "5")]
        pub attribute: Vec<Attribute>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Attribute {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(float, optional, tag = "2")]
        pub f: Option<f32>,
        #[prost(int64, optional, tag = "3")]
        pub i: Option<i64>,
        #[prost(bytes = "vec", optional, tag = "4")]
        pub s: Option<Vec<u8>>,
        #[prost(message, optional, tag = "5")]
        pub t: Option<Tensor>,
        #[prost(int64, repeated, packed = "false", tag = "8")]
        pub ints: Vec<i64>,
        #[prost(int32, tag = "20")]
        pub kind: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Tensor {
        #[prost(int64, repeated, packed = "false", tag = "1")]
        pub dims: Vec<i64>,
        #[prost(int32, tag = "2")]
        pub data_type: i32,
        #[prost(float, repeated, tag = "4")]
        pub float_data: Vec<f32>,
        #[prost(int64, repeated, tag = "7")]
        pub int64_data: Vec<i64>,
        #[prost(string, tag = "8")]
        pub name: String,
        #[prost(bytes = "vec", optional, tag = "9")]
        pub raw_data: Option<Vec<u8>>,
        #[prost(message, repeated, tag = "13")]
        pub external_data: Vec<Entry>,
        #[prost(int32, tag = "14")]
        pub data_location: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Entry {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Value {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "2")]
        pub kind: Option<Type>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Type {
        #[prost(message, optional, tag = "1")]
        pub tensor: Option<TensorType>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TensorType {
        #[prost(int32, tag = "1")]
        pub elem_type: i32,
        #[prost(message, optional, tag = "2")]
        pub shape: Option<Shape>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Shape {
        #[prost(message, repeated, tag = "1")]
        pub dim: Vec<Dim>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Dim {
        #[prost(int64, optional, tag = "1")]
        pub value: Option<i64>,
    }
}

const FLOAT: i32 = 1;
const INT64: i32 = 7;

fn value(name: &str, dims: &[i64]) -> onnx::Value {
    let dim = dims.iter().map(|&n| onnx::Dim { value: Some(n) }).collect();
    let tensor = onnx::TensorType { elem_type: FLOAT, shape: Some(onnx::Shape { dim }) };
    onnx::Value { name: name.into(), kind: Some(onnx::Type { tensor: Some(tensor) }) }
}

fn node(op: &str, inputs: &[&str], output: &str) -> onnx::Node {
    onnx::Node {
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        name: format!("the {op}"),
        op_type: op.into(),
        attribute: vec![],
    }
}

fn ints(name: &str, ints: &[i64]) -> onnx::Attribute {
    onnx::Attribute { name: name.into(), ints: ints.to_vec(), kind: 7, ..Default::default() }
}

fn floats(name: &str, dims: &[i64], data: &[f32]) -> onnx::Tensor {
    onnx::Tensor {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: data.to_vec(),
        ..Default::default()
    }
}

fn numbers(name: &str, data: &[i64]) -> onnx::Tensor {
    onnx::Tensor {
        name: name.into(),
        dims: vec![data.len() as i64],
        data_type: INT64,
        int64_data: data.to_vec(),
        ..Default::default()
    }
}

/// `y = relu(x)` for `x` of `[1, 3, 8, 8]`: sound, to be broken.
fn sound() -> onnx::Model {
    onnx::Model {
        ir_version: 8,
        opset_import: vec![onnx::Opset { domain: String::new(), version: 17 }],
        graph: Some(onnx::Graph {
            node: vec![node("Relu", &["x"], "y")],
            initializer: vec![],
            input: vec![value("x", &[1, 3, 8, 8])],
            output: vec![value("y", &[1, 3, 8, 8])],
        }),
    }
}

fn load(model: &onnx::Model) -> Result<Graph, NetworkError> {
    Graph::from_bytes(&model.encode_to_vec(), None)
}

/// A model with other nodes and initializers.
fn with(node: Vec<onnx::Node>, initializer: Vec<onnx::Tensor>) -> onnx::Model {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    (graph.node, graph.initializer) = (node, initializer);
    model
}

#[test]
fn the_model_that_is_broken_below_is_sound() {
    assert_eq!(load(&sound()).unwrap().nodes().len(), 1);
}

#[test]
fn every_defect_is_named() {
    let changed = |change: fn(&mut onnx::Model)| {
        let mut model = sound();
        change(&mut model);
        model
    };
    let kernel = || floats("w", &[2, 3, 1, 1], &[0.5; 6]);
    let conv = |attribute: Vec<onnx::Attribute>| {
        let mut conv = node("Conv", &["x", "w"], "y");
        conv.attribute = attribute;
        with(vec![conv], vec![kernel()])
    };
    let flag = |name: &str, i: i64| onnx::Attribute {
        name: name.into(),
        i: Some(i),
        kind: 2,
        ..Default::default()
    };
    let cases: Vec<(&str, onnx::Model, &str)> = vec![
        ("no graph", changed(|m| m.graph = None), "not an ONNX model: it holds no graph"),
        ("no opset", changed(|m| m.opset_import.clear()), "it names no operator set"),
        (
            "opset from the future",
            changed(|m| m.opset_import[0].version = 99),
            "the model needs opset 99 of ai.onnx; 7 to 25 can be read",
        ),
        (
            "no output",
            changed(|m| m.graph.as_mut().unwrap().output.clear()),
            "its graph has no output",
        ),
        (
            "unknown op",
            with(vec![node("Frobnicate", &["x"], "y")], vec![]),
            "node the Frobnicate: operation Frobnicate is not supported; supported are Abs, ",
        ),
        (
            "dangling input",
            with(vec![node("Add", &["x", "ghost"], "y")], vec![]),
            "node the Add: tensor \"ghost\" is read but nothing makes it",
        ),
        (
            "dangling output",
            with(vec![node("Relu", &["x"], "z")], vec![]),
            "node the graph's output: tensor \"y\" is read but nothing makes it",
        ),
        (
            "cycle",
            with(
                vec![
                    node("Add", &["x", "b"], "a"),
                    node("Relu", &["a"], "b"),
                    node("Relu", &["b"], "y"),
                ],
                vec![],
            ),
            "the graph is cyclic: node the Add reads \"b\", which is made from what it writes",
        ),
        (
            "two nodes of one output",
            with(vec![node("Relu", &["x"], "y"), node("Abs", &["x"], "y")], vec![]),
            "tensor \"y\" is defined twice",
        ),
        (
            "two initializers of one name",
            with(vec![node("Relu", &["x"], "y")], vec![kernel(), kernel()]),
            "tensor \"w\" is defined twice",
        ),
        (
            "two inputs of one name",
            changed(|m| m.graph.as_mut().unwrap().input.push(value("x", &[1]))),
            "input \"x\" is defined twice",
        ),
        (
            "missing input",
            with(vec![node("Conv", &["x"], "y")], vec![]),
            "node the Conv (Conv): 1 inputs are given; it needs 2 to 3",
        ),
        (
            "negative dimension",
            with(vec![node("Relu", &["x"], "y")], vec![floats("w", &[-2, 3], &[0.5; 6])]),
            "tensor \"w\": it has a dimension of -2",
        ),
        (
            "negative dimension of the input",
            changed(|m| m.graph.as_mut().unwrap().input[0] = value("x", &[1, -3, 8, 8])),
            "tensor \"x\": it has a dimension of -3",
        ),
        (
            "a shape beyond all memory",
            with(vec![node("Relu", &["x"], "y")], vec![floats("w", &[i64::MAX, i64::MAX], &[])]),
            "tensor \"w\": its shape is too large",
        ),
        (
            "fewer numbers than the shape holds",
            with(vec![node("Relu", &["x"], "y")], vec![floats("w", &[1 << 40], &[1.0])]),
            "tensor \"w\": its shape needs 1099511627776 numbers; it has 1",
        ),
        (
            "strings",
            with(
                vec![node("Relu", &["x"], "y")],
                vec![onnx::Tensor { data_type: 8, name: "w".into(), ..Default::default() }],
            ),
            "tensor \"w\": data type string is not supported",
        ),
        (
            "attribute of another type",
            conv(vec![flag("strides", 1)]),
            "node the Conv (Conv): attribute strides is of type int; it needs to be whole numbers",
        ),
        (
            "stride 0",
            conv(vec![ints("strides", &[0, 1])]),
            "attribute strides is [0, 1]; it needs to be 2 whole numbers from 1 to",
        ),
        ("no groups", conv(vec![flag("group", 0)]), "attribute group is 0; it needs to be above 0"),
        (
            "channels that do not fit the groups",
            conv(vec![flag("group", 3)]),
            "its input has 3 channels; a weight of shape [2, 3, 1, 1] in 3 groups needs 9",
        ),
        (
            "negative padding",
            conv(vec![ints("pads", &[0, 0, -1, 0])]),
            "attribute pads is [0, 0, -1, 0]; it needs to be 4 whole numbers from 0 to",
        ),
        (
            "a kernel unlike the weight",
            conv(vec![ints("kernel_shape", &[3, 3])]),
            "kernel [3, 3] does not fit a weight of shape [2, 3, 1, 1]",
        ),
        (
            "a window larger than the image",
            {
                let mut pool = node("MaxPool", &["x"], "y");
                pool.attribute = vec![ints("kernel_shape", &[9, 9])];
                with(vec![pool], vec![])
            },
            "its window covers 9 of an axis that has 8 and 0 of padding",
        ),
        (
            "a reshape that does not fit",
            with(vec![node("Reshape", &["x", "s"], "y")], vec![numbers("s", &[5, -1])]),
            "node the Reshape (Reshape): shape [1, 3, 8, 8] can not become [5, -1]",
        ),
        (
            "a constant that fills memory",
            with(
                vec![node("ConstantOfShape", &["s"], "c"), node("Add", &["x", "c"], "y")],
                vec![numbers("s", &[1 << 20, 1 << 20])],
            ),
            "its output would have shape [1048576, 1048576]; that is too large",
        ),
        (
            "a constant that fills much memory",
            with(
                vec![node("ConstantOfShape", &["s"], "c"), node("Add", &["x", "c"], "y")],
                vec![numbers("s", &[1 << 10, 1 << 20])],
            ),
            "a constant of shape [1024, 1048576] is too large",
        ),
        (
            "a constant division by 0",
            with(
                vec![node("Div", &["a", "b"], "c"), node("Add", &["x", "c"], "y")],
                vec![numbers("a", &[1]), numbers("b", &[0])],
            ),
            "node the Div (Div) cannot be computed: ",
        ),
    ];
    for (name, model, expected) in cases {
        let message = load(&model).expect_err(name).to_string();
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn a_wrong_input_shape_is_named_before_anything_runs() {
    let graph = load(&sound()).unwrap();
    let executable = Executable::new(&graph, tch::Device::Cpu).unwrap();
    let zeros = |shape: &[i64]| tch::Tensor::zeros(shape, (tch::Kind::Float, tch::Device::Cpu));
    for shape in [&[1, 3, 8][..], &[2, 3, 8, 8], &[1, 3, 8, 9], &[]] {
        let message = executable.run(&zeros(shape)).unwrap_err().to_string();
        assert!(message.contains("the network needs [1, 3, 8, 8]"), "{shape:?}: {message}");
    }
    assert!(executable.run(&zeros(&[1, 3, 8, 8])).is_ok());
}

#[test]
fn external_data_stays_in_the_models_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("model");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret.bin"), [0; 24]).unwrap();
    std::fs::write(inside.join("weights.bin"), [0; 28]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.bin", inside.join("link.bin")).unwrap();
    let load = |location: &str, offset: &str, length: &str| {
        let entry =
            |(key, value): (&str, &str)| onnx::Entry { key: key.into(), value: value.into() };
        let mut weight = floats("w", &[2, 3, 1, 1], &[]);
        weight.data_location = 1;
        weight.external_data =
            [("location", location), ("offset", offset), ("length", length)].map(entry).into();
        let model = with(vec![node("Conv", &["x", "w"], "y")], vec![weight]);
        std::fs::write(inside.join("model.onnx"), model.encode_to_vec()).unwrap();
        Graph::load(inside.join("model.onnx"))
    };
    assert!(load("weights.bin", "0", "24").is_ok());
    assert!(load("./weights.bin", "4", "24").is_ok());
    let absolute = folder.path().join("secret.bin");
    let stays = "it needs to be a relative path that stays in the model's folder";
    for (location, offset, length, expected) in [
        ("../secret.bin", "0", "24", stays),
        (absolute.to_str().unwrap(), "0", "24", stays),
        ("", "0", "24", stays),
        ("missing.bin", "0", "24", "No such file"),
        ("link.bin", "0", "24", "it leads out of the model's folder"),
        ("weights.bin", "8", "24", "24 bytes from 8 are needed; the file has 28"),
        ("weights.bin", "18446744073709551615", "24", "are needed; the file has 28"),
        ("weights.bin", "0", "28", "its length is 28 bytes; its shape needs 24"),
        ("weights.bin", "-1", "24", "its offset is \"-1\"; it needs to be a whole number"),
        (".", "0", "24", "it is not a file"),
    ] {
        let message = load(location, offset, length).expect_err(location).to_string();
        assert!(message.contains(expected), "{location}: {message}");
        assert!(
            message.contains("model.onnx: tensor \"w\": external data"),
            "{location}: {message}"
        );
    }
    let error = Graph::load(folder.path().join("absent.onnx")).unwrap_err();
    assert!(matches!(error, NetworkError::Io { .. }), "{error}");
}

/// Loads, folds and runs, and says whether that was possible.
///
/// # Panics
/// When any of it panics, with the message of `context`.
fn attempt(bytes: &[u8], context: impl Fn() -> String) -> bool {
    let attempt = || {
        let folded = Graph::from_bytes(bytes, None)?.folded()?;
        folded.quantizable_layers();
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
        let result = Graph::from_bytes(&bytes[..length], None);
        assert!(result.is_err(), "{length} of {} bytes", bytes.len());
    }
}

/// The small models of the operation tests.
fn corpus() -> Vec<Vec<u8>> {
    let mut arrays: Vec<_> = npz(&reference("network_ops.npz")).into_iter().collect();
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
fn change_bytes(bytes: &mut Vec<u8>, random: &mut impl Rng) {
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
        _ => model.opset_import[0].version = random.random_range(7..26),
    }
}

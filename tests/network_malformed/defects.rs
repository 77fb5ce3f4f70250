//! One defect at a time, each named by its error.

use haq::network::{Executable, Graph, NetworkError};
use prost::Message as _;

use crate::{
    models::{floats, ints, load, node, numbers, sound, value, with},
    onnx,
};

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
            "the model needs opset 99 of ai.onnx; 6 to 25 can be read",
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

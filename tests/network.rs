//! The shared models against ONNX Runtime: logits and the number of right answers.

mod network_common;

use haq::network::{Executable, Graph, QuantizableKind};
use network_common::{
    Labelled, cifar10_test, digits_test, imagenet_sample, npz, reference, right_answers, shared,
};
use tch::{Device, Kind, Tensor};

fn load(model: &str) -> Option<Graph> {
    let path = shared(&format!("models/{model}.onnx"))?;
    Some(Graph::load(path).expect("the shared models load"))
}

fn executable(graph: &Graph) -> Executable {
    Executable::new(graph, Device::Cpu).expect("the graph can run")
}

/// The numbers of `make_network_reference.py` where no images are stored.
fn waves(shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    (Tensor::arange(n, (Kind::Double, Device::Cpu)) * 0.37)
        .sin()
        .to_kind(Kind::Float)
        .reshape(shape)
}

#[test]
fn logits_equal_those_of_onnx_runtime() {
    for (model, shape) in [
        ("digits_cnn", None),
        ("resnet20_cifar10", None),
        ("efficientnet_lite0_imagenet", Some([2, 3, 224, 224])),
    ] {
        let Some(graph) = load(model) else { return };
        let arrays = npz(&reference(&format!("network_{model}.npz")));
        let input = shape.map_or_else(|| arrays["input"].shallow_clone(), |shape| waves(&shape));
        let folded = graph.folded().unwrap();
        for (form, graph) in [("as read", graph), ("folded", folded)] {
            let logits = executable(&graph).run(&input).unwrap();
            let difference = (logits - &arrays["logits"]).abs().max().double_value(&[]);
            assert!(difference < 1e-4, "{model} {form}: logits differ by {difference}");
        }
    }
}

#[test]
fn a_model_that_is_written_and_read_again_computes_the_same() {
    for (model, shape) in [
        ("digits_cnn", [3, 1, 8, 8]),
        ("resnet20_cifar10", [3, 3, 32, 32]),
        ("efficientnet_lite0_imagenet", [1, 3, 224, 224]),
    ] {
        let Some(graph) = load(model) else { return };
        for (form, graph) in [("as read", graph.clone()), ("folded", graph.folded().unwrap())] {
            let again = Graph::from_bytes(graph.to_onnx().unwrap(), None).unwrap();
            let logits = |graph: &Graph| executable(graph).run(&waves(&shape)).unwrap();
            assert_eq!(logits(&again), logits(&graph), "{model} {form}");
            let names = |graph: &Graph| -> Vec<String> {
                graph.quantizable_layers().into_iter().map(|layer| layer.name).collect()
            };
            assert_eq!(names(&again), names(&graph), "{model} {form}");
        }
    }
}

#[test]
fn digits_cnn_gets_its_350_of_360_right() {
    let (Some(graph), Some(data)) = (load("digits_cnn"), digits_test()) else { return };
    let executable = executable(&graph.folded().unwrap());
    assert_eq!(right_answers(&executable, &data, 64), 350);
}

#[test]
fn resnet20_gets_its_9173_of_10000_right() {
    let (Some(graph), Some(data)) = (load("resnet20_cifar10"), cifar10_test()) else { return };
    let executable = executable(&graph.folded().unwrap());
    assert_eq!(right_answers(&executable, &data, 64), 9173);
}

#[test]
fn efficientnet_lite0_gets_its_520_of_600_right() {
    let Some(graph) = load("efficientnet_lite0_imagenet") else { return };
    let Some(data) = imagenet_sample() else { return };
    let executable = executable(&graph.folded().unwrap());
    assert_eq!(right_answers(&executable, &data, 8), 520);
}

#[test]
fn quantizable_layers_are_found_in_order_with_their_kinds() {
    let Some(graph) = load("digits_cnn") else { return };
    let graph = graph.folded().unwrap();
    let layers = graph.quantizable_layers();
    let found: Vec<(&str, QuantizableKind)> =
        layers.iter().map(|layer| (layer.name.as_str(), layer.kind)).collect();
    assert_eq!(
        found,
        [
            ("/0/Conv", QuantizableKind::Conv),
            ("/3/Conv", QuantizableKind::Depthwise),
            ("/6/Conv", QuantizableKind::Conv),
            ("/10/Conv", QuantizableKind::Conv),
            ("/15/Gemm", QuantizableKind::Linear),
        ]
    );
    // The image has both signs; every other layer reads what a ReLU made.
    let signs: Vec<bool> = layers.iter().map(|layer| graph.is_non_negative(layer.input)).collect();
    assert_eq!(signs, [false, true, true, true, true]);
    for (model, layers) in [("resnet20_cifar10", 20), ("efficientnet_lite0_imagenet", 50)] {
        let Some(graph) = load(model) else { return };
        assert_eq!(graph.folded().unwrap().quantizable_layers().len(), layers, "{model}");
    }
}

#[test]
fn folding_leaves_only_what_a_quantized_network_needs() {
    for (model, expected) in [
        (
            "resnet20_cifar10",
            "Add 9, Conv 19, Flatten 1, Gemm 1, GlobalAveragePool 1, Pad 2, Relu 19, Slice 4",
        ),
        (
            "efficientnet_lite0_imagenet",
            "Add 9, Clip 33, Conv 49, Gemm 1, GlobalAveragePool 1, Reshape 1",
        ),
    ] {
        let Some(graph) = load(model) else { return };
        let mut counts = std::collections::BTreeMap::new();
        for node in graph.folded().unwrap().nodes() {
            *counts.entry(node.op.name()).or_insert(0) += 1;
        }
        let found: Vec<String> = counts.iter().map(|(op, n)| format!("{op} {n}")).collect();
        assert_eq!(found.join(", "), expected, "{model}");
    }
}

#[test]
fn any_batch_size_runs_on_a_graph_with_an_open_batch() {
    let Some(graph) = load("efficientnet_lite0_imagenet") else { return };
    let folded = graph.folded().unwrap();
    for batch in [1, 3] {
        let shapes = folded.shapes(&[batch, 3, 224, 224]).unwrap();
        assert_eq!(shapes.get(folded.output().unwrap()), [batch, 1000]);
    }
    let message = folded.shapes(&[1, 3, 32]).unwrap_err().to_string();
    assert_eq!(
        message,
        "input \"input\" has shape [1, 3, 32]; the network needs [batch, 3, 224, 224]"
    );
}

#[test]
fn observed_tensors_are_what_each_layer_reads() {
    let (Some(graph), Some(data)) = (load("digits_cnn"), digits_test()) else { return };
    let graph = graph.folded().unwrap();
    let executable = executable(&graph);
    let layers = graph.quantizable_layers();
    let wanted: Vec<_> = layers.iter().flat_map(|layer| [layer.input, layer.output]).collect();
    let mut seen = std::collections::BTreeMap::new();
    let Labelled { images, .. } = data;
    let images = images.narrow(0, 0, 16);
    executable
        .run_observed(&images, &wanted, &mut |id, tensor| {
            assert!(seen.insert(id, tensor.shallow_clone()).is_none(), "each is shown once");
        })
        .unwrap();
    let shapes = graph.shapes(&[16, 1, 8, 8]).unwrap();
    for layer in &layers {
        let (read, written) = (&seen[&layer.input], &seen[&layer.output]);
        let size: Vec<usize> = read.size().iter().map(|&n| n as usize).collect();
        assert_eq!(size, shapes.get(layer.input), "{}", layer.name);
        let alone = executable.run_between(&[(layer.input, read)], &[layer.output]).unwrap();
        let difference = (&alone[0] - written).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{}: {difference}", layer.name);
    }
}

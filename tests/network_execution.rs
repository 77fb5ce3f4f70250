//! Running a graph: fusing, overwriting and freeing never show, whatever is observed.

mod network_common;

use haq::network::{Executable, Graph, Grid, Op, TensorId};
use network_common::{digits_test, npz, reference, shared};
use tch::{Device, Kind, Tensor};

fn load(model: &str) -> Option<Graph> {
    let path = shared(&format!("models/{model}.onnx"))?;
    Some(Graph::load(path).unwrap().folded().unwrap())
}

/// Rounds what every layer reads, each to a grid of its own.
fn quantized(graph: &Graph) -> Graph {
    let mut quantized = graph.clone();
    for (index, layer) in graph.quantizable_layers().into_iter().enumerate() {
        let zero_point = if graph.is_non_negative(layer.input) { 0 } else { 5 };
        let scale = 0.2 + 0.01 * index as f32;
        let already = quantized
            .readers(layer.input)
            .iter()
            .any(|&reader| matches!(quantized.nodes()[reader].op, Op::FakeQuantize(_)));
        if !already {
            let grid = Grid { scale, zero_point, low: 0, high: 15 };
            quantized.insert_after(layer.input, Op::FakeQuantize(grid));
        }
    }
    quantized
}

fn executable(graph: &Graph) -> Executable {
    Executable::new(graph, Device::Cpu).unwrap()
}

fn noise(shape: &[i64], seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn all_tensors(graph: &Graph) -> Vec<TensorId> {
    graph.nodes().iter().map(|node| node.output).collect()
}

#[test]
fn an_observed_run_gives_the_same_as_a_fused_one() {
    for (model, shape) in [
        ("digits_cnn", [5, 1, 8, 8]),
        ("resnet20_cifar10", [3, 3, 32, 32]),
        ("efficientnet_lite0_imagenet", [1, 3, 64, 64]),
    ] {
        let Some(graph) = load(model) else { return };
        for (form, graph) in [("float", graph.clone()), ("quantized", quantized(&graph))] {
            let executable = executable(&graph);
            // EfficientNet's declared size is fixed; any size runs between two tensors.
            let (input, output) = (graph.input().unwrap().tensor, graph.output().unwrap());
            let images = noise(&shape, 3);
            let fused = executable.run_between(&[(input, &images)], &[output]).unwrap();
            let kept = all_tensors(&graph);
            let apart = executable.run_between(&[(input, &images)], &kept).unwrap();
            let last = kept.iter().position(|id| *id == output).unwrap();
            assert_eq!(fused[0], apart[last], "{model} {form}");
        }
    }
}

#[test]
fn tensors_that_were_shown_do_not_change_afterwards() {
    let Some(graph) = load("resnet20_cifar10").map(|graph| quantized(&graph)) else { return };
    let executable = executable(&graph);
    let mut shown = Vec::new();
    executable
        .run_observed(&noise(&[2, 3, 32, 32], 1), &all_tensors(&graph), &mut |_, tensor| {
            shown.push((tensor.shallow_clone(), tensor.copy()));
        })
        .unwrap();
    assert_eq!(shown.len(), graph.nodes().len());
    for (index, (kept, copy)) in shown.iter().enumerate() {
        assert_eq!(kept, copy, "tensor {index}");
    }
}

#[test]
fn inputs_and_constants_are_left_alone() {
    let Some(graph) = load("digits_cnn") else { return };
    let graph = quantized(&graph);
    let executable = executable(&graph);
    for channels_last in [false, true] {
        let mut images = noise(&[4, 1, 8, 8], 2);
        if channels_last {
            images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        }
        let before = images.copy();
        let first = executable.run(&images).unwrap();
        assert_eq!(images, before);
        assert_eq!(executable.run(&images).unwrap(), first);
    }
}

#[test]
fn shared_handles_give_the_same_on_every_thread() {
    let (Some(graph), Some(data)) = (load("digits_cnn"), digits_test()) else { return };
    let executable = executable(&quantized(&graph));
    let images = data.images.narrow(0, 0, 32);
    let expected = executable.run(&images).unwrap();
    std::thread::scope(|scope| {
        let start = || {
            let (executable, images) = (executable.share(), images.shallow_clone());
            scope.spawn(move || executable.run(&images).unwrap())
        };
        let workers: Vec<_> = (0..4).map(|_| start()).collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), expected);
        }
    });
}

#[test]
fn rounded_tensors_lie_on_their_grid() {
    let Some(graph) = load("resnet20_cifar10").map(|graph| quantized(&graph)) else { return };
    let rounded: Vec<(TensorId, Grid)> = graph
        .nodes()
        .iter()
        .filter_map(|node| match node.op {
            Op::FakeQuantize(grid) => Some((node.output, grid)),
            _ => None,
        })
        .collect();
    let ids: Vec<TensorId> = rounded.iter().map(|(id, _)| *id).collect();
    let images = noise(&[2, 3, 32, 32], 4);
    let input = graph.input().unwrap().tensor;
    let tensors = executable(&graph).run_between(&[(input, &images)], &ids).unwrap();
    for ((_, grid), tensor) in rounded.iter().zip(tensors) {
        let values = Vec::<f32>::try_from(tensor.contiguous().view([-1])).unwrap();
        assert!(values.iter().all(|&x| grid.round(x) == x), "{grid:?}");
        assert!(values.iter().any(|&x| x != values[0]), "{grid:?}");
    }
}

#[test]
fn changed_weights_and_biases_reach_the_output() {
    let Some(graph) = load("digits_cnn") else { return };
    let images = npz(&reference("network_digits_cnn.npz")).remove("input").unwrap();
    let before = executable(&graph).run(&images).unwrap();
    let last = graph.quantizable_layers().pop().unwrap();
    let weight = graph.constant(last.weight).unwrap();
    let zeros = haq::network::Array::f32(weight.shape().to_vec(), vec![0.0; weight.len()]);
    let mut changed = graph.clone().with_constant(last.weight, zeros);
    let bias: Vec<f32> = (0..10).map(|class| class as f32).collect();
    changed.set_bias(last.output, haq::network::Array::f32(vec![10], bias.clone()));
    let after = executable(&changed).run(&images).unwrap();
    assert_eq!(after, Tensor::from_slice(&bias).expand([8, 10], false));
    // The graph it was made from is as it was.
    assert_eq!(executable(&graph).run(&images).unwrap(), before);
}

#[test]
fn a_wanted_tensor_that_nothing_feeds_is_named() {
    let Some(graph) = load("digits_cnn") else { return };
    let layers = graph.quantizable_layers();
    let fed = noise(&[1, 16, 8, 8], 5);
    let message = executable(&graph)
        .run_between(&[(layers[2].input, &fed)], &[layers[0].output])
        .unwrap_err()
        .to_string();
    assert_eq!(message, "node /0/Conv: tensor \"input\" is read but nothing makes it");
}

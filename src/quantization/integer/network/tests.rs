use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use tch::{Device, Tensor};

use super::*;
use crate::{
    domain::Bits,
    network::{Array, Executable, Grid, Op, Unary, Window},
    quantization::clip::RangeRule,
};

const REFERENCE: &str = include_str!("../../../../tests/reference/integer.json");

fn bits(bits: u8) -> Bits {
    Bits::new(bits).unwrap()
}

fn window(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4]) -> Window {
    Window { kernel, stride, padding, dilation: [1, 1] }
}

/// Grids of layers by their output.
type Grids = BTreeMap<TensorId, Vec<WeightGrid>>;

/// Weights on grids, one an output channel.
struct Weights<'a> {
    shape: &'a [usize],
    codes: &'a [i32],
    width: u8,
    scales: &'a [f32],
}

/// Draws a layer with these weights.
fn layer(
    graph: &mut Graph,
    grids: &mut Grids,
    op: Op,
    input: TensorId,
    weights: &Weights<'_>,
    bias: Option<Vec<f32>>,
) -> TensorId {
    let Weights { shape, codes, width, scales } = *weights;
    let per_row = codes.len() / scales.len();
    let real: Vec<f32> =
        codes.iter().enumerate().map(|(i, &code)| code as f32 * scales[i / per_row]).collect();
    let mut inputs = vec![input, graph.hold("w", Array::f32(shape.to_vec(), real))];
    inputs.extend(bias.map(|bias| graph.hold("b", Array::f32(vec![bias.len()], bias))));
    let output = graph.draw(op, &inputs);
    grids.insert(output, scales.iter().map(|&scale| WeightGrid::new(bits(width), scale)).collect());
    output
}

/// Logits of one image `[c, h, w]` by the integers.
fn by_integers(
    graph: &Graph,
    grids: &Grids,
    shape: [usize; 3],
    image: &[f32],
    kernels: KernelChoice,
) -> (IntegerNetwork, Vec<f32>) {
    let network = IntegerNetwork::compile(graph, grids, &shape, kernels).unwrap();
    let last: Vec<f32> =
        Vec::try_from(batch(shape, image).permute([0, 2, 3, 1]).contiguous().view(-1)).unwrap();
    let logits = network.run(&last, &mut IntegerWorkspace::default()).unwrap();
    (network, logits)
}

fn batch([c, h, w]: [usize; 3], image: &[f32]) -> Tensor {
    Tensor::from_slice(image).view([1, c as i64, h as i64, w as i64])
}

/// By floats of 32 bits.
fn by_floats(graph: &Graph, shape: [usize; 3], image: &[f32]) -> Vec<f32> {
    let executable = Executable::new(graph, Device::Cpu).unwrap();
    let output = executable.run(&batch(shape, image)).unwrap();
    Vec::try_from(output.contiguous().view(-1)).unwrap()
}

/// Compiles, runs both worlds and compares; the two kernels have to be equal.
fn assert_agrees(name: &str, graph: &Graph, grids: &Grids, shape: [usize; 3], image: &[f32]) {
    let (network, logits) = by_integers(graph, grids, shape, image, KernelChoice::Int8);
    let (_, packed) = by_integers(graph, grids, shape, image, KernelChoice::Packed);
    assert_eq!(logits, packed, "{name}: kernels");
    let reference = network.reference().unwrap();
    let expected = network.run_reference(&reference, &batch(shape, image)).unwrap();
    let expected = Vec::<f32>::try_from(expected.contiguous().view(-1)).unwrap();
    assert_eq!(logits.len(), expected.len(), "{name}");
    for (at, (found, expected)) in logits.iter().zip(&expected).enumerate() {
        let near = (found - expected).abs() <= 1e-5 * expected.abs().max(1e-2);
        assert!(near, "{name} at {at}: {found}, not {expected}");
    }
}

fn draw_image(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-2.5..2.5)).collect()
}

fn draw_codes(n: usize, width: u8, seed: u64) -> Vec<i32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (low, high) = WeightGrid::codes(bits(width));
    let code = |rng: &mut ChaCha8Rng| match width {
        1 => {
            if rng.random() {
                1
            } else {
                -1
            }
        }
        _ => rng.random_range(low..=high),
    };
    (0..n).map(|_| code(&mut rng)).collect()
}

fn round(scale: f32, zero_point: i32, high: i32) -> Op {
    Op::FakeQuantize(Grid { scale, zero_point, low: 0, high })
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn sizes<const N: usize>(json: &Json) -> [usize; N] {
    let numbers = numbers(json);
    std::array::from_fn(|index| numbers[index] as usize)
}

fn grid_of(json: &Json) -> Grid {
    Grid {
        scale: json["scale"].as_f64().unwrap() as f32,
        zero_point: json["zero_point"].as_i64().unwrap() as i32,
        low: 0,
        high: json["high"].as_i64().unwrap() as i32,
    }
}

fn window_of(case: &Json) -> Window {
    Window {
        kernel: sizes(&case["kernel"]),
        stride: sizes(&case["stride"]),
        padding: sizes(&case["padding"]),
        dilation: sizes(&case["dilation"]),
    }
}

/// The network of a stored case up to the operation it is about.
fn stored_network(case: &Json, shape: [usize; 3], grids: &mut Grids) -> (Graph, TensorId) {
    let (mut graph, x) = Graph::sketch(&[0, shape[0], shape[1], shape[2]]);
    let rounded: Vec<TensorId> = case["grids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grid| graph.draw(Op::FakeQuantize(grid_of(grid)), &[x]))
        .collect();
    let output = match case["kind"].as_str().unwrap() {
        "add" => graph.draw(Op::Add, &rounded),
        "sub" => graph.draw(Op::Sub, &rounded),
        "concat" => graph.draw(Op::Concat { axis: 1 }, &rounded),
        "average_pool" => {
            let count_padding = case["count_padding"].as_bool().unwrap();
            let op = Op::AveragePool { window: window_of(case), ceil: false, count_padding };
            graph.draw(op, &rounded)
        }
        _ => {
            let window = window_of(case);
            let groups = case["groups"].as_u64().unwrap() as usize;
            let rows: Vec<Vec<f64>> =
                case["weights"].as_array().unwrap().iter().map(numbers).collect();
            let [height, width] = window.kernel;
            let dims = vec![rows.len(), rows[0].len() / height / width, height, width];
            let codes: Vec<i32> = rows.concat().into_iter().map(|code| code as i32).collect();
            let single =
                |json: &Json| numbers(json).into_iter().map(|x| x as f32).collect::<Vec<_>>();
            let bits = case["weight_bits"].as_u64().unwrap() as u8;
            let (scales, bias) = (single(&case["weight_scales"]), single(&case["bias"]));
            let op = Op::Conv { window, groups };
            let weights = Weights { shape: &dims, codes: &codes, width: bits, scales: &scales };
            layer(&mut graph, grids, op, rounded[0], &weights, Some(bias))
        }
    };
    (graph, output)
}

#[test]
fn stored_networks_give_the_stored_codes() {
    let cases: Vec<Json> = serde_json::from_str(REFERENCE).unwrap();
    assert!(cases.len() > 10);
    for (index, case) in cases.iter().enumerate() {
        let name = format!("case {index}, {}", case["kind"]);
        let [height, width] = sizes(&case["size"]);
        let shape = [case["channels"].as_u64().unwrap() as usize, height, width];
        let mut grids = Grids::new();
        let (mut graph, mut tensor) = stored_network(case, shape, &mut grids);
        let bound = |index: usize| case["clip"][index].as_f64().map(|bound| bound as f32);
        if bound(0).is_some() || bound(1).is_some() {
            let low = bound(0).unwrap_or(f32::NEG_INFINITY);
            let high = bound(1).unwrap_or(f32::INFINITY);
            tensor = graph.draw(Op::Clip { low, high }, &[tensor]);
        }
        let grid = grid_of(&case["output"]);
        graph.draw(Op::FakeQuantize(grid), &[tensor]);
        let image: Vec<f32> = numbers(&case["image"]).into_iter().map(|x| x as f32).collect();
        for kernels in [KernelChoice::Int8, KernelChoice::Packed] {
            let (_, logits) = by_integers(&graph, &grids, shape, &image, kernels);
            let codes: Vec<f64> = logits
                .iter()
                .map(|x| f64::from((x / grid.scale).round()) + f64::from(grid.zero_point))
                .collect();
            assert_eq!(codes, numbers(&case["codes"]), "{name}, {kernels:?}");
        }
    }
}

fn signs<'a>(shape: &'a [usize], codes: &'a [i32], scales: &'a [f32]) -> Weights<'a> {
    Weights { shape, codes, width: 1, scales }
}

/// First layer on pixels, XNOR with a padded border and a pool behind it, a last layer of signs.
fn binary_network(seed: u64) -> (Graph, Grids) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut graph, x) = Graph::sketch(&[0, 3, 8, 8]);
    let mut grids = Grids::new();
    let mut draw = |n: usize, low: f32, high: f32| -> Vec<f32> {
        (0..n).map(|_| rng.random_range(low..high)).collect()
    };
    let mut norm = |graph: &mut Graph, input: TensorId, n: usize, signed: bool| {
        let gamma = draw(n, if signed { -1.0 } else { 0.1 }, 1.0);
        let parameters = [gamma, draw(n, -0.5, 0.5), draw(n, -3.0, 3.0), draw(n, 0.1, 9.0)];
        let held = parameters.map(|p| graph.hold("p", Array::f32(vec![n], p)));
        graph.draw(Op::BatchNorm { epsilon: 1e-5 }, &[[input].as_slice(), &held].concat())
    };
    let conv = |padding| Op::Conv { window: window([3, 3], [1, 1], padding), groups: 1 };
    let pixels = graph.draw(round(0.0625, 37, 255), &[x]);
    let first = layer(
        &mut graph,
        &mut grids,
        conv([0; 4]),
        pixels,
        &signs(&[20, 3, 3, 3], &draw_codes(540, 1, seed), &[0.5; 20]),
        None,
    );
    let normed = norm(&mut graph, first, 20, true);
    let binary = graph.draw(Op::Binarize { scale: 1.0 }, &[normed]);
    let second = layer(
        &mut graph,
        &mut grids,
        conv([1; 4]),
        binary,
        &signs(&[18, 20, 3, 3], &draw_codes(3240, 1, seed + 1), &[0.25; 18]),
        None,
    );
    let pooled = Op::MaxPool { window: window([2, 2], [2, 2], [0; 4]), ceil: false };
    let pooled = graph.draw(pooled, &[second]);
    let normed = norm(&mut graph, pooled, 18, true);
    let clipped = graph.draw(Op::Clip { low: -1.0, high: 1.0 }, &[normed]);
    let binary = graph.draw(Op::Binarize { scale: 1.0 }, &[clipped]);
    let flat = graph.draw(Op::Flatten { axis: 1 }, &[binary]);
    let linear = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
    layer(
        &mut graph,
        &mut grids,
        linear,
        flat,
        &signs(&[7, 162], &draw_codes(1134, 1, seed + 2), &[0.125; 7]),
        Some(vec![0.375; 7]),
    );
    (graph, grids)
}

#[test]
fn a_network_of_signs_is_its_float_path_bit_for_bit() {
    for seed in 0..20 {
        let (graph, grids) = binary_network(seed);
        let image = draw_image(192, seed + 100);
        for kernels in [KernelChoice::Int8, KernelChoice::Packed] {
            let (_, logits) = by_integers(&graph, &grids, [3, 8, 8], &image, kernels);
            // These scales make every sum exact in 32-bit floats too.
            assert_eq!(logits, by_floats(&graph, [3, 8, 8], &image), "seed {seed}");
        }
    }
}

#[test]
fn a_bias_before_a_sign_is_not_rounded() {
    let (mut graph, x) = Graph::sketch(&[0, 1, 1, 1]);
    let mut grids = Grids::new();
    let codes = graph.draw(round(1.0, 8, 15), &[x]);
    let conv = Op::Conv { window: window([1, 1], [1, 1], [0; 4]), groups: 1 };
    // The sums are whole numbers, and 3 - 3.4 is below 0 where 3 - 3 is not.
    let bias = Some(vec![-3.4, -2.6]);
    let weights = Weights { shape: &[2, 1, 1, 1], codes: &[1, 1], width: 2, scales: &[1.0; 2] };
    let sums = layer(&mut graph, &mut grids, conv, codes, &weights, bias);
    graph.draw(Op::Binarize { scale: 1.0 }, &[sums]);
    let (_, signs) = by_integers(&graph, &grids, [1, 1, 1], &[3.0], KernelChoice::Int8);
    assert_eq!(signs, [-1.0, 1.0]);
}

#[test]
fn operations_agree_with_floats_that_round_at_the_same_places() {
    let pad = |value| Op::Pad { before: vec![0, 1, 0, 1], after: vec![0, 0, 2, 0], value };
    let pool = || window([3, 2], [2, 1], [1, 0, 1, 0]);
    let cut = crate::network::Cut { axis: 2, start: 0, end: i64::MAX, step: 2 };
    let eight = || round(0.02, 120, 255);
    for (name, ops) in [
        ("max pool of codes", vec![Op::MaxPool { window: pool(), ceil: false }]),
        (
            "max pool, ceil",
            vec![Op::MaxPool { window: window([3, 3], [2, 2], [0; 4]), ceil: true }],
        ),
        (
            "average pool, ceil",
            vec![Op::AveragePool {
                window: window([3, 3], [2, 2], [1; 4]),
                ceil: true,
                count_padding: true,
            }],
        ),
        ("mean", vec![Op::GlobalAveragePool, Op::Flatten { axis: 1 }, round(0.013, 90, 255)]),
        ("pad and slice", vec![pad(0.0), Op::Slice { cuts: vec![cut] }]),
        ("sums that are padded", vec![Op::GlobalAveragePool, pad(0.0), round(0.011, 7, 63)]),
        ("transpose", vec![Op::Transpose { axes: vec![0, 2, 3, 1] }, Op::Flatten { axis: 1 }]),
        ("a function by table", vec![Op::Sigmoid, round(0.004, 0, 255)]),
        ("functions of functions", vec![Op::Unary(Unary::Tanh), Op::Relu, round(0.07, 0, 15)]),
        ("one grid behind another", vec![round(0.31, 6, 15), Op::Relu]),
        ("clip of codes", vec![Op::Clip { low: -0.5, high: 1.3 }, round(0.1, 5, 31)]),
        ("sign of codes", vec![Op::Binarize { scale: 0.7 }]),
        ("sign of a mean", vec![Op::GlobalAveragePool, Op::Binarize { scale: 0.7 }]),
    ] {
        let (mut graph, x) = Graph::sketch(&[0, 3, 5, 6]);
        let start = graph.draw(eight(), &[x]);
        ops.into_iter().fold(start, |tensor, op| graph.draw(op, &[tensor]));
        assert_agrees(name, &graph, &Grids::new(), [3, 5, 6], &draw_image(90, 5));
    }
}

#[test]
fn an_image_is_moved_before_it_is_rounded() {
    let (mut graph, x) = Graph::sketch(&[0, 2, 3, 4]);
    let mut grids = Grids::new();
    let flat = graph.draw(Op::Flatten { axis: 1 }, &[x]);
    let codes = graph.draw(round(0.02, 120, 255), &[flat]);
    let linear = Op::Gemm { alpha: 0.5, beta: 2.0, transpose_a: false, transpose_b: true };
    let weights = Weights {
        shape: &[5, 24],
        codes: &draw_codes(120, 8, 3),
        width: 8,
        scales: &[0.01, 0.02, 0.005, 0.03, 0.01],
    };
    let bias = Some(vec![0.3, -0.1, 0.0, 1.0, -2.0]);
    layer(&mut graph, &mut grids, linear, codes, &weights, bias);
    assert_agrees("flatten first", &graph, &grids, [2, 3, 4], &draw_image(24, 8));
}

#[test]
fn a_channel_that_is_all_bias_keeps_it() {
    let (mut graph, x) = Graph::sketch(&[0, 2, 3, 3]);
    let mut grids = Grids::new();
    let codes = graph.draw(round(0.02, 120, 255), &[x]);
    let conv = Op::Conv { window: window([3, 3], [1, 1], [1; 4]), groups: 1 };
    // Beside weights so small, a bias of 0.7 has no 32-bit code in their unit.
    let weights = Weights {
        shape: &[3, 2, 3, 3],
        codes: &[vec![0; 18], vec![127; 18], draw_codes(18, 8, 4)].concat(),
        width: 8,
        scales: &[1e-30, 1e-9, 0.01],
    };
    layer(&mut graph, &mut grids, conv, codes, &weights, Some(vec![0.7, -0.7, 0.1]));
    let network = IntegerNetwork::compile(&graph, &grids, &[2, 3, 3], KernelChoice::Int8).unwrap();
    let logits = network.run(&draw_image(18, 2), &mut IntegerWorkspace::default()).unwrap();
    assert!(logits[..9].iter().all(|x| (x - 0.7).abs() < 1e-6), "{logits:?}");
    assert!(logits[9..18].iter().all(|x| (x + 0.7).abs() < 1e-4), "{logits:?}");
    assert_agrees("all bias", &graph, &grids, [2, 3, 3], &draw_image(18, 2));
}

#[test]
fn what_has_no_integers_is_refused_with_its_name() {
    let compile = |ops: Vec<Op>| {
        let (mut graph, x) = Graph::sketch(&[0, 3, 4, 4]);
        ops.into_iter().fold(x, |tensor, op| graph.draw(op, &[tensor]));
        let made = IntegerNetwork::compile(&graph, &Grids::new(), &[3, 4, 4], KernelChoice::Int8);
        made.unwrap_err().to_string()
    };
    let eight = || round(0.02, 120, 255);
    for (ops, parts) in [
        (vec![eight(), Op::Softmax { axis: 1 }], ["node softmax (Softmax)", "leave it out"]),
        (vec![eight(), Op::ArgMax { axis: 1, keep: false }], ["node argmax", "they can"]),
        (vec![Op::GlobalAveragePool], ["node globalaveragepool", "quantization points"]),
        (vec![Op::Sigmoid], ["node sigmoid (Sigmoid)", "quantization points"]),
        (vec![eight(), Op::Sigmoid, Op::Flatten { axis: 1 }], ["node flatten", "without a grid"]),
        (vec![round(0.1, 300, 255)], ["tensor x", "hold real 0"]),
        (vec![round(0.1, 3, 511)], ["tensor x", "8 bits"]),
        (vec![Op::Flatten { axis: 1 }], ["node flatten", "gives the image back"]),
    ] {
        let message = compile(ops.clone());
        assert!(parts.iter().all(|part| message.contains(part)), "{ops:?}: {message}");
    }
}

#[test]
fn weights_off_their_grids_are_refused() {
    let compile = |weights: [f32; 2], n_grids: usize, width: u8| {
        let (mut graph, x) = Graph::sketch(&[0, 1, 1, 1]);
        let codes = graph.draw(round(0.02, 120, 255), &[x]);
        let weight = graph.hold("w", Array::f32(vec![2, 1, 1, 1], weights));
        let conv = Op::Conv { window: window([1, 1], [1, 1], [0; 4]), groups: 1 };
        let output = graph.draw(conv, &[codes, weight]);
        let grids = BTreeMap::from([(output, vec![WeightGrid::new(bits(width), 0.5); n_grids])]);
        IntegerNetwork::compile(&graph, &grids, &[1, 1, 1], KernelChoice::Int8)
    };
    assert!(compile([0.5, -1.0], 2, 2).is_ok());
    for (weights, n_grids, width, part) in [
        ([0.5, -0.7], 2, 2, "weight 1 is -0.7"),
        ([0.5, 1.0], 2, 2, "weight 1 is 1"),
        ([0.5, 0.0], 2, 1, "weight 1 is 0"),
        ([0.5, 0.5], 1, 2, "1 weight grids for 2 output channels"),
    ] {
        let message = compile(weights, n_grids, width).unwrap_err().to_string();
        assert!(message.contains("layer conv") && message.contains(part), "{message}");
    }
}

#[test]
fn points_are_added_where_something_computes_and_nowhere_twice() {
    let (mut graph, x) = Graph::sketch(&[0, 2, 4, 4]);
    let weight = graph.hold("w", Array::f32(vec![2, 2, 1, 1], [0.5, -0.5, 1.0, 0.25]));
    let conv = Op::Conv { window: window([1, 1], [1, 1], [0; 4]), groups: 1 };
    let rounded = graph.draw(round(0.02, 120, 255), &[x]);
    let first = graph.draw(conv.clone(), &[rounded, weight]);
    let relu = graph.draw(Op::Relu, &[first]);
    let four = graph.draw(round(0.2, 0, 15), &[relu]);
    let second = graph.draw(conv, &[four, weight]);
    let sum = graph.draw(Op::Add, &[second, relu]);
    let sum = graph.draw(Op::Add, &[sum, x]);
    graph.draw(Op::GlobalAveragePool, &[sum]);
    let images = Tensor::from_slice(&draw_image(64, 1)).view([2, 2, 4, 4]);
    let complete = with_integer_points(graph.clone(), &images, RangeRule::MinMax).unwrap();
    let roundings = |graph: &Graph| graph.nodes().iter().filter(|node| node.op.rounds()).count();
    // Of the second layer, of the first with its ReLU, and of both sums; the image has 8 bits.
    assert_eq!(roundings(&complete), roundings(&graph) + 4);
    let again = with_integer_points(complete.clone(), &images, RangeRule::MinMax).unwrap();
    assert_eq!(again, complete);
}

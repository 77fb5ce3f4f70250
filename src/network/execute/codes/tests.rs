use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{Arithmetic, Executable};
use crate::network::{
    array::Array,
    attributes::{Grid, Window},
    coding::Coding,
    graph::{Graph, TensorId},
    ops::Op,
};
use tch::{Device, Kind, Tensor};

/// Numbers that differ from seed to seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> i32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n) as i32
    }
}

/// Scales are powers of two and sums are short, so that floats are exact too.
fn conv(
    graph: &mut Graph,
    draws: &mut Draws,
    input: TensorId,
    [out, per_group, side]: [usize; 3],
    (stride, padding, groups): (usize, [usize; 4], usize),
) -> TensorId {
    let shape = vec![out, per_group, side, side];
    let n = per_group * side * side;
    let scales: Vec<f32> = (0..out).map(|_| 2f32.powi(-2 - draws.below(3))).collect();
    let values: Vec<f32> = (0..out * n)
        .map(|at| draws.below(256) as f32 * scales[at / n] - 128.0 * scales[at / n])
        .collect();
    let blank = Array::f32(shape.clone(), vec![0.0; out * n]);
    let weight = graph.add_constant("w", blank);
    graph.set_rounded(weight, Array::f32(shape, values), Coding::of_rows(scales.into(), 8));
    let bias: Vec<f32> = (0..out).map(|_| draws.below(64) as f32 * 0.25 - 8.0).collect();
    let bias = graph.add_constant("b", Array::f32(vec![out], bias));
    let window =
        Window { kernel: [side, side], stride: [stride, stride], padding, dilation: [1, 1] };
    graph.draw(Op::Conv { window, groups }, &[input, weight, bias])
}

fn grid(zero_point: i32, bits: u32) -> Op {
    Op::FakeQuantize(Grid { scale: 0.5, zero_point, low: 0, high: (1 << bits) - 1 })
}

/// Three channels in, padding to one side, a filter a channel, a skip connection that is also
/// read in floats, and clips: all that a layer on codes does.
fn network(seed: u64) -> Graph {
    let draws = &mut Draws(seed);
    let (mut graph, x) = Graph::sketch(&[0, 3, 9, 9]);
    let mut codes = graph.draw(grid(100, 8), &[x]);
    codes = conv(&mut graph, draws, codes, [20, 3, 3], (1, [1, 0, 1, 1], 1));
    codes = graph.draw(Op::Relu, &[codes]);
    codes = graph.draw(grid(0, 6), &[codes]);
    codes = conv(&mut graph, draws, codes, [20, 1, 3], (2, [1; 4], 20));
    codes = graph.draw(Op::Clip { low: 0.0, high: 6.0 }, &[codes]);
    codes = graph.draw(grid(0, 4), &[codes]);
    let skip = conv(&mut graph, draws, codes, [5, 20, 1], (1, [0; 4], 1));
    codes = graph.draw(grid(7, 4), &[skip]);
    codes = conv(&mut graph, draws, codes, [5, 5, 3], (1, [1; 4], 1));
    let sum = graph.draw(Op::Add, &[codes, skip]);
    let sum = graph.draw(Op::Relu, &[sum]);
    codes = graph.draw(grid(0, 5), &[sum]);
    codes = conv(&mut graph, draws, codes, [5, 1, 5], (1, [2; 4], 5));
    graph.draw(Op::Add, &[sum, codes]);
    graph
}

fn images(seed: u64) -> Tensor {
    let draws = &mut Draws(seed);
    let numbers: Vec<f32> =
        (0..4 * 3 * 81).map(|_| draws.below(600) as f32 * 0.25 - 60.0).collect();
    Tensor::from_slice(&numbers).view([4, 3, 9, 9])
}

fn run(graph: &Graph, arithmetic: Arithmetic, images: &Tensor) -> (Tensor, usize) {
    let executable = Executable::in_arithmetic(graph, Device::Cpu, arithmetic).unwrap();
    (executable.run(images).unwrap(), executable.n_layers_on_codes())
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    (a - b).abs().max().double_value(&[]) == 0.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn codes_give_what_exact_floats_give(seed in any::<u64>()) {
        let (graph, images) = (network(seed), images(seed ^ 1));
        let (floats, none) = run(&graph, Arithmetic::Float, &images);
        let (codes, all) = run(&graph, Arithmetic::Codes, &images);
        prop_assert_eq!((none, all), (0, 5));
        prop_assert!(same(&floats, &codes));
    }
}

#[test]
fn a_constant_that_was_changed_since_is_computed_in_floats() {
    let mut graph = network(3);
    let weights: BTreeSet<TensorId> =
        graph.constants().map(|(id, _)| id).filter(|id| graph.row_scales(*id).is_some()).collect();
    assert_eq!(weights.len(), 5);
    let first = *weights.first().unwrap();
    let changed = graph.constant(first).unwrap().clone();
    graph.set_constant(first, changed);
    assert_eq!(graph.row_scales(first), None);
    let (codes, n) = run(&graph, Arithmetic::Codes, &images(4));
    assert_eq!(n, 4, "the others go on");
    assert!(same(&codes, &run(&graph, Arithmetic::Float, &images(4)).0));
}

#[test]
fn weights_that_are_no_codes_are_computed_in_floats() {
    for (name, value, scale) in [("between two codes", 0.3, 1.0), ("too large", 200.0, 1.0)] {
        let (mut graph, x) = Graph::sketch(&[0, 4, 3, 3]);
        let rounded = graph.draw(grid(0, 8), &[x]);
        let shape = vec![1, 4, 1, 1];
        let weight = graph.add_constant("w", Array::f32(shape.clone(), [0.0; 4]));
        graph.set_rounded(
            weight,
            Array::f32(shape, [value; 4]),
            Coding::of_rows([scale].into(), 8),
        );
        let window = Window { kernel: [1, 1], stride: [1, 1], padding: [0; 4], dilation: [1, 1] };
        graph.draw(Op::Conv { window, groups: 1 }, &[rounded, weight]);
        let (_, n) =
            run(&graph, Arithmetic::Codes, &Tensor::ones([2, 4, 3, 3], (Kind::Float, Device::Cpu)));
        assert_eq!(n, 0, "{name}");
    }
}

#[test]
fn an_input_may_come_in_any_layout_and_number() {
    let graph = network(5);
    let many = images(6);
    let whole = run(&graph, Arithmetic::Codes, &many).0;
    let last = many.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    assert!(same(&whole, &run(&graph, Arithmetic::Codes, &last).0));
    let one = many.narrow(0, 2, 1);
    assert!(same(&whole.narrow(0, 2, 1), &run(&graph, Arithmetic::Codes, &one).0));
}

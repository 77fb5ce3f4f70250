//! Time of a rounded network over that of the float network in its best form (batch norm folded,
//! channels last), by arithmetic: rounded floats, and codes where the processor multiplies bytes.
//! ResNet-20 on CIFAR-10 images and EfficientNet-Lite0, all layers at 4 bits.
//!
//! `cargo bench --bench forward`; needs the shared data, see `HAQ_SHARED_DATA`. Prints medians and
//! quartiles of ratios of processor time over turns in which all run.

#![allow(clippy::print_stdout, reason = "a benchmark reports")]

#[path = "../tests/network_common/mod.rs"]
mod network_common;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use haq::network::{
    Arithmetic, Array, Coding, Executable, Graph, Grid, Op, QuantizableLayer, keep_freed_memory,
};
use network_common::{cifar10_test, shared};
use tch::{Device, Kind, Tensor};

const TURNS: usize = 25;

/// Processor time of this process, all threads together.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every system that has libtorch, and `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Rounds all weights, and what every layer reads, to 4 bits, on ranges that fit ResNet-20.
fn rounded(graph: &Graph) -> Graph {
    let mut rounded = graph.clone();
    let layers = graph.quantizable_layers();
    layers.iter().for_each(|layer| round_weight(&mut rounded, layer));
    let mut inputs: Vec<_> = layers.iter().map(|layer| layer.input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    for input in inputs {
        let grid = match graph.is_non_negative(input) {
            true => Grid { scale: 0.25, zero_point: 0, low: 0, high: 15 },
            false => Grid { scale: 0.35, zero_point: 7, low: 0, high: 15 },
        };
        // Skip connections go on reading what the accumulators held, as in the evaluation.
        rounded.insert_between(input, Op::FakeQuantize(grid), |reader| {
            matches!(reader.op, Op::Conv { .. } | Op::Gemm { .. })
        });
    }
    rounded
}

fn round_weight(graph: &mut Graph, layer: &QuantizableLayer) {
    let array = graph.constant(layer.weight).expect("a layer's weight is a constant").clone();
    let numbers = array.as_f32().expect("weights are f32");
    let (mut scales, mut values) = (Vec::new(), Vec::with_capacity(numbers.len()));
    for row in numbers.chunks_exact(numbers.len() / array.shape()[0]) {
        let scale = row.iter().fold(1e-6f32, |largest, w| largest.max(w.abs())) / 7.0;
        values.extend(row.iter().map(|w| (w / scale).round() * scale));
        scales.push(scale);
    }
    let coding = Coding::of_rows(scales.into(), 8);
    graph.set_rounded(layer.weight, Array::f32(array.shape().to_vec(), values), coding);
}

fn time_of(executable: &Executable, images: &[Tensor]) -> Duration {
    let start = processor_time();
    for batch in images {
        let _ = black_box(executable.run(batch).expect("the network runs"));
    }
    processor_time() - start
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| numbers[numbers.len() * quarter / 4])
}

/// All passes in turn, so that other load on the machine disturbs them alike.
fn ratios(name: &str, passes: &[(&str, Executable)], images: &[Tensor]) {
    let n_images: i64 = images.iter().map(|batch| batch.size()[0]).sum();
    let turn = || -> Vec<f64> {
        passes.iter().map(|(_, pass)| time_of(pass, images).as_secs_f64()).collect()
    };
    turn();
    let turns: Vec<Vec<f64>> = (0..TURNS).map(|_| turn()).collect();
    let per_second = turns.iter().map(|turn| n_images as f64 / turn[0]).collect();
    println!("{name}: float {:.0} images per CPU second", quartiles(per_second)[1]);
    for (index, (pass, _)) in passes.iter().enumerate().skip(1) {
        let ratios = turns.iter().map(|turn| turn[index] / turn[0]).collect();
        let [low, median, high] = quartiles(ratios);
        println!("{name}: {pass} / float {median:.3} (quartiles {low:.3} to {high:.3})");
    }
}

/// The float network and the rounded one in both arithmetics.
fn passes(model: &str) -> Option<Vec<(&'static str, Executable)>> {
    let path = shared(&format!("models/{model}.onnx"))?;
    let float = Graph::load(path).and_then(|graph| graph.folded()).expect("the model loads");
    let rounded = rounded(&float);
    let pass = |graph, arithmetic| {
        Executable::in_arithmetic(graph, Device::Cpu, arithmetic).expect("it can run")
    };
    let mut passes = vec![
        ("float", pass(&float, Arithmetic::Float)),
        ("rounded floats", pass(&rounded, Arithmetic::Float)),
    ];
    match Arithmetic::fastest() {
        Arithmetic::Codes => passes.push(("codes", pass(&rounded, Arithmetic::Codes))),
        Arithmetic::Float => println!("this processor does not multiply bytes: no codes"),
    }
    Some(passes)
}

fn forward(criterion: &mut Criterion) {
    keep_freed_memory();
    tch::set_num_threads(1);
    let Some(resnet) = passes("resnet20_cifar10") else { return };
    let Some(data) = cifar10_test() else { return };
    let images = data.images.narrow(0, 0, 256).split(64, 0);
    ratios("ResNet-20", &resnet, &images);
    if let Some(efficientnet) = passes("efficientnet_lite0_imagenet") {
        // What the numbers are does not change the time.
        let noise = Tensor::randn([12, 3, 224, 224], (Kind::Float, Device::Cpu));
        ratios("EfficientNet-Lite0", &efficientnet, &noise.split(6, 0));
    }
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements(64)).sample_size(20);
    for (name, executable) in &resnet {
        group.bench_function(*name, |bencher| bencher.iter(|| executable.run(&images[0])));
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);

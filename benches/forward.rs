//! ResNet-20 on CIFAR-10 images: the float network in its best form (batch norm folded,
//! channels last, 64 images a batch) beside the same network with every layer's input rounded
//! to 4 bits. Prints images a second and the ratio of the two.
//!
//! `cargo bench --bench forward`; needs the shared data, see `HAQ_SHARED_DATA`.

#![allow(clippy::print_stdout, reason = "a benchmark reports")]

#[path = "../tests/network_common/mod.rs"]
mod network_common;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use haq::network::{Executable, Graph, Grid, Op, keep_freed_memory};
use network_common::{cifar10_test, shared};
use tch::{Device, Tensor};

const BATCH: i64 = 64;

/// Processor time of this process, all threads together.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every system that has libtorch, and `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Rounds what every layer reads to 4 bits, on a range that fits ResNet-20.
fn fake_quantized(graph: &Graph) -> Graph {
    let mut quantized = graph.clone();
    let mut inputs: Vec<_> = graph.quantizable_layers().iter().map(|layer| layer.input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    for input in inputs {
        let grid = match graph.is_non_negative(input) {
            true => Grid { scale: 0.25, zero_point: 0, low: 0, high: 15 },
            false => Grid { scale: 0.35, zero_point: 7, low: 0, high: 15 },
        };
        // Skip connections go on reading what the accumulators held, as in the evaluation.
        quantized.insert_between(input, Op::FakeQuantize(grid), |reader| {
            matches!(reader.op, Op::Conv { .. } | Op::Gemm { .. })
        });
    }
    quantized
}

fn time_of(executable: &Executable, images: &[Tensor]) -> Duration {
    let start = processor_time();
    for batch in images {
        let _ = black_box(executable.run(batch).expect("the network runs"));
    }
    processor_time() - start
}

/// The two passes in turn, so that other load on the machine disturbs both alike.
fn ratio(float: &Executable, quantized: &Executable, images: &[Tensor]) {
    let mut pairs: Vec<(Duration, Duration)> =
        (0..25).map(|_| (time_of(float, images), time_of(quantized, images))).collect();
    let n_images = images.len() as f64 * BATCH as f64;
    let mut ratios: Vec<f64> =
        pairs.iter().map(|(a, b)| b.as_secs_f64() / a.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    pairs.sort();
    let middle = pairs.len() / 2;
    println!(
        "float {:.0} images per CPU second, fake-quantized / float {:.3} (quartiles {:.3} to {:.3})",
        n_images / pairs[middle].0.as_secs_f64(),
        ratios[middle],
        ratios[ratios.len() / 4],
        ratios[ratios.len() * 3 / 4],
    );
}

fn forward(criterion: &mut Criterion) {
    keep_freed_memory();
    tch::set_num_threads(1);
    let Some(path) = shared("models/resnet20_cifar10.onnx") else { return };
    let Some(data) = cifar10_test() else { return };
    let graph = Graph::load(path).and_then(|graph| graph.folded()).expect("the model loads");
    let executable = |graph: &Graph| Executable::new(graph, Device::Cpu).expect("it can run");
    let (float, quantized) = (executable(&graph), executable(&fake_quantized(&graph)));
    let images = data.images.narrow(0, 0, 8 * BATCH).split(BATCH, 0);
    time_of(&float, &images);
    time_of(&quantized, &images);
    ratio(&float, &quantized, &images);
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    for (name, executable) in [("float", &float), ("fake_quantized", &quantized)] {
        group.bench_function(name, |bencher| bencher.iter(|| executable.run(&images[0])));
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);

//! One layer of ResNet-20's second stage (32 channels of 16x16, 3x3 filters) on one thread: the
//! float convolution beside the kernels on codes, one image at a time.
//!
//! `cargo bench --bench kernels`; prints each kernel's time and its ratio to the float layer's,
//! medians over turns in which all run.

#![allow(clippy::print_stdout, reason = "a benchmark reports")]

use std::{hint::black_box, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use haq::{
    domain::Bits,
    network::keep_freed_memory,
    quantization::{CodeRange, Convolution, ConvolutionScratch, ConvolutionShape, Kernel},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

const CHANNELS: usize = 32;
const SIDE: usize = 16;
/// Runs of one layer in a turn, and turns.
const RUNS: usize = 50;
const TURNS: usize = 41;

fn shape() -> ConvolutionShape {
    ConvolutionShape {
        in_channels: CHANNELS,
        out_channels: CHANNELS,
        input: [SIDE, SIDE],
        kernel: [3, 3],
        stride: [1, 1],
        pad_begin: [1, 1],
        pad_end: [1, 1],
        dilation: [1, 1],
        groups: 1,
    }
}

/// A layer ready to run again and again.
struct Layer {
    name: &'static str,
    run: Box<dyn FnMut()>,
}

fn float(rng: &mut ChaCha8Rng) -> Layer {
    let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
    let (side, channels) = (SIDE as i64, CHANNELS as i64);
    let last = |tensor: Tensor| tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let image = Tensor::from_slice(&draw(CHANNELS * SIDE * SIDE)).view([1, channels, side, side]);
    let weight =
        Tensor::from_slice(&draw(CHANNELS * CHANNELS * 9)).view([channels, channels, 3, 3]);
    let (image, weight) = (last(image), last(weight));
    let bias = Tensor::zeros([channels], (Kind::Float, tch::Device::Cpu));
    let run = move || {
        let output = image.conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
        let _ = black_box(output);
    };
    Layer { name: "float", run: Box::new(run) }
}

fn codes(
    rng: &mut ChaCha8Rng,
    name: &'static str,
    weight_bits: u8,
    range: CodeRange,
    kernel: Kernel,
) -> Layer {
    let half = 1i32 << (weight_bits - 1);
    let weights: Vec<i8> = (0..CHANNELS * shape().reduction())
        .map(|_| match weight_bits {
            1 => 2 * i8::from(rng.random::<bool>()) - 1,
            _ => rng.random_range(-half..half) as i8,
        })
        .collect();
    let image: Vec<u8> = (0..CHANNELS * SIDE * SIDE)
        .map(|_| match range.signs {
            true => 2 * u8::from(rng.random::<bool>()),
            false => rng.random_range(0..=range.high),
        })
        .collect();
    let bits = Bits::new(weight_bits).expect("a kernel has 1 to 8 bits");
    let made = Convolution::new(shape(), &weights, bits, vec![0; CHANNELS], range, kernel);
    let convolution = made.expect("the layer fits its kernel");
    let (mut scratch, mut sums) = (ConvolutionScratch::default(), Vec::new());
    let run = move || {
        convolution.run(&image, &mut scratch, &mut sums).expect("the codes are in their range");
        black_box(&sums);
    };
    Layer { name, run: Box::new(run) }
}

fn layers() -> Vec<Layer> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let unsigned = |bits: u32| CodeRange::unsigned(0, ((1u32 << bits) - 1) as u8);
    vec![
        float(&mut rng),
        codes(&mut rng, "int8", 8, unsigned(8), Kernel::Int8),
        codes(&mut rng, "planes_4x4", 4, unsigned(4), Kernel::BitPlanes),
        codes(&mut rng, "planes_2x2", 2, unsigned(2), Kernel::BitPlanes),
        codes(&mut rng, "planes_1x8", 1, unsigned(8), Kernel::BitPlanes),
        codes(&mut rng, "xnor_1x1", 1, CodeRange::SIGNS, Kernel::Xnor),
    ]
}

/// All layers in turn, so that other load on the machine disturbs them alike.
fn ratios(layers: &mut [Layer]) {
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); layers.len()];
    for _ in 0..TURNS {
        for (layer, seconds) in layers.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            (0..RUNS).for_each(|_| (layer.run)());
            seconds.push(start.elapsed().as_secs_f64() / RUNS as f64);
        }
    }
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    for (layer, own) in layers.iter().zip(&seconds) {
        let ratio = own.iter().zip(&seconds[0]).map(|(own, float)| own / float).collect();
        let (time_us, ratio) = (median(own.clone()) * 1e6, median(ratio));
        println!("{:<11}{time_us:8.1} us  {ratio:.3} of float", layer.name);
    }
}

fn kernels(criterion: &mut Criterion) {
    keep_freed_memory();
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    let mut layers = layers();
    ratios(&mut layers);
    let mut group = criterion.benchmark_group("kernels");
    for layer in &mut layers {
        group.bench_function(layer.name, |bencher| bencher.iter(&mut layer.run));
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);

//! Layer evaluations a second: one family at a time without the table, policies by table, and
//! what building a model costs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use haq_simulator::{
    Bits, CostModel, HardwareProfile, Layer, LayerBits, LayerKind, Workload, profile::builtin,
};

fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

fn layer(kind: LayerKind, size: u64, kernel: u64, stride: u64, c: (u64, u64)) -> Layer {
    let depthwise = kind == LayerKind::Depthwise;
    Layer {
        name: format!("{size}x{size}x{}", c.0),
        kind,
        in_channels: c.0,
        out_channels: c.1,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        pad_top: kernel / 2,
        pad_left: kernel / 2,
        pad_bottom: kernel / 2,
        pad_right: kernel / 2,
        dilation_h: 1,
        dilation_w: 1,
        groups: if depthwise { c.0 } else { 1 },
        in_h: size,
        in_w: size,
        bias: true,
    }
}

/// MobileNet-V1 for 224 pixels.
fn network() -> Workload {
    let mut layers = vec![layer(LayerKind::Conv, 224, 3, 2, (3, 32))];
    let (mut size, mut c) = (112, 32);
    for (out, stride) in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (1024, 2),
        (1024, 1),
    ] {
        layers.push(layer(LayerKind::Depthwise, size, 3, stride, (c, c)));
        size /= stride;
        layers.push(layer(LayerKind::Conv, size, 1, 1, (c, out)));
        c = out;
    }
    layers.push(layer(LayerKind::Linear, 1, 1, 1, (1024, 1000)));
    Workload::of_layers(layers)
}

fn profile(name: &str) -> HardwareProfile {
    HardwareProfile::parse(builtin(name).unwrap(), name).unwrap()
}

const PROFILES: [&str; 9] = [
    "edge-tpu",
    "tpu-v1",
    "eyeriss-like",
    "bismo-edge",
    "bismo-cloud",
    "stripes",
    "loom-1b",
    "bitfusion",
    "a100",
];

/// Widths that follow no pattern a predictor could learn.
fn policies(n_layers: usize) -> Vec<Vec<LayerBits>> {
    let mut state = 1u64;
    let mut width = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 61) as u8 + 1
    };
    (0..64).map(|_| (0..n_layers).map(|_| bits(width(), width())).collect()).collect()
}

/// Everything the model says of a layer, and its latency alone.
fn without_table(criterion: &mut Criterion) {
    type Figure = fn(&CostModel, usize, LayerBits) -> f64;
    let whole: Figure = |model, index, bits| model.layer(index, bits).latency_s;
    let latency: Figure = |model, index, bits| model.layer_latency_s(index, bits);
    evaluations(criterion, "layer evaluations without table", whole);
    evaluations(criterion, "layer latencies without table", latency);
}

fn evaluations(
    criterion: &mut Criterion,
    name: &str,
    figure: impl Fn(&CostModel, usize, LayerBits) -> f64,
) {
    let workload = network();
    let n_layers = workload.layers.len();
    let policies = policies(n_layers);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements((n_layers * policies.len()) as u64));
    for name in PROFILES {
        let model = CostModel::new(&profile(name), &workload, 1).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut sum = 0.0;
                for policy in &policies {
                    for (index, bits) in policy.iter().enumerate() {
                        sum += figure(&model, index, *black_box(bits));
                    }
                }
                sum
            });
        });
    }
    group.finish();
}

fn by_table(criterion: &mut Criterion) {
    let workload = network();
    let n_layers = workload.layers.len();
    let policies = policies(n_layers);
    let mut group = criterion.benchmark_group("layer evaluations by table");
    group.throughput(Throughput::Elements((n_layers * policies.len()) as u64));
    let model = CostModel::new(&profile("bismo-edge"), &workload, 1).unwrap();
    group.bench_function("latency", |bencher| {
        bencher
            .iter(|| policies.iter().map(|policy| model.latency_s(black_box(policy))).sum::<f64>());
    });
    group.bench_function("all four costs", |bencher| {
        bencher.iter(|| {
            policies.iter().map(|policy| model.total(black_box(policy)).energy_j).sum::<f64>()
        });
    });
    group.finish();
}

fn building(criterion: &mut Criterion) {
    let workload = network();
    let mut group = criterion.benchmark_group("a model with its table");
    group.sample_size(10);
    let policy = vec![bits(8, 8); workload.layers.len()];
    for name in PROFILES {
        let profile = profile(name);
        group.bench_function(name, |bencher| {
            bencher.iter(|| CostModel::new(&profile, &workload, 1).unwrap().total(&policy));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = without_table, by_table, building
}
criterion_main!(benches);

//! The edge-tpu profile against published latencies of the Coral USB accelerator.

mod common;

use common::{bits, conv, linear, mobilenet_v1, profile, tell};
use haq_simulator::{CostModel, Layer, Workload};

fn resnet50(size: u64) -> Vec<Layer> {
    let mut layers = vec![conv("conv1", size, 7, 2, 3, (3, 64))];
    let mut hw = layers[0].out_h().div_ceil(2);
    let mut c_in = 64;
    for (stage, (blocks, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate()
    {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("l{stage}.{block}.{part}");
            layers.push(conv(&name("conv1"), hw, 1, 1, 0, (c_in, width)));
            layers.push(conv(&name("conv2"), hw, 3, stride, 1, (width, width)));
            let out = hw.div_ceil(stride);
            layers.push(conv(&name("conv3"), out, 1, 1, 0, (width, 4 * width)));
            if block == 0 {
                layers.push(conv(&name("down"), hw, 1, stride, 0, (c_in, 4 * width)));
            }
            (hw, c_in) = (out, 4 * width);
        }
    }
    layers.push(linear("fc", 2048, 1000));
    layers
}

fn vgg16() -> Vec<Layer> {
    let mut layers = Vec::new();
    let (mut hw, mut c_in) = (224, 3);
    for (blocks, width) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
        for _ in 0..blocks {
            layers.push(conv(&format!("conv{}", layers.len()), hw, 3, 1, 1, (c_in, width)));
            c_in = width;
        }
        hw /= 2;
    }
    layers.extend([linear("fc1", 512 * 49, 4096), linear("fc2", 4096, 4096)]);
    layers.push(linear("fc3", 4096, 1000));
    layers
}

#[test]
fn latencies_are_near_the_published_ones() {
    // Milliseconds with a desktop host over USB 3; Coral benchmark page.
    for (name, layers, published_ms, tolerance) in [
        ("MobileNet-V1", mobilenet_v1(1.0, 224), 2.4, 0.02),
        ("MobileNet-V1 0.25 at 128", mobilenet_v1(0.25, 128), 0.9, 0.12),
        ("ResNet-50 at 299", resnet50(299), 49.0, 0.06),
        ("VGG-16", vgg16(), 296.0, 0.05),
    ] {
        let n_layers = layers.len();
        let workload = Workload::of_layers(layers);
        let model = CostModel::new(&profile("edge-tpu"), &workload, 1).unwrap();
        let ms = model.total(&vec![bits(8, 8); n_layers]).latency_s * 1e3;
        let error = ms / published_ms - 1.0;
        tell(&format!("Coral Edge TPU, {name}: {ms:.2} ms of {published_ms}"), &[error]);
        assert!(error.abs() <= tolerance, "{name}: {ms} ms, published {published_ms}: {error}");
    }
}

#[test]
fn only_weights_that_do_not_fit_make_fewer_bits_faster() {
    let small = mobilenet_v1(1.0, 224);
    let large = resnet50(224);
    for (name, layers, faster) in [("fits", small, false), ("streams", large, true)] {
        let n_layers = layers.len();
        let workload = Workload::of_layers(layers);
        let model = CostModel::new(&profile("edge-tpu"), &workload, 1).unwrap();
        let latency_s = |width| model.total(&vec![bits(width, 8); n_layers]).latency_s;
        assert_eq!(latency_s(4) < latency_s(8), faster, "{name}");
        let network = model.network(&vec![bits(8, 8); n_layers]);
        assert_eq!(network.streamed_bytes > 0, faster, "{name}");
    }
}

//! The tensor-core profiles against measured latencies and throughputs.

mod common;

use common::{bits, conv, linear, mean, profile, reference, tell};
use haq_simulator::{CostModel, Layer, LayerOutput, Workload};

/// ResNet-50 for 224 pixels, each block's last layer adding its skip connection.
fn resnet50() -> Workload {
    let mut layers: Vec<Layer> = vec![conv("conv1", 224, 7, 2, 3, (3, 64))];
    let mut outputs = vec![LayerOutput { read_by: Some(1), skip_elements: 0 }];
    let (mut hw, mut c_in) = (56, 64);
    for (stage, (blocks, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate()
    {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let out = hw / stride;
            let mut push = |part: &str, layer: Layer, skip_elements: u64| {
                layers.push(Layer { name: format!("l{stage}.{block}.{part}"), ..layer });
                outputs.push(LayerOutput { read_by: Some(layers.len() - 1), skip_elements });
            };
            push("conv1", conv("", hw, 1, 1, 0, (c_in, width)), 0);
            push("conv2", conv("", hw, 3, stride, 1, (width, width)), 0);
            push("conv3", conv("", out, 1, 1, 0, (width, 4 * width)), out * out * 4 * width);
            if block == 0 {
                push("down", conv("", hw, 1, stride, 0, (c_in, 4 * width)), 0);
            }
            (hw, c_in) = (out, 4 * width);
        }
    }
    layers.push(linear("fc", 2048, 1000));
    outputs.push(LayerOutput::default());
    Workload { layers, outputs, ..Workload::default() }
}

fn latency_s(name: &str, batch: u64) -> f64 {
    let workload = resnet50();
    let model = CostModel::new(&profile(name), &workload, batch).unwrap();
    model.total(&vec![bits(8, 8); workload.layers.len()]).latency_s
}

#[test]
fn the_a100_reaches_its_mlperf_figures() {
    let Some(rows) = reference("silicon/mlperf_resnet50.csv") else { return };
    for row in rows.iter().filter(|row| row.text("device").contains("A100")) {
        let modelled = match row.text("unit") {
            "samples/s" => 256.0 / (latency_s("a100", 256) - 54.0 * 8e-6),
            _ => latency_s("a100", 1) * 1e3,
        };
        let error = modelled / row.real("value") - 1.0;
        tell(&format!("A100, MLPerf ResNet-50, {}", row.text("scenario")), &[error]);
        assert!(error.abs() < 0.02, "{}: {modelled}, off by {error}", row.text("scenario"));
    }
}

#[test]
fn the_t4_runs_generated_kernels_as_measured() {
    let Some(rows) = reference("silicon/t4_tensorcore_resnet18_per_layer.csv") else { return };
    let mut errors = Vec::new();
    for row in &rows {
        let (in_hw, kernel) = (row.number("in_hw"), row.number("kernel"));
        let c = (row.number("c_in"), row.number("c_out"));
        let layer = conv(row.text("layer"), in_hw, kernel, row.number("stride"), kernel / 2, c);
        let workload = Workload::of_layers(vec![layer]);
        let profile = profile("t4");
        let model = CostModel::new(&profile, &workload, profile.batch()).unwrap();
        let ms = |width| model.layer(0, bits(width, width)).latency_s * 1e3;
        let gain = ms(8) / ms(4);
        assert!((1.1..=2.0).contains(&gain), "{} gains {gain} from 8 to 4 bits", row.text("layer"));
        for (width, column) in [(8, "latency_ms_w8a8"), (4, "latency_ms_w4a4")] {
            errors.push(ms(width) / row.real(column) - 1.0);
        }
    }
    tell("T4, ResNet-18, latency a layer at int8 and int4", &errors);
    let sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    assert!(mean(&sizes) <= 0.07, "mean error {}", mean(&sizes));
}

#[test]
fn peaks_are_those_of_the_datasheets() {
    // Tera-operations a second at 8 bits, two for a multiply-accumulate.
    for (name, tops) in [("t4", 130.0), ("t4-tensorrt", 130.0), ("a100", 624.0), ("h100", 1979.0)] {
        let profile = profile(name);
        let haq_simulator::Compute::TensorCore(array) = profile.compute() else { unreachable!() };
        let (_, macs) = array.macs_per_sm.iter().find(|(width, _)| width.get() == 8).unwrap();
        let peak = 2.0 * macs * array.sms as f64 * profile.clock_hz() / 1e12;
        assert!((peak / tops - 1.0).abs() < 0.01, "{name}: {peak}");
    }
}

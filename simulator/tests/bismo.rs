//! The bit-serial array against the latency table of the HAQ paper's code and BISMO's peaks.

mod common;

use common::{
    Row, bits, conv, depthwise, linear, mobilenet_v1, profile, quantile, reference, tell,
};
use haq_simulator::{Compute, CostModel, Layer, Workload};

fn layer(row: &Row) -> Layer {
    let (name, in_hw) = (row.text("layer"), row.number("in_hw"));
    let (kernel, stride) = (row.number("kernel"), row.number("stride"));
    let c = (row.number("c_in"), row.number("c_out"));
    match row.text("kind") {
        "dw" => depthwise(name, in_hw, kernel, stride, c.0),
        "fc" | "linear" => linear(name, c.0, c.1),
        _ => conv(name, in_hw, kernel, stride, kernel / 2, c),
    }
}

#[test]
fn cloud_cycles_follow_the_table_of_the_haq_code() {
    let Some(rows) = reference("bismo/haq_cloud_calibration_slice.csv") else { return };
    let profile = profile("bismo-cloud");
    let mut errors: Vec<f64> = rows
        .iter()
        .map(|row| {
            let workload = Workload::of_layers(vec![layer(row)]);
            let model = CostModel::new(&profile, &workload, row.number("batch")).unwrap();
            let widths = bits(row.number("w_bits") as u8, row.number("a_bits") as u8);
            let cycles = model.layer(0, widths).cycles as f64;
            (cycles / row.number("cycles") as f64 - 1.0).abs()
        })
        .collect();
    tell("BISMO cloud table of HAQ, cycles a layer", &errors);
    let (median, p90) = (quantile(&mut errors, 0.5), quantile(&mut errors, 0.9));
    assert!(median <= 0.001, "median error {median}");
    assert!(p90 <= 0.01, "90th percentile {p90}");
}

#[test]
fn edge_latency_of_mobilenet_v1_is_the_published_one() {
    let layers = mobilenet_v1(1.0, 224);
    let n_layers = layers.len();
    let model = CostModel::new(&profile("bismo-edge"), &Workload::of_layers(layers), 1).unwrap();
    let mut errors = Vec::new();
    for (width, published_s) in [(4, 45.45e-3), (5, 57.75e-3), (6, 70.67e-3), (8, 96.20e-3)] {
        let latency_s = model.total(&vec![bits(width, width); n_layers]).latency_s;
        let error = latency_s / published_s - 1.0;
        assert!(error.abs() <= 0.02, "{width} bits: {latency_s} s, off by {error}");
        errors.push(error);
    }
    tell("BISMO edge, MobileNet-V1 at 4, 5, 6 and 8 bits", &errors);
}

#[test]
fn published_peaks_are_reached() {
    // Binary operations a second, two for a multiply-accumulate (BISMO, FPL 2018 and TRETS
    // 2019): 6.5 tera on the PYNQ-Z1 with 8 x 256 x 8 at 200 MHz.
    for (rows, dot_width, cols, clock_hz, published) in
        [(8, 256, 8, 200e6, 6.5e12), (10, 256, 10, 300e6, 15.4e12)]
    {
        let peak = 2.0 * (rows * dot_width * cols) as f64 * clock_hz;
        assert!((peak / published - 1.0f64).abs() < 0.015, "{peak}");
    }
    let Compute::BitSerial(array) = *profile("bismo-cloud").compute() else { unreachable!() };
    assert_eq!(array.peak_binary_macs_per_cycle(), 65536);
}

#[test]
fn a_layer_bound_by_the_array_costs_the_product_of_its_widths() {
    // Few positions and many channels: the activations are loaded within the first tile.
    let workload = Workload::of_layers(vec![conv("deep", 7, 3, 1, 1, (512, 512))]);
    let model = CostModel::new(&profile("bismo-cloud"), &workload, 16).unwrap();
    let binary = model.layer(0, bits(1, 1)).compute_cycles;
    for (w, a) in [(2, 1), (1, 2), (4, 4), (8, 8), (3, 5)] {
        let cycles = model.layer(0, bits(w, a)).compute_cycles;
        assert_eq!(cycles, binary * u64::from(w) * u64::from(a), "{w}/{a}");
    }
    for (w, a) in [(8, 5), (4, 8), (6, 6), (8, 8)] {
        let cost = model.layer(0, bits(w, a));
        let ratio = cost.cycles as f64 / cost.compute_cycles as f64;
        assert!(ratio < 1.1, "{w}/{a} waits for little but its first tile: {ratio}");
    }
}

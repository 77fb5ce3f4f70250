//! The systolic array against SCALE-Sim v3, row by row.

mod common;

use common::{Row, bits, conv, depthwise, linear, reference, tell};
use haq_simulator::{CostModel, HardwareProfile, Layer, Workload};

/// Name, rows, columns, dataflow, and the KiB of input, filter and output buffers.
const CONFIGS: [(&str, u64, u64, &str, [u64; 3]); 5] = [
    ("ws64_edge", 64, 64, "ws", [512, 512, 256]),
    ("os256_cloud", 256, 256, "os", [6144, 6144, 2048]),
    ("ws12x14_eyeriss", 12, 14, "ws", [36, 36, 36]),
    ("ws32_small", 32, 32, "ws", [64, 64, 64]),
    ("is32_small", 32, 32, "is", [64, 64, 64]),
];
const NETWORKS: [&str; 3] = ["resnet20_cifar", "resnet18", "mobilenetv1"];

fn profile(rows: u64, cols: u64, dataflow: &str, kib: [u64; 3]) -> HardwareProfile {
    let [input, filter, output] = kib.map(|kib| kib * 1024);
    let text = format!(
        r#"
schema = 1
name = "scale-sim"
family = "systolic"
clock_hz = 1e9
[compute]
rows = {rows}
cols = {cols}
dataflow = "{dataflow}"
fill = "per-fold"
depthwise = "per-channel"
traffic = "per-fold"
[precision]
mode = "table"
pairs = [[8, 8]]
[[memory]]
level = "sram"
bytes = {total}
weight_bytes = {filter}
input_bytes = {input}
output_bytes = {output}
pj_per_bit_read = 0.2
pj_per_bit_write = 0.2
[[memory]]
level = "dram"
bytes = 0
bw_bytes_per_cycle = 10
pj_per_bit_read = 8.0
pj_per_bit_write = 8.0
[energy]
mac_pj_8x8 = 0.2
"#,
        total = input + filter + output
    );
    HardwareProfile::parse(&text, "scale-sim").unwrap()
}

fn layer(row: &Row) -> Layer {
    let (name, kernel, stride) = (row.text("layer"), row.number("kernel"), row.number("stride"));
    let c = (row.number("c_in"), row.number("c_out"));
    match row.text("kind") {
        "dw" => depthwise(name, row.number("in_h"), kernel, stride, c.0),
        "fc" => linear(name, c.0, c.1),
        _ => conv(name, row.number("in_h"), kernel, stride, row.number("pad"), c),
    }
}

#[test]
fn compute_cycles_equal_scale_sim_on_every_layer() {
    let mut errors = Vec::new();
    for (config, rows, cols, dataflow, kib) in CONFIGS {
        let profile = profile(rows, cols, dataflow, kib);
        for network in NETWORKS {
            let Some(table) = reference(&format!("scalesim/{network}__{config}.csv")) else {
                continue;
            };
            for row in &table {
                let layer = layer(row);
                assert_eq!(layer.out_h(), row.number("out_h"), "{}", layer.name);
                let workload = Workload::of_layers(vec![layer]);
                let model = CostModel::new(&profile, &workload, 1).unwrap();
                let cost = model.layer(0, bits(8, 8));
                let name = format!("{network} {} on {config}", row.text("layer"));
                assert_eq!(cost.compute_cycles, row.number("compute_cycles"), "{name}");
                errors.push(cost.compute_cycles as f64 / row.real("compute_cycles") - 1.0);
                assert_eq!(cost.macs, row.number("macs"), "{name}");
                let utilization = 100.0 * cost.utilization;
                let difference = utilization - row.real("array_utilisation_pct");
                assert!(difference.abs() < 0.02, "{name} uses {utilization} %");
            }
        }
    }
    tell("SCALE-Sim v3, compute cycles a layer", &errors);
}

#[test]
fn words_from_outside_are_those_of_scale_sim() {
    let mut errors = Vec::new();
    for (config, rows, cols, dataflow, kib) in CONFIGS {
        let profile = profile(rows, cols, dataflow, kib);
        for network in NETWORKS {
            let Some(table) = reference(&format!("scalesim/{network}__{config}.csv")) else {
                continue;
            };
            for row in table.iter().filter(|row| row.text("source") == "full") {
                let workload = Workload::of_layers(vec![layer(row)]);
                let model = CostModel::new(&profile, &workload, 1).unwrap();
                let detail = model.explain(0, &[bits(8, 8)]);
                let (_, dram) = detail.traffic.last().unwrap();
                let words = |bits: f64| bits as u64 / 8;
                let name = format!("{network} {} on {config}", row.text("layer"));
                assert_eq!(words(dram.weights_read), row.number("dram_filter_words"), "{name}");
                assert_eq!(words(dram.outputs_written), row.number("dram_ofmap_words"), "{name}");
                let inputs = dram.inputs_read / 8.0 / row.real("dram_ifmap_words") - 1.0;
                errors.push(inputs);
            }
        }
    }
    tell("SCALE-Sim v3, input words a layer", &errors);
    let within = errors.iter().filter(|error| error.abs() <= 0.02).count();
    assert!(within * 100 >= errors.len() * 95, "{within} of {}", errors.len());
}

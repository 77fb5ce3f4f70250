//! Energies against published powers and an independent tool, to the order that closed forms reach.

mod common;

use common::{bits, conv, profile, resnet18};
use haq_simulator::{CostModel, HardwareProfile, Workload};

#[test]
fn busy_devices_draw_about_the_power_their_makers_state() {
    // Picojoules a multiply-accumulate with everything included: 2 TOPS a watt for the Edge
    // TPU, 40 W at 92 TOPS for TPU v1, 400 W at 624 TOPS for the A100; for BISMO on an
    // UltraScale+ below 8 W at 15.4 tera binary operations, times 64 for 8 by 8 bits.
    for (name, published_pj) in
        [("edge-tpu", 1.0), ("tpu-v1", 0.9), ("a100", 1.3), ("bismo-cloud", 64.0)]
    {
        let workload = Workload::of_layers(vec![conv("busy", 28, 3, 1, 1, (512, 512))]);
        let profile = profile(name);
        let model = CostModel::new(&profile, &workload, 64).unwrap();
        let cost = model.layer(0, bits(8, 8));
        let pj = cost.energy_j * 1e12 / cost.macs as f64;
        let ratio = pj / published_pj;
        assert!((1.0 / 3.0..=2.0).contains(&ratio), "{name}: {pj} pJ, published {published_pj}");
    }
}

#[test]
fn resnet_18_costs_what_zigzag_says_on_its_edge_tpu() {
    // 1024 multiply-accumulators, 2 MB of SRAM, 64 bits a cycle to DRAM; energies as listed
    // with ZigZag's example, which reports 1.903 mJ for ResNet-18.
    let text = r#"
schema = 1
name = "zigzag-edge-tpu"
family = "systolic"
clock_hz = 200e6
[compute]
rows = 32
cols = 32
fill = "none"
[precision]
mode = "table"
pairs = [[8, 8]]
[[memory]]
level = "registers"
bytes = 32768
pj_per_bit_read = 0.045
pj_per_bit_write = 0.10
[[memory]]
level = "sram"
bytes = 2097152
double_buffered = false
pj_per_bit_read = 0.20
pj_per_bit_write = 0.18
[[memory]]
level = "dram"
bytes = 0
bw_bytes_per_cycle = 8
pj_per_bit_read = 11.0
pj_per_bit_write = 11.0
[energy]
mac_pj_8x8 = 0.04
"#;
    let profile = HardwareProfile::parse(text, "zigzag.toml").unwrap();
    let layers = resnet18();
    let policy = vec![bits(8, 8); layers.len()];
    let model = CostModel::new(&profile, &Workload::of_layers(layers), 1).unwrap();
    let energy_mj = model.total(&policy).energy_j * 1e3;
    assert!((energy_mj / 1.903 - 1.0).abs() <= 0.25, "{energy_mj} mJ");
}

//! The fusion array against the BitFusion simulator, row by row.

mod common;

use common::{Row, bits, conv, linear, mean, profile, quantile, reference, tell};
use haq_simulator::{CostModel, Layer, LayerCost, Workload};

fn layer(row: &Row) -> Layer {
    let (c_in, c_out) = (row.number("c_in"), row.number("c_out"));
    if row.text("kind") == "fc" {
        return linear(row.text("layer"), c_in, c_out);
    }
    let (kernel, stride, out) = (row.number("kernel"), row.number("stride"), row.number("out_hw"));
    // The tables give the result's size; the input is what that takes.
    conv(row.text("layer"), (out - 1) * stride + kernel, kernel, stride, 0, (c_in, c_out))
}

/// The cost of a row's layer; only a network's first layer is unfolded by the host.
fn cost(row: &Row) -> LayerCost {
    let layer = layer(row);
    let first = row.number("first_layer_im2col") == 1;
    let layers = if first { vec![layer] } else { vec![linear("before", 1, 1), layer] };
    let index = layers.len() - 1;
    let workload = Workload::of_layers(layers);
    let model = CostModel::new(&profile("bitfusion"), &workload, row.number("batch")).unwrap();
    let widths = bits(row.number("wgt_bits") as u8, row.number("act_bits") as u8);
    model.layer(index, widths)
}

fn check(table: &str) {
    let Some(rows) = reference(table) else { return };
    let (mut errors, mut networks) = (Vec::new(), std::collections::BTreeMap::new());
    for row in &rows {
        let cost = cost(row);
        let (cycles, stalls) = (row.number("cycles"), row.number("stall_cycles"));
        let name = format!(
            "{} {} at {}/{}",
            row.text("network"),
            row.text("layer"),
            row.text("wgt_bits"),
            row.text("act_bits")
        );
        assert_eq!(cost.compute_cycles, cycles - stalls, "compute cycles of {name}");
        errors.push((cost.cycles as f64 / cycles as f64 - 1.0).abs());
        let bits = (row.number("dram_read_bits") + row.number("dram_write_bits")) as f64;
        let moved = cost.dram_bytes as f64 * 8.0;
        assert!((moved / bits - 1.0).abs() < 0.2, "{name} moves {moved} bits, not {bits}");
        let key = (row.text("network"), row.number("wgt_bits"), row.number("act_bits"));
        let sums = networks.entry(key).or_insert((0.0, 0.0));
        *sums = (sums.0 + cost.cycles as f64, sums.1 + cycles as f64);
    }
    tell(&format!("{table}, cycles a layer"), &errors);
    let of_network = |(_, (modelled, simulated)): (_, &(f64, f64))| modelled / simulated - 1.0;
    let of_networks: Vec<f64> = networks.iter().map(of_network).collect();
    tell(&format!("{table}, cycles a network"), &of_networks);
    assert!(mean(&errors) < 0.01, "mean error {}", mean(&errors));
    assert!(quantile(&mut errors, 0.5) < 1e-3, "median error");
    for (network, (modelled, simulated)) in networks {
        let error: f64 = modelled / simulated - 1.0;
        assert!(error.abs() < 0.01, "{network:?} is off by {error}");
    }
}

#[test]
fn single_images_cost_what_the_bitfusion_simulator_says() {
    check("bitfusion/networks_b1.csv");
}

#[test]
fn batches_of_16_cost_what_the_bitfusion_simulator_says() {
    check("bitfusion/paper_networks_b16.csv");
}

#[test]
fn energy_is_what_the_bitfusion_simulator_says() {
    let Some(rows) = reference("bitfusion/networks_b1.csv") else { return };
    let mut errors = Vec::new();
    let idle_pj_per_cycle = 0.04 / 500e6 * 1e12;
    for row in &rows {
        let cost = cost(row);
        let modelled = cost.energy_j * 1e9 - cost.cycles as f64 * idle_pj_per_cycle * 1e-3;
        let error = modelled / row.real("energy_nJ") - 1.0;
        assert!(error.abs() < 0.08, "{} {}: {error}", row.text("network"), row.text("layer"));
        errors.push(error);
    }
    tell("bitfusion/networks_b1.csv, energy a layer", &errors);
}

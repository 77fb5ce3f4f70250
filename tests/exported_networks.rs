//! Networks as torch's exporters write them, against ONNX Runtime and against torch's own counts.
//!
//! `HAQ_EXPORTED_NETWORKS` names the folder that `scripts/export_networks.py` made.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is what the test is for")]

mod network_common;

use std::path::Path;

use haq::{
    domain::Layer,
    network::{Executable, Graph},
    search::workload_of,
};
use network_common::npz;
use tch::{Device, Kind};

/// Of the largest logit.
const TOLERANCE: f64 = 1e-3;

#[test]
fn networks_compute_and_count_what_torch_and_onnx_runtime_do() {
    let Some(folder) = std::env::var_os("HAQ_EXPORTED_NETWORKS") else {
        eprintln!("skipped: HAQ_EXPORTED_NETWORKS names no folder; see scripts/export_networks.py");
        return;
    };
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let mut paths: Vec<_> = paths.filter(|path| path.with_extension("npz").exists()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    assert!(!paths.is_empty(), "the folder has no network");
    let mut failed = Vec::new();
    for path in &paths {
        let name = path.file_stem().unwrap().to_string_lossy();
        match check(path) {
            Ok(said) => println!("{name}: {said}"),
            Err(reason) => failed.push(format!("{name}: {reason}")),
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), paths.len(), failed.join("\n"));
}

fn check(path: &Path) -> Result<String, String> {
    let arrays = npz(&path.with_extension("npz"));
    let count = |name: &str| arrays[name].int64_value(&[]) as u64;
    let graph = Graph::load(path).map_err(|error| error.to_string())?;
    let mut largest = 0.0f64;
    for graph in [&graph, &graph.folded().map_err(|error| error.to_string())?] {
        let executable = Executable::new(graph, Device::Cpu).map_err(|error| error.to_string())?;
        let logits = executable.run(&arrays["x"]).map_err(|error| error.to_string())?;
        let scale = arrays["y"].abs().max().double_value(&[]);
        let difference =
            (logits.to_kind(Kind::Double) - &arrays["y"]).abs().max().double_value(&[]) / scale;
        if difference.is_nan() || difference > TOLERANCE {
            return Err(format!("logits differ by {difference:.1e} of the largest"));
        }
        largest = largest.max(difference);
    }
    let layers = graph.quantizable_layers();
    let shapes = graph.shapes(&[1, 3, 224, 224]).map_err(|error| error.to_string())?;
    let workload = workload_of(&graph, &layers, &shapes).map_err(|error| error.to_string())?;
    let macs: u64 = workload.layers.iter().map(Layer::macs).sum();
    let weights: u64 = workload.layers.iter().map(Layer::weights).sum();
    if (macs, weights) != (count("macs"), count("weights")) {
        return Err(format!(
            "{macs} products and {weights} weights, expected {} and {}",
            count("macs"),
            count("weights")
        ));
    }
    Ok(format!("{} layers, {largest:.1e}", layers.len()))
}

//! Exported networks in ONNX Runtime, and through the qonnx package, on the shared models.

#![allow(clippy::print_stdout, reason = "the figures are what the test is for")]

mod network_common;
mod python_common;

use std::{path::Path, process::Command};

use network_common::{reference, shared};
use python_common::python_with;
use serde_json::{Value, json};

/// A model, its images, the fewest bits of a layer, the share of images that need the same class,
/// and images that it runs on once qonnx has converted it. Of 300 images one is 0.3 %, and some lie between two classes: in 50 layers the last
/// digits of sums decide there.
const MODELS: [(&str, &str, u64, f64, Option<&str>); 3] = [
    ("digits_cnn", "digits/digits.csv.gz", 3, 0.999, Some("800")),
    ("resnet20_cifar10", "cifar10", 3, 0.999, Some("2000")),
    ("efficientnet_lite0_imagenet", "imagenet_sample", 6, 0.98, None),
];

fn haq(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haq"));
    let output = command.current_dir(folder).args(arguments).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Widths that differ from layer to layer.
fn mixed_policy(folder: &Path, model: &str, fewest: u64) {
    let inspected = haq(folder, &["model", "inspect", model]);
    let layers = inspected["layers"].as_array().unwrap();
    let width = |at: usize| match at == 0 || at + 1 == layers.len() {
        true => 8,
        false => fewest + (5 * at as u64) % (9 - fewest),
    };
    let layer = |(at, layer): (usize, &Value)| {
        json!({
            "name": layer["name"],
            "weight_bits": width(at),
            "activation_bits": width(at + 1),
        })
    };
    let layers: Vec<Value> = layers.iter().enumerate().map(layer).collect();
    let policy = json!({ "schema": 1, "layers": layers });
    std::fs::write(folder.join("policy.json"), policy.to_string()).unwrap();
}

#[test]
fn exported_networks_give_the_same_classes_in_onnx_runtime() {
    let Some(python) = python_with("runtime-venv", &["onnxruntime==1.32.0", "qonnx==1.0.0"]) else {
        return;
    };
    for (name, data, fewest, least_agreement, converted) in MODELS {
        let model = shared(&format!("models/{name}.onnx"));
        let (Some(model), Some(data)) = (model, shared(data)) else { return };
        let folder = tempfile::tempdir().unwrap();
        let (path, folder) = (model.to_str().unwrap(), folder.path());
        mixed_policy(folder, path, fewest);
        let (python, data) = (python.to_str().unwrap(), data.to_str().unwrap());
        let subject = ["export", "--policy", "policy.json", "--model", path, "--data", data];
        let verify = ["--out", "net.onnx", "--verify", "--python", python];
        let exported = haq(folder, &[&subject[..], &verify].concat());
        let plain = &exported["verified"]["plain"];
        println!("{name}: {plain}, optimised {}", exported["verified"]["optimised"]);
        assert!(plain["agreement"].as_f64().unwrap() >= least_agreement, "{name}: {plain}");

        let Some(converted) = converted else { continue };
        // Through another's eyes: what qonnx makes of the other form is the same network.
        let target = ["--out", "qonnx.onnx", "--format", "qonnx", "--target", "finn"];
        haq(folder, &[&subject[..], &target].concat());
        let mut convert = Command::new(python);
        convert.arg(reference("convert_qonnx.py")).args(["qonnx.onnx", "qcdq.onnx"]);
        let output = convert.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::copy(folder.join("qonnx.json"), folder.join("qcdq.json")).unwrap();
        let images = ["--images", converted];
        let verify = ["verify", "qcdq.onnx", "--data", data, "--python", python];
        let verified = haq(folder, &[&verify[..], &images].concat());
        let plain = &verified["plain"];
        println!("{name} by qonnx: {plain}");
        assert!(plain["agreement"].as_f64().unwrap() >= least_agreement, "{name}: {plain}");
        let evaluate = ["evaluate", "--model", "qonnx.onnx", "--data", data];
        let own = haq(folder, &[&evaluate[..], &images].concat());
        let (own, theirs) = (&own["quality"]["top1"], &verified["quality"]["top1"]);
        assert_eq!(own, theirs, "{name}: as written, and as qonnx understood it");
    }
}

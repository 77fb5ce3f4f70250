//! Why a policy has its bits, and how two policies differ.

use serde_json::Value;

use crate::common::{Folder, SMALL_SEARCH};

fn explanation(folder: &Folder, run: i64) -> Vec<Value> {
    let shown = folder.json(&["runs", "show", &run.to_string()]);
    shown["explanation"].as_array().unwrap().clone()
}

fn of_weights(layer: &Value) -> impl Iterator<Item = &Value> {
    let changes = layer["changes"].as_array().unwrap().iter();
    changes.filter(|change| change["operand"] == "weights")
}

#[test]
fn every_layer_is_explained_and_changes_are_predicted_as_simulate_computes_them() {
    let folder = Folder::new();
    let found = folder.json(&[SMALL_SEARCH, &["--strategy", "ilp"]].concat());
    let layers = explanation(&folder, 1);
    assert_eq!(Value::from(layers.clone()), found["explanation"]);
    assert_eq!(layers.len(), found["best"]["layers"].as_array().unwrap().len());
    for pinned in [&layers[0], &layers[layers.len() - 1]] {
        assert_eq!(pinned["reason"], "pinned");
        assert_eq!(pinned["changes"], serde_json::json!([]));
    }
    let shares: f64 = layers.iter().map(|layer| layer["cost_share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");

    let limit = found["best"]["budget"][0]["limit"].as_f64().unwrap();
    for layer in &layers[1..layers.len() - 1] {
        assert!(layer["weight_kl"].as_f64().unwrap() >= 0.0, "{layer}");
        for change in layer["changes"].as_array().unwrap() {
            let latency = change["predicted_cost"]["latency_s"].as_f64().unwrap();
            assert_eq!(change["breaks_a_budget"], latency > limit, "{change}");
            assert!(change["predicted_kl_change"].is_f64(), "{change}");
        }
    }
    // One change, made in the policy file, costs what was predicted.
    let policy = folder.path().join(found["files"]["policy"].as_str().unwrap());
    let written = std::fs::read(policy).unwrap();
    let printed = folder.haq(&["runs", "show", "1", "--policy"]).assert().success();
    assert_eq!(printed.get_output().stdout, written);
    let mut changed: Value = serde_json::from_slice(&written).unwrap();
    let change = of_weights(&layers[4]).next().unwrap();
    changed["layers"][4]["weight_bits"] = change["to"].clone();
    folder.write("changed.json", &changed.to_string());
    let costed = folder.json(&["simulate", "--hw", "bismo-edge", "--policy", "changed.json"]);
    assert_eq!(costed["totals"]["latency_s"], change["predicted_cost"]["latency_s"]);
}

#[test]
fn a_second_search_takes_the_sensitivities_of_the_first() {
    let folder = Folder::new();
    folder.haq(&[SMALL_SEARCH, &["--strategy", "greedy"]].concat()).assert().success();
    let measured = explanation(&folder, 1);
    // This one measures none itself, and is explained by what the first did.
    folder.haq(&[SMALL_SEARCH, &["--strategy", "random"]].concat()).assert().success();
    let explained = explanation(&folder, 2);
    assert!(explained.iter().any(|layer| layer["weight_kl"].is_f64()), "{explained:?}");
    folder.haq(&["runs", "delete", "1"]).assert().success();
    assert_eq!(explanation(&folder, 2), explained, "what another run rests on stays");
    assert_eq!(measured.len(), explained.len());

    // `haq sensitivity` on as many images measures only what no search did.
    let again = folder.json(&[
        "sensitivity",
        "--calibration",
        "64",
        "--images",
        "64",
        "--seed",
        "7",
        "--bits",
        "4",
        "--quiet",
    ]);
    assert_eq!(again["measured"], 4, "weights and input of the two pinned layers");
}

#[test]
fn runs_are_compared_layer_by_layer_and_as_wholes() {
    let folder = Folder::new();
    for strategy in ["ilp", "uniform"] {
        folder.haq(&[SMALL_SEARCH, &["--strategy", strategy]].concat()).assert().success();
    }
    let compared = folder.json(&["runs", "compare", "1", "2"]);
    let difference = &compared["differences"][0];
    assert_eq!((&difference["against"], &difference["run"]), (&1.into(), &2.into()));
    let layers = compared["layers"].as_array().unwrap();
    let differing = layers.iter().filter(|layer| layer["differs"] == true).count();
    assert_eq!(difference["n_layers_that_differ"], differing);
    for layer in layers {
        let bits = layer["bits"].as_array().unwrap();
        assert_eq!(layer["differs"], bits[0] != bits[1]);
    }
    let quality = |index: usize| compared["runs"][index]["best"]["quality"].as_f64().unwrap();
    let found = difference["quality_search"].as_f64().unwrap();
    assert!((found - (quality(1) - quality(0))).abs() < 1e-12);
    assert_eq!(compared["across_devices"], serde_json::json!([]));

    let shown = folder.haq(&["runs", "compare", "1", "2", "--plot", "both.png"]).assert().success();
    let text = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(text.contains("layers that differ") && text.contains("run 2"), "{text}");
    assert!(folder.path().join("both.png").metadata().unwrap().len() > 1000);
    let (message, code) = folder.failure(&["runs", "compare", "1", "2", "--plot", "both.gif"]);
    assert!(message.contains("both.gif") && code == 2, "{message}");
}

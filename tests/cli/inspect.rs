//! `haq simulate`, `evaluate`, `model` and `hw`: the JSON contract and the tables.

use crate::common::Folder;

const LAYERS: &str = "\
name,op,in_channels,out_channels,kernel_h,kernel_w,stride_h,stride_w,pad_top,pad_left,pad_bottom,pad_right,groups,in_h,in_w
stem,conv,3,16,3,3,1,1,1,1,1,1,1,32,32
dw,depthwise,16,16,3,3,2,2,1,1,1,1,16,32,32
head,linear,16,10,1,1,1,1,0,0,0,0,1,1,1
";

#[test]
fn simulate_prints_its_contract_for_a_table_of_layers() {
    let folder = Folder::new();
    folder.write("layers.csv", LAYERS);
    for profile in ["edge-tpu", "tpu-v1", "bismo-edge", "bismo-cloud", "bitfusion"] {
        let printed = folder.json(&[
            "simulate",
            "--layers",
            "layers.csv",
            "--hw",
            profile,
            "--bits",
            "4,6",
            "--pin",
            "first=8",
            "--batch",
            "2",
        ]);
        assert_eq!(printed["profile"], profile);
        assert_eq!(printed["batch"], 2);
        let totals = &printed["totals"];
        for key in
            ["cycles", "compute_cycles", "latency_s", "energy_j", "size_bytes", "peak_memory_bytes"]
        {
            assert!(totals[key].as_f64().unwrap() > 0.0, "{profile} {key}");
        }
        assert_eq!(totals["macs"], 2 * (32 * 32 * 27 * 16 + 16 * 16 * 9 * 16 + 160));
        let layers = printed["layers"].as_array().unwrap();
        let ops: Vec<_> = layers.iter().map(|layer| layer["op"].as_str().unwrap()).collect();
        assert_eq!(ops, ["conv", "depthwise", "linear"]);
        let bits: Vec<_> =
            layers.iter().map(|layer| layer["weight_bits"].as_u64().unwrap()).collect();
        assert_eq!(bits, [8, 4, 4]);
        for layer in layers {
            assert!(["compute", "memory"].contains(&layer["bound"].as_str().unwrap()));
            assert!((0.0..=1.0).contains(&layer["utilization"].as_f64().unwrap()));
        }
    }
}

#[test]
fn evaluate_measures_float_and_quantized_in_one_run() {
    let folder = Folder::new();
    let at = |bits: &str| {
        folder.json(&[
            "evaluate",
            "--bits",
            bits,
            "--pin",
            "first=8,last=8",
            "--calibration",
            "200",
        ])
    };
    let (eight, two) = (at("8,8"), at("2,2"));
    let top1 = |printed: &serde_json::Value| printed["quality"]["top1"].as_f64().unwrap();
    assert_eq!(eight["images"], 449);
    assert!(eight["float"]["quality"]["top1"].as_f64().unwrap() >= 0.97);
    assert!(
        top1(&eight) >= 0.97 && top1(&two) < top1(&eight) - 0.02,
        "{} {}",
        top1(&eight),
        top1(&two)
    );
    assert!(eight["images_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(eight["float"]["quality"]["agreement"], 1.0);
}

#[test]
fn the_layers_of_a_network_are_shown() {
    let folder = Folder::new();
    let inspected = folder.json(&["model", "inspect"]);
    let layers = inspected["layers"].as_array().unwrap();
    assert!((8..=14).contains(&layers.len()));
    assert!(layers.iter().any(|layer| layer["op"] == "depthwise"));
    let sum: u64 = layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum();
    assert_eq!(inspected["macs"], sum);
}

#[test]
fn profiles_are_listed_shown_and_checked() {
    let folder = Folder::new();
    let listed = folder.json(&["hw", "list"]);
    let names: Vec<_> = listed["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    for name in ["edge-tpu", "tpu-v1", "bismo-edge", "bismo-cloud", "bitfusion"] {
        assert!(names.contains(&name), "{names:?}");
        folder.haq(&["hw", "check", name]).assert().success();
    }
    let text =
        folder.haq(&["hw", "show", "bismo-edge"]).assert().success().get_output().stdout.clone();
    let own = folder.write(
        "mine.toml",
        &String::from_utf8(text).unwrap().replacen("clock_hz", "clock_hertz = 1\nclock_hz", 1),
    );
    let (message, code) = folder.failure(&["hw", "check", own.to_str().unwrap()]);
    assert!(message.contains("mine.toml:") && message.contains("clock_hertz"), "{message}");
    assert_eq!(code, 1);
}

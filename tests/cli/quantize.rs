//! `haq quantize` and `haq sensitivity`: what is shown, what is kept, what is drawn.

use std::path::Path;

use serde_json::Value;

use crate::common::Folder;

const QUANTIZE: &[&str] =
    &["quantize", "--calibration", "64", "--images", "64", "--bits", "8,8", "--bits", "3,4"];

fn quantize(folder: &Folder, more: &[&str]) -> Value {
    folder.json(&[QUANTIZE, more].concat())
}

fn sensitivity(folder: &Folder, more: &[&str]) -> Value {
    let all = ["sensitivity", "--calibration", "64", "--images", "96"];
    folder.json(&[&all[..], more].concat())
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["rows"].as_array().expect("there are rows")
}

/// Names and ends of a plot's file.
fn assert_is_plot(path: &Path) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|ending| ending == "png") {
        let picture = image::load_from_memory(&bytes).expect("it is a PNG");
        let pixels = picture.to_rgb8();
        let colours: std::collections::BTreeSet<_> = pixels.pixels().map(|pixel| pixel.0).collect();
        assert!(colours.len() > 20, "{}: nothing is drawn", path.display());
    } else {
        let text = String::from_utf8(bytes).expect("SVG is text");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
    }
}

#[test]
fn a_comparison_has_every_method_at_every_choice_of_bits() {
    let folder = Folder::new();
    let names = ["gptq", "dynamic-row", "aciq-allocated", "haq", "codebook", "min-max"];
    let all = names.join(",");
    let more = ["--methods", &all, "--pin", "first=8,last=8", "--repeats", "2", "--hw", "t4"];
    let answer = quantize(&folder, &more);
    assert_eq!(answer["schema"], 1);
    assert_eq!(answer["seeds"], serde_json::json!([0, 1]));
    let found: Vec<(&str, u64, u64)> = rows(&answer)
        .iter()
        .map(|row| {
            let number = |key: &str| row[key].as_u64().unwrap();
            let name = row["method"].as_str().unwrap();
            (name, number("weight_bits"), number("activation_bits"))
        })
        .collect();
    let expected: Vec<(&str, u64, u64)> =
        names.iter().flat_map(|&name| [(name, 8, 8), (name, 3, 4)]).collect();
    assert_eq!(found, expected);
    let float = answer["float"]["quality"]["mean"].as_f64().unwrap();
    for row in rows(&answer) {
        let quality = row["quality"]["mean"].as_f64().unwrap();
        let to_float = row["to_float"]["mean"].as_f64().unwrap();
        assert!((quality - float - to_float).abs() < 1e-12, "{row}");
        assert!(row["quality"]["deviation"].as_f64().is_some(), "{row}");
        assert!(row["modelled"]["latency_s"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["seeds"].as_array().unwrap().len(), 2);
    }
    let ratio = |row: &Value| row["size_ratio"].as_f64().unwrap();
    assert!(ratio(&rows(&answer)[1]) < ratio(&rows(&answer)[0]));
    assert_is_plot(&folder.path().join(answer["files"]["plot"].as_str().unwrap()));
}

#[test]
fn a_row_equals_what_evaluate_finds_and_its_size_is_counted() {
    let folder = Folder::new();
    let answer = quantize(&folder, &["--methods", "mse,codebook"]);
    let layers = folder.json(&["model", "inspect"])["layers"].as_array().unwrap().clone();
    let number = |value: &Value| value.as_u64().unwrap();
    let channels = |layer: &Value| number(&layer["shape"]["out_channels"]);
    let centroids = |layer: &Value| number(&layer["weights"]).min(8);
    for (row, n_floats) in
        [(&rows(&answer)[1], &channels as &dyn Fn(&Value) -> u64), (&rows(&answer)[3], &centroids)]
    {
        let method = row["method"].as_str().unwrap();
        let arguments = [
            "evaluate",
            "--calibration",
            "64",
            "--images",
            "64",
            "--bits",
            "3,4",
            "--method",
            method,
        ];
        assert_eq!(row["seeds"][0]["quality"], folder.json(&arguments)["quality"], "{method}");
        let size =
            |layer: &Value| (number(&layer["weights"]) * 3).div_ceil(8) + 4 * n_floats(layer);
        assert_eq!(row["size_bytes"], layers.iter().map(size).sum::<u64>(), "{method}");
    }
}

#[test]
fn what_is_known_is_not_measured_again() {
    let folder = Folder::new();
    let first = quantize(&folder, &["--methods", "mse"]);
    assert_eq!(first["measured"], 2);
    let more = quantize(&folder, &["--methods", "min-max,mse", "--bits", "2,2"]);
    assert_eq!(more["measured"], 4, "three of min-max and one of mse");
    let same = |row: &&Value| row["method"] == "mse" && row["weight_bits"] == 8;
    let of = |answer: &Value| rows(answer).iter().find(same).unwrap().clone();
    assert_eq!(of(&more), of(&first), "times too");
    assert_eq!(quantize(&folder, &["--methods", "mse"])["measured"], 0);
    for other in [&["--seed", "1"][..], &["--pin", "first=8"], &["--split", "search"], &["--again"]]
    {
        let again = quantize(&folder, &[&["--methods", "mse"], other].concat());
        assert_eq!(again["measured"], 2, "{other:?}");
    }
}

#[test]
fn a_killed_comparison_goes_on_with_what_is_missing() {
    use std::io::{BufRead as _, BufReader};
    let folder = Folder::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_haq"))
        .current_dir(folder.path())
        .env_remove("HAQ_DB")
        .args(QUANTIZE)
        .args(["--methods", "mse-corrected,mse,percentile,min-max"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines.map(Result::unwrap).find(|line| line.starts_with("2/8")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told.contains("mse-corrected"), "{told}");
    let answer = quantize(&folder, &["--methods", "mse-corrected,mse,percentile,min-max"]);
    assert_eq!(rows(&answer).len(), 8);
    let measured = answer["measured"].as_u64().unwrap();
    assert!(measured <= 6, "what was told before was kept: {measured}");
}

#[test]
fn comparisons_print_as_table_and_csv_and_draw_both_formats() {
    let folder = Folder::new();
    let print = |more: &[&str]| {
        let arguments = [QUANTIZE, &["--methods", "mse,min-max"], more].concat();
        let output = folder.haq(&arguments).assert().success().get_output().clone();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (table, notes) = print(&["--plot", "plot.png"]);
    assert!(notes.contains("1/4") && notes.contains("plot.png"), "{notes}");
    for expected in ["min-max", "3/4", "of float", "64 test images", "calibrated on 64 others"] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
    assert_is_plot(&folder.path().join("plot.png"));
    let (csv, notes) = print(&["--csv", "--quiet", "--plot", "plot.svg"]);
    assert!(csv.starts_with("model,method,weight_bits,activation_bits"), "{csv}");
    assert_eq!((csv.lines().count(), notes.as_str()), (5, ""));
    assert_is_plot(&folder.path().join("plot.svg"));
}

#[test]
fn sensitivity_has_every_layer_width_and_tensor_and_is_kept() {
    let folder = Folder::new();
    let answer = sensitivity(&folder, &["--bits", "2,8"]);
    let layers = folder.json(&["model", "inspect"])["layers"].as_array().unwrap().len();
    assert_eq!(rows(&answer).len(), layers * 2 * 2);
    assert_eq!(answer["measured"], layers * 2 * 2);
    let kl = |bits: u64| -> f64 {
        let of_bits = rows(&answer).iter().filter(|row| row["bits"] == bits);
        of_bits.map(|row| row["quality"]["kl"].as_f64().unwrap()).sum()
    };
    assert!(kl(2) > 20.0 * kl(8), "{} {}", kl(2), kl(8));
    for row in rows(&answer) {
        assert_eq!(row["squared_error"].is_null(), row["tensor"] == "activations", "{row}");
        assert!(row["omega"].is_null(), "no Hessian was asked for");
    }
    assert_is_plot(&folder.path().join(answer["files"]["plot"].as_str().unwrap()));

    let again = sensitivity(&folder, &["--bits", "2,8"]);
    assert_eq!((&again["measured"], &again["rows"]), (&0.into(), &answer["rows"]));
    let wider = sensitivity(&folder, &["--bits", "2,4,8", "--tensors", "weights"]);
    assert_eq!(wider["measured"], layers);
    let threads = Folder::new();
    let one = sensitivity(&threads, &["--bits", "2,8", "--threads", "1"]);
    assert_eq!(one["rows"], answer["rows"], "the number of threads changes nothing");
}

#[test]
fn traces_of_the_hessian_rank_the_layers_and_are_kept() {
    let folder = Folder::new();
    let more = ["--bits", "2,8", "--hessian", "--probes", "20", "--tensors", "weights"];
    let answer = sensitivity(&folder, &more);
    let hessian = &answer["hessian"];
    assert_eq!((&hessian["probes"], &hessian["images"]), (&20.into(), &64.into()));
    for (layer, row) in rows(&answer).iter().step_by(2).enumerate() {
        let trace = &hessian["layers"][layer];
        assert_eq!(trace["name"], row["name"]);
        assert!(trace["standard_error"].as_f64().unwrap() > 0.0);
        let omega =
            trace["average_trace"].as_f64().unwrap() * row["squared_error"].as_f64().unwrap();
        assert!((row["omega"].as_f64().unwrap() - omega).abs() <= 1e-12 * omega.abs(), "{row}");
    }
    assert_eq!(sensitivity(&folder, &more)["hessian"], *hessian);
}

#[test]
fn sensitivities_print_as_table_and_csv() {
    let folder = Folder::new();
    let print = |more: &[&str]| {
        let all = ["sensitivity", "--calibration", "64", "--images", "64", "--bits", "2,4"];
        let arguments = [&all[..], more].concat();
        let output = folder.haq(&arguments).assert().success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    };
    let table = print(&["--plot", "heat.png"]);
    for expected in ["weights", "activations", "2 bits", "4 bits", "*", "64 search images"] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
    assert_is_plot(&folder.path().join("heat.png"));
    let csv = print(&["--csv", "--quiet", "--measure", "top1"]);
    assert!(csv.starts_with("model,method,layer_index,layer,tensor,bits"), "{csv}");
}

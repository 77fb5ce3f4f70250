//! `haq simulate` explained, side by side and drawn; `haq hw calibrate`.

use serde_json::Value;

use crate::common::Folder;

const HEADER: &str = "name,op,in_channels,out_channels,kernel_h,kernel_w,stride_h,stride_w,\
                      pad_top,pad_left,pad_bottom,pad_right,groups,in_h,in_w";
const LAYERS: &str = "
stem,conv,3,16,3,3,1,1,1,1,1,1,1,32,32
body,conv,16,64,3,3,2,2,1,1,1,1,1,32,32
head,linear,1024,10,1,1,1,1,0,0,0,0,1,1,1
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("layers.csv", &format!("{HEADER}{LAYERS}"));
    folder
}

fn simulate<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["simulate", "--layers", "layers.csv"], more].concat()
}

fn printed(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let output = folder.haq(arguments).assert().success().get_output().clone();
    let text = |bytes| String::from_utf8(bytes).expect("what is printed is text");
    (text(output.stdout), text(output.stderr))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn every_layer_says_what_moves_at_each_level() {
    let folder = folder();
    for profile in ["bismo-edge", "t4", "eyeriss-like", "bitfusion"] {
        let found = folder.json(&simulate(&["--hw", profile, "--bits", "4,8"]));
        for layer in found["layers"].as_array().unwrap() {
            let levels = layer["traffic"].as_object().unwrap();
            assert!(levels.len() >= 2, "{profile} {layer}");
            let sum = |level: &Value| number(&level["read_bytes"]) + number(&level["write_bytes"]);
            let crossing = number(&layer["dram_bytes"]);
            assert!(
                levels.values().any(|level| (sum(level) - crossing).abs() <= 1.0),
                "{profile} {layer}"
            );
            let ceiling = number(&layer["attainable_macs_per_s"]);
            assert!(number(&layer["macs_per_s"]) <= ceiling * (1.0 + 1e-9), "{profile} {layer}");
            let intensity = number(&layer["macs"]) / crossing;
            let stated = number(&layer["intensity_macs_per_byte"]);
            assert!((stated / intensity - 1.0).abs() < 0.01, "{profile} {layer}");
        }
        let totals = &found["totals"];
        let (peak, size) = (number(&totals["peak_memory_bytes"]), number(&totals["size_bytes"]));
        assert_eq!(number(&totals["activation_peak_bytes"]), peak - size, "{profile}");
        assert!(!totals["peak_step"].as_str().unwrap().is_empty() && totals["streamed_bytes"] == 0);
    }
    let (text, _) = printed(&folder, &simulate(&["--hw", "t4", "--bits", "8,8", "--explain"]));
    for words in ["gddr6 reads", "l2 writes", "MAC/byte", "memory peaks at"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn all_profiles_meet_all_policies_side_by_side() {
    let folder = folder();
    let layers: Vec<String> = ["stem", "body", "head"]
        .map(|name| format!(r#"{{"name":"{name}","weight_bits":2,"activation_bits":8}}"#))
        .into();
    folder.write("p.json", &format!(r#"{{"schema":1,"layers":[{}]}}"#, layers.join(",")));
    let wide = ["--hw", "bismo-edge", "--hw", "bismo-cloud", "--bits", "8,8", "--bits", "4,4"];
    let arguments = simulate(&[&wide[..], &["--policy", "p.json"]].concat());
    let found = folder.json(&arguments);
    let compared = found["compared"].as_array().unwrap();
    let case = |case: &Value| format!("{} {}", case["profile"], case["policy"]).replace('"', "");
    assert_eq!(
        compared.iter().map(case).collect::<Vec<_>>(),
        [
            "bismo-edge 8/8",
            "bismo-edge 4/4",
            "bismo-edge p.json",
            "bismo-cloud 8/8",
            "bismo-cloud 4/4",
            "bismo-cloud p.json"
        ]
    );
    let alone = folder.json(&simulate(&["--hw", "bismo-cloud", "--bits", "4,4"]));
    assert_eq!(compared[4]["totals"], alone["totals"]);
    assert_eq!(compared[4]["layers"], alone["layers"]);
    for kind in ["latency", "energy", "size", "memory"] {
        assert_eq!(compared[0]["ratio_to_first"][kind], 1.0);
    }
    let of_image = |case: &Value| number(&case["totals"]["latency_s"]) / number(&case["batch"]);
    let ratio = number(&compared[4]["ratio_to_first"]["latency"]);
    assert!((ratio - of_image(&compared[4]) / of_image(&compared[0])).abs() < 1e-12);
    let (text, _) = printed(&folder, &arguments);
    for words in ["bismo-cloud", "p.json", "latency", "memory", "(1.000×)"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let one = folder.json(&simulate(&["--hw", "t4", "--bits", "8,8", "--compare"]));
    assert_eq!(one["compared"].as_array().unwrap().len(), 1);
}

#[test]
fn the_roofline_is_drawn_in_both_formats() {
    let folder = folder();
    for profile in haq_simulator::profile::builtin_names() {
        let arguments = ["--hw", profile, "--bits", "4,8", "--roofline", "roof.svg"];
        let found = folder.json(&simulate(&arguments));
        assert_eq!(found["roofline"], "roof.svg");
        let svg = std::fs::read_to_string(folder.path().join("roof.svg")).unwrap();
        for words in ["roofline", "MAC/s at", "B/s", "stem", "head", profile] {
            assert!(svg.contains(words), "{profile}: {words}");
        }
    }
    printed(&folder, &simulate(&["--hw", "t4", "--bits", "8,8", "--roofline", "roof.png"]));
    let png = std::fs::read(folder.path().join("roof.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
}

/// A measurement of each layer, this many times as long as the model says.
fn measurements(folder: &Folder, profile: &str, factor: f64) -> String {
    let mut table = "layer,weight_bits,activation_bits,latency_s\n".to_owned();
    for bits in ["8,8", "4,4"] {
        let found = folder.json(&simulate(&["--hw", profile, "--bits", bits]));
        for layer in found["layers"].as_array().unwrap() {
            let (name, s) = (layer["name"].as_str().unwrap(), number(&layer["latency_s"]));
            table += &format!("{name},{bits},{}\n", s * factor);
        }
    }
    table
}

const CALIBRATE: [&str; 8] = [
    "hw",
    "calibrate",
    "--profile",
    "tpu-v1",
    "--layers",
    "layers.csv",
    "--measurements",
    "measured.csv",
];

#[test]
fn a_slower_device_is_fitted_and_its_profile_simulates_so() {
    let folder = folder();
    let measured = folder.write("measured.csv", &measurements(&folder, "tpu-v1", 1.6));
    assert!(measured.is_file());
    let fitted = folder.json(&[&CALIBRATE[..], &["--out", "mine.toml"]].concat());
    assert!(number(&fitted["mean_error_before"]) > 0.3, "{fitted}");
    assert!(number(&fitted["mean_error_after"]) < 0.01, "{fitted}");
    assert_eq!(fitted["layers"].as_array().unwrap().len(), 6);
    let latency = |profile| {
        let found = folder.json(&simulate(&["--hw", profile, "--bits", "4,4"]));
        number(&found["totals"]["latency_s"])
    };
    let ratio = latency("mine.toml") / latency("tpu-v1");
    assert!((1.55..1.65).contains(&ratio), "{ratio}");

    // Without a file, stdout is the profile and nothing else.
    let (profile, report) = printed(&folder, &CALIBRATE);
    assert_eq!(
        profile.trim(),
        std::fs::read_to_string(folder.path().join("mine.toml")).unwrap().trim()
    );
    assert!(report.contains("mean error of 6 measurements") && report.contains("body"), "{report}");
}

#[test]
fn layers_without_a_measurement_are_named() {
    let folder = folder();
    let (text, _) = printed(&folder, &["hw", "show", "bismo-edge"]);
    let entry =
        "\n[[measured]]\nlayer = \"body\"\nweight_bits = 8\nactivation_bits = 8\nlatency_s = 0.5\n";
    folder.write("mine.toml", &(text + entry));
    let arguments = simulate(&["--hw", "mine.toml", "--bits", "8,8"]);
    let (_, warning) = printed(&folder, &arguments);
    assert!(warning.contains("modelled: stem, head"), "{warning}");
    let found = folder.json(&arguments);
    assert_eq!(found["modelled_layers"], serde_json::json!(["stem", "head"]));
    assert_eq!(found["layers"][1]["source"], "measured");
    assert_eq!(found["layers"][1]["latency_s"], 0.5);
    let (_, silence) = printed(&folder, &simulate(&["--hw", "bismo-edge", "--bits", "8,8"]));
    assert_eq!(silence, "");
}

#[test]
fn bad_input_is_named_with_its_place() {
    let folder = folder();
    let two = ["--hw", "t4", "--hw", "a100", "--bits", "8,8", "--roofline", "a.svg"];
    let jpg = ["--hw", "t4", "--bits", "8,8", "--roofline", "a.jpg"];
    for (arguments, code, expected) in [
        (simulate(&two), 2, "one device and one policy"),
        (simulate(&jpg), 1, "neither .svg nor .png"),
        (simulate(&["--hw", "t4"]), 2, "--bits"),
        (simulate(&["--bits", "8,8"]), 2, "--hw"),
        (simulate(&["--hw", "t4", "--hw", "toaster", "--bits", "8,8"]), 1, "toaster"),
        (CALIBRATE.to_vec(), 1, "measured.csv: "),
        (vec!["hw", "calibrate", "--profile", "t4"], 2, "--measurements"),
    ] {
        let (message, found) = folder.failure(&arguments);
        assert_eq!(found, code, "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    let header = "layer,weight_bits,activation_bits,latency_s\n";
    for (rows, expected) in [
        ("\nstem,8,8,0.1\nnose,8,8,0.1\n", "measured.csv:4: measured layer \"nose\""),
        ("stem,8,8,0\n", "measured.csv:2: latency_s is \"0\""),
        ("stem,8,99,1\n", "measured.csv:2: activation_bits is \"99\""),
        ("", "measured.csv:1: no measurement"),
    ] {
        folder.write("measured.csv", &format!("{header}{rows}"));
        let (message, code) = folder.failure(&CALIBRATE);
        assert_eq!(code, 1, "{message}");
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

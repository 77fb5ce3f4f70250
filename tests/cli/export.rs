//! `haq export`, `haq import` and `haq verify`.

use haq::{domain::EpisodeKind, store::BlockingStore};
use serde_json::{Value, json};

use crate::common::{Folder, SMALL_SEARCH};

/// A folder with a small search in it.
fn searched() -> Folder {
    let folder = Folder::new();
    folder.json(SMALL_SEARCH);
    folder
}

#[test]
fn a_runs_answer_is_exported_imported_and_searched_again() {
    let folder = searched();
    let exported = folder.json(&["export", "1"]);
    assert_eq!((&exported["run"], &exported["format"]), (&json!(1), &json!("onnx")));
    let network = exported["files"]["network"].as_str().unwrap();
    assert_eq!(network, "haq-out/run-1/embedded_quantized.onnx");
    assert!(exported["size"]["code_bytes"].as_u64() >= exported["size"]["policy_bytes"].as_u64());
    let modelled = exported["size"]["modelled_bytes"].as_u64().unwrap();
    assert!(modelled >= exported["size"]["policy_bytes"].as_u64().unwrap());

    let imported = folder.json(&["import", network, "--out", "back.json"]);
    let policy = std::fs::read(folder.path().join("haq-out/run-1/policy.json")).unwrap();
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    for (index, layer) in imported["layers"].as_array().unwrap().iter().enumerate() {
        for key in ["name", "weight_bits", "activation_bits"] {
            assert_eq!(layer[key], policy["layers"][index][key], "{key} of layer {index}");
        }
        assert!(layer["weight"]["scale"].is_array() && layer["activation"]["codes"].is_array());
    }
    assert_eq!((&imported["run"], &imported["profile"]), (&json!(1), &json!("bismo-edge")));

    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits.csv.gz");
    let judged = folder.json(&["evaluate", "--model", network, "--data", digits]);
    assert_eq!(judged["method"], "as stored");
    assert!(judged["quality"]["top1"].as_f64() > Some(0.5));
    let search = [
        "search",
        "--model",
        network,
        "--data",
        digits,
        "--hw",
        "bismo-edge",
        "--budget",
        "latency=0.9",
        "--episodes",
        "2",
        "--calibration",
        "64",
        "--search-images",
        "64",
        "--images",
        "64",
        "--db",
        "second.db",
    ];
    folder.json(&search);
    // The first episode that is no reference takes the file's own bits.
    let store = BlockingStore::open_read_only(folder.path().join("second.db")).unwrap();
    let episodes = store.episodes(1).unwrap();
    let start = episodes.iter().find(|episode| episode.kind == EpisodeKind::Start).unwrap();
    let bits = |layer: &Value, key: &str| layer[key].as_u64().unwrap();
    let kept = start.policy.layers().iter().zip(imported["layers"].as_array().unwrap());
    for (found, layer) in kept {
        assert_eq!(u64::from(found.weight.get()), bits(layer, "weight_bits"), "{layer}");
        assert_eq!(u64::from(found.activation.get()), bits(layer, "activation_bits"), "{layer}");
    }
}

#[test]
fn each_format_is_written_and_read() {
    let folder = Folder::new();
    let bits = ["export", "--bits", "4,6", "--pin", "first=8,last=8", "--calibration", "64"];
    let expected = [["8/8"].as_slice(), &["4/6"; 10], &["8/8"]].concat();
    for (format, file, with) in [
        ("qonnx", "embedded_qonnx.onnx", vec![]),
        ("aimet", "embedded_aimet.encodings", vec!["--model", "haq-out/embedded_aimet.onnx"]),
        ("aimet-2", "embedded_aimet.encodings", vec!["--model", "haq-out/embedded_aimet.onnx"]),
        ("policy", "embedded_policy.json", vec![]),
    ] {
        let exported = folder.json(&[&bits[..], &["--format", format]].concat());
        assert_eq!(exported["format"], format);
        let file = format!("haq-out/{file}");
        let imported = folder.json(&[&["import", &file], &with[..]].concat());
        let found: Vec<String> = imported["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| format!("{}/{}", layer["weight_bits"], layer["activation_bits"]))
            .collect();
        assert_eq!(found, expected, "{format}");
    }
}

#[test]
fn what_cannot_be_exported_is_told() {
    let folder = Folder::new();
    folder.write("none.json", r#"{"version":"1.0.0"}"#);
    folder.write("net_taken.json", "{}");
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits_net.onnx");
    for (arguments, expected, code) in [
        (vec!["export"], "required", 2),
        (vec!["export", "7"], "haq.db", 1),
        (vec!["export", "--bits", "8,8", "--target", "toaster"], "is no target", 2),
        (vec!["export", "--bits", "8,8", "--format", "qonnx", "--verify"], "--verify is for", 2),
        (vec!["export", "--bits", "8,8", "--target", "finn"], "takes --format qonnx", 1),
        (vec!["export", "--bits", "8,8", "--out", "net_taken.onnx"], "choose another --out", 2),
        (vec!["export", "--bits", "4,4", "--method", "codebook"], "choose a method other", 1),
        (vec!["import", "ghost.onnx"], "ghost.onnx", 1),
        (vec!["import", digits], "nothing in it is quantized", 1),
        (vec!["import", "none.json"], "--model says which layers", 2),
        (vec!["import", "none.json", "--model", digits], "it has no encodings", 1),
        (vec!["evaluate"], "say how many bits", 2),
        (vec!["verify", digits, "--python", "no-such-python"], "no-such-python cannot be run", 1),
    ] {
        let (message, found) = folder.failure(&arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(found, code, "{arguments:?}: {message}");
    }
    // The file is written whether or not it can be verified.
    let arguments = ["export", "--bits", "8,8", "--verify", "--python", "no-such-python"];
    let (message, code) = folder.failure(&arguments);
    assert!(message.contains("cannot be run") && code == 4, "{message}");
    assert!(folder.path().join("haq-out/embedded_quantized.onnx").exists());
}

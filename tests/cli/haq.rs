//! `--strategy haq`: the paper's search, in both of its modes.

use serde_json::{Value, json};

use crate::common::{Folder, SMALL_SEARCH};

/// Weights alone, under a budget on size.
const SIZE_MODE: &[&str] = &[
    "search",
    "--hw",
    "bismo-edge",
    "--strategy",
    "haq",
    "--method",
    "codebook",
    "--budget",
    "size=0.3",
    "--pin",
    "none",
    "--episodes",
    "24",
    "--calibration",
    "32",
    "--search-images",
    "64",
    "--images",
    "64",
    "--seed",
    "1",
    "--quiet",
];

fn shown(folder: &Folder, found: &Value) -> Vec<Value> {
    let run = found["run"].to_string();
    folder.json(&["runs", "show", &run])["episodes"].as_array().unwrap().clone()
}

fn size(episode: &Value) -> u64 {
    episode["cost"]["size_bytes"].as_u64().unwrap()
}

#[test]
fn the_size_mode_decides_weights_alone_and_counts_codebooks() {
    let folder = Folder::new();
    let found = folder.json(SIZE_MODE);
    assert_eq!((&found["strategy"], &found["objective"]), (&json!("haq"), &json!("size")));
    let layers = found["best"]["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["activation_bits"] == 8));

    let episodes = shown(&folder, &found);
    let limit = found["best"]["budget"][0]["limit"].as_f64().unwrap();
    let proposals = || episodes.iter().filter(|episode| episode["kind"] != "reference");
    assert_eq!(proposals().count(), 24);
    assert!(proposals().all(|episode| size(episode) as f64 <= limit));
    assert!(proposals().any(|episode| episode["proposed"] != episode["policy"]), "none repaired");

    // What the quantizer stores at the same bits; biases, which it does not count, cancel out.
    let stored = folder.json(&[
        "quantize",
        "--methods",
        "codebook",
        "--bits",
        "2,8",
        "--bits",
        "4,8",
        "--bits",
        "5,8",
        "--pin",
        "none",
        "--calibration",
        "32",
        "--images",
        "32",
        "--quiet",
    ]);
    let stored_at = |bits: u64| {
        let rows = stored["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["weight_bits"] == bits).expect("a row for each");
        row["size_bytes"].as_u64().unwrap()
    };
    let uniform_at = |bits: u64| {
        let is_uniform = |episode: &&Value| {
            let layers = episode["policy"].as_array().unwrap();
            episode["kind"] == "reference"
                && layers.iter().all(|layer| layer["weight_bits"] == bits)
        };
        size(episodes.iter().find(is_uniform).expect("every width is a reference"))
    };
    for (low, high) in [(2, 4), (4, 5)] {
        assert_eq!(uniform_at(high) - uniform_at(low), stored_at(high) - stored_at(low));
    }
}

#[test]
fn the_size_mode_is_announced_with_nothing_to_choose_for_activations() {
    let folder = Folder::new();
    let arguments = [&SIZE_MODE[..SIZE_MODE.len() - 1], &["--dry-run"]].concat();
    let output = folder.haq(&arguments).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.contains("activations stay in float") && text.contains("float"), "{text}");
}

#[test]
fn six_hundred_episodes_are_planned_where_none_are_named() {
    let folder = Folder::new();
    for (strategy, episodes) in [("haq", 600), ("random", 200)] {
        let limited = ["search", "--hw", "bismo-edge", "--budget", "latency=0.5", "--dry-run"];
        let plan = folder.json(&[&limited[..], &["--strategy", strategy]].concat());
        assert_eq!(plan["episodes"], episodes, "{strategy}");
    }
}

#[test]
fn weights_and_activations_are_searched_with_a_brief_training_as_in_the_paper() {
    let folder = Folder::new();
    let more = ["--strategy", "haq", "--episode-finetune", "--episodes", "21"];
    let mut arguments: Vec<&str> = Vec::new();
    let mut small = SMALL_SEARCH.iter();
    while let Some(&argument) = small.next() {
        match argument {
            "--episodes" => _ = small.next(),
            _ => arguments.push(argument),
        }
    }
    arguments.extend(more);
    let found = folder.json(&arguments);
    let episodes = shown(&folder, &found);
    let of_kind = |kind: &str| episodes.iter().filter(|episode| episode["kind"] == kind).count();
    assert_eq!([of_kind("start"), of_kind("warm-up"), of_kind("proposal")], [0, 20, 1]);
    for episode in &episodes {
        let layers = episode["policy"].as_array().unwrap();
        let ends = [&layers[0], &layers[layers.len() - 1]];
        let is_eight = |layer: &&Value| layer["weight_bits"] == 8 && layer["activation_bits"] == 8;
        assert!(ends.iter().all(is_eight), "{episode}");
    }
}

#[test]
fn codebooks_are_better_after_a_brief_training() {
    let folder = Folder::new();
    let narrow = ["--weight-bits", "2,3", "--measure", "kl", "--episodes", "2"];
    let mut arguments: Vec<&str> = SIZE_MODE.to_vec();
    let episodes = arguments.iter().position(|argument| *argument == "--episodes").unwrap();
    arguments.drain(episodes..episodes + 2);
    arguments.extend(narrow);
    let kl = |more: &[&str]| {
        let found = folder.json(&[&arguments[..], more].concat());
        let episodes = shown(&folder, &found);
        episodes.iter().map(|e| e["quality"]["kl"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let rounded = kl(&[]);
    let trained = kl(&["--episode-finetune", "20"]);
    assert_eq!(rounded.len(), trained.len());
    assert!(rounded.iter().zip(&trained).all(|(r, t)| t < r), "{rounded:?} {trained:?}");
}

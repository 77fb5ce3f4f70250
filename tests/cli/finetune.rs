//! `haq finetune`: what comes out is what is evaluated, and what was killed goes on.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{Folder, SMALL_SEARCH};

/// Two bits inside the embedded network, few images.
const SMALL_TUNING: &[&str] = &[
    "finetune",
    "--bits",
    "2,2",
    "--pin",
    "first=8,last=8",
    "--epochs",
    "3",
    "--lr",
    "0.02",
    "--calibration",
    "64",
    "--search-images",
    "200",
    "--images",
    "200",
    "--seed",
    "5",
    "--quiet",
];

/// What has to be equal for equal seeds.
fn figures(mut tuning: Value) -> Value {
    let object = tuning.as_object_mut().expect("a tuning is an object");
    object.remove("wall_s");
    for epoch in tuning["epochs"].as_array_mut().expect("a tuning has epochs") {
        epoch.as_object_mut().expect("an epoch is an object").remove("wall_s");
    }
    tuning
}

fn started(folder: &Folder, arguments: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("haq"))
        .current_dir(folder.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Waits until the program has said so many lines that hold `word`.
fn wait_for_lines(child: &mut Child, word: &str, n: usize) {
    use std::io::BufRead as _;
    let patience = Instant::now() + Duration::from_secs(300);
    let lines = std::io::BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let mut found = 0;
    for line in lines.map_while(Result::ok) {
        assert!(Instant::now() < patience, "{word} was said {n} times");
        found += usize::from(line.contains(word));
        if found == n {
            return;
        }
    }
}

#[test]
fn the_evaluated_figure_of_a_tuned_network_is_the_trainings_own() {
    let folder = Folder::new();
    let tuning = folder.json(SMALL_TUNING);
    assert_eq!(tuning["state"], "completed");
    let start = tuning["post_training"]["quality_test"].as_f64().unwrap();
    let tuned = tuning["tuned"]["quality_test"].as_f64().unwrap();
    assert!(tuned > start + 0.1, "{start} {tuned}");
    let network = tuning["files"]["network"].as_str().unwrap();
    let shared = ["--calibration", "64", "--seed", "5"];
    let evaluate = |split: &[&str]| {
        let command = ["evaluate", "--tuned", network];
        folder.json(&[&command, split, &shared].concat())
    };
    let test = evaluate(&["--split", "test", "--images", "200"]);
    assert_eq!(test["quality"], tuning["tuned"]["quality"]);
    assert_eq!(test["float"]["quality"], tuning["float"]["quality"]);
    let best = tuning["best_epoch"].as_u64().unwrap() as usize;
    let search = evaluate(&["--split", "search", "--images", "200"]);
    assert_eq!(search["quality"], tuning["epochs"][best]["quality"]);
    assert_eq!(search["layers"][1]["weight_bits"], 2);
    let integer = &evaluate(&["--split", "test", "--images", "200", "--integer"])["integer"];
    assert!(integer["same_class"].as_f64().unwrap() > 0.98, "{integer}");

    // The weights alone are an ordinary network, which 8 bits leave nearly as it is.
    let onnx = tuning["files"]["onnx"].as_str().unwrap();
    let inspected = folder.json(&["model", "inspect", onnx]);
    assert_eq!(
        inspected["layers"].as_array().unwrap().len(),
        test["layers"].as_array().unwrap().len()
    );
    assert!(folder.path().join("haq-out/tuning-1/tuned.json").exists(), "its card is beside it");
    let policy = tuning["files"]["policy"].as_str().unwrap();
    folder.haq(&["simulate", "--hw", "bismo-edge", "--policy", policy]).assert().success();
}

#[test]
fn a_killed_tuning_goes_on_with_exactly_the_epochs_it_would_have_had() {
    let undisturbed = Folder::new();
    let one_thread = [SMALL_TUNING, &["--threads", "1"]].concat();
    let expected = figures(undisturbed.json(&one_thread));
    let network = |folder: &Folder| {
        std::fs::read(folder.path().join("haq-out/tuning-1/tuned.safetensors")).unwrap()
    };

    let folder = Folder::new();
    let loud: Vec<&str> = SMALL_TUNING.iter().copied().filter(|a| *a != "--quiet").collect();
    let mut child = started(&folder, &[&loud[..], &["--threads", "2"]].concat());
    wait_for_lines(&mut child, "epoch 1:", 1);
    let _ = child.kill();
    child.wait().unwrap();
    let resumed = folder.json(&["finetune", "--resume", "--quiet", "--threads", "2"]);
    assert_eq!(figures(resumed), expected);
    assert_eq!(network(&folder), network(&undisturbed));

    // A completed one only writes its files again.
    std::fs::remove_dir_all(folder.path().join("haq-out")).unwrap();
    let again = folder.json(&["finetune", "--resume", "1", "--quiet"]);
    assert_eq!(figures(again), expected);
    assert_eq!(network(&folder), network(&undisturbed));
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_finished_epochs_and_ends_with_130() {
    let folder = Folder::new();
    let mut arguments: Vec<&str> =
        SMALL_TUNING.iter().copied().filter(|a| *a != "--quiet").collect();
    let epochs = arguments.iter().position(|argument| *argument == "--epochs").unwrap();
    arguments[epochs + 1] = "10000";
    let mut child = started(&folder, &arguments);
    wait_for_lines(&mut child, "epoch 1:", 1);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let (message, code) = folder.failure(&["finetune", "--resume", "2"]);
    assert!(message.contains("no tuning 2") && code == 1, "{message}");
    assert!(folder.path().join("haq-out/tuning-1/tuned.safetensors").exists());
}

#[test]
fn the_best_policy_of_a_run_is_trained_on_the_runs_own_splits() {
    let folder = Folder::new();
    let run = folder.json(SMALL_SEARCH);
    let tuning = folder.json(&["finetune", "1", "--epochs", "1", "--quiet"]);
    assert_eq!(tuning["run"], 1);
    let start = &tuning["epochs"][0];
    assert_eq!(start["quality_search"], run["best"]["quality_search"]);
    assert_eq!(tuning["post_training"]["quality_test"], run["best"]["quality_test"]);
    let policy = std::fs::read_to_string(folder.path().join("haq-out/tuning-1/policy.json"));
    let policy: Value = serde_json::from_str(&policy.unwrap()).unwrap();
    assert_eq!(policy["layers"], run["best"]["layers"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = Folder::new();
    folder.write("not.safetensors", "no such thing");
    for (arguments, expected, expected_code) in [
        (vec!["finetune"], "required", 2),
        (vec!["finetune", "1", "--bits", "4,4"], "cannot be used with", 2),
        (vec!["finetune", "--resume", "--lr", "0.1"], "cannot be used with", 2),
        (vec!["finetune", "--resume"], "no tuning is interrupted", 2),
        (vec!["finetune", "7"], "there is no run 7", 1),
        (vec!["finetune", "--bits", "9,9"], "not a number of bits", 2),
        (vec!["finetune", "--bits", "4,4", "--lr", "0"], "the learning rate is 0", 2),
        (vec!["finetune", "--bits", "4,4", "--momentum", "1"], "momentum is 1", 2),
        (vec!["finetune", "--bits", "4,4", "--batch", "0"], "not a number above 0", 2),
        (vec!["finetune", "--bits", "4,4", "--ranges", "kl"], "lsq, pact, ema", 2),
        (vec!["finetune", "--bits", "4,4", "--model", "net.onnx"], "--model needs --data", 2),
        (vec!["finetune", "--bits", "4,4", "--pin", "nowhere=8"], "nowhere", 2),
        (vec!["evaluate", "--tuned", "not.safetensors"], "not.safetensors: ", 1),
        (vec!["evaluate", "--tuned", "missing.safetensors"], "missing.safetensors: ", 1),
        (vec!["evaluate", "--tuned", "x", "--bits", "4,4"], "cannot be used with", 2),
    ] {
        let (message, code) = folder.failure(&arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(code, expected_code, "{arguments:?}: {message}");
    }
    let wild = ["finetune", "--bits", "4,4", "--lr", "1e30", "--calibration", "64"];
    let (message, code) = folder.failure(&wild);
    assert!(message.contains("the loss is") && code == 1, "{message}");
}

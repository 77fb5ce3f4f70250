//! Strategies, seeds and devices beside each other.

use serde_json::Value;

use crate::common::{Folder, SMALL_SEARCH, episodes};

/// Three strategies, of which one draws, over two seeds: four runs.
const CONTEST: &[&str] = &["--strategy", "random,uniform,ilp", "--repeats", "2"];

fn contest(folder: &Folder, more: &[&str]) -> Value {
    folder.json(&[SMALL_SEARCH, CONTEST, more].concat())
}

fn standing<'v>(found: &'v Value, label: &str) -> &'v Value {
    let all = found["strategies"].as_array().unwrap();
    all.iter().find(|standing| standing["label"] == label).expect("the strategy competed")
}

#[test]
fn strategies_compete_on_the_same_images_and_those_that_draw_over_every_seed() {
    let folder = Folder::new();
    let found = contest(&folder, &[]);
    assert_eq!(found["runs"], serde_json::json!([1, 2, 3, 4]));
    assert_eq!(found["is_complete"], true);
    for (label, n_runs) in [("random", 2), ("uniform", 1), ("ilp", 1)] {
        let standing = standing(&found, label);
        assert_eq!(standing["runs"].as_array().unwrap().len(), n_runs, "{label}");
        assert!(standing["quality_test"]["mean"].as_f64().unwrap() > 0.0, "{label}");
        let has_spread = !standing["quality_test"]["deviation"].is_null();
        assert_eq!(has_spread, n_runs > 1, "{label}");
    }
    assert_eq!(standing(&found, "random")["evaluations"]["mean"], 30.0);
    assert_eq!(standing(&found, "ilp")["evaluations"]["mean"], 1.0);

    // The float network answers alike in all runs: its images are the same.
    let listed = folder.json(&["runs", "list"]);
    let floats: Vec<&Value> =
        listed["runs"].as_array().unwrap().iter().map(|run| &run["float_quality"]).collect();
    assert!(floats.iter().all(|float| *float == floats[0]), "{floats:?}");
    let seeds: Vec<u64> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|run| run["strategy"] == "random")
        .map(|run| run["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds, [8, 7]);
    for file in found["files"].as_array().unwrap() {
        assert!(folder.path().join(file.as_str().unwrap()).metadata().unwrap().len() > 1000);
    }
}

#[test]
fn a_policy_is_judged_once_for_all_runs_and_equals_what_a_search_alone_finds() {
    let folder = Folder::new();
    contest(&folder, &[]);
    let alone = folder.json(&[SMALL_SEARCH, &["--strategy", "random"]].concat());
    let alone = alone["run"].as_i64().unwrap();
    let figures = |run: i64| -> Vec<Value> {
        let mut all = episodes(&folder, run);
        all.iter_mut().for_each(|episode| {
            episode.as_object_mut().unwrap().remove("from_cache");
        });
        all
    };
    assert_eq!(figures(1), figures(alone));
    let shared = episodes(&folder, 4);
    let references = shared.iter().filter(|episode| episode["kind"] == "reference");
    assert!(references.clone().count() > 0);
    for reference in references {
        assert_eq!(reference["from_cache"], true, "run 1 had judged it");
    }
}

#[test]
fn the_same_command_goes_on_where_a_contest_was_and_takes_what_is_done() {
    let folder = Folder::new();
    let first = folder.json(&[SMALL_SEARCH, &["--strategy", "uniform,ilp"]].concat());
    assert_eq!(first["runs"], serde_json::json!([1, 2]));
    let grown = contest(&folder, &[]);
    assert_eq!(grown["runs"], serde_json::json!([3, 1, 2, 4]), "{grown}");
    assert_eq!(contest(&folder, &[])["runs"], grown["runs"]);
    let again = contest(&folder, &["--again"]);
    assert_eq!(again["runs"], serde_json::json!([5, 6, 7, 8]));
    let other = contest(&folder, &["--method", "mse"]);
    assert_eq!(other["runs"].as_array().unwrap()[0], 9, "another method is another contest");
}

#[test]
fn a_policy_searched_for_one_device_is_costed_on_the_others() {
    let folder = Folder::new();
    let found =
        folder.json(&[SMALL_SEARCH, &["--hw", "bismo-cloud", "--strategy", "ilp"]].concat());
    let across = found["across_devices"].as_array().unwrap();
    assert_eq!(across.len(), 2);
    for (row, own) in across.iter().zip(["bismo-edge", "bismo-cloud"]) {
        assert_eq!(row["searched_for"], own);
        let on = row["on"].as_array().unwrap();
        assert_eq!(on.len(), 2);
        let home = on.iter().find(|on| on["profile"] == own).unwrap();
        assert_eq!(home["meets_budgets"], true);
        let run = row["run"].to_string();
        let simulated = folder.path().join(format!("haq-out/run-{run}/policy.json"));
        let simulated = simulated.to_str().unwrap();
        for device in on {
            let profile = device["profile"].as_str().unwrap();
            let costed = folder.json(&["simulate", "--hw", profile, "--policy", simulated]);
            assert_eq!(costed["totals"]["latency_s"], device["cost"]["latency_s"]);
        }
    }
}

#[test]
fn one_policy_for_two_devices_meets_the_budget_on_both() {
    let folder = Folder::new();
    let joint = ["--hw", "bismo-cloud", "--one-policy"];
    let found = folder.json(&[SMALL_SEARCH, &joint, &["--strategy", "ilp"]].concat());
    assert_eq!(found["profile"], "bismo-edge + bismo-cloud");
    let on = found["on_devices"].as_array().unwrap();
    let name = |device: &Value| device["profile"].as_str().unwrap().to_owned();
    assert_eq!(on.iter().map(name).collect::<Vec<_>>(), ["bismo-edge", "bismo-cloud"]);
    let mut largest: f64 = 0.0;
    for device in on {
        let (profile, policy) = (name(device), "haq-out/run-1/policy.json");
        let policy = folder.path().join(policy);
        let costed = |bits: &[&str]| {
            let costed = folder.json(&[&["simulate", "--hw", &profile], bits].concat());
            costed["totals"]["latency_s"].as_f64().unwrap()
        };
        let ratio = costed(&["--policy", policy.to_str().unwrap()]) / costed(&["--bits", "8,8"]);
        assert!((ratio - device["cost_ratio"].as_f64().unwrap()).abs() < 1e-9);
        assert!(ratio <= 0.5 && device["meets_budgets"] == true, "{profile}: {ratio}");
        largest = largest.max(ratio);
    }
    let joint_cost = found["best"]["latency_s"].as_f64().unwrap();
    let eight_bit = found["eight_bit"]["latency_s"].as_f64().unwrap();
    assert!((joint_cost / eight_bit - largest).abs() < 1e-9);
    let shown = folder.haq(&["runs", "show", "1"]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("one policy for all of them"), "{shown}");

    for (more, expected) in [
        (&["--one-policy"][..], "--one-policy is for several devices"),
        (&["--hw", "bismo-cloud", "--one-policy", "--budget", "latency=1ms"], "give a ratio"),
    ] {
        let (message, code) = folder.failure(&[SMALL_SEARCH, more].concat());
        assert!(message.contains(expected) && code > 0, "{message}");
    }
}

#[test]
fn a_contest_whose_seeds_would_train_differently_is_refused() {
    let folder = Folder::new();
    let trained = [SMALL_SEARCH, CONTEST, &["--episode-finetune", "1"]].concat();
    let (message, code) = folder.failure(&trained);
    assert!(message.contains("--episode-finetune") && code == 1, "{message}");
    let (message, code) = folder.failure(&[SMALL_SEARCH, &["--strategy", "random,luck"]].concat());
    assert!(message.contains("\"luck\" is not a strategy") && code == 2, "{message}");
}

//! `haq search` and what it leaves behind.

use serde_json::Value;

use crate::common::{Folder, SMALL_SEARCH, episodes};

fn search(folder: &Folder, more: &[&str]) -> Value {
    let mut arguments = SMALL_SEARCH.to_vec();
    arguments.extend(more);
    folder.json(&arguments)
}

#[test]
fn a_search_meets_its_budget_exactly_as_simulate_computes_it() {
    let folder = Folder::new();
    let found = search(&folder, &[]);
    assert_eq!(found["schema"], 1);
    let best = &found["best"];
    let limit = best["budget"][0]["limit"].as_f64().unwrap();
    assert!(best["latency_s"].as_f64().unwrap() <= limit);

    let policy = found["files"]["policy"].as_str().unwrap();
    let simulated = folder.json(&["simulate", "--hw", "bismo-edge", "--policy", policy]);
    assert_eq!(simulated["totals"]["latency_s"], best["latency_s"]);
    assert_eq!(simulated["totals"]["size_bytes"], best["size_bytes"]);
    assert_eq!(simulated["totals"]["peak_memory_bytes"], best["peak_memory_bytes"]);
    let eight = folder.json(&["simulate", "--hw", "bismo-edge", "--bits", "8,8"]);
    let ratio = limit / eight["totals"]["latency_s"].as_f64().unwrap();
    assert!((ratio - 0.5).abs() < 1e-9, "{ratio}");
    let layers = best["layers"].as_array().unwrap();
    for pinned in [&layers[0], &layers[layers.len() - 1]] {
        assert_eq!((&pinned["weight_bits"], &pinned["activation_bits"]), (&8.into(), &8.into()));
    }
}

#[test]
fn every_proposal_meets_the_budgets_and_the_front_is_a_front() {
    let folder = Folder::new();
    let found = search(&folder, &["--budget", "size=0.7"]);
    let run = found["run"].as_i64().unwrap();
    let shown = folder.json(&["runs", "show", &run.to_string()]);
    let budgets = shown["description"]["budgets"].as_array().unwrap();
    let key = |kind: &str| if kind == "latency" { "latency_s" } else { "size_bytes" };
    let proposals =
        shown["episodes"].as_array().unwrap().iter().filter(|e| e["kind"] != "reference");
    let mut n_proposals = 0;
    for episode in proposals {
        n_proposals += 1;
        for budget in budgets {
            let cost = episode["cost"][key(budget["kind"].as_str().unwrap())].as_f64().unwrap();
            assert!(cost <= budget["limit"].as_f64().unwrap(), "{episode}");
        }
    }
    assert_eq!(n_proposals, 30);
    let front: Vec<(f64, f64)> = found["front"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["latency_s"].as_f64().unwrap(), p["quality_search"].as_f64().unwrap()))
        .collect();
    assert!(
        front.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1),
        "{front:?}"
    );
}

#[test]
fn equal_seeds_give_equal_episodes_for_any_number_of_threads() {
    let folder = Folder::new();
    let first = search(&folder, &["--threads", "1"])["run"].as_i64().unwrap();
    let second = search(&folder, &["--threads", "2"])["run"].as_i64().unwrap();
    assert_eq!(episodes(&folder, first), episodes(&folder, second));
    let mut other = SMALL_SEARCH.to_vec();
    let seed = other.iter().position(|argument| *argument == "7").unwrap();
    other[seed] = "8";
    let third = folder.json(&other)["run"].as_i64().unwrap();
    assert_ne!(episodes(&folder, first), episodes(&folder, third));
}

#[test]
fn without_a_budget_a_front_over_the_whole_range_is_found_and_drawn() {
    let folder = Folder::new();
    let found = folder.json(&[
        "search",
        "--hw",
        "edge-tpu.toml",
        "--episodes",
        "40",
        "--calibration",
        "64",
        "--search-images",
        "64",
        "--images",
        "64",
        "--quiet",
    ]);
    assert_eq!(found["objective"], "size");
    assert!(found["front"].as_array().unwrap().len() >= 3, "{}", found["front"]);
    let files = found["files"].as_object().unwrap();
    for (name, path) in files {
        let path = folder.path().join(path.as_str().unwrap());
        assert!(path.metadata().unwrap().len() > 500, "{name}");
    }
    for layer in found["best"]["layers"].as_array().unwrap() {
        assert_eq!(layer["activation_bits"], 8, "activation bits change nothing on edge-tpu");
    }
}

#[test]
fn past_runs_are_listed_compared_drawn_and_deleted() {
    let folder = Folder::new();
    search(&folder, &[]);
    search(&folder, &["--strategy", "random"]);
    search(&folder, &["--strategy", "uniform"]);
    let listed = folder.json(&["runs", "list", "--sort", "accuracy"]);
    assert_eq!(listed["runs"].as_array().unwrap().len(), 3);
    let only = folder.json(&["runs", "list", "--hw", "bismo-edge.toml", "--strategy", "random"]);
    assert_eq!(only["runs"][0]["run"], 2);
    assert_eq!(folder.json(&["runs", "list", "--hw", "edge-tpu"])["runs"], serde_json::json!([]));

    let csv = folder.haq(&["runs", "list", "--csv"]).assert().success().get_output().stdout.clone();
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.starts_with("run,created_at,state,model") && csv.lines().count() == 4, "{csv}");

    let compared = folder.json(&["runs", "compare", "1", "3"]);
    assert_eq!(compared["layers"][0]["bits"].as_array().unwrap().len(), 2);
    for out in ["fronts.svg", "fronts.png"] {
        folder.haq(&["pareto", "1", "2", "3", "--out", out]).assert().success();
        assert!(folder.path().join(out).metadata().unwrap().len() > 1000);
    }
    folder.haq(&["report", "2"]).assert().success();
    let page = std::fs::read_to_string(folder.path().join("run-2.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("bismo-edge"));

    folder.haq(&["runs", "delete", "1", "2"]).assert().success();
    let left = folder.json(&["runs", "list"]);
    assert_eq!(left["runs"].as_array().unwrap().len(), 1);
    let (message, code) = folder.failure(&["runs", "show", "1"]);
    assert!(message.contains("run 1") && code == 1, "{message}");
}

#[test]
fn a_label_free_measure_needs_no_labels() {
    let folder = Folder::new();
    let found = search(&folder, &["--measure", "kl"]);
    assert_eq!(found["measure"], "kl");
    assert!(found["best"]["quality_search"].as_f64().unwrap() <= 0.0);
}

#[test]
fn every_baseline_answers_within_the_budget() {
    let folder = Folder::new();
    for (strategy, at_most) in [("greedy", 1), ("ilp", 1), ("evolution", 30)] {
        let found = search(&folder, &["--strategy", strategy]);
        let best = &found["best"];
        let limit = best["budget"][0]["limit"].as_f64().unwrap();
        assert!(best["latency_s"].as_f64().unwrap() <= limit, "{strategy}");
        assert_eq!(found["strategy"], strategy);
        let run = found["run"].to_string();
        let shown = folder.json(&["runs", "show", &run]);
        let all = shown["episodes"].as_array().unwrap();
        let proposals = all.iter().filter(|episode| episode["kind"] != "reference").count();
        assert!((1..=at_most).contains(&proposals), "{strategy}: {proposals}");
    }
    let over_a_range =
        folder.json(&["search", "--hw", "edge-tpu", "--strategy", "ilp", "--search-images", "64"]);
    assert!(over_a_range["front"].as_array().unwrap().len() > 3, "{over_a_range}");
}

#[test]
fn a_programme_on_hessian_traces_answers_within_the_budget() {
    let folder = Folder::new();
    // Where there is little to spend the two ways to count losses part.
    let programme = ["--strategy", "ilp", "--budget", "latency=0.3"];
    let hessian = [&programme[..], &["--weight-losses", "hessian"]].concat();
    let found = search(&folder, &hessian);
    let best = &found["best"];
    let limit = best["budget"][1]["limit"].as_f64().unwrap();
    assert!(best["latency_s"].as_f64().unwrap() <= limit);
    assert_eq!(best["layers"], search(&folder, &hessian)["best"]["layers"], "it draws nothing");
    let measured = search(&folder, &programme);
    assert_ne!(best["layers"], measured["best"]["layers"], "other losses, another programme");
    let wrong = [SMALL_SEARCH, &["--weight-losses", "fisher"]].concat();
    let (message, code) = folder.failure(&wrong);
    assert!(message.contains("measured or hessian") && code == 2, "{message}");
}

#[test]
fn policies_are_better_after_a_brief_training() {
    let folder = Folder::new();
    let narrow = ["--strategy", "greedy", "--weight-bits", "2", "--activation-bits", "2,3"];
    let narrow = [&narrow[..], &["--measure", "kl"]].concat();
    let quality = |more: &[&str]| {
        let found = search(&folder, &[&narrow, more].concat());
        (found["best"]["quality_search"].as_f64().unwrap(), found["best"]["quality_test"].clone())
    };
    let rounded = quality(&[]);
    let trained = quality(&["--episode-finetune", "40"]);
    assert!(trained.0 > rounded.0, "{rounded:?} {trained:?}");
    assert_eq!(quality(&["--episode-finetune", "40", "--threads", "1"]), trained);

    let learned = ["--method", "dynamic", "--episode-finetune", "--strategy", "random"];
    let (message, code) = folder.failure(&[SMALL_SEARCH, &learned].concat());
    assert!(message.contains("dynamic") && message.contains("gptq") && code == 1, "{message}");
}

//! Runs: kept as described, claimed by one process, listed, deleted.

use haq::{
    domain::{
        Budget, CostKind, EpisodeKind, Measure, Quality, RunDescription, RunResult, RunState,
        Strategy,
    },
    store::{BlockingStore, RunQuery, RunSort, StoreError},
};

use crate::common::{KEY, assert_sound, checkpoint, description, episode, result, sql, temporary};

#[test]
fn a_run_comes_back_as_it_was_described() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    for (name, description) in [
        ("plain", description()),
        (
            "extreme",
            RunDescription {
                seed: u64::MAX,
                batch: i64::MAX as u64,
                budget_requests: ["latency=0.1", "size=1.1MB"].map(|b| b.parse().unwrap()).into(),
                budgets: vec![
                    Budget { kind: CostKind::Latency, limit: 0.1 + 0.2 },
                    Budget { kind: CostKind::Size, limit: 5e-324 },
                ],
                ..description()
            },
        ),
        (
            "empty",
            RunDescription {
                budget_requests: vec![],
                budgets: vec![],
                layers: vec![],
                float_quality: Quality::default(),
                config: serde_json::Value::Null,
                ..description()
            },
        ),
    ] {
        let id = store.create_run(&description, KEY).unwrap();
        let run = store.run(id).unwrap();
        assert_eq!(run.id, id, "{name}");
        assert_eq!(run.description, description, "{name}");
        assert_eq!(run.evaluation_key, KEY, "{name}");
        let expected = RunResult { wall_s: 0.0, ..result(RunState::Running) };
        assert_eq!(run.result, expected, "{name}");
    }
}

#[test]
fn a_count_beyond_the_database_is_refused() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let description = RunDescription { batch: u64::MAX, ..description() };
    let message = store.create_run(&description, KEY).unwrap_err().to_string();
    assert!(message.contains("18446744073709551615 is above 2^63 - 1"), "{message}");
    assert!(store.list(&RunQuery::default()).unwrap().is_empty());
}

#[test]
fn a_run_keeps_how_it_ended() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    store.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
    let top1 = |top1| Some(Quality { top1: Some(top1), ..Quality::default() });
    let ended = RunResult {
        episodes: 1,
        evaluations: 1,
        best_episode: Some(0),
        best_test: top1(0.89),
        float_test: top1(0.97),
        tested: vec![(episode(0, 0.9, 0.004).policy, Quality::default())],
        ..result(RunState::Completed)
    };
    store.finish(run, &ended).unwrap();
    assert_eq!(store.run(run).unwrap().result, ended);
    let summary = store.summary(run).unwrap();
    assert_eq!(summary.best.unwrap().test_quality, Some(0.89));
    assert_eq!(summary.float_test_quality, Some(0.97));
    assert_eq!(summary.float_quality, Some(0.98));
}

#[test]
fn interrupted_and_failed_runs_go_on_and_completed_ones_do_not() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    store.interrupt(run).unwrap();
    assert_eq!(store.run(run).unwrap().result.state, RunState::Interrupted);

    store.claim(run).unwrap();
    store.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
    store.fail(run, "the disk of the images went away").unwrap();
    let failed = store.run(run).unwrap().result;
    assert_eq!(failed.state, RunState::Failed);
    assert_eq!(failed.error.as_deref(), Some("the disk of the images went away"));

    store.claim(run).unwrap();
    assert_eq!(store.run(run).unwrap().result.error, None);
    store.commit_episode(run, &episode(1, 0.9, 0.004), &checkpoint(1)).unwrap();
    store.finish(run, &result(RunState::Completed)).unwrap();

    let error = store.claim(run).unwrap_err();
    assert!(matches!(error, StoreError::CannotGoOn { state: RunState::Completed, .. }), "{error}");
    let error = store.commit_episode(run, &episode(2, 0.9, 0.004), &checkpoint(2)).unwrap_err();
    assert!(matches!(error, StoreError::ClaimLost { .. }), "{error}");
}

#[test]
fn a_run_that_is_alive_elsewhere_is_neither_taken_nor_deleted() {
    let (_folder, path) = temporary();
    let first = BlockingStore::open(&path).unwrap();
    let second = BlockingStore::open(&path).unwrap();
    let run = first.create_run(&description(), KEY).unwrap();
    for error in [second.claim(run).unwrap_err(), second.delete_run(run).unwrap_err()] {
        assert!(matches!(error, StoreError::StillRunning { .. }), "{error}");
        let process = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&process), "{error}");
    }
    first.interrupt(run).unwrap();
    second.claim(run).unwrap();
}

#[test]
fn a_silent_run_is_taken_over_and_its_old_process_writes_no_more() {
    let (_folder, path) = temporary();
    let first = BlockingStore::open(&path).unwrap();
    let second = BlockingStore::open(&path).unwrap();
    let run = first.create_run(&description(), KEY).unwrap();
    first.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
    sql(&path, "UPDATE runs SET heartbeat_unix_ms = heartbeat_unix_ms - 31000");
    assert_eq!(second.summary(run).unwrap().state, RunState::Interrupted);
    second.claim(run).unwrap();
    assert_eq!(second.summary(run).unwrap().state, RunState::Running);

    let error = first.commit_episode(run, &episode(1, 0.1, 0.001), &checkpoint(1)).unwrap_err();
    assert!(matches!(error, StoreError::ClaimLost { .. }), "{error}");
    let error = first.finish(run, &result(RunState::Completed)).unwrap_err();
    assert!(matches!(error, StoreError::ClaimLost { .. }), "{error}");
    second.commit_episode(run, &episode(1, 0.95, 0.002), &checkpoint(1)).unwrap();
    assert_eq!(second.episodes(run).unwrap()[1], episode(1, 0.95, 0.002));
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_process_is_gone_is_interrupted_at_once() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    // No process has this id: Linux stops at 2^22.
    sql(&path, "UPDATE runs SET owner_process_id = 2147483647");
    assert_eq!(store.run(run).unwrap().result.state, RunState::Interrupted);
    for (state, n_runs) in [(RunState::Running, 0), (RunState::Interrupted, 1)] {
        let query = RunQuery { state: Some(state), ..RunQuery::default() };
        assert_eq!(store.list(&query).unwrap().len(), n_runs, "{state}");
    }
    BlockingStore::open(&path).unwrap().claim(run).unwrap();
}

#[test]
fn lists_are_filtered_sorted_and_limited() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    // Run 1 to 4; the last has no episode.
    for (profile, model, strategy, objective, episodes) in [
        ("bismo-edge", "digits.onnx", Strategy::Ddpg, CostKind::Latency, vec![(0.90, 0.004)]),
        ("bismo-edge", "resnet20.onnx", Strategy::Random, CostKind::Latency, vec![(0.95, 0.003)]),
        (
            "edge-tpu",
            "resnet20.onnx",
            Strategy::Ddpg,
            CostKind::Size,
            vec![(0.8, 0.001), (0.92, 0.002)],
        ),
        ("edge-tpu", "digits.onnx", Strategy::Uniform, CostKind::Size, vec![]),
    ] {
        let description = RunDescription {
            profile: profile.into(),
            model: model.into(),
            strategy,
            objective,
            ..description()
        };
        let run = store.create_run(&description, KEY).unwrap();
        for (index, (top1, latency_s)) in (0..).zip(episodes) {
            store.commit_episode(run, &episode(index, top1, latency_s), &checkpoint(0)).unwrap();
        }
    }
    store.finish(1, &RunResult { best_episode: Some(0), ..result(RunState::Completed) }).unwrap();
    let all = RunQuery::default;
    let by = |sort: &str, descending| RunQuery { sort: sort.parse().unwrap(), descending, ..all() };
    for (name, query, expected) in [
        ("all", all(), vec![1, 2, 3, 4]),
        ("profile", RunQuery { profile: Some("edge-tpu".into()), ..all() }, vec![3, 4]),
        ("model", RunQuery { model: Some("resnet".into()), ..all() }, vec![2, 3]),
        ("strategy", RunQuery { strategy: Some(Strategy::Ddpg), ..all() }, vec![1, 3]),
        ("state", RunQuery { state: Some(RunState::Completed), ..all() }, vec![1]),
        ("objective", RunQuery { objective: Some(CostKind::Size), ..all() }, vec![3, 4]),
        ("quality", RunQuery { min_quality: Some(0.92), ..all() }, vec![2, 3]),
        ("both", RunQuery { min_quality: Some(0.92), limit: Some(1), ..all() }, vec![2]),
        ("nothing", RunQuery { profile: Some("'; DROP TABLE runs; --".into()), ..all() }, vec![]),
        ("best first", by("accuracy", true), vec![2, 3, 1, 4]),
        ("worst first", by("quality", false), vec![1, 3, 2, 4]),
        ("fastest", by("latency", false), vec![3, 2, 1, 4]),
        ("hungriest", by("energy", true), vec![1, 2, 3, 4]),
        ("smallest", by("size", false), vec![3, 2, 1, 4]),
        ("newest", by("created", true), vec![4, 3, 2, 1]),
        ("last two", RunQuery { limit: Some(2), ..by("id", true) }, vec![4, 3]),
    ] {
        let runs: Vec<_> = store.list(&query).unwrap().iter().map(|run| run.run).collect();
        assert_eq!(runs, expected, "{name}");
    }
    assert!("speed".parse::<RunSort>().unwrap_err().contains("accuracy"));
}

#[test]
fn the_best_meets_the_budgets_and_is_no_reference() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    let best = || store.summary(run).unwrap().best.map(|best| best.episode);
    for (index, (name, top1, latency_s, kind, expected)) in (0..).zip([
        ("a reference", 0.99, 0.001, EpisodeKind::Reference, None),
        ("over the budget", 0.98, 0.0051, EpisodeKind::Proposal, None),
        ("the first", 0.90, 0.004, EpisodeKind::WarmUp, Some(2)),
        ("a worse one", 0.89, 0.001, EpisodeKind::Proposal, Some(2)),
        ("as good and dearer", 0.90, 0.0041, EpisodeKind::Proposal, Some(2)),
        ("as good and cheaper", 0.90, 0.0039, EpisodeKind::Proposal, Some(5)),
        ("not a number", f64::NAN, 0.001, EpisodeKind::Proposal, Some(5)),
        ("better, just within", 0.91, 0.005, EpisodeKind::Proposal, Some(7)),
    ]) {
        let record = haq::domain::EpisodeRecord { kind, ..episode(index, top1, latency_s) };
        store.commit_episode(run, &record, &checkpoint(index)).unwrap();
        assert_eq!(best(), expected, "{name}");
    }
}

#[test]
fn distances_count_with_their_sign_turned() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run =
        store.create_run(&RunDescription { measure: Measure::Kl, ..description() }, KEY).unwrap();
    for (index, kl) in (0..).zip([0.5, 0.1, 0.3]) {
        let quality = Quality { kl: Some(kl), ..Quality::default() };
        let record = haq::domain::EpisodeRecord { quality, ..episode(index, 0.0, 0.004) };
        store.commit_episode(run, &record, &checkpoint(index)).unwrap();
    }
    let best = store.summary(run).unwrap().best.unwrap();
    assert_eq!((best.episode, best.quality), (1, Some(-0.1)));
}

#[test]
fn deleting_a_run_leaves_nothing_of_it_and_never_reuses_its_number() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let runs = [(); 2].map(|()| {
        let run = store.create_run(&description(), KEY).unwrap();
        store.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
        store.add_artifact(run, "policy", "out/policy.json".as_ref()).unwrap();
        store.interrupt(run).unwrap();
        run
    });
    store.delete_run(runs[1]).unwrap();
    let error = store.run(runs[1]).unwrap_err();
    assert!(matches!(error, StoreError::UnknownRun { run, .. } if run == runs[1]), "{error}");
    for table in [
        "runs",
        "layers",
        "run_qualities",
        "episodes",
        "checkpoints",
        "checkpoint_deltas",
        "artifacts",
    ] {
        let id = if table == "runs" { "id" } else { "run_id" };
        let left = format!("SELECT DISTINCT CAST({id} AS TEXT) FROM {table}");
        assert_eq!(sql(&path, &left), [runs[0].to_string()], "{table}");
    }
    assert!(store.create_run(&description(), KEY).unwrap() > runs[1]);
    drop(store);
    assert_sound(&path);
}

#[test]
fn artifacts_are_listed_once_each() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    for (kind, file) in
        [("report", "out/a.html"), ("policy", "out/p.json"), ("report", "out/a.html")]
    {
        store.add_artifact(run, kind, file.as_ref()).unwrap();
    }
    let artifacts = store.artifacts(run).unwrap();
    let found: Vec<_> =
        artifacts.iter().map(|a| (a.kind.as_str(), a.path.to_str().unwrap())).collect();
    assert_eq!(found, [("policy", "out/p.json"), ("report", "out/a.html")]);
}

#[test]
fn a_run_that_is_not_there_is_named_by_every_call() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    for (name, error) in [
        ("run", store.run(12).unwrap_err()),
        ("claim", store.claim(12).unwrap_err()),
        ("delete", store.delete_run(12).unwrap_err()),
        ("episodes", store.episodes(12).unwrap_err()),
        ("episode", store.episode(12, 0).unwrap_err()),
        ("front", store.front(12).unwrap_err()),
        ("summary", store.summary(12).unwrap_err()),
        ("compare", store.compare(&[12]).unwrap_err()),
        ("checkpoint", store.load_checkpoint(12).unwrap_err()),
        ("artifacts", store.artifacts(12).unwrap_err()),
        ("artifact", store.add_artifact(12, "policy", "p.json".as_ref()).unwrap_err()),
    ] {
        assert!(error.to_string().starts_with("there is no run 12 in "), "{name}: {error}");
    }
}

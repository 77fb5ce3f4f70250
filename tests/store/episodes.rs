//! Episodes and checkpoints: exact, in order, all or nothing; fronts and the cache over them.

use haq::{
    domain::{
        BitwidthPolicy, Budget, Cost, CostKind, EpisodeRecord, JudgedBy, Quality, RunDescription,
        RunState, pareto_front,
    },
    store::{BlockingStore, Checkpoint, SavedCheckpoint, StoreError},
};
use proptest::prelude::*;
use serde_json::json;

use crate::common::{KEY, bits, checkpoint, description, episode, result, sql, temporary};

fn without_budget() -> RunDescription {
    RunDescription { budgets: vec![], budget_requests: vec![], ..description() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_number_comes_back_bit_for_bit(
        rows in proptest::collection::vec(
            (proptest::array::uniform9(proptest::num::f64::ANY), 0..i64::MAX as u64, any::<bool>()), 1..20)
    ) {
        let (_folder, path) = temporary();
        let store = BlockingStore::open(&path).unwrap();
        let run = store.create_run(&description(), KEY).unwrap();
        // SQLite knows one NaN, as NULL, and one zero.
        let kept = |x: f64| if x == 0.0 { 0.0 } else { x };
        let records: Vec<EpisodeRecord> = (0..).zip(rows).map(|(index, (x, bytes, from_cache))| {
            let x = x.map(kept);
            let figure = |x: f64| (!x.is_nan()).then_some(x);
            EpisodeRecord {
                quality: Quality {
                    top1: figure(x[0]), top5: None, loss: figure(x[1]), agreement: figure(x[2]),
                    kl: figure(x[3]), mse: figure(x[4]),
                },
                cost: Cost { latency_s: x[5], energy_j: x[6], size_bytes: bytes, peak_memory_bytes: bytes / 2 },
                reward: x[7],
                wall_s: x[8],
                stopped_after_images: (!from_cache).then_some(1 + index),
                from_cache,
                proposal_index: index.checked_sub(2),
                judged_by: from_cache.then(|| JudgedBy {
                    worker: format!("worker-{index}"),
                    device: "NVIDIA H100".into(),
                    libtorch_version: "2.10.0".into(),
                    evaluation_s: x[8],
                }),
                ..episode(index, 0.0, 0.0)
            }
        }).collect();
        for record in &records {
            store.commit_episode(run, record, &checkpoint(record.index)).unwrap();
        }
        let read = store.episodes(run).unwrap();
        prop_assert_eq!(read.len(), records.len());
        for (read, record) in read.iter().zip(&records) {
            prop_assert_eq!(read.quality, record.quality);
            let numbers = |e: &EpisodeRecord| [e.cost.latency_s, e.cost.energy_j, e.reward, e.wall_s]
                .map(|x| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() });
            prop_assert_eq!(numbers(read), numbers(record));
            prop_assert_eq!(read.cost.size_bytes, record.cost.size_bytes);
            prop_assert_eq!(read.from_cache, record.from_cache);
            prop_assert_eq!(read.stopped_after_images, record.stopped_after_images);
            prop_assert_eq!(read.proposal_index, record.proposal_index);
            let by = |e: &EpisodeRecord| e.judged_by.clone().map(|by| {
                let s = if by.evaluation_s.is_nan() { f64::NAN } else { by.evaluation_s };
                (by.worker, by.device, by.libtorch_version, s.to_bits())
            });
            prop_assert_eq!(by(read), by(record));
        }
    }

    #[test]
    fn the_front_of_store_and_view_is_the_front_of_the_domain(
        points in proptest::collection::vec((0u8..12, 0u8..12, any::<bool>()), 0..40)
    ) {
        let (_folder, path) = temporary();
        let store = BlockingStore::open(&path).unwrap();
        let run = store.create_run(&without_budget(), KEY).unwrap();
        let points: Vec<(f64, f64)> = points.iter()
            .map(|&(cost, quality, known)| (f64::from(cost), if known { f64::from(quality) } else { f64::NAN }))
            .collect();
        for (index, &(cost, quality)) in (0..).zip(&points) {
            store.commit_episode(run, &episode(index, quality, cost), &Checkpoint::default()).unwrap();
        }
        let front: Vec<usize> = store.front(run).unwrap().iter().map(|e| e.index as usize).collect();
        prop_assert_eq!(&front, &pareto_front(&points));
        let of_view = sql(&path, "SELECT episode FROM pareto_front ORDER BY objective_cost");
        let of_view: Vec<usize> = of_view.iter().map(|episode| episode.parse().unwrap()).collect();
        prop_assert_eq!(of_view, front);
    }
}

#[test]
fn a_figure_that_is_not_a_number_is_absent() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    let mut record = episode(0, 0.5, 0.004);
    record.quality.loss = Some(f64::NAN);
    record.reward = f64::NAN;
    store.commit_episode(run, &record, &checkpoint(0)).unwrap();
    let read = store.episode(run, 0).unwrap();
    assert_eq!(read.quality.loss, None);
    assert!(read.reward.is_nan());
}

#[test]
fn what_was_proposed_is_kept_beside_what_was_evaluated() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    let proposed = BitwidthPolicy::new(vec![bits(8, 8), bits(16, 7), bits(1, 1)]);
    let record = EpisodeRecord { proposed, ..episode(0, 0.9, 0.004) };
    store.commit_episode(run, &record, &checkpoint(0)).unwrap();
    assert_eq!(store.episode(run, 0).unwrap(), record);
}

#[test]
fn episodes_follow_one_another() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    store.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
    for index in [0, 2] {
        let error =
            store.commit_episode(run, &episode(index, 0.9, 0.004), &checkpoint(7)).unwrap_err();
        assert!(
            matches!(error, StoreError::OutOfOrder { expected: 1, found, .. } if found == index),
            "{error}"
        );
    }
    // Nothing of the refused ones stayed.
    assert_eq!(store.episodes(run).unwrap().len(), 1);
    let saved = store.load_checkpoint(run).unwrap().unwrap();
    assert_eq!(saved.state, Some((0, b"state after 0".to_vec())));
    let error = store.episode(run, 1).unwrap_err();
    assert_eq!(error.to_string(), "run 1 has no episode 1; it has 1, counted from 0");
}

#[test]
fn a_run_counts_what_was_committed() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    for index in 0..4 {
        let record = EpisodeRecord { from_cache: index == 2, ..episode(index, 0.9, 0.004) };
        store.commit_episode(run, &record, &checkpoint(index)).unwrap();
    }
    let found = store.run(run).unwrap().result;
    assert_eq!((found.episodes, found.evaluations, found.wall_s), (4, 3, 1.0));
}

#[test]
fn a_checkpoint_is_the_latest_state_with_what_was_in_flight_and_every_delta() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    assert_eq!(store.load_checkpoint(run).unwrap(), None);
    let big = vec![0x5a; 3_000_000];
    let states = [None, Some(b"one".to_vec()), None, Some(big.clone()), None];
    let latest = [
        None,
        Some((1, b"one".to_vec())),
        Some((1, b"one".to_vec())),
        Some((3, big.clone())),
        Some((3, big)),
    ];
    let mut deltas = Vec::new();
    for (index, (state, expected)) in (0..).zip(states.into_iter().zip(latest)) {
        let delta = vec![index as u8; index as usize];
        deltas.push(delta.clone());
        // The last state brings none.
        let in_flight = (index < 3).then(|| json!([{ "proposal": index }]));
        let checkpoint = Checkpoint { state, delta, in_flight };
        store.commit_episode(run, &episode(index, 0.9, 0.004), &checkpoint).unwrap();
        let in_flight = (1..3).contains(&index).then(|| json!([{ "proposal": 1 }]));
        let saved = SavedCheckpoint { state: expected, deltas: deltas.clone(), in_flight };
        assert_eq!(store.load_checkpoint(run).unwrap(), Some(saved), "after {index}");
    }
    store.finish(run, &result(RunState::Completed)).unwrap();
    assert_eq!(store.load_checkpoint(run).unwrap(), None);
    assert_eq!(store.episodes(run).unwrap().len(), 5);
}

#[test]
fn the_front_holds_only_what_meets_every_budget() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let budgets = vec![
        Budget { kind: CostKind::Latency, limit: 0.005 },
        Budget { kind: CostKind::Size, limit: 4_000.0 },
    ];
    let run = store.create_run(&RunDescription { budgets, ..description() }, KEY).unwrap();
    for (index, (top1, latency_s)) in
        (0..).zip([(0.99, 0.006), (0.95, 0.0045), (0.9, 0.004), (0.8, 0.002), (0.7, 0.003)])
    {
        store.commit_episode(run, &episode(index, top1, latency_s), &checkpoint(index)).unwrap();
    }
    let stopped = EpisodeRecord { stopped_after_images: Some(64), ..episode(5, 0.99, 0.001) };
    store.commit_episode(run, &stopped, &checkpoint(5)).unwrap();
    let front: Vec<_> = store.front(run).unwrap().iter().map(|e| e.index).collect();
    assert_eq!(front, [3, 2], "what was not judged on all images is on no front");
    let compared = store.compare(&[run, run]).unwrap();
    assert_eq!(compared[1].front, store.front(run).unwrap());
    assert_eq!(compared[0].summary, store.summary(run).unwrap());
}

#[test]
fn quality_is_shared_by_runs_that_evaluate_alike() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let policy =
        |bits_of_last| BitwidthPolicy::new(vec![bits(8, 8), bits(4, 6), bits(2, bits_of_last)]);
    assert_eq!(store.cached_quality(KEY, &policy(1)).unwrap(), None);
    let earlier = store.create_run(&description(), KEY).unwrap();
    store.commit_episode(earlier, &episode(0, 0.1 + 0.2, 0.004), &checkpoint(0)).unwrap();
    let later = store
        .create_run(&RunDescription { profile: "edge-tpu".into(), ..description() }, KEY)
        .unwrap();
    store.commit_episode(later, &episode(0, 0.5, 0.001), &checkpoint(0)).unwrap();

    let cached =
        |key: &str, bits_of_last| store.cached_quality(key, &policy(bits_of_last)).unwrap();
    assert_eq!(cached(KEY, 1), Some(episode(0, 0.1 + 0.2, 0.004).quality));
    assert_eq!(cached(KEY, 2), None);
    assert_eq!(cached("another method", 1), None);

    store.interrupt(earlier).unwrap();
    store.delete_run(earlier).unwrap();
    assert_eq!(cached(KEY, 1), Some(episode(0, 0.5, 0.001).quality));
}

#[test]
fn the_layers_view_has_a_row_for_each_layer() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    store.commit_episode(run, &episode(0, 0.9, 0.004), &checkpoint(0)).unwrap();
    store.commit_episode(run, &episode(1, 0.9, 0.004), &checkpoint(1)).unwrap();
    let rows = sql(
        &path,
        "SELECT concat_ws(' ', run, episode, layer, name, kind, pinned, weight_bits, activation_bits)
         FROM policy_layers ORDER BY episode, layer",
    );
    assert_eq!(
        rows,
        [
            "1 0 0 stem conv 1 8 8",
            "1 0 1 depth depthwise 0 4 6",
            "1 0 2 head linear 0 2 1",
            "1 1 0 stem conv 1 8 8",
            "1 1 1 depth depthwise 0 4 6",
            "1 1 2 head linear 0 2 2",
        ]
    );
}

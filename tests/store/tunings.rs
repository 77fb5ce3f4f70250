//! Tunings, kept epoch by epoch, taken up again by one process at a time.

use haq::{
    domain::{
        BitwidthPolicy, Measure, Quality, RunState, TuningDescription, TuningEpoch, TuningTest,
    },
    store::{BlockingStore, StoreError, TuningStep},
};

use crate::common::{KEY, assert_sound, bits, description, sql, temporary};

pub fn tuning(run: Option<i64>) -> TuningDescription {
    TuningDescription {
        run,
        model: "digits.onnx".into(),
        model_digest: "1a2b".into(),
        data: "embedded".into(),
        data_digest: "3c4d".into(),
        policy: BitwidthPolicy::new(vec![bits(8, 8), bits(2, 3)]),
        measure: Measure::Top1,
        seed: u64::MAX,
        epochs_planned: 2,
        float_search: quality(0.98),
        config: serde_json::json!({"settings": {"learning_rate": 0.01}}),
    }
}

fn quality(top1: f64) -> Quality {
    Quality { top1: Some(top1), kl: Some(1.0 - top1), ..Quality::default() }
}

pub fn epoch(epoch: u32, top1: f64) -> TuningEpoch {
    let trained = (epoch > 0).then_some(1.0 / f64::from(epoch.max(1)));
    TuningEpoch {
        epoch,
        training_loss: trained,
        learning_rate: trained,
        quality: quality(top1),
        wall_s: 1.5,
    }
}

/// A step that is the best so far, or not.
pub fn step(epoch: &TuningEpoch, is_best: bool) -> TuningStep<'_> {
    let bytes = |what: &str| format!("{what} {}", epoch.epoch).into_bytes();
    TuningStep {
        epoch,
        state: (epoch.epoch > 0).then(|| bytes("state")),
        best_network: is_best.then(|| bytes("network")),
    }
}

#[test]
fn what_was_committed_is_read_back() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let claim = store.create_tuning(&tuning(None)).unwrap();
    let id = claim.id();
    assert_eq!(store.tuning_checkpoint(id).unwrap(), None);
    let epochs = [epoch(0, 0.5), epoch(1, 0.9), epoch(2, 0.8)];
    for (epoch, is_best) in epochs.iter().zip([true, true, false]) {
        store.commit_tuning_epoch(&claim, &step(epoch, is_best)).unwrap();
    }
    let record = store.tuning(id).unwrap();
    assert_eq!(record.description, tuning(None));
    assert_eq!((record.state, record.best_epoch, record.wall_s), (RunState::Running, Some(1), 4.5));
    assert_eq!(record.epochs, epochs);
    assert_eq!(store.tuned_network(id).unwrap(), Some(b"network 1".to_vec()));
    assert_eq!(store.tuning_checkpoint(id).unwrap(), Some(b"state 2".to_vec()));

    let test = TuningTest { float: quality(0.98), start: quality(0.4), tuned: quality(0.9) };
    store.end_tuning(&claim, RunState::Completed, None, Some(&test)).unwrap();
    let record = store.tuning(id).unwrap();
    assert_eq!((record.state, record.test), (RunState::Completed, Some(test)));
    assert_eq!(store.tuning_checkpoint(id).unwrap(), None, "nothing is left to go on with");
    assert_eq!(store.tuned_network(id).unwrap(), Some(b"network 1".to_vec()));
    assert!(matches!(store.claim_tuning(id), Err(StoreError::TuningCompleted { .. })));
    drop(store);
    assert_sound(&path);
}

#[test]
fn an_interrupted_tuning_is_found_and_taken_up_by_one_process() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    assert_eq!(store.newest_open_tuning().unwrap(), None);
    let claim = store.create_tuning(&tuning(None)).unwrap();
    let id = claim.id();
    store.commit_tuning_epoch(&claim, &step(&epoch(0, 0.5), true)).unwrap();
    assert_eq!(store.newest_open_tuning().unwrap(), None, "its process lives");
    assert!(matches!(store.claim_tuning(id), Err(StoreError::TuningBusy { .. })));
    store.end_tuning(&claim, RunState::Interrupted, None, None).unwrap();
    assert_eq!(store.newest_open_tuning().unwrap(), Some(id));

    let later = store.claim_tuning(id).unwrap();
    let lost = store.commit_tuning_epoch(&claim, &step(&epoch(1, 0.6), true));
    assert!(matches!(lost, Err(StoreError::TuningLost { .. })));
    store.commit_tuning_epoch(&later, &step(&epoch(1, 0.7), true)).unwrap();
    let top1 = store.tuning(id).unwrap().epochs[1].quality.top1;
    assert_eq!(top1, Some(0.7), "what the earlier process wrote did not count");

    store.end_tuning(&later, RunState::Failed, Some("the loss is NaN"), None).unwrap();
    let record = store.tuning(id).unwrap();
    assert_eq!(
        (record.state, record.error.as_deref()),
        (RunState::Failed, Some("the loss is NaN"))
    );
    assert!(store.claim_tuning(id).is_ok(), "a failed tuning can be tried again");
    assert!(matches!(store.claim_tuning(7), Err(StoreError::UnknownTuning { tuning: 7, .. })));
}

#[test]
fn a_silent_process_far_away_loses_its_tuning() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let id = store.create_tuning(&tuning(None)).unwrap().id();
    sql(&path, "UPDATE tunings SET heartbeat_unix_ms = heartbeat_unix_ms - 31000");
    assert_eq!(store.newest_open_tuning().unwrap(), Some(id));
    assert!(store.claim_tuning(id).is_ok());
}

#[test]
fn a_tuning_outlives_the_run_whose_policy_it_trained() {
    let (_folder, path) = temporary();
    let store = BlockingStore::open(&path).unwrap();
    let run = store.create_run(&description(), KEY).unwrap();
    let id = store.create_tuning(&tuning(Some(run))).unwrap().id();
    assert_eq!(store.tuning(id).unwrap().description.run, Some(run));
    store.interrupt(run).unwrap();
    store.delete_run(run).unwrap();
    assert_eq!(store.tuning(id).unwrap().description.run, None);
}

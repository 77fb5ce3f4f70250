//! A small run to store, and a look into the file behind the store's back.

use std::path::{Path, PathBuf};

use haq::{
    domain::{
        Bits, BitwidthPolicy, Budget, BudgetRequest, Cost, CostKind, EpisodeKind, EpisodeRecord,
        LayerBits, LayerDescription, Limit, Measure, Quality, RunDescription, RunResult, RunState,
        Strategy,
    },
    store::Checkpoint,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

pub const KEY: &str = "model 1a2b, data 3c4d, gptq, search 512";

/// A folder that is removed at the end, and the path of a database in it.
pub fn temporary() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("haq.db");
    (folder, path)
}

pub fn bits(weight: u8, activation: u8) -> LayerBits {
    LayerBits::new(Bits::new(weight).unwrap(), Bits::new(activation).unwrap())
}

pub fn description() -> RunDescription {
    let layer = |name: &str, kind: &str, pinned| LayerDescription {
        name: name.into(),
        kind: kind.into(),
        macs: 73_728,
        weights: 288,
        pinned,
    };
    RunDescription {
        model: "digits.onnx".into(),
        model_digest: "1a2b".into(),
        data: "embedded".into(),
        profile: "bismo-edge".into(),
        strategy: Strategy::Ddpg,
        measure: Measure::Top1,
        seed: 7,
        episodes_planned: 200,
        batch: 1,
        budget_requests: vec![BudgetRequest {
            kind: CostKind::Latency,
            limit: Limit::Absolute(0.005),
        }],
        budgets: vec![Budget { kind: CostKind::Latency, limit: 0.005 }],
        objective: CostKind::Latency,
        layers: vec![
            layer("stem", "conv", true),
            layer("depth", "depthwise", false),
            layer("head", "linear", false),
        ],
        float_quality: Quality { top1: Some(0.98), loss: Some(0.07), ..Quality::default() },
        eight_bit_cost: Cost {
            latency_s: 0.01,
            energy_j: 0.002,
            size_bytes: 40_000,
            peak_memory_bytes: 90_000,
        },
        config: serde_json::json!({"calibration": 128, "noise": 0.5, "nested": [1, {"a": null}]}),
    }
}

/// An episode whose figures all follow from top-1 and latency.
pub fn episode(index: u32, top1: f64, latency_s: f64) -> EpisodeRecord {
    let policy = BitwidthPolicy::new(vec![bits(8, 8), bits(4, 6), bits(2, (index % 8 + 1) as u8)]);
    EpisodeRecord {
        index,
        proposal_index: None,
        judged_by: None,
        kind: EpisodeKind::Proposal,
        proposed: policy.clone(),
        policy,
        quality: Quality { top1: Some(top1), loss: Some(1.0 - top1), ..Quality::default() },
        cost: Cost {
            latency_s,
            energy_j: latency_s / 3.0,
            size_bytes: (latency_s * 1e6) as u64,
            peak_memory_bytes: 5_000,
        },
        reward: top1 - 0.98,
        stopped_after_images: None,
        from_cache: false,
        wall_s: 0.25,
    }
}

pub fn checkpoint(index: u32) -> Checkpoint {
    Checkpoint {
        state: Some(format!("state after {index}").into_bytes()),
        delta: format!("delta of {index}").into_bytes(),
        in_flight: None,
    }
}

pub fn result(state: RunState) -> RunResult {
    RunResult {
        state,
        error: None,
        episodes: 0,
        evaluations: 0,
        wall_s: 12.5,
        best_episode: None,
        best_test: None,
        float_test: None,
        tested: Vec::new(),
    }
}

/// Runs statements as any other program would, and returns the first column of the last
/// one's rows as text.
pub fn sql(path: &Path, statements: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let statements: String = statements.into();
        let rows: Vec<sqlx::sqlite::SqliteRow> = sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        use sqlx::Row;
        rows.iter()
            .map(|row| row.try_get_unchecked::<Option<String>, _>(0).unwrap().unwrap_or_default())
            .collect()
    })
}

pub fn assert_sound(path: &Path) {
    assert_eq!(sql(path, "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(sql(path, "PRAGMA foreign_key_check"), [""; 0]);
}

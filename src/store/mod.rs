//! Runs, episodes, checkpoints and measurements in one SQLite file: the only SQL of the program.
//!
//! Start at [`Store::open`]. `migrations/README.md` describes the tables and views.

mod annotations;
mod artifacts;
mod blocking;
mod checkpoints;
mod claims;
mod completed;
mod episodes;
mod error;
mod evaluations;
mod events;
mod jobs;
mod lease;
mod list;
mod maintenance;
mod measurements;
mod open;
mod owner;
mod points;
mod rows;
mod run_sensitivities;
mod runs;
mod searches;
mod tokens;
mod tunings;
mod uploads;
mod workers;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use error::At;
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::domain::JobTicket;

pub use artifacts::Artifact;
pub use blocking::BlockingStore;
pub use checkpoints::{Checkpoint, SavedCheckpoint};
pub use error::StoreError;
pub use evaluations::{LocalEvalQueue, LocalReceipt, LocalTicket};
pub use events::{Event, EventKind, Events};
pub use lease::LEASE;
pub use list::{BestSummary, ComparedRun, RunQuery, RunSort, RunSummary};
pub use maintenance::{Backup, DatabaseCheck, Vacuumed};
pub use measurements::{StoredSubject, SubjectId};
pub use points::Point;
pub use run_sensitivities::RunSensitivities;
pub use runs::{Run, RunOutline};
pub use searches::{SearchAim, SearchPage, SearchQuery, SearchSummary};
pub use tokens::{Scope, TokenRecord};
pub use tunings::{TuningClaim, TuningStep};
pub use uploads::{Upload, UploadKind};

/// One database file, open. Clones share it.
///
/// Writes go through one connection, reads through a few; several processes may have the
/// same file open, on one machine: not on a network file system.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// `None` when opened for reading only.
    writer: Option<SqlitePool>,
    readers: SqlitePool,
    claims: claims::HeldClaims,
    completed: completed::CompletedSearches,
    /// The job that this process works on, where it is a service's worker: the run it makes or
    /// goes on with is the job's, and only while the job is.
    ticket: Option<JobTicket>,
    /// What waits for evaluations hears of them.
    signals: evaluations::Signals,
}

/// How long SQLite itself waits for another process's write before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a write is tried again after that.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(20);

impl Store {
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Writes everything back into the one file and closes it; clones are closed too.
    pub async fn close(&self) {
        self.inner.claims.forget_all();
        self.inner.readers.close().await;
        if let Some(writer) = &self.inner.writer {
            writer.close().await;
        }
    }

    /// Starts a write: nobody else writes until it is committed or dropped.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let writer = self.writer()?;
        let started = Instant::now();
        loop {
            match writer.begin_with("BEGIN IMMEDIATE").await {
                Ok(transaction) => return Ok(transaction),
                Err(error) if error::is_busy(&error) && started.elapsed() < WRITE_PATIENCE => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error).at(self.path()),
            }
        }
    }

    fn writer(&self) -> Result<&SqlitePool, StoreError> {
        let path = self.path();
        self.inner.writer.as_ref().ok_or_else(|| StoreError::OpenedForReading { path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        BitwidthPolicy, Cost, CostKind, EpisodeKind, EpisodeRecord, LayerBits, Measure, Quality,
        RunDescription, Strategy,
    };

    pub(super) fn description() -> RunDescription {
        RunDescription {
            model: "embedded".into(),
            model_digest: "1a2b".into(),
            data: "embedded".into(),
            profile: "edge-tpu".into(),
            strategy: Strategy::Random,
            measure: Measure::Top1,
            seed: 1,
            episodes_planned: 10,
            batch: 1,
            budget_requests: vec![],
            budgets: vec![],
            objective: CostKind::Size,
            layers: vec![],
            float_quality: Quality::default(),
            eight_bit_cost: cost(),
            config: serde_json::Value::Null,
        }
    }

    fn cost() -> Cost {
        Cost { latency_s: 1.0, energy_j: 1.0, size_bytes: 1, peak_memory_bytes: 1 }
    }

    fn episode(index: u32) -> EpisodeRecord {
        let policy = BitwidthPolicy::uniform(3, LayerBits::EIGHT);
        EpisodeRecord {
            index,
            proposal_index: None,
            judged_by: None,
            kind: EpisodeKind::Proposal,
            proposed: policy.clone(),
            policy,
            quality: Quality { top1: Some(0.5), ..Quality::default() },
            cost: cost(),
            reward: 0.0,
            stopped_after_images: None,
            from_cache: false,
            wall_s: 0.0,
        }
    }

    /// SQLite answers a limit on the file's pages as it answers a full disk.
    async fn limit_pages(store: &Store, n_pages: u32) {
        let limit = format!("PRAGMA max_page_count = {n_pages}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(store.writer().unwrap()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_is_named_and_the_run_goes_on_once_there_is_space() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("haq.db")).await.unwrap();
        let run = store.create_run(&description(), "key").await.unwrap();
        let checkpoint = |byte| Checkpoint {
            state: Some(vec![byte; 1 << 20]),
            delta: vec![byte],
            in_flight: None,
        };
        store.commit_episode(run, &episode(0), &checkpoint(0)).await.unwrap();

        limit_pages(&store, 1).await;
        let bigger = Checkpoint { state: Some(vec![1; 2 << 20]), delta: vec![1], in_flight: None };
        let error = store.commit_episode(run, &episode(1), &bigger).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        let saved = store.load_checkpoint(run).await.unwrap().unwrap();
        assert_eq!((saved.state, saved.deltas), (Some((0, vec![0; 1 << 20])), vec![vec![0]]));
        assert_eq!(store.episodes(run).await.unwrap(), [episode(0)]);

        // The limit went with the connection that met it.
        store.commit_episode(run, &episode(1), &bigger).await.unwrap();
        assert_eq!(store.episodes(run).await.unwrap().len(), 2);
    }
}

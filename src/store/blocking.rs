//! The store for code that is not asynchronous: the same calls, each waited for.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::{
    Artifact, Backup, Checkpoint, ComparedRun, DatabaseCheck, Run, RunQuery, RunSensitivities,
    RunSummary, SavedCheckpoint, Scope, Store, StoreError, StoredSubject, SubjectId, TokenRecord,
    TuningClaim, TuningStep, Vacuumed,
};
use crate::domain::{
    BitwidthPolicy, EpisodeRecord, HessianTrace, JobId, JobTicket, MethodKey, Quality,
    QuantizationRecord, RunDescription, RunId, RunResult, RunState, SensitivityRecord,
    SubjectDescription, TuningDescription, TuningId, TuningRecord, TuningTest,
};

/// A [`Store`] with a runtime of its own; not for use inside asynchronous code.
#[derive(Debug)]
pub struct BlockingStore {
    store: Store,
    runtime: Runtime,
}

impl BlockingStore {
    /// As [`Store::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let runtime = runtime(path.as_ref())?;
        Ok(Self { store: runtime.block_on(Store::open(path))?, runtime })
    }

    /// As [`Store::open_for_job`].
    pub fn open_for_job(path: impl AsRef<Path>, ticket: JobTicket) -> Result<Self, StoreError> {
        let runtime = runtime(path.as_ref())?;
        Ok(Self { store: runtime.block_on(Store::open_for_job(path, ticket))?, runtime })
    }

    /// As [`Store::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let runtime = runtime(path.as_ref())?;
        Ok(Self { store: runtime.block_on(Store::open_read_only(path))?, runtime })
    }

    /// As [`Store::open_as_found`].
    pub fn open_as_found(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let runtime = runtime(path.as_ref())?;
        Ok(Self { store: runtime.block_on(Store::open_as_found(path))?, runtime })
    }

    /// As [`Store::check`].
    pub fn check(path: impl AsRef<Path>) -> Result<DatabaseCheck, StoreError> {
        runtime(path.as_ref())?.block_on(Store::check(path))
    }

    pub fn path(&self) -> &Path {
        self.store.path()
    }
}

/// One thread beside the caller's, where heartbeats go on while the caller computes.
fn runtime(path: &Path) -> Result<Runtime, StoreError> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|error| {
        StoreError::CannotOpen { path: path.to_owned(), reason: error.to_string() }
    })
}

impl Drop for BlockingStore {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
    }
}

/// The calls of [`Store`], which documents them.
macro_rules! wait_for {
    ($(fn $call:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl BlockingStore {
            $(
                #[doc = concat!("As [`Store::", stringify!($call), "`].")]
                pub fn $call(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                    self.runtime.block_on(self.store.$call($($argument),*))
                }
            )*
        }
    };
}

wait_for! {
    fn job_request(job: JobId) -> serde_json::Value;
    fn add_token(name: &str, scope: Scope, token: &str) -> ();
    fn revoke_token(name: &str) -> ();
    fn tokens() -> Vec<TokenRecord>;
    fn create_run(description: &RunDescription, evaluation_key: &str) -> RunId;
    fn claim(run: RunId) -> ();
    fn commit_episode(run: RunId, record: &EpisodeRecord, checkpoint: &Checkpoint) -> ();
    fn finish(run: RunId, result: &RunResult) -> ();
    fn interrupt(run: RunId) -> ();
    fn fail(run: RunId, error: &str) -> ();
    fn delete_run(run: RunId) -> ();
    fn run(run: RunId) -> Run;
    fn episodes(run: RunId) -> Vec<EpisodeRecord>;
    fn episode(run: RunId, index: u32) -> EpisodeRecord;
    fn front(run: RunId) -> Vec<EpisodeRecord>;
    fn load_checkpoint(run: RunId) -> Option<SavedCheckpoint>;
    fn cached_quality(evaluation_key: &str, policy: &BitwidthPolicy) -> Option<Quality>;
    fn list(query: &RunQuery) -> Vec<RunSummary>;
    fn summary(run: RunId) -> RunSummary;
    fn compare(runs: &[RunId]) -> Vec<ComparedRun>;
    fn add_artifact(run: RunId, kind: &str, file: &Path) -> ();
    fn artifacts(run: RunId) -> Vec<Artifact>;
    fn find_subject(subject: &SubjectDescription) -> Option<StoredSubject>;
    fn add_subject(subject: &SubjectDescription, float: &Quality, float_evaluate_s: f64) -> StoredSubject;
    fn keep_quantization(subject: SubjectId, record: &QuantizationRecord) -> ();
    fn quantizations(subject: SubjectId) -> Vec<QuantizationRecord>;
    fn keep_sensitivities(subject: SubjectId, method: &MethodKey, records: &[SensitivityRecord]) -> ();
    fn sensitivities(subject: SubjectId, method: &MethodKey) -> Vec<SensitivityRecord>;
    fn link_sensitivities(run: RunId, subject: SubjectId, method: &MethodKey) -> ();
    fn run_sensitivities(run: RunId) -> Option<RunSensitivities>;
    fn keep_hessian_traces(subject: SubjectId, probes: u32, probed_images: u64, traces: &[HessianTrace]) -> ();
    fn hessian_traces(subject: SubjectId, probes: u32, probed_images: u64) -> Vec<HessianTrace>;
    fn create_tuning(description: &TuningDescription) -> TuningClaim;
    fn claim_tuning(id: TuningId) -> TuningClaim;
    fn commit_tuning_epoch(claim: &TuningClaim, step: &TuningStep<'_>) -> ();
    fn end_tuning(claim: &TuningClaim, state: RunState, error: Option<&str>, test: Option<&TuningTest>) -> ();
    fn tuning_checkpoint(id: TuningId) -> Option<Vec<u8>>;
    fn tuned_network(id: TuningId) -> Option<Vec<u8>>;
    fn tuning(id: TuningId) -> TuningRecord;
    fn newest_open_tuning() -> Option<TuningId>;
    fn back_up(target: &Path, replace: bool) -> Backup;
    fn vacuum() -> Vacuumed;
}

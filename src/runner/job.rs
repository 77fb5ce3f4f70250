//! The work of a job: its search from where it stands to its end.

use crate::{
    domain::{EpisodeRecord, JobTicket, RunState},
    quantization::EvaluationSettings,
    runner::{Runner, RunnerError, inputs, model::load_model},
    search::{Plan, SearchRequest, Verdict},
    store::{BlockingStore, StoreError},
};

/// Codes that a worker's process ends with where 0 and 1 do not say enough: stopped, to go on later.
pub const INTERRUPTED_EXIT: u8 = 130;

/// The database could not be written, such as on a full disk; to be tried again (`EX_IOERR` of
/// BSD's sysexits).
pub const STORAGE_TROUBLE_EXIT: u8 = 74;

/// How working on a job ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    Completed,
    /// Stopped before its end; everything so far is kept.
    Stopped,
}

/// Works on a job until it is done or `observer` has it stopped.
///
/// - `store`: opened for this ticket
/// - `begun`: is given the run once network and images are ready, and may have its policies judged
///   elsewhere
///
/// # Errors
/// What cannot be done; what was committed stays.
pub fn work_on_job(
    store: &BlockingStore,
    ticket: JobTicket,
    settings: EvaluationSettings,
    begun: impl for<'r> FnOnce(Runner<'r>) -> Result<Runner<'r>, RunnerError>,
    observer: &mut dyn FnMut(&EpisodeRecord, bool) -> Verdict,
) -> Result<JobOutcome, RunnerError> {
    let runner = match store.run(ticket.job) {
        // It was finished by a worker whose service could no longer say so.
        Ok(run) if run.result.state == RunState::Completed => return Ok(JobOutcome::Completed),
        Ok(_) => Runner::resume(store, ticket.job, settings)?,
        Err(StoreError::UnknownRun { .. }) => {
            let request = store.job_request(ticket.job)?;
            Runner::begin(store, plan_of(ticket.job, request)?, settings)?
        }
        Err(error) => return Err(error.into()),
    };
    let result = begun(runner)?.execute(observer)?;
    Ok(match result.state {
        RunState::Completed => JobOutcome::Completed,
        _ => JobOutcome::Stopped,
    })
}

fn plan_of(job: i64, request: serde_json::Value) -> Result<Plan, RunnerError> {
    let request: SearchRequest = serde_json::from_value(request)
        .map_err(|error| RunnerError::Settings { run: job, reason: error.to_string() })?;
    let model = load_model((&request).into())?;
    inputs::plan(request, model)
}

//! Exit codes, and which error gets which.

use crate::{
    cli::output,
    runner::{self, RunnerError},
    search::SearchError,
};

pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
/// What was typed does not make sense.
pub const USAGE: u8 = 2;
pub const BUDGET_NOT_REACHABLE: u8 = 3;
/// Some of what was asked could not be done; the rest was.
pub const PARTIAL: u8 = 4;
/// Stopped by the user; the run can be resumed.
pub const INTERRUPTED: u8 = runner::INTERRUPTED_EXIT;
/// Of a worker of `haq serve`: the database could not be written, and the service tries again.
pub const STORAGE_TROUBLE: u8 = runner::STORAGE_TROUBLE_EXIT;

/// How a subcommand ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Done,
    Partial,
    Interrupted,
}

/// An error in what was typed, found after parsing: two flags that contradict each other, a
/// name that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The database could not be written, such as on a full disk: the same may succeed later.
#[derive(Debug, thiserror::Error)]
#[error("storage trouble")]
pub struct StorageTrouble;

/// Prints the error, where there is one, and gives the code the process ends with.
pub fn code_of(result: anyhow::Result<Ending>) -> u8 {
    let error = match result {
        Ok(Ending::Done) => return DONE,
        Ok(Ending::Partial) => return PARTIAL,
        Ok(Ending::Interrupted) => return INTERRUPTED,
        Err(error) => error,
    };
    if is_closed_pipe(&error) {
        return DONE;
    }
    output::print_error(&error);
    let causes = || error.chain();
    if error.is::<StorageTrouble>() {
        return STORAGE_TROUBLE;
    }
    if causes().any(|cause| cause.is::<UsageError>()) {
        return USAGE;
    }
    // The runner passes errors of the search on as they are, so they do not show in the chain.
    match error.downcast_ref() {
        Some(RunnerError::Search(SearchError::BudgetNotReachable { .. })) => BUDGET_NOT_REACHABLE,
        Some(RunnerError::Search(SearchError::Request(_))) => USAGE,
        _ => FAILED,
    }
}

/// Whoever read our output has stopped reading, as `head` does; that is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

//! Waiting: for the file while another process writes, and for what others do in it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use sqlx::sqlite::SqliteRow;
use tokio::sync::Notify;

use super::LocalEvalQueue;
use crate::store::{
    RETRY, StoreError, WRITE_PATIENCE,
    error::{self, At},
    rows::Statement,
};

/// How often an idle queue looks for what other processes did; what this process does it hears at
/// once.
const POLL: Duration = Duration::from_millis(20);

/// What happened in this process.
#[derive(Debug, Default)]
pub(in crate::store) struct Signals {
    pub(super) task_waits: Notify,
    pub(super) answer_waits: Notify,
}

impl LocalEvalQueue {
    /// Runs one statement that writes, as often as it takes to get the file; how many rows it
    /// changed.
    pub(in crate::store) async fn write(
        &self,
        statement: impl Fn() -> Statement,
    ) -> Result<u64, StoreError> {
        let (writer, started) = (self.store.writer()?, Instant::now());
        loop {
            match statement().execute(writer).await {
                Err(error) if may_wait(&error, started) => tokio::time::sleep(RETRY).await,
                done => return Ok(done.at(self.store.path())?.rows_affected()),
            }
        }
    }

    /// The same; the rows that it returns.
    pub(super) async fn write_returning(
        &self,
        statement: impl Fn() -> Statement,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let (writer, started) = (self.store.writer()?, Instant::now());
        loop {
            // All rows: only then is the statement's transaction committed.
            match statement().fetch_all(writer).await {
                Err(error) if may_wait(&error, started) => tokio::time::sleep(RETRY).await,
                done => return done.at(self.store.path()),
            }
        }
    }
}

/// Whether another process writes, and is still waited for.
fn may_wait(error: &sqlx::Error, started: Instant) -> bool {
    error::is_busy(error) && started.elapsed() < WRITE_PATIENCE
}

/// Tries until there is something or patience is at its end: at each signal, and every [`POLL`].
pub(super) async fn await_some<T, F>(
    patience: Duration,
    signal: &Notify,
    attempt: impl Fn() -> F,
) -> Result<Option<T>, StoreError>
where
    F: Future<Output = Result<Option<T>, StoreError>>,
{
    let started = Instant::now();
    loop {
        // Heard from here on, also what happens during the attempt.
        let signalled = signal.notified();
        if let Some(found) = attempt().await? {
            return Ok(Some(found));
        }
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        let _ = tokio::time::timeout(POLL.min(left), signalled).await;
    }
}

//! Runs, episodes and checkpoints in one SQLite file: the only SQL of the program.
//!
//! Start at [`Store::open`]. `migrations/README.md` describes the tables and views.

mod artifacts;
mod blocking;
mod checkpoints;
mod claims;
mod episodes;
mod error;
mod list;
mod open;
mod owner;
mod rows;
mod runs;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use error::At;
use sqlx::{Sqlite, SqlitePool, Transaction};

pub use artifacts::Artifact;
pub use blocking::BlockingStore;
pub use checkpoints::{Checkpoint, SavedCheckpoint};
pub use claims::LEASE;
pub use error::StoreError;
pub use list::{BestSummary, ComparedRun, RunQuery, RunSort, RunSummary};
pub use runs::Run;

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

//! Gives the space of deleted rows back to the disk.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;
use sqlx::SqliteConnection;

use super::space::{live_bytes, require_space};
use crate::store::{
    RETRY, Store, StoreError, WRITE_PATIENCE,
    error::{self, At},
    open::{folder_of, log_of},
};

/// What became smaller; a database's log counts to its size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vacuumed {
    pub before_bytes: u64,
    pub after_bytes: u64,
    /// What is left in the log because another process still reads what it was; 0 mostly.
    pub log_bytes: u64,
    pub wall_s: f64,
}

impl Store {
    /// Writes the database anew without its free pages, and empties its log. Waits for other
    /// writers; they wait in turn until it is done.
    pub async fn vacuum(&self) -> Result<Vacuumed, StoreError> {
        let started = Instant::now();
        let path = self.path();
        let writer = self.writer()?;
        let copy_bytes = live_bytes(path, writer).await?;
        require_space_for_two(path, copy_bytes, &temporary_folder())?;
        let before_bytes = size_bytes(path) + size_bytes(&log_of(path));
        let mut connection = writer.acquire().await.at(path)?;
        rewrite(path, &mut connection).await?;
        empty_log(path, &mut connection).await?;
        let log_bytes = size_bytes(&log_of(path));
        Ok(Vacuumed {
            before_bytes,
            after_bytes: size_bytes(path) + log_bytes,
            log_bytes,
            wall_s: started.elapsed().as_secs_f64(),
        })
    }
}

/// `VACUUM` takes the write lock by itself, so [`Store::begin`] cannot wait for it.
async fn rewrite(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let started = Instant::now();
    loop {
        match sqlx::query("VACUUM").execute(&mut *connection).await {
            Err(error) if error::is_busy(&error) && started.elapsed() < WRITE_PATIENCE => {
                tokio::time::sleep(RETRY).await;
            }
            result => return result.map(|_| ()).at(path),
        }
    }
}

/// Until then the new pages stand in the log, and the file has its old size.
async fn empty_log(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let started = Instant::now();
    loop {
        let is_held: bool = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *connection)
            .await
            .at(path)?;
        if !is_held || started.elapsed() >= WRITE_PATIENCE {
            return Ok(());
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// SQLite writes one copy into its temporary folder, and then from there into the log.
fn require_space_for_two(path: &Path, copy_bytes: u64, temporary: &Path) -> Result<(), StoreError> {
    const ADVICE: &str =
        "free some, or have SQLITE_TMPDIR name a folder of another disk for the other half";
    const ADVICE_TEMPORARY: &str = "free some, or have SQLITE_TMPDIR name a folder with more";
    let folder = folder_of(path);
    let disk = |folder: &Path| fs::metadata(folder).map(|found| found.dev()).ok();
    if disk(folder) == disk(temporary) {
        return require_space(path, folder, copy_bytes.saturating_mul(2), ADVICE);
    }
    require_space(path, temporary, copy_bytes, ADVICE_TEMPORARY)?;
    require_space(path, folder, copy_bytes, "free some")
}

/// Where SQLite puts it, as <https://sqlite.org/tempfiles.html> section 5 says.
fn temporary_folder() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].into_iter().map(PathBuf::from);
    named.chain(usual).find(|folder| folder.is_dir()).unwrap_or_else(|| ".".into())
}

fn size_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_has_no_room_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haq.db");
        for temporary in [folder.path(), Path::new("/proc")] {
            let error = require_space_for_two(&path, u64::MAX / 2, temporary).unwrap_err();
            assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
        }
    }
}
